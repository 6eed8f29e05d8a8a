//! What the sink-writer counts. Labels come from ids that were validated at the edge and from fixed words.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use slipway_kernel::DeploymentId;
use slipway_runtime::Metrics;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabels {
    namespace: String,
    deployment: String,
    sink: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeploymentLabels {
    namespace: String,
    deployment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// The metrics of the sink-writer.
#[derive(Clone, Debug)]
pub(crate) struct SinkMetrics {
    rows: Family<SinkLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    failures: Family<DeploymentLabels, Counter>,
    lag: Histogram,
    ledger_facts: Gauge,
    damages: Gauge,
}

/// From a millisecond to a minute: a healthy sink is behind by tens of milliseconds, a broken one by minutes.
const LAG_SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0];

impl SinkMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let own = Self {
            rows: Family::default(),
            refused: Family::default(),
            failures: Family::default(),
            lag: Histogram::new(LAG_SECONDS),
            ledger_facts: Gauge::default(),
            damages: Gauge::default(),
        };
        metrics.with(|registry| {
            registry.register("sink_rows", "Rows written, by sink", own.rows.clone());
            registry.register("sink_refused", "Results not written, by reason", own.refused.clone());
            registry.register(
                "sink_failures",
                "Batches that could not be written and come again",
                own.failures.clone(),
            );
            registry.register(
                "sink_lag_seconds",
                "Age of the oldest result of a batch when it is durable",
                own.lag.clone(),
            );
            registry.register("ledger_facts", "Facts in the ledger", own.ledger_facts.clone());
            registry.register(
                "ledger_damages",
                "Facts lost or altered, found by the last verification",
                own.damages.clone(),
            );
        });
        own
    }

    pub(crate) fn wrote(&self, id: &DeploymentId, sink: &str, rows: u64) {
        let labels =
            SinkLabels { namespace: id.namespace.to_string(), deployment: id.name.to_string(), sink: sink.to_owned() };
        self.rows.get_or_create(&labels).inc_by(rows);
    }

    pub(crate) fn refused(&self, reason: &'static str, results: usize) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc_by(u64::try_from(results).unwrap_or(u64::MAX));
    }

    pub(crate) fn write_failed(&self, id: &DeploymentId) {
        let labels = DeploymentLabels { namespace: id.namespace.to_string(), deployment: id.name.to_string() };
        self.failures.get_or_create(&labels).inc();
    }

    pub(crate) fn lag(&self, lag: Duration) {
        self.lag.observe(lag.as_secs_f64());
    }

    pub(crate) fn ledger(&self, facts: u64, damages: usize) {
        self.ledger_facts.set(i64::try_from(facts).unwrap_or(i64::MAX));
        self.damages.set(i64::try_from(damages).unwrap_or(i64::MAX));
    }
}
