//! The real world: the bus, the metrics of the ingress, the workers' inner doors, and the processes of this machine.

use crate::{
    config::IngressConfig,
    domain::{contention::Reading, judge::sinks::Row},
    error::WorldError,
    machine,
    replicas::Replicas,
    worker,
    world::{RowPage, Worker, World},
};
use async_trait::async_trait;
use bytes::Bytes;
use slipway_bus::{Bus, ProbeToken, SinkQuery, WorkerRecord, WorkerState};
use slipway_kernel::{AnswerCounts, BlobReference, DeploymentId, RevisionId};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long a mark for probe traffic holds; it is renewed long before.
const PASS_LIFE: Duration = Duration::from_secs(300);
/// How long the sink-writer may take to answer one question: it reads at most 5,000 rows by an index.
const SINK_PATIENCE: Duration = Duration::from_secs(5);

/// The real world.
pub(crate) struct Mesh {
    bus: Bus,
    ingress: Option<Replicas>,
}

impl Mesh {
    pub(crate) fn new(bus: Bus, ingress: &IngressConfig) -> Self {
        // The address was checked with the configuration; one that is none is as good as unset.
        Self { bus, ingress: ingress.admin.as_deref().and_then(Replicas::behind) }
    }

    async fn records(&self, deployment: &DeploymentId, revision: RevisionId) -> Result<Vec<WorkerRecord>, WorldError> {
        let mut records = self.bus.workers().list().await.map_err(WorldError::Workers)?;
        records.retain(|record| record.deployment == *deployment && record.revision == revision);
        Ok(records)
    }

    async fn live_by_reports(
        &self,
        deployment: &DeploymentId,
        revision: RevisionId,
    ) -> Result<BTreeMap<String, AnswerCounts>, WorldError> {
        let deployment = deployment.to_string();
        let mut told: BTreeMap<String, AnswerCounts> = BTreeMap::new();
        for report in self.bus.routes().replicas().await.map_err(WorldError::Routes)? {
            let own = report.stats.iter().filter(|stats| stats.deployment == deployment && stats.revision == revision);
            for stats in own {
                let counts = told.entry(report.instance.clone()).or_default();
                counts.requests += stats.requests;
                counts.failures += stats.failures;
            }
        }
        if told.is_empty() {
            return Err(WorldError::Metrics("ingress.admin is not set, and no route report speaks of it".to_owned()));
        }
        Ok(told)
    }
}

#[async_trait]
impl World for Mesh {
    async fn golden(&self, reference: &BlobReference) -> Result<Bytes, WorldError> {
        self.bus.blobs().get(&reference.digest).await.map_err(WorldError::Golden)
    }

    fn pass(&self, deployment: &DeploymentId) -> Result<String, WorldError> {
        ProbeToken::issue(&self.bus, deployment, PASS_LIFE).map_err(WorldError::Pass)
    }

    async fn rows(&self, deployment: &DeploymentId, correlation: &str, offset: u64) -> Result<RowPage, WorldError> {
        let query = SinkQuery { offset, ..SinkQuery::of_run(deployment, correlation) };
        let answer = self.bus.sinks().ask(&query, SINK_PATIENCE).await.map_err(WorldError::Sinks)?;
        let after = offset + answer.rows.len() as u64;
        let next = (after > offset && after < answer.total).then_some(after);
        let rows = answer.rows.into_iter().filter(|row| row.ok).map(|row| Row {
            request_id: row.request_id,
            trace_id: row.trace_id,
            revision: row.revision,
        });
        Ok(RowPage { rows: rows.collect(), next, pending: answer.pending })
    }

    async fn workers(&self, deployment: &DeploymentId, revision: RevisionId) -> Result<Vec<Worker>, WorldError> {
        let records = self.records(deployment, revision).await?;
        let worker = |record: WorkerRecord| Worker {
            ready: record.state == WorkerState::Ready,
            instance: record.instance,
            address: record.address,
            since: record.since,
        };
        Ok(records.into_iter().map(worker).collect())
    }

    async fn kill(&self, deployment: &DeploymentId, revision: RevisionId, worker: &Worker) -> Result<(), WorldError> {
        tracing::info!(instance = worker.instance, "a worker is ended at once, to see what is lost");
        let failed = |source| WorldError::Kill { instance: worker.instance.clone(), source };
        worker::abort(&self.bus, deployment, revision, worker).await.map_err(failed)
    }

    async fn live(
        &self,
        deployment: &DeploymentId,
        revision: RevisionId,
    ) -> Result<BTreeMap<String, AnswerCounts>, WorldError> {
        match &self.ingress {
            Some(replicas) => replicas.live(deployment, revision).await,
            None => self.live_by_reports(deployment, revision).await,
        }
    }

    async fn machine(&self, deployment: &DeploymentId, revision: RevisionId) -> Option<Reading> {
        let records = self.records(deployment, revision).await.unwrap_or_default();
        let workers: BTreeSet<u32> = records.into_iter().map(|record| record.pid).collect();
        // A few hundred small files: some milliseconds that are not the async threads'.
        tokio::task::spawn_blocking(move || machine::read(&workers)).await.ok().flatten()
    }
}
