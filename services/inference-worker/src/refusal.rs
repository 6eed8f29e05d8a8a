//! Why a request has no answer, in the words that all doors share.

use std::time::Duration;

use slipway_kernel::Refusals;
use slipway_proto::failure::FailureCode;

use crate::batcher::{Refused, Unanswered};
use crate::engine::EngineError;

/// Refused callers are told to come back after at least this: sooner, they would only be refused again.
pub const SHORTEST_RETRY: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// In the vocabulary that all doors share.
    pub code: FailureCode,
    /// For a person.
    pub message: String,
    /// When to come back, for codes that can be retried.
    pub retry_after: Option<Duration>,
    /// The values that were refused, if it was for values.
    pub values: Vec<slipway_kernel::Refusal>,
}

impl Refusal {
    /// A refusal without a time to come back.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, values: Vec::new() }
    }

    /// A refusal that may be none a moment later.
    pub fn later(code: FailureCode, message: impl Into<String>, after: Duration) -> Self {
        Self { retry_after: Some(after.max(SHORTEST_RETRY)), ..Self::new(code, message) }
    }
}

impl From<Refusals> for Refusal {
    fn from(refusals: Refusals) -> Self {
        let message = format!("the request is not accepted: {refusals}");
        Self { values: refusals.0, ..Self::new(FailureCode::InvalidArgument, message) }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Full { retry_after, .. } => Self::later(FailureCode::Overloaded, message, retry_after),
            Refused::Hopeless { expected, .. } => Self::later(FailureCode::Overloaded, message, expected),
            Refused::Late => Self::new(FailureCode::DeadlineExceeded, message),
            Refused::Draining => Self::later(FailureCode::Unavailable, message, SHORTEST_RETRY),
        }
    }
}

impl From<Unanswered> for Refusal {
    fn from(unanswered: Unanswered) -> Self {
        let message = unanswered.to_string();
        match unanswered {
            Unanswered::Late => Self::new(FailureCode::DeadlineExceeded, message),
            Unanswered::GaveWay { retry_after } => Self::later(FailureCode::Overloaded, message, retry_after),
            Unanswered::Stopped => Self::later(FailureCode::Unavailable, message, SHORTEST_RETRY),
            Unanswered::Failed(EngineError::UnsupportedType { .. }) => Self::new(FailureCode::Unimplemented, message),
            Unanswered::Failed(_) => Self::new(FailureCode::Internal, message),
        }
    }
}
