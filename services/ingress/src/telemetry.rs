//! What ingress counts. Labels hold names from the log and HTTP statuses only, never what a client sent.

use crate::upstream::Hedged;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use slipway_kernel::{DeploymentId, RevisionId};
use slipway_runtime::Metrics;
use std::time::Duration;

/// Upper edges in seconds, from the cost of this service alone to the longest timeout: about two per octave where objectives
/// lie (5 to 500 ms), so that a p99 read from them is at most half off.
const SECONDS: [f64; 18] =
    [0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Labels of what a revision did.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RevisionLabels {
    namespace: String,
    deployment: String,
    revision: String,
    probe: &'static str,
}

/// The same with the HTTP status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    namespace: String,
    deployment: String,
    revision: String,
    code: u16,
    probe: &'static str,
}

/// Labels of what became of captured results.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CaptureLabels {
    namespace: String,
    deployment: String,
    outcome: &'static str,
}

/// Labels of requests that were sent to a second worker.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HedgeLabels {
    namespace: String,
    deployment: String,
    answered: &'static str,
}

/// Labels of a fetch of issuers' keys, of a change of the own identity, and the like.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// The metrics of ingress.
#[derive(Clone, Debug)]
pub struct IngressMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RevisionLabels, Histogram>,
    identities: Family<OutcomeLabels, Counter>,
    captured: Family<CaptureLabels, Counter>,
    hedged: Family<HedgeLabels, Counter>,
    left: Family<OutcomeLabels, Counter>,
    /// Requests inside.
    pub in_flight: Gauge,
    /// Workers that can be reached.
    pub workers: Gauge,
    /// Sequence of the log up to which requests are routed by.
    pub applied: Gauge,
}

/// Which series a request belongs to. What is not known (an unknown deployment, a revision that was never picked) is empty.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The deployment, if it exists.
    pub deployment: Option<DeploymentId>,
    /// The revision.
    pub revision: Option<RevisionId>,
    /// Whether it is marked traffic.
    pub probe: bool,
}

/// What became of one delivery of a request that was left over NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOutcome {
    /// It is in the queue of its revision.
    Queued,
    /// It came before, and its result is recorded.
    Repeated,
    /// It can never be handled, and is a dead letter.
    Refused,
    /// It cannot be handled now.
    ComesAgain,
}

impl LeftOutcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
            Self::ComesAgain => "comes-again",
        }
    }
}

