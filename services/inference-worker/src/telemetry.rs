//! Every metric of the worker, typed, in one place. Labels come from enums, or say for the whole process whom it works for; no
//! metric knows a request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use slipway_runtime::Metrics;

use crate::config::Assignment;
use crate::engine::device::Device;
use crate::gpu_memory::GpuMemory;
use crate::statistics::Statistics;
use crate::statistics::exposed::Exposed;

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Path {
    /// gRPC from ingress.
    Direct,
    /// The JetStream queue of the revision.
    Queued,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// It was computed.
    Answered,
    /// It did not fit the model.
    Misfit,
    /// It was too late.
    Late,
    /// A queue was full.
    Overloaded,
    /// The worker was not serving.
    Unavailable,
    /// The caller was gone.
    Cancelled,
    /// The engine failed.
    Failed,
}

/// Labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// How it came in.
    pub path: Path,
    /// How it ended.
    pub outcome: Outcome,
}

/// What the batcher tells.
#[derive(Debug, Clone)]
pub struct BatcherMetrics {
    /// Rows per run.
    pub batch_rows: Histogram,
    /// Requests per run.
    pub batch_requests: Histogram,
    /// From enqueued to taken.
    pub queue_wait_seconds: Histogram,
    /// One run of the engine.
    pub run_seconds: Histogram,
    /// Requests waiting.
    pub queue_requests: Gauge,
    /// Batches that failed and were run again request by request.
    pub isolated: Counter,
    /// Runs that failed, those of whole batches included.
    pub failed_runs: Counter,
    /// Requests dropped because the caller was gone before they ran.
    pub cancelled: Counter,
    /// Requests dropped because their deadline passed while they waited.
    pub expired: Counter,
    /// Requests that gave way to more urgent ones in a full queue.
    pub gave_way: Counter,
    /// What was done so far, in the figures of Triton.
    pub statistics: Arc<Statistics>,
}

impl Default for BatcherMetrics {
    fn default() -> Self {
        // 50 us to 26 s by doubling: a small network runs in microseconds, a large one in seconds.
        let seconds = || Histogram::new(exponential_buckets(50e-6, 2.0, 20));
        let sizes = || Histogram::new(exponential_buckets(1.0, 2.0, 8));
        Self {
            batch_rows: sizes(),
            batch_requests: sizes(),
            queue_wait_seconds: seconds(),
            run_seconds: seconds(),
            queue_requests: Gauge::default(),
            isolated: Counter::default(),
            failed_runs: Counter::default(),
            cancelled: Counter::default(),
            expired: Counter::default(),
            gave_way: Counter::default(),
            statistics: Arc::default(),
        }
    }
}

/// All metrics of the worker.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Requests by path and outcome.
    pub requests: Family<RequestLabels, Counter>,
    /// From taken in to answered, recording included.
    pub request_seconds: Histogram,
    /// Results that could not be recorded; the caller was not answered.
    pub record_failures: Counter,
    /// The batcher's own.
    pub batcher: BatcherMetrics,
    /// From the artifact's bytes to a model that has run.
    pub load_seconds: Gauge<f64, std::sync::atomic::AtomicU64>,
    /// Batch size that the measurement found worth waiting for.
    pub useful_batch: Gauge,
    /// 1 while the worker holds an identity and serves.
    pub serving: Gauge,
    /// Requests taken in and not answered yet: those that wait and those that run.
    pub in_flight: Gauge,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            request_seconds: Histogram::new(exponential_buckets(50e-6, 2.0, 20)),
            record_failures: Counter::default(),
            batcher: BatcherMetrics::default(),
            load_seconds: Gauge::default(),
            useful_batch: Gauge::default(),
            serving: Gauge::default(),
            in_flight: Gauge::default(),
        }
    }
}

impl Telemetry {
    /// Enters every metric into those of the process: ours, and the same figures as Triton names them, for a model that requests
    /// call by this version.
    pub fn enter(&self, metrics: &Metrics, assignment: &Assignment, version: &str) {
        metrics.with(|registry| self.register(registry, labels(assignment)));
        let (statistics, pending) = (Arc::clone(&self.batcher.statistics), self.batcher.queue_requests.clone());
        let model = assignment.deployment.name.as_str();
        metrics.with_public(|registry| Exposed::register(registry, model, version, statistics, pending));
    }

