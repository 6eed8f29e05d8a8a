//! The real world: the bus, the metrics of the ingress, and the processes of this machine.

use crate::{
    config::IngressConfig,
    domain::{burn::LiveCounters, contention::Reading, judge::sinks::Row},
    error::{KillError, WorldError},
    exposition, machine, process,
    world::{RowPage, Worker, World},
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};
use slipway_bus::{Bus, ProbeToken, SinkQuery, WorkerRecord, WorkerState};
use slipway_kernel::{BlobReference, DeploymentId, RevisionId};
use slipway_loadtest::{Client, Limits, Request, Target};
use std::{collections::BTreeSet, time::Duration};

/// How long a mark for probe traffic holds; it is renewed long before.
const PASS_LIFE: Duration = Duration::from_secs(300);
/// How long the sink-writer may take to answer one question: it reads at most 5,000 rows by an index.
const SINK_PATIENCE: Duration = Duration::from_secs(5);
/// How long one reading of the metrics may take. Longer, and it says nothing about now.
const METRICS_PATIENCE: Duration = Duration::from_secs(1);

/// The real world.
pub(crate) struct Mesh {
    bus: Bus,
    metrics: Option<Client>,
}

impl Mesh {
    pub(crate) fn new(bus: Bus, ingress: &IngressConfig) -> Self {
        let limits = Limits { timeout: METRICS_PATIENCE, connect_timeout: METRICS_PATIENCE, ..Limits::default() };
        // The address was checked with the configuration; one that is none is as good as unset.
        let target = ingress.admin.as_ref().and_then(|address| address.parse::<Target>().ok());
        Self { bus, metrics: target.map(|target| Client::new(target, &limits)) }
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
    ) -> Result<LiveCounters, WorldError> {
        let deployment = deployment.to_string();
        let reports = self.bus.routes().replicas().await.map_err(WorldError::Routes)?;
        let stats = reports.iter().flat_map(|report| &report.stats);
        let own: Vec<_> = stats.filter(|stats| stats.deployment == deployment && stats.revision == revision).collect();
        if own.is_empty() {
            return Err(WorldError::Metrics("ingress.admin is not set, and no route report speaks of it".to_owned()));
        }
        Ok(own.into_iter().fold(LiveCounters::default(), |mut sum, stats| {
            sum.requests += stats.requests;
            sum.failures += stats.failures;
            sum
        }))
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
            host: record.host,
            pid: record.pid,
            since: record.since,
        };
        Ok(records.into_iter().map(worker).collect())
    }

    async fn kill(&self, worker: &Worker) -> Result<(), WorldError> {
        let failed = |source| WorldError::Kill { instance: worker.instance.clone(), source };
        let here = rustix::system::uname().nodename().to_string_lossy().into_owned();
        if worker.host != here {
            return Err(failed(KillError::Elsewhere { host: worker.host.clone() }));
        }
        tracing::info!(instance = worker.instance, pid = worker.pid, "killing a worker to see what is lost");
        process::kill(worker.pid, worker.since).map_err(failed)
    }

    async fn live(&self, deployment: &DeploymentId, revision: RevisionId) -> Result<LiveCounters, WorldError> {
        let Some(client) = &self.metrics else {
            return self.live_by_reports(deployment, revision).await;
        };
        let request = Request {
            method: Method::GET,
            path: PathAndQuery::from_static("/metrics"),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let reply = client.send(request).await.map_err(|class| WorldError::Metrics(class.to_string()))?;
        if !reply.status.is_success() {
            return Err(WorldError::Metrics(format!("status {}", reply.status.as_u16())));
        }
        let text = std::str::from_utf8(&reply.body).map_err(|_| WorldError::Metrics("not a text".to_owned()))?;
        Ok(exposition::live(text, deployment, revision))
    }

    async fn machine(&self, deployment: &DeploymentId, revision: RevisionId) -> Option<Reading> {
        let here = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let records = self.records(deployment, revision).await.unwrap_or_default();
        let workers: BTreeSet<u32> =
            records.into_iter().filter(|record| record.host == here).map(|record| record.pid).collect();
        // A few hundred small files: some milliseconds that are not the async threads'.
        tokio::task::spawn_blocking(move || machine::read(&workers)).await.ok().flatten()
    }
}
