//! The log against its ledger: asked by an operator, answered by the sink-writer, which keeps the ledger.

use crate::{ask, connect::Bus, error::BusError};
use serde::{Deserialize, Serialize};
use slipway_kernel::Service;
use slipway_runtime::Frame;
use std::{future::Future, time::Duration};

const VERIFY: &str = "verify";

/// A fact that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Damage {
    /// Its subject.
    pub subject: String,
    /// `lost`, `altered`, or `unrecorded` (in the log, never seen by the ledger although it is older than the ledger's last).
    pub problem: String,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Facts read from the log.
    pub facts: u64,
    /// Facts in the ledger.
    pub recorded: u64,
    /// What is wrong, at most a thousand; empty if nothing is.
    pub damages: Vec<Damage>,
}

/// Questions to the keeper of the ledger.
#[derive(Clone, Debug)]
pub struct Ledger {
    bus: Bus,
}

impl Ledger {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Has every fact read and compared.
    ///
    /// # Errors
    /// When no sink-writer answers in time.
    pub async fn verify(&self, timeout: Duration) -> Result<Verdict, BusError> {
        ask::question(&self.bus, Service::SinkWriter, VERIFY, &serde_json::json!({}), timeout).await
    }

    /// Answers until shutdown (sink-writer).
    ///
    /// # Errors
    /// When the subscription fails.
    pub async fn serve<F, Fut>(&self, frame: &Frame, answer: F) -> Result<(), BusError>
    where
        F: Fn(serde_json::Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Verdict>> + Send + 'static,
    {
        ask::serve(&self.bus, frame, Service::SinkWriter, VERIFY, answer).await
    }
}