    /// Enters the memory of the GPU that serves, where one does.
    pub async fn enter_gpu(metrics: &Metrics, assignment: &Assignment, gpu: Option<&Device>) {
        let Some(gpu) = gpu else { return };
        let opened = tokio::task::spawn_blocking(slipway_gpu::open).await;
        match opened.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(library) => metrics.with(|registry| {
                GpuMemory::register(of_worker(registry, labels(assignment)), Box::new(library), &gpu.facts);
            }),
            Err(note) => tracing::warn!(note, "the memory of the GPU is in no metric"),
        }
    }

    fn register(&self, registry: &mut Registry, labels: Labels) {
        let registry = of_worker(registry, labels);
        registry.register("requests", "Requests by path and outcome", self.requests.clone());
        registry.register_with_unit(
            "request",
            "From taken in to answered",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register("record_failures", "Results that could not be recorded", self.record_failures.clone());
        registry.register_with_unit(
            "load",
            "From the artifact's bytes to a model that has run",
            Unit::Seconds,
            self.load_seconds.clone(),
        );
        registry.register("useful_batch", "Batch size found worth waiting for", self.useful_batch.clone());
        registry.register("serving", "1 while the worker serves", self.serving.clone());
        let in_flight = "Requests taken in and not answered yet, those in the queue among them";
        registry.register("requests_in_flight", in_flight, self.in_flight.clone());
        self.batcher.register(registry);
    }

    /// Counts one request.
    pub fn request(&self, path: Path, outcome: Outcome, took: Duration) {
        self.requests.get_or_create(&RequestLabels { path, outcome }).inc();
        self.request_seconds.observe(took.as_secs_f64());
        self.batcher.statistics.request(outcome == Outcome::Answered, took);
    }
}

fn of_worker(registry: &mut Registry, labels: Labels) -> &mut Registry {
    registry.sub_registry_with_labels(labels.into_iter()).sub_registry_with_prefix("worker")
}

/// Labels that hold for the whole process.
type Labels = [(Cow<'static, str>, Cow<'static, str>); 4];

/// Whom the worker works for, as labels.
fn labels(assignment: &Assignment) -> Labels {
    [
        ("namespace", assignment.deployment.namespace.to_string()),
        ("deployment", assignment.deployment.name.to_string()),
        ("revision", assignment.revision.to_string()),
        ("instance", assignment.instance.clone()),
    ]
    .map(|(name, value)| (Cow::Borrowed(name), Cow::Owned(value)))
}

impl BatcherMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("batch_size", "Rows per run", self.batch_rows.clone());
        registry.register("batch_requests", "Requests per run", self.batch_requests.clone());
        registry.register_with_unit(
            "queue_wait",
            "From enqueued to taken",
            Unit::Seconds,
            self.queue_wait_seconds.clone(),
        );
        registry.register_with_unit("run", "One run of the engine", Unit::Seconds, self.run_seconds.clone());
        registry.register("queue_depth", "Requests waiting", self.queue_requests.clone());
        registry.register("isolated_batches", "Failed batches run again request by request", self.isolated.clone());
        registry.register("failed_runs", "Runs that failed", self.failed_runs.clone());
        registry.register(
            "cancelled_in_queue",
            "Requests whose caller was gone before they ran",
            self.cancelled.clone(),
        );
        registry.register("gave_way_in_queue", "Requests that gave way to more urgent ones", self.gave_way.clone());
        registry.register("expired_in_queue", "Requests whose deadline passed while they waited", self.expired.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_registered_under_the_worker() {
        let mut registry = Registry::default();
        let telemetry = Telemetry::default();
        let assignment = crate::inference::fixtures::assignment(b"");
        telemetry.register(&mut registry, labels(&assignment));
        telemetry.request(Path::Direct, Outcome::Answered, Duration::from_millis(1));
        telemetry.batcher.batch_rows.observe(4.0);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let own = "namespace=\"default\",deployment=\"digits\",revision=\"2-1\",instance=\"digits-2-1-a\"";
        for line in [
            format!("worker_requests_total{{{own},path=\"Direct\",outcome=\"Answered\"}} 1"),
            format!("worker_request_seconds_count{{{own}}} 1"),
            format!("worker_batch_size_sum{{{own}}} 4.0"),
            format!("worker_queue_wait_seconds_count{{{own}}} 0"),
            format!("worker_run_seconds_count{{{own}}} 0"),
            format!("worker_queue_depth{{{own}}} 0"),
            format!("worker_serving{{{own}}} 0"),
            format!("worker_requests_in_flight{{{own}}} 0"),
        ] {
            assert!(text.contains(&line), "{line} in:\n{text}");
        }
    }
}
