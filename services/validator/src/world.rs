//! What a proof needs of the world around the ingress. The real one is the mesh; tests bring a double.

use crate::{
    domain::{burn::LiveCounters, contention::Reading, judge::sinks::Row},
    error::WorldError,
};
use async_trait::async_trait;
use bytes::Bytes;
use slipway_kernel::{BlobReference, DeploymentId, RevisionId, Timestamp};

/// One live worker of the revision that is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its instance id.
    pub instance: String,
    /// The machine it runs on.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// When it registered.
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

    /// Kills a worker's process.
    async fn kill(&self, worker: &Worker) -> Result<(), WorldError>;

    /// How a revision does in production.
    async fn live(&self, deployment: &DeploymentId, revision: RevisionId) -> Result<LiveCounters, WorldError>;

    /// Processor time of this machine; `None` if it does not tell.
    async fn machine(&self, deployment: &DeploymentId, revision: RevisionId) -> Option<Reading>;
}
