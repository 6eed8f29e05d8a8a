//! From the queues of results into the sinks: decode, refuse, write, then acknowledge.

use crate::{
    config::{Batch, Config},
    domain::{Fence, Row},
    error::{SinkError, chain},
    outputs::Outputs,
    record::row_of,
    sinks::Sink as _,
    telemetry::SinkMetrics,
};
use prost::Message as _;
use slipway_bus::{Bus, BusError, DeadLetter, Folded, RecordedResult};
use slipway_kernel::{DeploymentId, Generation, RevisionId, Service};
use slipway_proto::slipway::inference::v1::InferenceResult;
use slipway_runtime::{CancellationToken, trace};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::Span;

/// How long a fetch waits when nothing comes.
const IDLE: Duration = Duration::from_secs(5);
/// How long a result of a revision that the own view does not know yet waits for it: the view is pushed to and this fast behind
/// at most under load.
const VIEW_LAG: Duration = Duration::from_secs(5);

/// How often it is looked whether the stream needs room. It holds minutes of the fastest stream of results.
const TRIM_EVERY: Duration = Duration::from_secs(5);

/// Takes results from the queues.
#[derive(Clone)]
pub(crate) struct Consumer {
    bus: Bus,
    outputs: Arc<Outputs>,
    metrics: SinkMetrics,
    batch: Batch,
}

/// Results that go to the same sinks.
type Groups = BTreeMap<(DeploymentId, Target), Group>;
type Group = Vec<(Row, RecordedResult)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Probes,
    Outputs(Generation),
}

impl Consumer {
    pub(crate) fn new(bus: Bus, outputs: Arc<Outputs>, metrics: SinkMetrics, config: &Config) -> Self {
        Self { bus, outputs, metrics, batch: config.batch }
    }

    /// Results that can be asked for, until shutdown.
    pub(crate) async fn recorded(&self, shutdown: &CancellationToken) -> Result<(), BusError> {
        let queue = self.bus.results().consume().await?;
        let mut trimmed = Instant::now();
        while !shutdown.is_cancelled() {
            let results = tokio::select! {
                results = queue.next(self.batch.max, IDLE) => results?,
                () = shutdown.cancelled() => break,
            };
            self.settle(results).await;
            if trimmed.elapsed() > TRIM_EVERY {
                trimmed = Instant::now();
                // A full stream refuses results, and then requests; what the sinks have makes room.
                told(self.bus.results().trim().await.map(drop));
            }
        }
        Ok(())
    }

    /// Captured results, until shutdown. What is written is gone from their stream, so nothing has to make room.
    pub(crate) async fn captured(&self, shutdown: &CancellationToken) -> Result<(), BusError> {
        let queue = self.bus.captures().consume().await?;
        while !shutdown.is_cancelled() {
            let results = tokio::select! {
                results = queue.next(IDLE) => results?,
                () = shutdown.cancelled() => break,
            };
            self.settle(results).await;
        }
        Ok(())
    }

    async fn settle(&self, results: Vec<RecordedResult>) {
        for ((deployment, target), mut group) in self.sort(results).await {
            while !group.is_empty() {
                let rest = group.split_off(group.len().min(self.batch.max));
                self.write(&deployment, target, std::mem::replace(&mut group, rest)).await;
            }
        }
    }

    /// Decodes results and groups them by where they go; poison and results behind the fence are settled on the spot.
    async fn sort(&self, results: Vec<RecordedResult>) -> Groups {
        let mut groups = Groups::new();
        for result in results {
            match decode(&result) {
                Ok((row, probe)) => {
                    let target = if probe { Target::Probes } else { Target::Outputs(row.revision.generation) };
                    groups.entry((result.deployment.clone(), target)).or_default().push((row, result));
                }
                Err(reason) => self.bury(result, "malformed", reason).await,
            }
        }
        groups
    }

    /// Puts a result that cannot be kept aside, with the reason. `kind` is its word in the metrics.
    async fn bury(&self, result: RecordedResult, kind: &'static str, reason: String) {
        self.metrics.refused(kind, 1);
        let letter = DeadLetter {
            service: Service::SinkWriter.to_string(),
            subject: subject_of(&result),
            headers: Vec::new(),
            payload: result.payload.clone(),
            reason,
        };
        match self.bus.dead().put(&letter).await {
            Ok(_) => told(result.ack().await),
            Err(error) => {
                tracing::warn!(%error, "a dead letter could not be written; the result comes again");
                told(result.give_back().await);
            }
        }
    }

    /// Writes a group and acknowledges it. What a sink refuses for a row's own sake is halved until that row is alone: it is put aside,
    /// and does not keep its neighbours back.
    async fn write(&self, deployment: &DeploymentId, target: Target, group: Group) {
        let mut waiting = vec![group];
        while let Some(mut group) = waiting.pop() {
            // They end with the batch, when the rows are durable or given back.
            let spans: Vec<Span> = group.iter().filter_map(|(_, result)| span_of(result)).collect();
            let error = match self.write_at_once(deployment, target, &group).await {
                Ok(()) => {
                    for (_, result) in group {
                        told(result.ack().await);
                    }
                    continue;
                }
                Err(error) => error,
            };
            for span in &spans {
                span.record("otel.status_code", "ERROR");
            }
            if error.is_the_rows() && group.len() > 1 {
                waiting.push(group.split_off(group.len() / 2));
                waiting.push(group);
            } else if error.is_the_rows() {
                for (_, result) in group {
                    self.bury(result, "unwritable", chain(&error)).await;
                }
            } else {
                tracing::warn!(%deployment, error = &error as &dyn std::error::Error, "results could not be written; they come again");
                self.metrics.write_failed(deployment);
                for (_, result) in group {
                    told(result.give_back().await);
                }
            }
        }
    }

