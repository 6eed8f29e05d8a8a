//! What a proof needs of the world around the ingress. The real one is the mesh; tests bring a double.

use crate::{
    domain::{contention::Reading, judge::sinks::Row},
    error::WorldError,
};
use async_trait::async_trait;
use bytes::Bytes;
use slipway_kernel::{AnswerCounts, BlobReference, DeploymentId, RevisionId, Timestamp};
use std::collections::BTreeMap;

/// One live worker of the revision that is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its instance id.
    pub instance: String,
    /// Where its inner door is.
    pub address: String,
    /// When it registered: one that was started anew under its name did so later.
    pub since: Timestamp,
    /// Whether it serves.
    pub ready: bool,
}

/// One page of sink rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowPage {
    /// Rows of results, from the offset. Recorded failures are none.
    pub rows: Vec<Row>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<u64>,
    /// Results that are recorded and not yet in the sinks.
    pub pending: u64,
}

/// What a proof needs of the world.
#[async_trait]
pub trait World: Send + Sync + 'static {
    /// The golden rows.
    async fn golden(&self, reference: &BlobReference) -> Result<Bytes, WorldError>;

    /// A mark for probe traffic to a deployment.
    ///
    /// # Errors
    /// If there is no key to sign with.
    fn pass(&self, deployment: &DeploymentId) -> Result<String, WorldError>;

    /// Rows of the probe sink with this correlation id, from `offset` on.
    async fn rows(&self, deployment: &DeploymentId, correlation: &str, offset: u64) -> Result<RowPage, WorldError>;

    /// The live workers of a revision.
    async fn workers(&self, deployment: &DeploymentId, revision: RevisionId) -> Result<Vec<Worker>, WorldError>;

    /// Ends a worker of the revision at once, without a drain.
    async fn kill(&self, deployment: &DeploymentId, revision: RevisionId, worker: &Worker) -> Result<(), WorldError>;

    /// How a revision does in production, as each replica of the ingress that answers has counted it, by its name.
    async fn live(
        &self,
        deployment: &DeploymentId,
        revision: RevisionId,
    ) -> Result<BTreeMap<String, AnswerCounts>, WorldError>;

    /// Processor time of this machine; `None` if it does not tell, or the revision's workers are not on it.
    async fn machine(&self, deployment: &DeploymentId, revision: RevisionId) -> Option<Reading>;
}
