//! Whether the measurements of a share of the traffic forbid to go on.

use slipway_kernel::{Finding, FindingKind, Measurement, spec::Slo};

/// What the ingress replicas counted for one revision since its last shift, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Requests answered.
    pub requests: u64,
    /// Of these, failed by our fault.
    pub failures: u64,
    /// The worst replica's 99th percentile, in milliseconds.
    pub p99_ms: f64,
}

/// Fewer requests than this say nothing about a percentile.
const ENOUGH_REQUESTS: u64 = 100;
/// Fewer failures than this may be chance at any rate.
const ENOUGH_FAILURES: u64 = 5;
/// How far beyond an objective a measurement must be to stop a rollout: a shift moves caches and batches, and a hold is
/// short. What is closer is left to the watch, which has more to go by.
const CLEAR_MARGIN: f64 = 1.5;

impl Traffic {
    /// The sum of what several replicas counted.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            failures: self.failures.saturating_add(other.failures),
            p99_ms: self.p99_ms.max(other.p99_ms),
        }
    }

    /// Failed requests per request, 0 without requests.
    #[must_use]
    pub fn error_ratio(self) -> f64 {
        if self.requests == 0 { 0.0 } else { super::plan::to_f64(self.failures) / super::plan::to_f64(self.requests) }
    }

    /// The figures for a fact.
    #[must_use]
    pub fn measurements(self) -> Vec<Measurement> {
        let one = |name: &str, value: f64, unit: &str| Measurement { name: name.into(), value, unit: unit.into() };
        let mut measurements = vec![one("requests", super::plan::to_f64(self.requests), "count")];
        if self.requests > 0 {
            measurements.push(one("error-ratio", self.error_ratio(), "ratio"));
            measurements.push(one("latency-p99", self.p99_ms, "ms"));
        }
        measurements
    }
}

/// The objectives that the traffic clearly misses; empty = go on.
#[must_use]
pub fn judge(slo: &Slo, traffic: Traffic) -> Vec<Finding> {
    let mut findings = Vec::new();
    let allowed = (100.0 - slo.availability) / 100.0;
    let ratio = traffic.error_ratio();
    if traffic.failures >= ENOUGH_FAILURES && ratio > allowed * CLEAR_MARGIN {
        let message = format!("{} of {} requests failed during the rollout", traffic.failures, traffic.requests);
        let finding = Finding::deterministic(FindingKind::ErrorRate, message);
        findings.push(finding.with_figures(ratio, allowed, "ratio"));
    }
    if let Some(target) = slo.latency_p99.map(slipway_kernel::Span::as_millis_f64)
        && traffic.requests >= ENOUGH_REQUESTS
        && traffic.p99_ms > target * CLEAR_MARGIN
    {
        let message = "the 99th percentile under real traffic is far above the objective";
        let finding = Finding::deterministic(FindingKind::Latency, message);
        findings.push(finding.with_figures(traffic.p99_ms, target, "ms"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Span;

    #[test]
    fn a_rollout_is_stopped_by_clear_misses_and_by_nothing_else() {
        let slo = Slo { latency_p99: Some(Span::millis(50)), ..Slo::default() };
        for (requests, failures, p99_ms, kinds) in [
            (0, 0, 0.0, &[][..]),
            (1_000, 0, 49.0, &[]),
            (1_000, 1, 60.0, &[]),
            (4, 4, 0.0, &[]),
            (10, 5, 0.0, &[FindingKind::ErrorRate]),
            (1_000_000, 1_000, 0.0, &[]),
            (99, 0, 500.0, &[]),
            (100, 0, 500.0, &[FindingKind::Latency]),
            (100, 50, 500.0, &[FindingKind::ErrorRate, FindingKind::Latency]),
        ] {
            let found: Vec<_> = judge(&slo, Traffic { requests, failures, p99_ms }).iter().map(|f| f.kind).collect();
            assert_eq!(found, kinds, "{requests} requests, {failures} failures, {p99_ms} ms");
        }
    }

    #[test]
    fn replicas_are_summed_up_and_the_slowest_counts() {
        let sum =
            Traffic { requests: 10, failures: 1, p99_ms: 5.0 }.plus(Traffic { requests: 30, failures: 1, p99_ms: 9.0 });
        assert_eq!((sum.requests, sum.failures, sum.p99_ms), (40, 2, 9.0));
        assert!((sum.error_ratio() - 0.05).abs() < 1e-9);
    }
}
