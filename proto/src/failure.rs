//! The one vocabulary in which HTTP, gRPC and the queues say why an inference request has no answer.
//!
//! A code is a promise to callers: what happened and whether trying again can help. New codes may be added, none is
//! renamed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use prost::Message as _;
use tonic::Code as GrpcCode;

use crate::slipway::inference::v1::inference_result::Outcome;
use crate::slipway::inference::v1::{Failure, InferenceResult};

/// Whether a recorded result says that its request was taken back by its sender.
#[must_use]
pub fn is_cancellation(result: &[u8]) -> bool {
    let outcome = InferenceResult::decode(result).ok().and_then(|result| result.outcome);
    matches!(outcome, Some(Outcome::Failure(failure)) if failure.code == FailureCode::Cancelled.as_str())
}

/// A pause before the next try in whole seconds, at least one, as `Retry-After` wants it: rounded up, since whoever comes back a moment
/// too early has come for nothing.
#[must_use]
pub fn retry_after_s(pause: Duration) -> u64 {
    (pause.as_secs() + u64::from(pause.subsec_nanos() > 0)).max(1)
}

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// The request does not fit the model or is malformed; the same request fails again.
    InvalidArgument,
    /// No such deployment, model or request.
    NotFound,
    /// No valid credential.
    Unauthenticated,
    /// A valid credential without the right.
    PermissionDenied,
    /// The request is larger than the limit.
    PayloadTooLarge,
    /// The same idempotency key came with another body.
    IdempotencyConflict,
    /// The caller sends more than its rate limit; try again after the given time.
    RateLimited,
    /// A queue is full; try again after the given time.
    Overloaded,
    /// Nothing can serve right now (starting, draining, no worker); try again after the given time.
    Unavailable,
    /// The deadline passed before there was an answer.
    DeadlineExceeded,
    /// The caller went away or cancelled.
    Cancelled,
    /// The model cannot do this: an operator or a type that the engine lacks.
    Unimplemented,
    /// A fault of Slipway or of the model, not of the request.
    Internal,
}

impl FailureCode {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::InvalidArgument,
        Self::NotFound,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::PayloadTooLarge,
        Self::IdempotencyConflict,
        Self::RateLimited,
        Self::Overloaded,
        Self::Unavailable,
        Self::DeadlineExceeded,
        Self::Cancelled,
        Self::Unimplemented,
        Self::Internal,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid-argument",
            Self::NotFound => "not-found",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission-denied",
            Self::PayloadTooLarge => "payload-too-large",
            Self::IdempotencyConflict => "idempotency-conflict",
            Self::RateLimited => "rate-limited",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::Cancelled => "cancelled",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status that stands for it.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidArgument => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::PayloadTooLarge => 413,
            Self::IdempotencyConflict => 422,
            Self::RateLimited | Self::Overloaded => 429,
            // What nginx made known as "client closed request"; nobody is there to read it.
            Self::Cancelled => 499,
            Self::Internal => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
        }
    }

    /// The gRPC code that stands for it.
    #[must_use]
    pub const fn grpc_code(self) -> GrpcCode {
        match self {
            Self::InvalidArgument | Self::PayloadTooLarge => GrpcCode::InvalidArgument,
            Self::NotFound => GrpcCode::NotFound,
            Self::Unauthenticated => GrpcCode::Unauthenticated,
            Self::PermissionDenied => GrpcCode::PermissionDenied,
            Self::IdempotencyConflict => GrpcCode::AlreadyExists,
            Self::RateLimited | Self::Overloaded => GrpcCode::ResourceExhausted,
            Self::Unavailable => GrpcCode::Unavailable,
            Self::DeadlineExceeded => GrpcCode::DeadlineExceeded,
            Self::Cancelled => GrpcCode::Cancelled,
            Self::Unimplemented => GrpcCode::Unimplemented,
            Self::Internal => GrpcCode::Internal,
        }
    }

    /// The code behind a gRPC status that came from a worker or a foreign server without our own code in its metadata.
    #[must_use]
    pub const fn from_grpc(code: GrpcCode) -> Self {
        match code {
            GrpcCode::InvalidArgument | GrpcCode::OutOfRange | GrpcCode::FailedPrecondition => Self::InvalidArgument,
            GrpcCode::NotFound => Self::NotFound,
            GrpcCode::Unauthenticated => Self::Unauthenticated,
            GrpcCode::PermissionDenied => Self::PermissionDenied,
            GrpcCode::AlreadyExists => Self::IdempotencyConflict,
            GrpcCode::ResourceExhausted => Self::Overloaded,
            GrpcCode::Unavailable | GrpcCode::Aborted => Self::Unavailable,
            GrpcCode::DeadlineExceeded => Self::DeadlineExceeded,
            GrpcCode::Cancelled => Self::Cancelled,
            GrpcCode::Unimplemented => Self::Unimplemented,
            GrpcCode::Ok | GrpcCode::Unknown | GrpcCode::Internal | GrpcCode::DataLoss => Self::Internal,
        }
    }

    /// Whether the same request can succeed later, unchanged.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Overloaded | Self::Unavailable)
    }

    /// The failure message with this code.
    #[must_use]
    pub fn with(self, message: impl Into<String>) -> Failure {
        Failure { code: self.as_str().to_owned(), message: message.into() }
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The word is no failure code that this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown failure code `{0}`")]
pub struct UnknownFailureCode(pub String);

impl FromStr for FailureCode {
    type Err = UnknownFailureCode;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|code| code.as_str() == word).ok_or_else(|| UnknownFailureCode(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_from_its_word() {
        for code in FailureCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
        }
        assert!("oops".parse::<FailureCode>().is_err());
    }

    #[test]
    fn a_code_survives_grpc_unless_two_share_one() {
        let shared = [FailureCode::PayloadTooLarge, FailureCode::RateLimited];
        for code in FailureCode::ALL {
            if !shared.contains(&code) {
                assert_eq!(FailureCode::from_grpc(code.grpc_code()), code);
            }
        }
    }

    #[test]
    fn what_can_be_retried_is_429_or_503() {
        for code in FailureCode::ALL {
            assert_eq!(code.is_retryable(), [429, 503].contains(&code.http_status()), "{code}");
        }
    }
}
