//! What the validator counts. Labels come from fixed words only.

use crate::domain::verdict::Verdict;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use slipway_kernel::{Check, Outcome};
use slipway_runtime::Metrics;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    check: &'static str,
    outcome: &'static str,
}

/// From a second to a quarter of an hour: the demo's proofs take seconds, a load of ten minutes a while.
const PROOF_SECONDS: [f64; 8] = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0];

/// The metrics of the validator.
#[derive(Clone, Debug)]
pub(crate) struct ValidatorMetrics {
    proofs: Family<VerdictLabels, Counter>,
    checks: Family<CheckLabels, Counter>,
    seconds: Histogram,
    /// Proofs under way.
    pub(crate) running: Gauge,
}

impl ValidatorMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let own = Self {
            proofs: Family::default(),
            checks: Family::default(),
            seconds: Histogram::new(PROOF_SECONDS),
            running: Gauge::default(),
        };
        metrics.with(|registry| {
            registry.register("validator_proofs", "Proofs ended, by verdict", own.proofs.clone());
            registry.register("validator_checks", "Checks made, by outcome", own.checks.clone());
            registry.register("validator_proof_seconds", "How long a proof took", own.seconds.clone());
            registry.register("validator_proofs_running", "Proofs under way", own.running.clone());
        });
        own
    }

    pub(crate) fn ended(&self, verdict: Verdict, checks: &[Check], took: Duration) {
        let verdict = match verdict {
            Verdict::Validated => "validated",
            Verdict::Failed => "failed",
            Verdict::Inconclusive => "inconclusive",
        };
        self.proofs.get_or_create(&VerdictLabels { verdict }).inc();
        self.seconds.observe(took.as_secs_f64());
        for check in checks {
            let name = crate::domain::judge::names::ALL.into_iter().find(|name| *name == check.name).unwrap_or("other");
            let labels = CheckLabels { check: name, outcome: outcome(check.outcome) };
            self.checks.get_or_create(&labels).inc();
        }
    }
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Inconclusive => "inconclusive",
        Outcome::Skipped => "skipped",
    }
}
