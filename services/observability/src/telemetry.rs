//! What observability counts of itself.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use slipway_runtime::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// The metrics of observability.
#[derive(Clone, Debug)]
pub(crate) struct ObservabilityMetrics {
    scrapes: Family<OutcomeLabels, Counter>,
    watched: Gauge,
    degraded: Gauge,
}

impl ObservabilityMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let own = Self { scrapes: Family::default(), watched: Gauge::default(), degraded: Gauge::default() };
        metrics.with(|registry| {
            registry.register("observability_scrapes", "Targets asked, by outcome", own.scrapes.clone());
            registry.register(
                "observability_watched",
                "Released revisions whose objectives are watched",
                own.watched.clone(),
            );
            registry.register(
                "observability_degraded",
                "Of these, how many miss their objectives",
                own.degraded.clone(),
            );
        });
        own
    }

    pub(crate) fn scraped(&self, ok: bool) {
        self.scrapes.get_or_create(&OutcomeLabels { outcome: if ok { "ok" } else { "failed" } }).inc();
    }

    pub(crate) fn watching(&self, watched: usize, degraded: usize) {
        self.watched.set(i64::try_from(watched).unwrap_or(i64::MAX));
        self.degraded.set(i64::try_from(degraded).unwrap_or(i64::MAX));
    }
}
