//! The life of a worker, from the first entry in the registry to the last answered request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use slipway_bus::{Bus, Principal, Registration, WorkerRecord, WorkerState};
use slipway_kernel::{Service, Span, Timestamp};
use slipway_oip::Rules;
use slipway_proto::oip::DataType;
use slipway_runtime::tls::Reloadable;
use slipway_runtime::{CancellationToken, Clock, Frame};

use crate::advertised::reachable;
use crate::batcher::{Batcher, BatcherOptions};
use crate::config::{Assignment, Config, GoldenSource, KeptBy, WorkerConfig};
use crate::control::Control;
use crate::domain::company::Cost;
use crate::domain::lifetime::Verdict;
use crate::domain::pace::Pace;
use crate::door::{Door, Rooms};
use crate::engine::golden::Golden;
use crate::engine::measure::Measurement;
use crate::error::WorkerError;
use crate::exchange::Exchanges;
use crate::grpc::Direct;
use crate::health::Readiness;
use crate::identity::Applicant;
use crate::inference::{Inference, Phase};
use crate::load::{Loaded, Order, load};
use crate::queue::Consumer;
use crate::signature::TensorSpec;
use crate::telemetry::Telemetry;
use crate::{artifact, ending, lifetime, memory, registration};
use tokio::time::{Instant, timeout_at};

/// How long requests are still served after the registry says `draining`: every ingress must have read it by then. Entries
/// travel in milliseconds; the rest is for a busy machine.
const NOTICE: Duration = Duration::from_millis(500);

/// How long whoever still comes is told to go elsewhere before connections are closed: a refusal says more than a connection
/// that ends.
const LAST_CALL: Duration = Duration::from_millis(250);

/// What of the time for the drain is left for the end itself: the registration is removed, the last traces go out.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Lives until the process is to end, the controller does not want the worker any more, or something fails.
///
/// # Errors
/// [`WorkerError`], for the report.
pub async fn serve(config: &Config, frame: &Frame) -> Result<(), WorkerError> {
    let assignment = config.worker.assignment().ok_or(WorkerError::Unassigned)?;
    let bus = Bus::connect(&config.bus, Principal::Service(Service::InferenceWorker), frame).await?;
    let leave = frame.shutdown.child_token();
    let worker = Worker {
        config: &config.worker,
        drain: config.common.drain.0.saturating_sub(LAST_MOMENT).max(NOTICE + LAST_CALL),
        frame,
        bus: bus.clone(),
        assignment: assignment.clone(),
        leave: leave.clone(),
    };
    let mut living = std::pin::pin!(worker.live());
    let ended = tokio::select! {
        ended = &mut living => ended,
        verdict = over(&bus, frame, &assignment, &config.worker) => {
            match verdict {
                Verdict::Orphaned => tracing::warn!("nobody answers for this worker; it ends"),
                _ => tracing::info!("the controller does not want this worker any more; it ends"),
            }
            leave.cancel();
            living.await
        }
        error = memory::exceeded(config.worker.memory, &frame.clock) => {
            leave.cancel();
            living.await.and(Err(error))
        }
    };
    bus.close().await;
    ended
}

/// Returns when the worker must go although nobody told it to end; never where a platform keeps it, which tells.
async fn over(bus: &Bus, frame: &Frame, assignment: &Assignment, worker: &WorkerConfig) -> Verdict {
    match worker.kept_by {
        KeptBy::Controller => lifetime::over(bus, &frame.clock, assignment, worker.stop_unwanted_after.0).await,
        KeptBy::Platform => std::future::pending().await,
    }
}

struct Worker<'a> {
    config: &'a WorkerConfig,
    /// How long what is in hand may take when the worker ends.
    drain: Duration,
    frame: &'a Frame,
    bus: Bus,
    assignment: Assignment,
    /// Cancelled when the worker is to drain and end.
    leave: CancellationToken,
}

