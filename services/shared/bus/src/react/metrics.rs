//! What is measured of a service's duties.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use slipway_runtime::Metrics;

/// How a duty ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum End {
    Finished,
    Elsewhere,
    Transient,
    Permanent,
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Started {
    pub(super) duty: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Ended {
    pub(super) duty: &'static str,
    pub(super) end: End,
}

#[derive(Clone, Debug)]
pub(super) struct ReactMetrics {
    pub(super) started: Family<Started, Counter>,
    pub(super) ended: Family<Ended, Counter>,
    pub(super) running: Gauge,
    pub(super) waiting: Gauge,
    pub(super) held_back: Gauge,
    pub(super) flagged: Gauge,
    pub(super) lag: Gauge,
    pub(super) hop: Histogram,
    pub(super) seconds: Histogram,
}

impl ReactMetrics {
    pub(super) fn register(metrics: &Metrics) -> Self {
        let this = Self {
            started: Family::default(),
            ended: Family::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            held_back: Gauge::default(),
            flagged: Gauge::default(),
            lag: Gauge::default(),
            // From a doorbell in the same machine, told apart to some tenths of a millisecond, to a service that was away for minutes.
            hop: Histogram::new([
                0.000_2, 0.000_4, 0.000_6, 0.000_8, 0.001, 0.001_2, 0.001_5, 0.002, 0.003, 0.005, 0.01, 0.03, 0.1, 0.3,
                1.0, 3.0, 10.0, 30.0, 100.0, 300.0,
            ]),
            // From a single write to a load test.
            seconds: Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0]),
        };
        metrics.with(|registry| {
            registry.register("duties_started", "Duties begun", this.started.clone());
            registry.register("duties_ended", "Duties ended, by how", this.ended.clone());
            registry.register("duties_running", "Duties under way in this replica", this.running.clone());
            registry.register("duties_waiting", "Duties that wait for one of the places", this.waiting.clone());
            registry.register("duties_held_back", "Duties to be tried again later", this.held_back.clone());
            registry.register("deployments_flagged", "Deployments that are not acted on", this.flagged.clone());
            registry.register("work_lag", "Facts this service has not been told of yet", this.lag.clone());
            registry.register("hop_seconds", "From a fact's append to this service hearing of it", this.hop.clone());
            registry.register("duty_seconds", "How long duties take", this.seconds.clone());
        });
        this
    }

    pub(super) fn end(&self, duty: &'static str, end: End) {
        self.ended.get_or_create(&Ended { duty, end }).inc();
    }
}
