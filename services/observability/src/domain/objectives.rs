//! Are the objectives kept? Two windows must agree, and few requests tell nothing.
//!
//! Burn rate: the share of failed requests over the share the availability objective allows ("The Site Reliability Workbook",
//! chapter 5, multiwindow multi-burn-rate alerts).

use slipway_kernel::{AnswerCounts, Finding, FindingKind, Measurement, spec::Slo};

/// When objectives count as missed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Fewer requests in the short window tell nothing.
    pub min_requests: u64,
    /// How many times faster than sustainable the error budget must burn.
    pub burn_rate: f64,
}

/// What the windows tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// Too few requests.
    Unknown,
    /// Kept.
    Kept(Vec<Measurement>),
    /// Missed in both windows.
    Missed(Vec<Finding>),
}

/// Judges two windows, the short one within the long one.
#[must_use]
pub fn judge(slo: &Slo, short: &AnswerCounts, long: &AnswerCounts, thresholds: Thresholds) -> Judgement {
    if short.requests < thresholds.min_requests {
        return Judgement::Unknown;
    }
    let findings: Vec<Finding> =
        [errors(slo, short, long, thresholds), latency(slo, short, long, thresholds)].into_iter().flatten().collect();
    if !findings.is_empty() {
        return Judgement::Missed(findings);
    }
    let measurement = |name: &str, value: f64, unit: &str| Measurement { name: name.into(), value, unit: unit.into() };
    let mut measurements = vec![
        measurement("requests", float(short.requests), "count"),
        measurement("error-ratio", ratio(short), "ratio"),
    ];
    if let Some(p99) = quantile(short, 0.99) {
        measurements.push(measurement("latency-p99", p99 * 1_000.0, "ms"));
    }
    Judgement::Kept(measurements)
}

fn ratio(counts: &AnswerCounts) -> f64 {
    if counts.requests > 0 { float(counts.failures) / float(counts.requests) } else { 0.0 }
}

fn errors(slo: &Slo, short: &AnswerCounts, long: &AnswerCounts, thresholds: Thresholds) -> Option<Finding> {
    let allowed = (1.0 - slo.availability / 100.0) * thresholds.burn_rate;
    let missed = ratio(short) > allowed && ratio(long) > allowed;
    missed.then(|| {
        let message = format!(
            "{} of {} requests failed: the error budget of {} % burns {:.0} times too fast",
            short.failures,
            short.requests,
            slo.availability,
            ratio(short) / (1.0 - slo.availability / 100.0)
        );
        Finding::deterministic(FindingKind::ErrorRate, message)
            .with_figures(ratio(short), allowed, "ratio")
            .with_evidence("slipway_ingress_requests_total")
    })
}

/// The objective lets 1 of 100 be slower; that too is a budget, and it must burn fast in both windows before it is called missed.
/// The rate is bounded so that the threshold stays below "half of all requests".
fn latency(slo: &Slo, short: &AnswerCounts, long: &AnswerCounts, thresholds: Thresholds) -> Option<Finding> {
    let wanted = slo.latency_p99?.0.as_secs_f64();
    let allowed = (0.01 * thresholds.burn_rate).min(0.5);
    let missed = slower_than(short, wanted)? > allowed && slower_than(long, wanted)? > allowed;
    missed.then(|| {
        let p99 = quantile(short, 0.99).filter(|p99| p99.is_finite()).unwrap_or(wanted) * 1_000.0;
        let share = slower_than(short, wanted).unwrap_or(0.0) * 100.0;
        let message = format!("{share:.0} % of requests took longer than {} ms", wanted * 1_000.0);
        Finding::deterministic(FindingKind::Latency, message)
            .with_figures(p99, wanted * 1_000.0, "ms")
            .with_evidence("slipway_ingress_request_duration_seconds")
    })
}

/// The bound in seconds under which `share` of the requests were answered: the upper bound of the bucket that holds the quantile, so
/// it errs towards slow by one bucket.
fn quantile(counts: &AnswerCounts, share: f64) -> Option<f64> {
    let total = float(counts.buckets.last().map(|(_, count)| *count).filter(|total| *total > 0)?);
    counts.buckets.iter().find(|(_, count)| float(*count) >= share * total).map(|(bound, _)| *bound)
}

/// The share of requests that took longer than `seconds`, read at the largest bound not above it.
fn slower_than(counts: &AnswerCounts, seconds: f64) -> Option<f64> {
    let total = counts.buckets.last().map(|(_, count)| *count).filter(|total| *total > 0)?;
    // A bound a little above the target belongs to it: bounds are decimal fractions that binary cannot hold.
    Some(1.0 - float(counts.within(seconds * 1.000_001)) / float(total))
}

#[expect(clippy::cast_precision_loss, reason = "no window holds 2^53 requests")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Span;

    const THRESHOLDS: Thresholds = Thresholds { min_requests: 20, burn_rate: 14.4 };

    fn counts(requests: u64, failures: u64, slow: u64) -> AnswerCounts {
        let buckets = vec![(0.05, requests - slow), (0.1, requests), (f64::INFINITY, requests)];
        AnswerCounts { requests, failures, buckets }
    }

    fn slo() -> Slo {
        Slo { latency_p99: Some(Span::millis(50)), availability: 99.0, throughput: None }
    }

    #[test]
    fn both_windows_must_miss_and_few_requests_tell_nothing() {
        let (good, bad) = (counts(1_000, 0, 0), counts(1_000, 500, 0));
        assert!(matches!(judge(&slo(), &bad, &bad, THRESHOLDS), Judgement::Missed(_)));
        assert!(matches!(judge(&slo(), &bad, &good, THRESHOLDS), Judgement::Kept(_)));
        assert!(matches!(judge(&slo(), &good, &bad, THRESHOLDS), Judgement::Kept(_)));
        assert_eq!(judge(&slo(), &counts(19, 19, 19), &bad, THRESHOLDS), Judgement::Unknown);
    }

    #[test]
    fn slow_requests_are_a_finding_with_figures() {
        let slow = counts(100, 0, 40);
        let Judgement::Missed(findings) = judge(&slo(), &slow, &slow, THRESHOLDS) else { panic!("not missed") };
        assert_eq!(findings[0].kind, FindingKind::Latency);
        assert_eq!(findings[0].measured, Some(100.0));
    }
}
