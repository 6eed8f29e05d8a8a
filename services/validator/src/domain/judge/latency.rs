//! The objective on latency: the p99 of each repeat, counted from the time a request was due.

use super::{
    Judged,
    load::{Repeat, contention, values},
    names::LATENCY,
};
use crate::domain::noise::{Decision, Wanted, decide};
use slipway_kernel::{Finding, FindingKind, Span};

/// What the repeats say so far.
#[must_use]
pub fn decision(repeats: &[Repeat], asked: usize, target: Span, limit: f64) -> Decision {
    let target = target.as_millis_f64();
    let values = values(repeats, |repeat| repeat.p99_ms, |repeat| repeat.explains_latency(target, limit));
    decide(&values, asked, target, Wanted::AtMost)
}

/// The check.
#[must_use]
pub fn judge(repeats: &[Repeat], asked: usize, target: Option<Span>, limit: f64) -> Judged {
    let Some(target) = target else {
        let measured = decision(repeats, asked, Span::millis(u64::MAX / 2_000_000), limit);
        let skipped = Judged::skipped(LATENCY, "no objective: spec.slo.latencyP99 is not set");
        return match measured {
            Decision::Met(band) => skipped.measured(band.median, None, "ms").noisy(band.noise()),
            _ => skipped,
        };
    };
    let wanted = target.as_millis_f64();
    match decision(repeats, asked, target, limit) {
        Decision::Met(band) => {
            let detail = format!(
                "p99 {:.2} ms in the middle of {} repeats, at most {target} wanted",
                band.median,
                repeats.len()
            );
            Judged::passed(LATENCY, detail).measured(band.median, Some(wanted), "ms").noisy(band.noise())
        }
        Decision::Missed(band) => {
            let message = format!(
                "p99 is {:.2} ms at {:.0} requests/s (between {:.2} and {:.2} in {} repeats), at most {target} is wanted",
                band.median,
                repeats.first().map_or(0.0, |repeat| repeat.rate),
                band.low,
                band.high,
                repeats.len(),
            );
            let finding = Finding::deterministic(FindingKind::Latency, message)
                .with_figures(band.median, wanted, "ms")
                .with_evidence("spec.slo.latencyP99");
            Judged::failed(LATENCY, finding).noisy(band.noise())
        }
        Decision::Straddles(band) => {
            let detail = format!(
                "p99 lies between {:.2} and {:.2} ms in {} repeats: the target {target} is inside the noise",
                band.low,
                band.high,
                repeats.len(),
            );
            Judged::inconclusive(LATENCY, detail).measured(band.median, Some(wanted), "ms").noisy(band.noise())
        }
        Decision::Contended(band) => {
            let detail = format!(
                "p99 {:.2} ms misses {target}, but {}: contention may explain it",
                band.median,
                contention(repeats)
            );
            Judged::inconclusive(LATENCY, detail).measured(band.median, Some(wanted), "ms").noisy(band.noise())
        }
        Decision::Unmeasured => Judged::inconclusive(LATENCY, "no request was answered under load"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{Cause, Outcome};

    fn repeats(p99: &[f64]) -> Vec<Repeat> {
        p99.iter().map(|p99_ms| Repeat { rate: 50.0, p99_ms: *p99_ms, ..Repeat::default() }).collect()
    }

    fn outcome(repeats: &[Repeat]) -> Outcome {
        judge(repeats, 3, Some(Span::millis(50)), 0.25).check.outcome
    }

    #[test]
    fn a_clear_miss_is_a_finding_with_its_figures() {
        let judged = judge(&repeats(&[80.0, 82.0, 90.0]), 3, Some(Span::millis(50)), 0.25);
        let finding = &judged.findings[0];
        assert_eq!((finding.kind, finding.cause), (FindingKind::Latency, Cause::Deterministic));
        assert_eq!((finding.measured, finding.wanted, finding.unit.as_str()), (Some(82.0), Some(50.0), "ms"));
        assert_eq!(judged.check.noise, Some(5.0));
    }

    #[test]
    fn what_is_met_passes_and_what_is_unclear_is_inconclusive() {
        assert_eq!(outcome(&repeats(&[8.0, 9.0, 10.0])), Outcome::Passed);
        assert_eq!(outcome(&repeats(&[40.0, 45.0, 60.0])), Outcome::Inconclusive);
        assert_eq!(outcome(&[]), Outcome::Inconclusive);
    }

    #[test]
    fn a_miss_on_a_busy_machine_is_inconclusive_and_says_so() {
        let mut busy = repeats(&[80.0, 82.0, 90.0]);
        for repeat in &mut busy {
            repeat.foreign = Some(0.6);
        }
        let judged = judge(&busy, 3, Some(Span::millis(50)), 0.25);
        assert_eq!(judged.check.outcome, Outcome::Inconclusive);
        assert!(judged.check.detail.contains("60 %"), "{}", judged.check.detail);
        assert!(judged.findings.is_empty());
    }

    #[test]
    fn without_an_objective_the_figure_is_noted() {
        let judged = judge(&repeats(&[8.0, 9.0, 10.0]), 3, None, 0.25);
        assert_eq!((judged.check.outcome, judged.check.measured), (Outcome::Skipped, Some(9.0)));
    }
}
