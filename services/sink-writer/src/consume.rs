//! From the queues of results into the sinks: decode, refuse, write, then acknowledge. Rows for objects are gathered on the way.

use crate::{
    config::{Batch, Config, Objects},
    domain::Row,
    gather::{Gathering, Limits},
    outputs::Outputs,
    record::row_of,
    telemetry::SinkMetrics,
    write::{BEAT, Part, beat},
};
use bytes::Bytes;
use prost::Message as _;
use slipway_bus::{
    Bus, BusError, CaptureQueue, DeadLetter, RecordedResult, ResultQueue,
    topology::{MAX_ACK_PENDING_CAPTURES, MAX_ACK_PENDING_RESULTS, MAX_INFERENCE_BYTES},
};
use slipway_kernel::{DeploymentId, Generation, Service};
use slipway_proto::slipway::inference::v1::InferenceResult;
use slipway_runtime::CancellationToken;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// How long a fetch waits when nothing comes.
const IDLE: Duration = Duration::from_secs(5);
/// How often it is looked whether the stream needs room. It holds minutes of the fastest stream of results.
const TRIM_EVERY: Duration = Duration::from_secs(5);

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
    pub(crate) bus: Bus,
    pub(crate) outputs: Arc<Outputs>,
    pub(crate) metrics: SinkMetrics,
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
pub(crate) type Group = Vec<(Row, RecordedResult)>;

/// What is held for objects, by deployment and generation.
type Held = Gathering<(DeploymentId, Generation), (Row, RecordedResult)>;

/// Where results go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Probes,
    Outputs(Generation),
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
            let group = match consumer.known(&deployment, generation).await {
                Some(folded) => consumer.admit(&folded.deployment, Part::Objects, group).await,
                // Purged while they were held, which writing them counts.
                None => group,
            };
            let target = Target::Outputs(generation);
            acknowledge(consumer.write(&deployment, target, Part::Objects, group).await).await;
        });
    }

    async fn settle(&self, results: Vec<RecordedResult>, held: &mut Held) {
        for ((deployment, target), group) in self.sort(results).await {
            match target {
                Target::Probes => acknowledge(self.write_rows(&deployment, target, group).await).await,
                Target::Outputs(generation) => self.settle_outputs(deployment, generation, group, held).await,
            }
        }
    }

    /// What takes rows as they come has them at once; what keeps many in one object when there are enough.
    async fn settle_outputs(&self, deployment: DeploymentId, generation: Generation, group: Group, held: &mut Held) {
        let Some(folded) = self.known(&deployment, generation).await else {
            // Nobody asked for these: a deployment that was purged, or never was.
            self.metrics.refused("unknown-deployment", group.len());
            return acknowledge(group).await;
        };
        let outputs = Outputs::of(&folded.deployment, generation);
        let mut group = self.admit(&folded.deployment, Part::Rows, group).await;
        if !Part::Rows.of(outputs).is_empty() {
            group = self.write_rows(&deployment, Target::Outputs(generation), group).await;
        }
        if Part::Objects.of(outputs).is_empty() {
            return acknowledge(group).await;
        }
        let bytes = group.iter().map(|(row, result)| row.outputs.get().len() + result.payload.len()).sum();
        let deliveries = group.chunk_by(|(_, one), (_, next)| one.sequence == next.sequence).count();
        held.add((deployment, generation), group, bytes, deliveries, Instant::now());
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

    /// Decodes results and groups them by where they go; poison is settled on the spot.
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
    pub(crate) async fn bury(&self, result: RecordedResult, kind: &'static str, reason: String) {
        self.metrics.refused(kind, 1);
        // A letter is one message. What is too large for it is said; the result can be asked for while the broker has it.
        let fits = result.payload.len() <= MAX_INFERENCE_BYTES;
        let reason = if fits { reason } else { format!("{reason} ({} bytes, not kept here)", result.payload.len()) };
        let letter = DeadLetter {
            service: Service::SinkWriter.to_string(),
            subject: subject_of(&result),
            headers: Vec::new(),
            payload: if fits { result.payload.clone() } else { Bytes::new() },
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
}

/// All outputs have them durably.
pub(crate) async fn acknowledge(group: Group) {
    for (_, result) in group {
        told(result.ack().await);
    }
}

/// The row, and whether it is validation traffic.
fn decode(result: &RecordedResult) -> Result<(Row, bool), String> {
    if let Some(damage) = &result.damage {
        return Err(damage.clone());
    }
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

/// An acknowledgement that is lost brings the result again, which changes nothing; room that was not made is made the next time.
pub(crate) fn told(outcome: Result<(), BusError>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "the broker could not be told");
    }
}
