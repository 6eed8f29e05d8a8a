//! What can go wrong between a process and the broker.

use crate::principal::Principal;
use std::{path::PathBuf, time::Duration};

/// A failed exchange with the broker.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The seed file could not be read.
    #[error("cannot read the key `{}`", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What is in the seed file is no key.
    #[error("`{}` holds no nkey seed", path.display())]
    Seed {
        /// The file.
        path: PathBuf,
    },
    /// No connection within `connect_timeout`.
    #[error("cannot connect to the broker at {url} as {principal}")]
    Connect {
        /// Where.
        url: String,
        /// As whom.
        principal: Principal,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
    /// The broker is older than what the log needs.
    #[error("the broker is version {found}, needed is {needed} or later")]
    TooOld {
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// The streams are not there, or are those of an earlier version.
    #[error("the broker has {}, needed is {needed}: `slipway topology` makes them", found_version(*.found))]
    Topology {
        /// The version of what is there, if anything is.
        found: Option<u32>,
        /// The version that is needed.
        needed: u32,
    },
    /// The process ended before there was a connection.
    #[error("the process ends before the broker was there")]
    Ended,
    /// No answer in time: what was asked may have happened or not.
    #[error("no answer to {action} within {waited:?}")]
    Timeout {
        /// What was asked.
        action: String,
        /// How long was waited.
        waited: Duration,
    },
    /// Nobody is there to answer: the stream does not exist, or JetStream is not up.
    #[error("nobody answers {action}")]
    NobodyAnswers {
        /// What was asked.
        action: String,
    },
    /// The permissions of this principal forbid it.
    #[error("{principal} may not {action}")]
    Denied {
        /// Who.
        principal: Principal,
        /// What.
        action: String,
    },
    /// The broker refused.
    #[error("the broker refused {action}: {description} ({code})")]
    Refused {
        /// What was asked.
        action: String,
        /// The broker's error code.
        code: u64,
        /// The broker's words.
        description: String,
    },
    /// The broker said something that cannot be read.
    #[error("unreadable answer to {action}: {reason}")]
    Unreadable {
        /// What was asked.
        action: String,
        /// Why.
        reason: String,
    },
    /// The connection is closed, or failed underneath.
    #[error("connection: {0}")]
    Connection(String),
}

fn found_version(found: Option<u32>) -> String {
    found.map_or_else(|| "no streams of Slipway".to_owned(), |version| format!("streams of version {version}"))
}

impl BusError {
    /// Whether trying again later can help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Topology { .. }
            | Self::Timeout { .. }
            | Self::NobodyAnswers { .. }
            | Self::Connection(_) => true,
            Self::Key { .. }
            | Self::Seed { .. }
            | Self::TooOld { .. }
            | Self::Ended
            | Self::Denied { .. }
            | Self::Unreadable { .. } => false,
            // 10008 no leader yet, 10076/10023 short of resources: they pass. The rest says what is wrong with the request.
            Self::Refused { code, .. } => matches!(code, 10_008 | 10_023 | 10_076 | 10_077),
        }
    }
}
