//! Are the objectives kept? Two windows must agree, and few requests tell nothing.
//!
//! Burn rate: the share of failed requests over the share the availability objective allows ("The Site Reliability Workbook",
//! chapter 5, multiwindow multi-burn-rate alerts).

use slipway_kernel::{Finding, FindingKind, Measurement, spec::Slo};

/// What clients saw of one revision in one window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Requests answered.
    pub requests: f64,
    /// Of these, failed by our fault.
    pub failures: f64,
    /// Cumulative counts by upper bound in seconds, ascending.
    pub buckets: Vec<(f64, f64)>,
}

impl Counts {
    /// What came between `earlier` and this. A counter that fell was started anew: then all of this is new.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        if self.requests < earlier.requests {
            return self.clone();
        }
        let before = |bound: f64| {
            earlier.buckets.iter().find(|(b, _)| (b - bound).abs() < f64::EPSILON).map_or(0.0, |(_, n)| *n)
        };
        Self {
            requests: self.requests - earlier.requests,
            failures: (self.failures - earlier.failures).max(0.0),
            buckets: self
                .buckets
                .iter()
                .map(|(bound, count)| {
                    // `+Inf` differs from itself by NaN.
                    let earlier = if bound.is_infinite() { earlier.requests } else { before(*bound) };
                    (*bound, (count - earlier).max(0.0))
                })
                .collect(),
        }
    }

    /// The bound in seconds under which `share` of the requests were answered: the upper bound of the bucket that holds the
    /// quantile, so it errs towards slow by one bucket.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.buckets.last().map(|(_, count)| *count).filter(|total| *total > 0.0)?;
        self.buckets.iter().find(|(_, count)| *count >= share * total).map(|(bound, _)| *bound)
    }

    /// The share of requests that took longer than `seconds`, read at the largest bound not above it.
    fn slower_than(&self, seconds: f64) -> Option<f64> {
        let total = self.buckets.last().map(|(_, count)| *count).filter(|total| *total > 0.0)?;
        // A bound a little above the target belongs to it: bounds are decimal fractions that binary cannot hold.
        let within = self.buckets.iter().rev().find(|(bound, _)| *bound <= seconds * 1.000_001);
        Some(1.0 - within.map_or(0.0, |(_, count)| *count) / total)
    }
}

/// When objectives count as missed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Fewer requests in the short window tell nothing.
    pub min_requests: f64,
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
pub fn judge(slo: &Slo, short: &Counts, long: &Counts, thresholds: Thresholds) -> Judgement {
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
        measurement("requests", short.requests, "count"),
        measurement("error-ratio", short.failures / short.requests, "ratio"),
    ];
    if let Some(p99) = short.quantile(0.99) {
        measurements.push(measurement("latency-p99", p99 * 1_000.0, "ms"));
    }
    Judgement::Kept(measurements)
}

fn errors(slo: &Slo, short: &Counts, long: &Counts, thresholds: Thresholds) -> Option<Finding> {
    let allowed = (1.0 - slo.availability / 100.0) * thresholds.burn_rate;
    let ratio = |counts: &Counts| if counts.requests > 0.0 { counts.failures / counts.requests } else { 0.0 };
    let missed = ratio(short) > allowed && ratio(long) > allowed;
    missed.then(|| {
        let message = format!(
            "{:.0} of {:.0} requests failed: the error budget of {} % burns {:.0} times too fast",
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
fn latency(slo: &Slo, short: &Counts, long: &Counts, thresholds: Thresholds) -> Option<Finding> {
    let wanted = slo.latency_p99?.0.as_secs_f64();
    let allowed = (0.01 * thresholds.burn_rate).min(0.5);
    let missed = short.slower_than(wanted)? > allowed && long.slower_than(wanted)? > allowed;
    missed.then(|| {
        let p99 = short.quantile(0.99).filter(|p99| p99.is_finite()).unwrap_or(wanted) * 1_000.0;
        let share = short.slower_than(wanted).unwrap_or(0.0) * 100.0;
        let message = format!("{share:.0} % of requests took longer than {} ms", wanted * 1_000.0);
        Finding::deterministic(FindingKind::Latency, message)
            .with_figures(p99, wanted * 1_000.0, "ms")
            .with_evidence("slipway_ingress_request_duration_seconds")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Span;

    const THRESHOLDS: Thresholds = Thresholds { min_requests: 20.0, burn_rate: 14.4 };

    fn counts(requests: f64, failures: f64, slow: f64) -> Counts {
        let buckets = vec![(0.05, requests - slow), (0.1, requests), (f64::INFINITY, requests)];
        Counts { requests, failures, buckets }
    }

    fn slo() -> Slo {
        Slo { latency_p99: Some(Span::millis(50)), availability: 99.0, throughput: None }
    }

    #[test]
    fn both_windows_must_miss_and_few_requests_tell_nothing() {
        let (good, bad) = (counts(1_000.0, 0.0, 0.0), counts(1_000.0, 500.0, 0.0));
        assert!(matches!(judge(&slo(), &bad, &bad, THRESHOLDS), Judgement::Missed(_)));
        assert!(matches!(judge(&slo(), &bad, &good, THRESHOLDS), Judgement::Kept(_)));
        assert!(matches!(judge(&slo(), &good, &bad, THRESHOLDS), Judgement::Kept(_)));
        assert_eq!(judge(&slo(), &counts(19.0, 19.0, 19.0), &bad, THRESHOLDS), Judgement::Unknown);
    }

    #[test]
    fn slow_requests_are_a_finding_with_figures() {
        let slow = counts(100.0, 0.0, 40.0);
        let Judgement::Missed(findings) = judge(&slo(), &slow, &slow, THRESHOLDS) else { panic!("not missed") };
        assert_eq!(findings[0].kind, FindingKind::Latency);
        assert_eq!(findings[0].measured, Some(100.0));
    }

    #[test]
    fn a_counter_that_fell_was_started_anew() {
        let before = counts(100.0, 50.0, 0.0);
        let after = counts(10.0, 0.0, 0.0);
        assert_eq!(after.since(&before), after);
        assert_eq!(counts(150.0, 50.0, 10.0).since(&before), counts(50.0, 0.0, 10.0));
    }
}
