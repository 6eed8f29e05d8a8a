//! Whether the revision that has the traffic burns its error budget while another is proved beside it.
//!
//! Burn rate as in Google's SRE workbook (chapter 5): the share of bad requests over the share the objective allows. 14.4 is its
//! fast-burn threshold. The windows there are hours; here the question is only whether to stop now, so it is asked over what
//! happened since the proof began.

use slipway_kernel::{AnswerCounts, spec::Slo};

/// Bad requests over allowed ones that stop the proof.
const FAST_BURN: f64 = 14.4;
/// Share of requests that may be slower than the objective on latency: it speaks of 99 of 100.
const SLOW_BUDGET: f64 = 0.01;
/// Fewer requests than this say nothing about one in a hundred.
const LEAST_REQUESTS: u64 = 20;
/// Fewer bad ones than this are bad luck.
const LEAST_BAD: u64 = 3;

/// Why the proof must stop.
#[derive(Clone, Debug, PartialEq)]
pub struct Burn {
    /// `availability` or `latency-p99`.
    pub objective: &'static str,
    /// How many times faster than allowed.
    pub rate: f64,
    /// Bad requests since the proof began.
    pub bad: u64,
    /// Requests since the proof began.
    pub requests: u64,
}

/// Whether what the live revision did since the proof began burns its budget.
#[must_use]
pub fn burn(slo: &Slo, since: &AnswerCounts) -> Option<Burn> {
    let allowed = (100.0 - slo.availability) / 100.0;
    let unavailable = exceeded("availability", since.failures, since.requests, allowed);
    unavailable.or_else(|| {
        let target = slo.latency_p99?.0.as_secs_f64();
        exceeded("latency-p99", slower(since, target)?, since.requests, SLOW_BUDGET)
    })
}

fn exceeded(objective: &'static str, bad: u64, requests: u64, allowed: f64) -> Option<Burn> {
    #[expect(clippy::cast_precision_loss, reason = "no proof lasts 2^53 requests")]
    let rate = bad as f64 / (requests.max(1) as f64 * allowed).max(f64::MIN_POSITIVE);
    (requests >= LEAST_REQUESTS && bad >= LEAST_BAD && rate >= FAST_BURN).then_some(Burn {
        objective,
        rate,
        bad,
        requests,
    })
}

/// Requests slower than `target` seconds, by the first bucket that ends at or above it: one that spans the target counts as quick.
fn slower(counts: &AnswerCounts, target: f64) -> Option<u64> {
    let (_, total) = counts.buckets.last()?;
    // Bounds are decimal fractions that binary cannot hold.
    let within = counts.buckets.iter().find(|(bound, _)| bound * 1.000_001 >= target).map_or(0, |(_, count)| *count);
    total.checked_sub(within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Span;

    fn slo() -> Slo {
        Slo { latency_p99: Some(Span::millis(50)), availability: 99.0, throughput: None }
    }

    fn counts(requests: u64, failures: u64, quick: u64) -> AnswerCounts {
        AnswerCounts { requests, failures, buckets: vec![(0.01, quick), (0.05, quick), (f64::INFINITY, requests)] }
    }

    #[test]
    fn a_live_revision_that_does_as_before_burns_nothing() {
        assert_eq!(burn(&slo(), &counts(100, 1, 100)), None);
    }

    #[test]
    fn failures_of_the_live_revision_stop_the_proof() {
        let burnt = burn(&slo(), &counts(100, 20, 100)).unwrap();
        assert_eq!((burnt.objective, burnt.bad, burnt.requests), ("availability", 20, 100));
        assert!((burnt.rate - 20.0).abs() < 1e-9);
    }

    #[test]
    fn slowness_of_the_live_revision_stops_the_proof() {
        let burnt = burn(&slo(), &counts(100, 0, 50)).unwrap();
        assert_eq!((burnt.objective, burnt.bad), ("latency-p99", 50));
    }

    #[test]
    fn a_handful_of_requests_says_nothing() {
        assert_eq!(burn(&slo(), &counts(10, 10, 0)), None);
        assert_eq!(burn(&slo(), &counts(25, 2, 25)), None);
    }

    #[test]
    fn an_ingress_that_says_nothing_of_latency_stops_nothing_for_it() {
        assert_eq!(burn(&slo(), &AnswerCounts { requests: 1_000, ..AnswerCounts::default() }), None);
    }
}
