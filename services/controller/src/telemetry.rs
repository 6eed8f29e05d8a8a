//! The metrics of the controller. Duties and intake traffic as such are counted by the bus.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use slipway_bus::Verb;
use slipway_runtime::Frame;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Demand {
    verb: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Event {
    event: &'static str,
}

/// `slipway_controller_…`.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    demands: Family<Demand, Counter>,
    workers: Family<Event, Counter>,
    running: Gauge,
    decisions: Family<Event, Counter>,
    breaches: Counter,
    stuck: Counter,
    resources: Gauge,
    bridge_failures: Counter,
}

impl Telemetry {
    /// Registers the metrics.
    #[must_use]
    pub fn register(frame: &Frame) -> Self {
        let own = Self::default();
        frame.metrics.with(|registry| {
            let registry = registry.sub_registry_with_prefix("controller");
            registry.register("demands", "Demands at the gate, by verb and outcome", own.demands.clone());
            registry.register("worker_events", "Workers started, ended, died, taken over", own.workers.clone());
            registry.register("workers", "Worker processes kept by this replica", own.running.clone());
            registry.register("decisions", "Decisions written, by kind", own.decisions.clone());
            registry.register("invariant_breaches", "Breaches of invariants seen in the log", own.breaches.clone());
            registry.register("removals_stuck", "Times a removal was found to take too long", own.stuck.clone());
            registry.register("custom_resources", "Custom resources that this replica looks at", own.resources.clone());
            registry.register("bridge_failures", "Looks at custom resources that failed", own.bridge_failures.clone());
        });
        own
    }

    pub(crate) fn demand(&self, verb: Verb, outcome: &'static str) {
        self.demands.get_or_create(&Demand { verb: verb.as_str(), outcome }).inc();
    }

    pub(crate) fn worker(&self, event: &'static str) {
        self.workers.get_or_create(&Event { event }).inc();
    }

    pub(crate) fn running(&self, count: usize) {
        self.running.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn decision(&self, kind: &'static str) {
        self.decisions.get_or_create(&Event { event: kind }).inc();
    }

    pub(crate) fn breach(&self) {
        self.breaches.inc();
    }

    pub(crate) fn stuck(&self) {
        self.stuck.inc();
    }

    pub(crate) fn custom_resources(&self, count: usize) {
        self.resources.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn bridge_failed(&self) {
        self.bridge_failures.inc();
    }
}
