//! What can go wrong around a proof. None of it fails a revision: what could not be asked is inconclusive.

use slipway_bus::{BlobError, BusError, IdentityError, ProbeTokenError};
use slipway_runtime::tls::TlsError;
use std::{fmt::Write, time::Duration};

/// Something around the revision did not work.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The golden rows could not be read.
    #[error("read the golden rows")]
    Golden(#[source] BlobError),
    /// No mark for probe traffic could be made.
    #[error("issue a probe token")]
    Pass(#[source] ProbeTokenError),
    /// The sinks could not be asked.
    #[error("ask for sink rows")]
    Sinks(#[source] BusError),
    /// The registry of workers could not be read.
    #[error("list the workers")]
    Workers(#[source] BusError),
    /// The route reports could not be read.
    #[error("read the route reports")]
    Routes(#[source] BusError),
    /// The metrics of the ingress could not be read.
    #[error("read the metrics of the ingress: {0}")]
    Metrics(String),
    /// A worker was not ended.
    #[error("end worker {instance}")]
    Kill {
        /// Which.
        instance: String,
        /// Why.
        #[source]
        source: AbortError,
    },
}

/// Why a worker was not ended.
#[derive(Debug, thiserror::Error)]
pub enum AbortError {
    /// It says no address.
    #[error("its address {address:?} is none")]
    Address {
        /// What it says.
        address: String,
    },
    /// Security gives the validator no identity.
    #[error("the validator has no identity to knock with")]
    Identity(#[from] IdentityError),
    /// The identity, or the connection.
    #[error("no connection can be made")]
    Tls(#[from] TlsError),
    /// It cannot be reached.
    #[error("it cannot be reached")]
    Unreachable(#[from] tonic::transport::Error),
    /// It will not.
    #[error("it refuses: {said}")]
    Refused {
        /// In its words.
        said: String,
    },
    /// It did not say that it will.
    #[error("it did not say that it ends")]
    Failed(#[source] Box<tonic::Status>),
    /// It said nothing.
    #[error("it did not answer within {} s", .0.as_secs())]
    Silent(Duration),
}

/// The error with its causes, on one line: for details of checks, where nobody prints a chain.
#[must_use]
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        // Writing into a String cannot fail.
        let _ = write!(text, ": {source}");
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = WorldError::Kill { instance: "w".into(), source: AbortError::Refused { said: "no".into() } };
        assert_eq!(told(&error), "end worker w: it refuses: no");
    }
}
