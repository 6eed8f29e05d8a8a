//! What was measured becomes a check and, where it failed, typed findings. One file per check.
//!
//! A finding says what was measured and what was wanted, so that the loop can choose a remedy without reading prose. All of
//! them are deterministic: what may pass by itself is not failed but inconclusive, and is measured again.

pub mod authentication;
pub mod errors;
pub mod golden;
pub mod latency;
pub mod load;
pub mod overload;
pub mod production;
pub mod sinks;
pub mod steady;
pub mod throughput;
pub mod traces;
pub mod worker_killed;

use slipway_kernel::{Check, Finding, Outcome};

/// The names of the checks, in the order in which they are made.
pub mod names {
    /// The share of right labels.
    pub const GOLDEN_ACCURACY: &str = "golden-accuracy";
    /// Golden outputs within the tolerance.
    pub const GOLDEN_OUTPUTS: &str = "golden-outputs";
    /// Nobody without the right comes in.
    pub const AUTHENTICATION: &str = "authentication";
    /// The objective on latency.
    pub const LATENCY: &str = "latency-p99";
    /// The objective on throughput.
    pub const THROUGHPUT: &str = "throughput";
    /// The objective on availability.
    pub const ERRORS: &str = "error-rate";
    /// Answers under load are the quiet ones.
    pub const STEADY_OUTPUTS: &str = "steady-outputs";
    /// Polite under overload.
    pub const OVERLOAD: &str = "overload";
    /// No request lost when a worker is killed.
    pub const WORKER_KILLED: &str = "worker-killed";
    /// Every answered request once in the sinks.
    pub const SINKS: &str = "sinks";
    /// Every answered request followed from end to end.
    pub const TRACES: &str = "traces";
    /// The live revision keeps its objectives meanwhile.
    pub const PRODUCTION: &str = "production";
    /// All of them.
    pub const ALL: [&str; 12] = [
        GOLDEN_ACCURACY,
        GOLDEN_OUTPUTS,
        AUTHENTICATION,
        LATENCY,
        THROUGHPUT,
        ERRORS,
        STEADY_OUTPUTS,
        OVERLOAD,
        WORKER_KILLED,
        SINKS,
        TRACES,
        PRODUCTION,
    ];
}

/// One check and what it found.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The check.
    pub check: Check,
    /// What failed; empty unless the check failed.
    pub findings: Vec<Finding>,
}

impl Judged {
    fn new(name: &str, outcome: Outcome, detail: impl Into<String>) -> Self {
        let check = Check {
            name: name.to_owned(),
            outcome,
            detail: detail.into(),
            measured: None,
            wanted: None,
            noise: None,
            unit: String::new(),
        };
        Self { check, findings: Vec::new() }
    }

    /// It holds.
    #[must_use]
    pub fn passed(name: &str, detail: impl Into<String>) -> Self {
        Self::new(name, Outcome::Passed, detail)
    }

    /// It does not, and this is why.
    #[must_use]
    pub fn failed(name: &str, finding: Finding) -> Self {
        let mut judged = Self::new(name, Outcome::Failed, finding.message.clone());
        judged.check.measured = finding.measured;
        judged.check.wanted = finding.wanted;
        judged.check.unit.clone_from(&finding.unit);
        judged.findings.push(finding);
        judged
    }

    /// It could not be told.
    #[must_use]
    pub fn inconclusive(name: &str, detail: impl Into<String>) -> Self {
        Self::new(name, Outcome::Inconclusive, detail)
    }

    /// It was not made, and this is why.
    #[must_use]
    pub fn skipped(name: &str, why: impl Into<String>) -> Self {
        Self::new(name, Outcome::Skipped, why)
    }

    /// The same with what was measured.
    #[must_use]
    pub fn measured(mut self, measured: f64, wanted: Option<f64>, unit: &str) -> Self {
        self.check.measured = Some(measured);
        self.check.wanted = wanted;
        unit.clone_into(&mut self.check.unit);
        self
    }

    /// The same with half the width of the band around what was measured.
    #[must_use]
    pub fn noisy(mut self, noise: f64) -> Self {
        self.check.noise = Some(noise);
        self
    }

    /// Whether it failed.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.check.outcome == Outcome::Failed
    }
}

/// `3 status-500, 1 timeout`.
fn listed(counts: &[(String, u64)]) -> String {
    counts.iter().map(|(class, count)| format!("{count} {class}")).collect::<Vec<_>>().join(", ")
}

#[expect(clippy::cast_precision_loss, reason = "no proof counts to 2^53")]
const fn float(count: u64) -> f64 {
    count as f64
}