impl IngressMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        let own = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            identities: Family::default(),
            captured: Family::default(),
            hedged: Family::default(),
            left: Family::default(),
            in_flight: Gauge::default(),
            workers: Gauge::default(),
            applied: Gauge::default(),
        };
        metrics.with(|registry| {
            registry.register("ingress_requests", "Inference requests answered, by HTTP status", own.requests.clone());
            registry.register(
                "ingress_request_duration_seconds",
                "Time from the head of a request to its answer",
                own.durations.clone(),
            );
            registry.register("ingress_in_flight", "Requests inside", own.in_flight.clone());
            registry.register("ingress_workers", "Workers that can be reached", own.workers.clone());
            registry.register(
                "ingress_routes_applied",
                "Sequence of the log that requests are routed by",
                own.applied.clone(),
            );
            registry.register(
                "ingress_captured_results",
                "Results of answered requests, by whether they are on their way to the outputs or shed",
                own.captured.clone(),
            );
            registry.register(
                "ingress_hedged_requests",
                "Requests that were sent to a second worker too, by whose answer was the first",
                own.hedged.clone(),
            );
            registry.register(
                "ingress_left_requests",
                "Requests left over NATS, by what became of a delivery: queued, answered before, refused, or to come again",
                own.left.clone(),
            );
            registry.register(
                "ingress_identities",
                "Requests for the own certificate, by outcome",
                own.identities.clone(),
            );
        });
        own
    }

    /// Counts one answered inference request.
    pub fn answered(&self, subject: &Subject, code: u16, took: Duration) {
        let (namespace, deployment) = match &subject.deployment {
            Some(id) => (id.namespace.to_string(), id.name.to_string()),
            None => Default::default(),
        };
        let revision = subject.revision.map(|revision| revision.to_string()).unwrap_or_default();
        let probe = if subject.probe { "true" } else { "false" };
        let labels = RevisionLabels { namespace, deployment, revision, probe };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        let RevisionLabels { namespace, deployment, revision, probe } = labels;
        self.requests.get_or_create(&RequestLabels { namespace, deployment, revision, code, probe }).inc();
    }

    /// Counts results that left for the outputs, or were shed.
    pub fn captured(&self, id: &DeploymentId, kept: bool, results: usize) {
        let labels = CaptureLabels {
            namespace: id.namespace.to_string(),
            deployment: id.name.to_string(),
            outcome: if kept { "kept" } else { "shed" },
        };
        self.captured.get_or_create(&labels).inc_by(results as u64);
    }

    /// Counts an answered request, if it was sent to a second worker.
    pub fn hedged(&self, id: &DeploymentId, hedged: Hedged) {
        let answered = match hedged {
            Hedged::No => return,
            Hedged::InVain => "first",
            Hedged::Won => "second",
        };
        let (namespace, deployment) = (id.namespace.to_string(), id.name.to_string());
        self.hedged.get_or_create(&HedgeLabels { namespace, deployment, answered }).inc();
    }

    /// Counts a delivery of a request that was left over NATS.
    pub fn left(&self, outcome: LeftOutcome) {
        self.left.get_or_create(&OutcomeLabels { outcome: outcome.as_str() }).inc();
    }

    /// Counts a request for the own certificate.
    pub fn identity(&self, granted: bool) {
        self.identities.get_or_create(&OutcomeLabels { outcome: if granted { "granted" } else { "failed" } }).inc();
    }
}

#[cfg(test)]
impl IngressMetrics {
    pub(crate) fn captured_of(&self, id: &DeploymentId, kept: bool) -> u64 {
        let outcome = if kept { "kept" } else { "shed" };
        let (namespace, deployment) = (id.namespace.to_string(), id.name.to_string());
        self.captured.get_or_create(&CaptureLabels { namespace, deployment, outcome }).get()
    }

    /// How often the first and the second worker answered first, of requests that both had.
    pub(crate) fn hedged_of(&self, id: &DeploymentId) -> (u64, u64) {
        let of = |answered| {
            let (namespace, deployment) = (id.namespace.to_string(), id.name.to_string());
            self.hedged.get_or_create(&HedgeLabels { namespace, deployment, answered }).get()
        };
        (of("first"), of("second"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::{encoding::text::encode, registry::Registry};

    #[test]
    fn the_series_bear_the_names_and_labels_that_rules_and_dashboards_refer_to() {
        let frame = slipway_runtime::Frame::for_test("ingress");
        let metrics = IngressMetrics::register(&frame.metrics);
        let mut registry = Registry::with_prefix("slipway");
        registry.register("ingress_requests", "", metrics.requests.clone());
        registry.register("ingress_request_duration_seconds", "", metrics.durations.clone());
        let subject = Subject {
            deployment: Some("default.digits".parse().unwrap()),
            revision: Some(RevisionId::new(2, 1)),
            probe: true,
        };
        metrics.answered(&subject, 200, Duration::from_millis(4));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let labels = r#"namespace="default",deployment="digits",revision="2-1""#;
        for series in [
            format!("slipway_ingress_requests_total{{{labels},code=\"200\",probe=\"true\"}} 1"),
            format!("slipway_ingress_request_duration_seconds_bucket{{le=\"0.005\",{labels},probe=\"true\"}} 1"),
            format!("slipway_ingress_request_duration_seconds_count{{{labels},probe=\"true\"}} 1"),
        ] {
            assert!(text.contains(&series), "{series} in\n{text}");
        }
    }
}
