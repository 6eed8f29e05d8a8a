//! What can go wrong. [`RequestError`]: why a request has no answer; [`crate::respond`] says what its sender is told.

use slipway_kernel::{DeploymentId, Refusals, RequestId, RevisionId};
use slipway_proto::failure::FailureCode;
use std::time::Duration;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Values of the request that are not accepted, each with what is allowed.
    #[error("the request is not accepted: {0}")]
    Invalid(Refusals),
    /// The path leads nowhere.
    #[error("there is nothing at this path")]
    UnknownPath,
    /// The path does not take this method.
    #[error("this path takes {allowed}")]
    Method {
        /// What it takes, as in the header `Allow`.
        allowed: &'static str,
    },
    /// The body is of another media type or encoding.
    #[error("a body of `{found}` is not read here; send application/json, as it is or packed by gzip, deflate or zstd")]
    MediaType {
        /// What was said about it.
        found: String,
    },
    /// The head of the request is larger than the door takes.
    #[error("the headers have more than {limit} bytes")]
    HeadTooLarge {
        /// The bound.
        limit: usize,
    },
    /// The body is larger than the deployment takes.
    #[error("the body has more than {limit} bytes, the limit of this deployment (spec.inputs.http.maxBody)")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The body did not arrive before the deadline.
    #[error("the body did not arrive in time")]
    BodyTooSlow,
    /// The connection broke before the body was complete.
    #[error("the body ended early")]
    BodyCut,
    /// No such deployment.
    #[error("there is no deployment `{0}`")]
    UnknownDeployment(String),
    /// The deployment has no such revision, or none that this caller may reach; the two look the same.
    #[error("deployment `{deployment}` has no revision `{revision}` that you can reach")]
    UnknownRevision {
        /// The deployment.
        deployment: DeploymentId,
        /// The revision.
        revision: RevisionId,
    },
    /// A queued request cannot be taken back any more.
    #[error("the request has been answered; its result can be asked for")]
    AlreadyAnswered,
    /// No such queued request of this caller.
    #[error("there is no such request")]
    UnknownRequest,
    /// The credential is missing or not accepted. One message for all of it, so that trying teaches nothing.
    #[error("authentication failed")]
    Unauthenticated,
    /// The keys of the issuer were never had, so no token can be checked.
    #[error("tokens cannot be checked at present")]
    KeysUnavailable,
    /// The address is in none of the networks that may come in.
    #[error("requests from this address are not accepted")]
    SourceAddress,
    /// The deployment takes no requests over NATS.
    #[error("deployment `{0}` takes no requests over NATS (spec.inputs: nats)")]
    NatsClosed(DeploymentId),
    /// The caller sends more than its rate limit.
    #[error("more requests than the rate limit of this deployment allows a caller")]
    RateLimited {
        /// When the next one will be let through.
        retry_after: Duration,
    },
    /// No room, and the queue for it is full or was waited in for too long.
    #[error("too many requests under way ({bound})")]
    Overloaded {
        /// Which bound: `limits.in_flight`, `limits.in_flight_per_deployment`, `limits.body_memory`.
        bound: &'static str,
    },
    /// The queue of the revision is full.
    #[error("the request queue of revision {0} is full")]
    QueueFull(RevisionId),
    /// Nothing of the deployment is released.
    #[error("deployment `{0}` does not serve yet")]
    NothingServes(DeploymentId),
    /// No worker of the revision can be reached.
    #[error("no worker of revision {revision} is ready")]
    NoWorker {
        /// The revision.
        revision: RevisionId,
    },
    /// The revision's model has a tensor type that the protocol lacks.
    #[error("the model cannot be served over this protocol: {0}")]
    Unservable(String),
    /// The deadline passed.
    #[error("the deadline passed before there was an answer")]
    DeadlineExceeded,
    /// The same id came with another body, or from another caller.
    #[error("the id `{0}` is in use for another request")]
    IdempotencyConflict(RequestId),
    /// The broker does not answer.
    #[error("queued requests are not available at present")]
    QueueUnavailable(#[source] anyhow::Error),
    /// The answer is there, but not certainly recorded, and the deployment wants it to be.
    #[error("the answer could not be recorded (spec.record: before-reply)")]
    Unrecorded(#[source] anyhow::Error),
    /// The answer is there, but larger than can be recorded.
    #[error("the answer has {bytes} bytes; at most {limit} can be recorded, which this request wants to be")]
    ResultTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// What the worker said.
    #[error("{message}")]
    Worker {
        /// Its word.
        code: FailureCode,
        /// Its message.
        message: String,
        /// When it thinks that trying again may help.
        retry_after: Option<Duration>,
    },
    /// The worker's answer cannot be passed on.
    #[error("the answer of the worker cannot be written")]
    BadAnswer(#[source] anyhow::Error),
    /// A fault of this service.
    #[error("internal error")]
    Internal(#[source] anyhow::Error),
}

impl From<Refusals> for RequestError {
    fn from(refusals: Refusals) -> Self {
        Self::Invalid(refusals)
    }
}

impl RequestError {
    /// One refused value.
    pub fn invalid(path: impl Into<String>, value: impl std::fmt::Display, allowed: impl Into<String>) -> Self {
        Self::Invalid(Refusals(vec![slipway_kernel::Refusal::new(path, value, allowed)]))
    }

    /// Whether a worker said that its queue is full.
    #[must_use]
    pub const fn is_overload(&self) -> bool {
        matches!(self, Self::Worker { code: FailureCode::Overloaded, .. })
    }
}

/// Why the service could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum IngressError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or key of the door cannot be used.
    #[error("cannot use the certificate or key of the door: {0}")]
    Certificate(String),
    /// The threads that serve connections.
    #[error("cannot serve connections")]
    Lanes(#[from] slipway_runtime::lanes::LanesError),
    /// The client that fetches keys of issuers cannot be made.
    #[error("cannot make the client that fetches the keys of issuers")]
    KeyClient(#[source] anyhow::Error),
}
