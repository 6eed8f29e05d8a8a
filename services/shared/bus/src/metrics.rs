//! What the bus measures of itself, per service.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use slipway_runtime::Metrics;

/// How a write of a fact came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// Written.
    Stored,
    /// Another answer was there; it was adopted.
    Adopted,
    /// The deployment had moved on.
    Moved,
    /// Refused or unknown.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct AppendLabels {
    pub(crate) outcome: Outcome,
}

/// The metrics of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct BusMetrics {
    pub(crate) connected: Gauge,
    pub(crate) appends: Family<AppendLabels, Counter>,
    pub(crate) dead_letters: Counter,
    pub(crate) follow_restarts: Counter,
    pub(crate) set_aside: Counter,
}

impl BusMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let this = Self::default();
        metrics.with(|registry| {
            registry.register("bus_connected", "1 while connected to the broker", this.connected.clone());
            registry.register("facts_appended", "Writes of facts by outcome", this.appends.clone());
            registry.register("dead_letters", "Messages that could not be handled", this.dead_letters.clone());
            registry.register(
                "bus_follow_restarts",
                "Followers that had to begin a new session",
                this.follow_restarts.clone(),
            );
            registry.register("facts_set_aside", "Facts read that could not be decoded", this.set_aside.clone());
        });
        this
    }

    pub(crate) fn appended(&self, outcome: Outcome) {
        self.appends.get_or_create(&AppendLabels { outcome }).inc();
    }
}
