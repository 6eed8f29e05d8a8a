//! From the queues of results into the sinks: decode, refuse, write, then acknowledge. Rows for objects are gathered on the way.

use crate::{
    config::{Batch, Config, Objects},
    domain::{Fence, Row},
    error::{SinkError, chain},
    gather::{Gathering, Limits},
    outputs::Outputs,
    record::row_of,
    sinks::Sink as _,
    telemetry::SinkMetrics,
};
use prost::Message as _;
use slipway_bus::{
    Bus, BusError, CaptureQueue, DeadLetter, Folded, RecordedResult, ResultQueue,
    topology::{MAX_ACK_PENDING_CAPTURES, MAX_ACK_PENDING_RESULTS},
};
use slipway_kernel::{DeploymentId, Generation, RevisionId, Service, spec::Output};
use slipway_proto::slipway::inference::v1::InferenceResult;
use slipway_runtime::{CancellationToken, trace};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tracing::Span;

/// How long a fetch waits when nothing comes.
const IDLE: Duration = Duration::from_secs(5);
/// How long a result of a revision that the own view does not know yet waits for it: the view is pushed to and this fast behind
/// at most under load.
const VIEW_LAG: Duration = Duration::from_secs(5);

/// How often it is looked whether the stream needs room. It holds minutes of the fastest stream of results.
const TRIM_EVERY: Duration = Duration::from_secs(5);

/// How often it is said of held results that they are at work: three times within the broker's patience.
const BEAT: Duration = Duration::from_secs(8);
/// The shortest wait for results while something gathered is due and all who write are busy.
const BUSY: Duration = Duration::from_millis(100);
/// Objects written at once: a store that is slow for one deployment does not hold up the others, and rows in memory stay few.
const WRITING: usize = 4;
/// What part of the deliveries that the broker hands out one replica may hold back for objects: with four of them holding all they may,
/// each still has enough to write, which makes room.
const SHARE: i64 = 4;

/// Takes results from the queues.
#[derive(Clone)]
pub(crate) struct Consumer {
    bus: Bus,
    outputs: Arc<Outputs>,
    metrics: SinkMetrics,
    batch: Batch,
    objects: Objects,
}

/// Where results come from.
enum Queue {
    Recorded(ResultQueue),
    Captured(CaptureQueue),
}

impl Queue {
    async fn next(&self, max: usize, wait: Duration) -> Result<Vec<RecordedResult>, BusError> {
        match self {
            Self::Recorded(queue) => queue.next(max, wait).await,
            Self::Captured(queue) => queue.next(wait).await,
        }
    }
}

/// Results that go to the same sinks.
type Groups = BTreeMap<(DeploymentId, Target), Group>;
type Group = Vec<(Row, RecordedResult)>;

/// What is held for objects, by deployment and generation.
type Held = Gathering<(DeploymentId, Generation), (Row, RecordedResult)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Probes,
    Outputs(Generation),
}

/// Outputs that are written together: those that take rows as they come, and then those that keep many in one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Rows,
    Objects,
}

impl Part {
    fn has(self, output: &Output) -> bool {
        output.layout().is_some() == (self == Self::Objects)
    }

    fn of(self, outputs: &[Output]) -> Vec<&Output> {
        outputs.iter().filter(|output| self.has(output)).collect()
    }
}

impl Consumer {
    pub(crate) fn new(bus: Bus, outputs: Arc<Outputs>, metrics: SinkMetrics, config: &Config) -> Self {
        Self { bus, outputs, metrics, batch: config.batch, objects: config.objects }
    }

    /// Results that can be asked for, until shutdown.
    pub(crate) async fn recorded(&self, shutdown: &CancellationToken) -> Result<(), BusError> {
        let queue = Queue::Recorded(self.bus.results().consume().await?);
        self.consume(&queue, MAX_ACK_PENDING_RESULTS / SHARE, shutdown).await
    }

    /// Captured results, until shutdown. What is written is gone from their stream, so nothing has to make room.
    pub(crate) async fn captured(&self, shutdown: &CancellationToken) -> Result<(), BusError> {
        let queue = Queue::Captured(self.bus.captures().consume().await?);
        self.consume(&queue, MAX_ACK_PENDING_CAPTURES / SHARE, shutdown).await
    }

    async fn consume(&self, queue: &Queue, deliveries: i64, shutdown: &CancellationToken) -> Result<(), BusError> {
        let mut held = Held::new(Limits {
            rows: self.objects.max_rows,
            bytes: usize::try_from(self.objects.max_bytes.0).unwrap_or(usize::MAX),
            delay: self.objects.max_delay.0,
            deliveries: usize::try_from(deliveries).unwrap_or(usize::MAX),
        });
        let mut writing = JoinSet::new();
        let (mut trimmed, mut beaten) = (Instant::now(), Instant::now());
        loop {
            while writing.try_join_next().is_some() {}
            while writing.len() < WRITING
                && let Some(due) = held.due(Instant::now())
            {
                self.write_objects(due, &mut writing);
            }
            if beaten.elapsed() >= BEAT {
                beaten = Instant::now();
                beat(&held.groups()).await;
            }
            let full = held.is_full();
            let wait = held.due_in(Instant::now()).map_or(IDLE, |due| due.clamp(BUSY, IDLE));
            tokio::select! {
                results = queue.next(self.batch.max, wait), if !full => self.settle(results?, &mut held).await,
                Some(_) = writing.join_next(), if full => {}
                () = tokio::time::sleep(BEAT), if full => {}
                () = shutdown.cancelled() => break,
            }
            if matches!(queue, Queue::Recorded(_)) && trimmed.elapsed() > TRIM_EVERY {
                trimmed = Instant::now();
                // A full stream refuses results, and then requests; what the sinks have makes room.
                told(self.bus.results().trim().await.map(drop));
            }
        }
        // Written now, these need not be computed into rows again by another replica.
        while let Some(rest) = held.rest() {
            self.write_objects(rest, &mut writing);
        }
        writing.join_all().await;
        Ok(())
    }