    async fn write_at_once(
        &self,
        deployment: &DeploymentId,
        target: Target,
        group: &[(Row, RecordedResult)],
    ) -> Result<(), SinkError> {
        match target {
            Target::Probes => self.write_probes(group).await,
            Target::Outputs(generation) => self.write_outputs(deployment, generation, group).await,
        }
    }

    async fn write_probes(&self, group: &[(Row, RecordedResult)]) -> Result<(), SinkError> {
        let rows: Vec<&Row> = group.iter().map(|(row, _)| row).collect();
        self.outputs.probes().write(&rows).await.map(drop)
    }

    async fn write_outputs(
        &self,
        deployment: &DeploymentId,
        generation: Generation,
        group: &[(Row, RecordedResult)],
    ) -> Result<(), SinkError> {
        let Some(folded) = self.known(deployment, generation).await else {
            // Nobody asked for these: a deployment that was purged, or never was.
            self.metrics.refused("unknown-deployment", group.len());
            return Ok(());
        };
        let fence = Fence::of(&folded.deployment);
        let (mut rows, mut suspect, mut refused) = (Vec::with_capacity(group.len()), BTreeSet::new(), 0);
        let marks = self.marks(deployment, &fence, group).await?;
        for (row, result) in group {
            if fence.refuses(row.revision) {
                if !stands(marks.get(&row.revision).copied().flatten(), result) {
                    refused += 1;
                    continue;
                }
                suspect.insert(row.revision);
            }
            rows.push(row);
        }
        if refused > 0 {
            tracing::info!(%deployment, rows = refused, "results of a revision that was taken back are refused");
            self.metrics.refused("fenced", refused);
        }
        if rows.is_empty() {
            return Ok(());
        }
        let outputs = Outputs::of(&folded.deployment, generation);
        for (sink, written) in self.outputs.write(outputs, &rows).await? {
            self.metrics.wrote(deployment, &sink, written);
        }
        for revision in suspect {
            self.outputs.mark_late(&folded.deployment, revision).await?;
        }
        if let Some(oldest) = rows.iter().map(|row| row.completed_at).min() {
            self.metrics.lag(self.bus.clock().now().since(oldest));
        }
        Ok(())
    }

    /// Where the marks of the fenced revisions of a group stand among the results. One that is not there yet will stand behind all of the group.
    async fn marks(
        &self,
        deployment: &DeploymentId,
        fence: &Fence,
        group: &[(Row, RecordedResult)],
    ) -> Result<BTreeMap<RevisionId, Option<u64>>, SinkError> {
        let mut marks = BTreeMap::new();
        for (row, _) in group {
            if fence.refuses(row.revision) && !marks.contains_key(&row.revision) {
                marks.insert(row.revision, self.bus.results().fenced_at(deployment, row.revision).await?);
            }
        }
        Ok(marks)
    }

    async fn known(&self, deployment: &DeploymentId, generation: Generation) -> Option<Arc<Folded>> {
        let knows = |folded: &Folded| folded.deployment.generations.contains_key(&generation);
        self.outputs.view().wait_until(deployment, VIEW_LAG, knows).await
    }
}

/// Whether a result of a revision that was taken back is the one of its request all the same: recorded before the fence, the request is
/// answered by it and by nobody else. The client of a captured one has had its answer long ago.
fn stands(mark: Option<u64>, result: &RecordedResult) -> bool {
    !result.captured && mark.is_none_or(|mark| result.sequence < mark)
}

/// The row, and whether it is validation traffic.
fn decode(result: &RecordedResult) -> Result<(Row, bool), String> {
    let decoded = InferenceResult::decode(result.payload.clone()).map_err(|error| error.to_string())?;
    let request_id = result.request_id.as_ref().ok_or("no captured result")?;
    let probe = decoded.probe;
    let row = row_of(&result.deployment, request_id, decoded).map_err(|error| error.to_string())?;
    Ok((row, probe))
}

/// Where it would be asked for.
fn subject_of(result: &RecordedResult) -> String {
    match &result.request_id {
        Some(request) => slipway_bus::topology::result(&result.deployment, request),
        None => slipway_bus::topology::capture(&result.deployment),
    }
}

/// The last span of a request's trace, if it is recorded: writing its row.
fn span_of(result: &RecordedResult) -> Option<Span> {
    let traceparent = result.traceparent.as_ref().filter(|traceparent| trace::is_recorded(traceparent))?;
    let span = tracing::info_span!(
        "write row",
        otel.kind = "consumer",
        otel.status_code = tracing::field::Empty,
        slipway.deployment = %result.deployment,
        slipway.request_id = result.request_id.as_ref().map(tracing::field::display),
    );
    trace::parent_from(&span, traceparent);
    Some(span)
}

/// An acknowledgement that is lost brings the result again, which changes nothing; room that was not made is made the next time.
fn told(outcome: Result<(), BusError>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "the broker could not be told");
    }
}
