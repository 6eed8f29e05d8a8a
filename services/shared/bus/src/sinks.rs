//! What lies in the sinks: asked by the validator, answered by the sink-writer, the only one that speaks SQL.

use crate::{ask, connect::Bus, error::BusError};
use serde::{Deserialize, Serialize};
use slipway_kernel::{DeploymentId, RevisionId, Service};
use slipway_runtime::Frame;
use std::{future::Future, time::Duration};

const ROWS: &str = "rows";

/// Which rows are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkQuery {
    /// `<namespace>.<deployment>`.
    pub namespace: String,
    /// The deployment's name.
    pub deployment: String,
    /// Only rows of this correlation id; of a whole deployment if absent.
    pub correlation: Option<String>,
    /// Rows of the probe sink (validation traffic) or of the deployment's own sinks.
    pub probe: bool,
    /// Skip this many rows, in the order of their request ids.
    pub offset: u64,
}

impl SinkQuery {
    /// The rows of one validation run.
    #[must_use]
    pub fn of_run(id: &DeploymentId, correlation: &str) -> Self {
        Self {
            namespace: id.namespace.to_string(),
            deployment: id.name.to_string(),
            correlation: Some(correlation.to_owned()),
            probe: true,
            offset: 0,
        }
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkRow {
    /// The request.
    pub request_id: String,
    /// The trace it belongs to.
    pub trace_id: String,
    /// Who computed it.
    pub revision: RevisionId,
    /// Whether it is a result; else a recorded failure.
    pub ok: bool,
}

/// The rows found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkAnswer {
    /// How many rows there are in all.
    pub total: u64,
    /// The rows from `offset`, at most [`SinkAnswer::PAGE`].
    pub rows: Vec<SinkRow>,
    /// Results that are recorded and not yet in the sinks.
    pub pending: u64,
}

impl SinkAnswer {
    /// Rows of one answer: 5,000 rows of about 150 bytes stay below the broker's largest message (1 MiB).
    pub const PAGE: usize = 5_000;
}

/// Questions about the sinks.
#[derive(Clone, Debug)]
pub struct Sinks {
    bus: Bus,
}

impl Sinks {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Asks for one page of rows.
    ///
    /// # Errors
    /// When no sink-writer answers in time.
    pub async fn ask(&self, query: &SinkQuery, timeout: Duration) -> Result<SinkAnswer, BusError> {
        ask::question(&self.bus, Service::SinkWriter, ROWS, query, timeout).await
    }

    /// Answers until shutdown (sink-writer).
    ///
    /// # Errors
    /// When the subscription fails.
    pub async fn serve<F, Fut>(&self, frame: &Frame, answer: F) -> Result<(), BusError>
    where
        F: Fn(SinkQuery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<SinkAnswer>> + Send + 'static,
    {
        ask::serve(&self.bus, frame, Service::SinkWriter, ROWS, answer).await
    }
}