impl Worker<'_> {
    async fn live(self) -> Result<(), WorkerError> {
        let telemetry = Telemetry::default();
        telemetry.enter(&self.frame.metrics, &self.assignment, &self.assignment.revision.to_string());
        let model_ready = self.frame.health.condition("model");
        let since = self.frame.clock.now();
        let admin = self.frame.admin.map(|admin| reachable(admin, self.reached_at(self.config.listen).ip()));
        let record = registration::starting(&self.assignment, self.config.fencing_token, admin, since);
        let registration = self.bus.workers().register(record).await?;

        let Some(loaded) = self.load(&telemetry).await? else {
            deregister(registration).await;
            return Ok(());
        };
        Telemetry::enter_gpu(&self.frame.metrics, &self.assignment, loaded.measurement.gpu.as_ref()).await;
        let door = Door::open(self.config.listen, self.config.lanes()).await?;
        let address = self.reached_at(door.address());
        tell(&registration, |record| registration::warm(record, &loaded, address)).await;
        self.frame.status.set("measurement", &loaded.measurement);
        self.frame.status.set("engine", &registration::engine(&loaded.measurement));
        model_ready.set_ready();

        let inference = inference(loaded, telemetry, self.config, self.assignment.clone(), self.frame.clock.clone())
            .map(Arc::new)?;
        // Boxed: it holds two servers, and this future is moved around before it runs.
        let served = Box::pin(self.serve(door, &registration, since, &inference)).await;
        // Whatever happened, nobody shall be sent here any more.
        deregister(registration).await;
        finish(inference).await;
        served
    }

    /// Where others reach what listens there.
    fn reached_at(&self, listening: SocketAddr) -> SocketAddr {
        self.config.advertised.map_or(listening, |advertised| advertised.of(listening))
    }

    /// `None` when the worker is to end first.
    async fn load(&self, telemetry: &Telemetry) -> Result<Option<Loaded>, WorkerError> {
        let fetched =
            artifact::fetch(&self.bus, &self.frame.clock, &self.leave, &self.frame.data_dir, &self.assignment.digest)
                .await?;
        let Some(bytes) = fetched else {
            return Ok(None);
        };
        let Some(golden) = self.golden().await? else {
            return Ok(None);
        };
        let loaded = tokio::select! {
            () = self.leave.cancelled() => return Ok(None),
            loaded = load_model(Order { artifact: bytes, golden }, self.config, telemetry) => loaded?,
        };
        Ok(Some(loaded))
    }

    /// The golden vectors, where there are some; `None` when the worker is to end first.
    async fn golden(&self) -> Result<Option<Option<Golden>>, WorkerError> {
        let file = match &self.config.golden {
            None => return Ok(Some(None)),
            Some(GoldenSource::File(path)) => tokio::fs::read(path)
                .await
                .map_err(|error| WorkerError::Golden { path: path.clone(), source: error })?,
            Some(GoldenSource::Blob(digest)) => {
                let fetched =
                    artifact::fetch(&self.bus, &self.frame.clock, &self.leave, &self.frame.data_dir, digest).await?;
                let Some(file) = fetched else { return Ok(None) };
                file
            }
        };
        Golden::read(&file).map(|golden| Some(Some(golden))).map_err(WorkerError::Model)
    }

    /// From warm to drained.
    async fn serve(
        &self,
        door: Door,
        registration: &Registration,
        since: Timestamp,
        inference: &Arc<Inference>,
    ) -> Result<(), WorkerError> {
        let Some(identity) = self.identity().await else {
            return Ok(());
        };
        inference.enter(Phase::Serving);
        let (closing, stop_pulling) = (CancellationToken::new(), CancellationToken::new());
        // Ended by any way out of here, a failure included.
        let _guards = (closing.clone().drop_guard(), stop_pulling.clone().drop_guard());
        let consumer = Consumer::new(self.bus.clone(), Arc::clone(inference), self.config.queued_in_hand);
        let mut knocking =
            std::pin::pin!(door.serve(self.rooms(since, inference, &closing), &identity, closing.clone()));
        let mut pulling = std::pin::pin!(consumer.run(stop_pulling.clone()));
        let announced = async {
            tell(registration, |record| record.state = WorkerState::Ready).await;
            tracing::info!("serving");
            self.leave.cancelled().await;
        };
        let mut pulled = false;
        let mut announced = std::pin::pin!(announced);
        loop {
            tokio::select! {
                served = &mut knocking => return served,
                () = &mut pulling, if !pulled => pulled = true,
                () = &mut announced => break,
            }
        }
        tracing::info!("draining");
        let until = Instant::now() + self.drain;
        tell(registration, |record| record.state = WorkerState::Draining).await;
        stop_pulling.cancel();
        let rest = async {
            if !pulled && timeout_at(until, pulling).await.is_err() {
                tracing::warn!("queued requests are left to other workers: the time for the drain is over");
            }
        };
        let leaving = async {
            tokio::join!(self.frame.clock.sleep(NOTICE), rest);
            inference.enter(Phase::Draining);
            self.frame.clock.sleep(LAST_CALL).await;
            closing.cancel();
        };
        let (served, ()) = tokio::join!(timeout_at(until, knocking), leaving);
        served.unwrap_or_else(|_| {
            tracing::warn!("connections were cut: the time for the drain is over");
            Ok(())
        })
    }

    fn rooms(&self, since: Timestamp, inference: &Arc<Inference>, closing: &CancellationToken) -> Rooms {
        let (assignment, clock) = (self.assignment.clone(), self.frame.clock.clone());
        Rooms {
            direct: Direct::new(Arc::clone(inference), closing.clone()),
            exchanges: Exchanges::new(Arc::clone(inference), closing.clone()),
            readiness: Readiness::new(Arc::clone(inference), closing.clone()),
            control: Control::new(assignment, since, self.bus.clone(), clock, || ending::at_once()),
        }
    }

    async fn identity(&self) -> Option<Reloadable> {
        let condition = self.frame.health.condition("identity");
        let reached = self.reached_at(self.config.listen).ip();
        let applicant = Applicant::new(self.bus.clone(), self.frame.clock.clone(), &self.assignment, reached);
        let identity = applicant.first(&self.leave, &condition).await?;
        condition.set_ready();
        let (kept, leave) = (identity.clone(), self.leave.clone());
        self.frame.tasks.spawn_restarting("identity", move || {
            let keeping = applicant.clone().keep(kept.clone(), condition.clone());
            let leave = leave.clone();
            async move { leave.run_until_cancelled(keeping).await.unwrap_or(Ok(())) }
        });
        Some(identity)
    }
}

