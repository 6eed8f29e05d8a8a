//! The statistics under the names that Triton's metrics have, so that dashboards made for it read this worker.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Statistics;

/// The one that goes up and down.
const PENDING: &str = "nv_inference_pending_request_count";

/// The statistics of a model, read when somebody asks for the metrics.
#[derive(Debug)]
pub struct Exposed {
    /// Name and version, as Triton labels them.
    labels: [(&'static str, String); 2],
    statistics: Arc<Statistics>,
    /// Requests that wait for their run.
    pending: Gauge,
}

impl Exposed {
    /// Enters the statistics into a registry whose names stand as they are.
    pub fn register(registry: &mut Registry, model: &str, version: &str, statistics: Arc<Statistics>, pending: Gauge) {
        let labels = [("model", model.to_owned()), ("version", version.to_owned())];
        registry.register_collector(Box::new(Self { labels, statistics, pending }));
    }

    fn figures(&self) -> [(&'static str, &'static str, u64); 10] {
        let (requests, computed) = (&self.statistics.requests, &self.statistics.computed);
        let count = |figure: &AtomicU64| figure.load(Relaxed);
        let us = |ns: &AtomicU64| ns.load(Relaxed) / 1_000;
        let pending = u64::try_from(self.pending.get()).unwrap_or(0);
        [
            ("nv_inference_request_success", "Requests that were answered", count(&requests.success.count)),
            ("nv_inference_request_failure", "Requests that were not", count(&requests.fail.count)),
            ("nv_inference_count", "Rows that were computed", count(&computed.rows)),
            ("nv_inference_exec_count", "Runs that were done", self.statistics.executions()),
            (
                "nv_inference_request_duration_us",
                "From taken in to answered, of answered requests",
                us(&requests.success.ns),
            ),
            ("nv_inference_queue_duration_us", "In the queue of the batcher", us(&computed.queue_ns)),
            ("nv_inference_compute_input_duration_us", "Copying inputs into the engine", us(&computed.input_ns)),
            ("nv_inference_compute_infer_duration_us", "Running the model", us(&computed.infer_ns)),
            ("nv_inference_compute_output_duration_us", "Taking outputs out of the engine", us(&computed.output_ns)),
            (PENDING, "Requests that wait for their run", pending),
        ]
    }
}

impl Collector for Exposed {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in self.figures() {
            // Triton calls the counters without the `_total` that OpenMetrics wants of counters, and a dashboard asks for the names
            // that it knows; so their type is not told. The last one goes up and down.
            let kind = if name == PENDING { MetricType::Gauge } else { MetricType::Unknown };
            let gauge = Gauge::<u64, AtomicU64>::default();
            gauge.set(value);
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            gauge.encode(metric.encode_family(&self.labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_figure_has_the_name_and_the_labels_that_dashboards_know() {
        let (mut registry, statistics, pending) =
            (Registry::default(), Arc::new(Statistics::default()), Gauge::default());
        Exposed::register(&mut registry, "digits", "2-1", Arc::clone(&statistics), pending.clone());
        statistics.request(true, Duration::from_micros(1_500));
        pending.set(3);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let zero = [
            "request_failure",
            "count",
            "exec_count",
            "queue_duration_us",
            "compute_input_duration_us",
            "compute_infer_duration_us",
            "compute_output_duration_us",
        ];
        let set = [("request_success", 1), ("request_duration_us", 1_500), ("pending_request_count", 3)];
        for (name, value) in zero.map(|name| (name, 0)).into_iter().chain(set) {
            let line = format!("\nnv_inference_{name}{{model=\"digits\",version=\"2-1\"}} {value}\n");
            assert!(text.contains(&line), "{line} in\n{text}");
        }
    }
}
