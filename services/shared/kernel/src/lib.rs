//! The words of the domain: identities, the spec, facts, findings, the fold and what follows from it.
//!
//! The kernel is pure. It knows no clock, no randomness, no network, no file and no NATS: whatever it needs of those is
//! an argument. Everything a service decides on is a value from here, so every decision can be tabulated and replayed.
//!
//! JSON written by these types is the protobuf JSON mapping of the messages in `proto/slipway/v1` (vocabulary words are
//! strings, 64-bit integers are JSON strings); the contract tests hold the two together.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

mod answer;
mod blob;
pub mod bundle;
mod due;
mod fact;
mod finding;
mod fold;
mod ids;
pub mod image;
mod meaning;
mod model;
pub mod names;
mod plan;
mod quantity;
mod refusal;
mod routes;
mod slot;
pub mod spec;
mod step;
mod tally;
mod time;
pub mod wire;

pub use answer::{
    Abandoned, Annulled, Answer, Approved, Archived, Candidate, Check, CommandReason, Declined, Degraded, Deployed,
    Endpoint, Failed, GpuFacts, InfrastructureChosen, InfrastructureReady, IntakeReference, Item, MachineFacts,
    Measurement, Outcome, Planned, PlatformCandidate, PlatformRejected, PlatformSelected, Proof, Ready, Recovered,
    Released, Removed, Requested, Retired, RollbackRequested, RolledBack, Shifted, Superseded, UnknownAnswer,
    ValidationReport, Veto,
};
pub use blob::{BlobReference, Digest};
pub use due::{Due, MAX_TRIES};
pub use fact::{Fact, FactKey, SetAside};
pub use finding::{Cause, Finding, FindingKind};
pub use fold::{Answered, Attempts, Deployment, GenerationState, Phase, RevisionState, fold};
pub use ids::{Attempt, DeploymentId, Generation, Label, Namespace, RequestId, Revision, RevisionId, Service};
pub use model::{ModelFacts, ModelFormat, OperatorCount, TensorSpec};
pub use plan::{Change, Plan};
pub use quantity::{ByteSize, CpuMillis, Rate};
pub use refusal::{Refusal, Refusals};
pub use routes::{Route, Routes};
pub use slot::{Slot, SlotError};
pub use step::Step;
pub use tally::{AnswerCounts, Tally};
pub use time::{Span, Timestamp};