/// Loads and measures the model, and says so.
///
/// # Errors
/// As [`load`].
pub(crate) async fn load_model(
    order: Order,
    config: &WorkerConfig,
    telemetry: &Telemetry,
) -> Result<Loaded, WorkerError> {
    let loaded = load(order, config).await?;
    telemetry.load_seconds.set(loaded.measurement.load_ms / 1e3);
    telemetry.useful_batch.set(i64::try_from(loaded.measurement.useful_batch).unwrap_or(i64::MAX));
    tracing::info!(
        load_ms = loaded.measurement.load_ms,
        useful_batch = loaded.measurement.useful_batch,
        max_rows = loaded.max_rows,
        engine = %loaded.measurement.engine,
        why = %loaded.measurement.engine_reason,
        device = %loaded.measurement.device,
        device_why = %loaded.measurement.device_reason,
        threads = loaded.threads,
        intra_op_threads = loaded.measurement.intra_op_threads,
        plan = %loaded.measurement.plan,
        alone = %loaded.measurement.alone,
        "the model is loaded"
    );
    Ok(loaded)
}

/// A model behind its batcher, warm.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn inference(
    loaded: Loaded,
    telemetry: Telemetry,
    config: &WorkerConfig,
    assignment: Assignment,
    clock: Clock,
) -> Result<Inference, WorkerError> {
    let alone = *loaded.model.batching() != crate::engine::Batching::Rows;
    let options = BatcherOptions {
        max_rows: if alone { 1 } else { loaded.max_rows },
        // Who may not share a run has nothing to wait for.
        max_delay: if alone || loaded.max_rows == 1 { Duration::ZERO } else { config.max_delay.0 },
        queue_requests: config.queue_limit,
        queue_bytes: usize::try_from(config.queue_bytes.0).unwrap_or(usize::MAX),
        threads: loaded.threads,
        pinned: config.pin_threads,
        at_once: at_once(&loaded, config.pin_threads),
    };
    let pace = if config.fixed_delay { None } else { pace(&loaded.measurement, config.latency_target) };
    let batcher =
        Batcher::start(&loaded.model, options, pace, telemetry.batcher.clone()).map_err(WorkerError::Thread)?;
    let rules = Rules { allow_non_finite: config.allow_non_finite, max_rows: config.request_rows };
    Ok(Inference::new(assignment, loaded.model, batcher, rules, clock, telemetry))
}

