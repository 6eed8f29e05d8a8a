//! What can go wrong around a proof. None of it fails a revision: what could not be asked is inconclusive.

use slipway_bus::{BlobError, BusError, ProbeTokenError};
use std::fmt::Write;

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
    /// A worker could not be killed.
    #[error("kill worker {instance}")]
    Kill {
        /// Which.
        instance: String,
        /// Why.
        #[source]
        source: KillError,
    },
}

/// Why a worker was not killed.
#[derive(Debug, thiserror::Error)]
pub enum KillError {
    /// It runs on another machine.
    #[error("it runs on {host}, not here")]
    Elsewhere {
        /// Where.
        host: String,
    },
    /// There is no such process.
    #[error("process {pid} is not there")]
    Gone {
        /// Which.
        pid: u32,
    },
    /// The process began after the worker registered: the number was given to another one.
    #[error("process {pid} began after the worker registered: it is another one")]
    AnotherProcess {
        /// Which.
        pid: u32,
    },
    /// Processes cannot be looked at or signalled here.
    #[error("process {pid} cannot be signalled")]
    System {
        /// Which.
        pid: u32,
        /// Why.
        #[source]
        source: std::io::Error,
    },
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
        let error = WorldError::Kill { instance: "w".into(), source: KillError::Gone { pid: 7 } };
        assert_eq!(told(&error), "kill worker w: process 7 is not there");
    }
}