    /// Writes what was gathered, in a task of its own.
    fn write_objects(&self, due: ((DeploymentId, Generation), Group), writing: &mut JoinSet<()>) {
        let (consumer, ((deployment, generation), group)) = (self.clone(), due);
        writing.spawn(async move {
            let target = Target::Outputs(generation);
            acknowledge(consumer.write(&deployment, target, Part::Objects, group).await).await;
        });
    }

    async fn settle(&self, results: Vec<RecordedResult>, held: &mut Held) {
        for ((deployment, target), group) in self.sort(results).await {
            let (rows, objects) = self.parts(&deployment, target).await;
            let written = if rows { self.write_rows(&deployment, target, group).await } else { group };
            match target {
                Target::Outputs(generation) if objects => {
                    let bytes =
                        written.iter().map(|(row, result)| row.outputs.get().len() + result.payload.len()).sum();
                    let deliveries = written.chunk_by(|(_, one), (_, next)| one.sequence == next.sequence).count();
                    held.add((deployment, generation), written, bytes, deliveries, Instant::now());
                }
                _ => acknowledge(written).await,
            }
        }
    }

    /// Whether there are outputs that take rows as they come, and whether there are some that keep many in one object. What nobody
    /// asked for is refused as rows are.
    async fn parts(&self, deployment: &DeploymentId, target: Target) -> (bool, bool) {
        let Target::Outputs(generation) = target else { return (true, false) };
        let Some(folded) = self.known(deployment, generation).await else { return (true, false) };
        let outputs = Outputs::of(&folded.deployment, generation);
        (!Part::Rows.of(outputs).is_empty(), !Part::Objects.of(outputs).is_empty())
    }

    /// Writes rows in transactions of a bounded size.
    async fn write_rows(&self, deployment: &DeploymentId, target: Target, mut group: Group) -> Group {
        let mut written = Group::with_capacity(group.len());
        while !group.is_empty() {
            let rest = group.split_off(group.len().min(self.batch.max));
            let batch = std::mem::replace(&mut group, rest);
            written.extend(self.write(deployment, target, Part::Rows, batch).await);
        }
        written
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

    /// Writes a group and returns what of it is to be acknowledged. What a sink refuses for a row's own sake is halved until that row is
    /// alone: it is put aside, and does not keep its neighbours back. What could not be written is given back.
    async fn write(&self, deployment: &DeploymentId, target: Target, part: Part, group: Group) -> Group {
        let (mut waiting, mut written) = (vec![group], Group::new());
        while let Some(mut group) = waiting.pop() {
            // They end with the batch, when the rows are durable or given back.
            let spans: Vec<Span> = group.iter().filter_map(|(_, result)| span_of(result)).collect();
            let writing = self.write_at_once(deployment, target, part, &group);
            let ours: Vec<&Group> = waiting.iter().chain([&group, &written]).collect();
            let error = match alive(&ours, writing).await {
                Ok(()) => {
                    written.extend(group);
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
        written
    }

    async fn write_at_once(
        &self,
        deployment: &DeploymentId,
        target: Target,
        part: Part,
        group: &[(Row, RecordedResult)],
    ) -> Result<(), SinkError> {
        match target {
            Target::Probes => self.write_probes(group).await,
            Target::Outputs(generation) => self.write_outputs(deployment, generation, part, group).await,
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
        part: Part,
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
        let outputs = Outputs::of(&folded.deployment, generation);
        let last = part == Part::Objects || Part::Objects.of(outputs).is_empty();
        // What is refused here was not kept by an output before either, and is counted once.
        if refused > 0 && last {
            tracing::info!(%deployment, rows = refused, "results of a revision that was taken back are refused");
            self.metrics.refused("fenced", refused);
        }
        if rows.is_empty() {
            return Ok(());
        }
        for (sink, written) in self.outputs.write(&part.of(outputs), &rows).await? {
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

/// Says of results that they are at work.
async fn beat(groups: &[&Group]) {
    for group in groups {
        for (_, result) in *group {
            told(result.working().await);
        }
    }
}

/// Works, and says of the results that they are at work for as long as it takes.
async fn alive<T>(groups: &[&Group], work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(BEAT) => beat(groups).await,
        }
    }
}

/// All outputs have them durably.
async fn acknowledge(group: Group) {
    for (_, result) in group {
        told(result.ack().await);
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
