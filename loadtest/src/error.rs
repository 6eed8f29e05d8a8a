//! What keeps a run from starting. Whatever the server does is a figure in the report, never an error.

use std::time::Duration;

/// Why a run did not start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The target is no address this generator can send to.
    #[error("`{target}` is no target: http://host:port or grpc://host:port")]
    Target {
        /// What was given.
        target: String,
    },
    /// The rate cannot be kept, or is none.
    #[error("a rate of {rate}/s: more than 0, at most {most}/s")]
    Rate {
        /// What was asked for, in requests a second.
        rate: f64,
        /// The most.
        most: f64,
    },
    /// No time, or more than a run can hold.
    #[error("a duration of {duration:?}: 1 ms to {most:?}")]
    Duration {
        /// What was asked for.
        duration: Duration,
        /// The most.
        most: Duration,
    },
    /// Nothing could be under way.
    #[error("{count} requests at a time: 1 to {most}")]
    InFlight {
        /// What was asked for.
        count: usize,
        /// The most.
        most: usize,
    },
    /// A thread or its runtime could not be started.
    #[error("cannot start the generator's thread")]
    Thread(#[source] std::io::Error),
    /// The thread of the generator ended without a result.
    #[error("the generator's thread ended without a result")]
    Lost,
}