/// How long a run may take that is done where its request was read: what a task may take between two points at which others get their turn, by
/// [the rule of thumb of tokio's maintainers](https://ryhl.io/blog/async-what-is-blocking/), 10 to 100 microseconds.
const AT_ONCE: Duration = Duration::from_micros(50);

/// Only runs whose time is known before they begin, and which wait neither for a device nor for another process; and none where the engine keeps to its own cores.
fn at_once(loaded: &Loaded, pinned: bool) -> Duration {
    let rows = usize::from(*loaded.model.batching() == crate::engine::Batching::Rows);
    let is_known =
        |input: &TensorSpec| input.data_type != DataType::Bytes && input.shape.iter().skip(rows).all(|&size| size >= 0);
    let known = loaded.model.signature().inputs.iter().all(is_known);
    if known && loaded.measurement.gpu.is_none() && !loaded.model.waits() && !pinned { AT_ONCE } else { Duration::ZERO }
}

/// What the batcher goes by: runs as they were measured, and the time in which requests are to be answered.
fn pace(measurement: &Measurement, target: Option<Span>) -> Option<Pace> {
    let cost = Cost::of(measurement.points.iter().map(|point| (point.rows, point.run_p50_us)))?;
    Some(Pace::new(cost, target.map(|target| u64::try_from(target.0.as_micros()).unwrap_or(u64::MAX))))
}

/// Lets what still waits in the batcher run.
pub(crate) async fn finish(inference: Arc<Inference>) {
    inference.enter(Phase::Draining);
    if let Some(inference) = Arc::into_inner(inference) {
        let drained = tokio::task::spawn_blocking(|| inference.drain()).await;
        if drained.is_err() {
            tracing::error!("draining the batcher failed");
        }
    }
}

/// Changes the registry's entry. When the broker is away just now, the change goes out with the next renewal.
async fn tell(registration: &Registration, change: impl FnOnce(&mut WorkerRecord) + Send) {
    if let Err(error) = registration.update(change).await {
        tracing::warn!(%error, "the registry could not be told at once");
    }
}

async fn deregister(registration: Registration) {
    if let Err(error) = registration.deregister().await {
        tracing::warn!(%error, "the registration is left to expire");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::double::Double;

    #[test]
    fn only_what_waits_for_nobody_and_takes_what_is_known_runs_where_it_was_read() {
        let at_once = |shape: &[i64], waits: bool, pinned: bool| {
            let double = Double::of(shape, |inputs| Ok(inputs.to_vec()));
            let double = if waits { double.that_waits() } else { double };
            let (model, measurement) = (Arc::new(double), Measurement::default());
            super::at_once(&Loaded { model, measurement, max_rows: 1, threads: 1 }, pinned)
        };
        assert_eq!(at_once(&[-1, 2], false, false), AT_ONCE);
        for (shape, waits, pinned) in [(&[-1, 2][..], true, false), (&[-1, -1], false, false), (&[-1, 2], false, true)]
        {
            assert_eq!(at_once(shape, waits, pinned), Duration::ZERO, "{shape:?} {waits} {pinned}");
        }
    }
}
