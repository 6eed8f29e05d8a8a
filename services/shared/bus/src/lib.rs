//! The bus: JetStream lives here and nowhere else.
//!
//! - [`topology`] names every subject, stream, consumer and bucket, each with its limits and the reason for them.
//! - [`permissions`] generates who may say and hear what from the slot table; [`keys`] makes the identities.
//! - [`Log`] writes facts once, or against a sequence; [`View`] holds what was read of it, folded.
//! - [`react`] is how a service lives: an event, a sweep, a nudge and a start all ask what is due, and do it.
//! - [`Leases`] fence effects, [`Blobs`] carry what is too large for a fact, [`DeadLetters`] keep what could not be handled.
//! - [`Intake`] is the door for people, CI and custom resources; [`Inbound`] and [`Asks`] are those for clients of models, [`Replies`]
//!   carries their answers; [`Requests`] and [`Results`] carry queued inference, [`Captures`] the results of what was answered at once.
//! - [`Workers`], [`Troubles`], [`RouteReports`], [`Identities`], [`ApiKeys`], [`Flags`] are small shared tables with a lifetime.
//!
//! What holds throughout: a timeout means *unknown*, never *no*; a negative read decides nothing, only a write does; a stream
//! sequence is a token for one write, never an identity; every request has a timeout and every buffer a bound.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

mod api_keys;
mod ask;
mod blobs;
mod connect;
mod dead;
mod envelope;
mod error;
mod flags;
mod follow;
mod identities;
mod intake;
pub mod keys;
mod kv;
mod lease;
mod ledger;
mod log;
mod metrics;
pub mod permissions;
mod principal;
mod probe_token;
mod queue;
mod react;
mod routes;
mod shared_secret;
mod sinks;
mod time;
pub mod topology;
mod troubles;
mod watched;
mod wire;
mod workers;

pub use api_keys::{ApiKeyDemand, ApiKeyRecord, ApiKeys, IssuedApiKey};
pub use blobs::{BlobError, Blobs};
pub use connect::{Bus, BusConfig};
pub use dead::{DeadLetter, DeadLetterInfo, DeadLetters};
pub use envelope::{ContentType, Envelope, EnvelopeError};
pub use error::BusError;
pub use flags::{Flags, IntegrityFlag};
pub use identities::{Granted, Identities, IdentityError, IdentityRequest};
pub use intake::{Command, Credential, Gate, Intake, IntakeAnswer, IntakeError, IntakeMessage, Verb, VerifiedKey};
pub use lease::{Lease, LeaseError, LeaseInfo, LeaseKey, Leases};
pub use ledger::{Damage, Ledger, Verdict};
pub use log::{
    AppendError, Change, Changes, Content, Draft, Entry, Folded, Log, LogState, RawFact, Tail, TailEvent, View,
    Written, WrittenAgainst,
};
pub use principal::{InferenceClient, Principal};
pub use probe_token::{ProbeClaims, ProbeToken, ProbeTokenError};
pub use queue::{
    Accepted, AcceptedRequest, AcceptedRequests, Ask, Asks, CaptureBatch, CaptureQueue, Captures, DATA_REF, Inbound,
    InboundQueue, InboundRequest, MAX_PAYLOAD_BYTES, QueueError, QueuedRequest, Recorded, RecordedResult, Replies,
    ReplySubject, RequestQueue, Requests, ResultQueue, Results, Upload, Uploads,
};
pub use react::{Actor, Done, DutyError, Scene, react};
pub use routes::{RevisionStats, RouteError, RouteReport, RouteReports};
pub use sinks::{SinkAnswer, SinkQuery, SinkRow, Sinks};
pub use slipway_proto::json::Unknown;
pub use troubles::{Troubles, WorkerTrouble};
pub use watched::Watched;
pub use workers::{Registration, WorkerRecord, WorkerState, Workers};
