//! The objective on throughput: the load is sent at the wanted rate, and all of it must be answered without a growing backlog.

use super::{
    Judged,
    load::{REACHED, Repeat, contention, values},
    names::THROUGHPUT,
};
use crate::domain::noise::{Decision, Wanted, decide};
use slipway_kernel::{Finding, FindingKind};

/// The most of the rate that counts as reached while a backlog grew: clearly below what is wanted, because a rate at which more
/// and more requests wait is not sustained, however well its first seconds look.
const WITH_BACKLOG: f64 = 0.95;

fn sustained(repeat: &Repeat) -> f64 {
    if repeat.backlog_grew { repeat.throughput.min(repeat.rate * WITH_BACKLOG) } else { repeat.throughput }
}

/// What the repeats say so far.
#[must_use]
pub fn decision(repeats: &[Repeat], asked: usize, wanted: f64, limit: f64) -> Decision {
    let reached = wanted * REACHED;
    let values = values(repeats, sustained, |repeat| repeat.explains_throughput(reached, limit));
    decide(&values, asked, reached, Wanted::AtLeast)
}

/// The check. `wanted` in requests a second.
#[must_use]
pub fn judge(repeats: &[Repeat], asked: usize, wanted: Option<f64>, limit: f64) -> Judged {
    let Some(wanted) = wanted else {
        return Judged::skipped(THROUGHPUT, "no objective: spec.slo.throughput is not set");
    };
    let unit = "requests/s";
    match decision(repeats, asked, wanted, limit) {
        Decision::Met(band) => {
            let detail = format!("{:.1} requests/s sustained, {wanted:.1} wanted", band.median);
            Judged::passed(THROUGHPUT, detail).measured(band.median, Some(wanted), unit).noisy(band.noise())
        }
        Decision::Missed(band) => {
            let grew = repeats.iter().filter(|repeat| repeat.backlog_grew).count();
            let message = format!(
                "{:.1} requests/s are sustained (between {:.1} and {:.1} in {} repeats, a backlog grew in {grew}), {wanted:.1} are wanted",
                band.median,
                band.low,
                band.high,
                repeats.len(),
            );
            let finding = Finding::deterministic(FindingKind::Throughput, message)
                .with_figures(band.median, wanted, unit)
                .with_evidence("spec.slo.throughput");
            Judged::failed(THROUGHPUT, finding).noisy(band.noise())
        }
        Decision::Straddles(band) => {
            let detail = format!(
                "between {:.1} and {:.1} requests/s in {} repeats: {wanted:.1} is inside the noise",
                band.low,
                band.high,
                repeats.len(),
            );
            Judged::inconclusive(THROUGHPUT, detail).measured(band.median, Some(wanted), unit).noisy(band.noise())
        }
        Decision::Contended(band) => {
            let detail = format!(
                "{:.1} requests/s miss {wanted:.1}, but {}: contention may explain it",
                band.median,
                contention(repeats)
            );
            Judged::inconclusive(THROUGHPUT, detail).measured(band.median, Some(wanted), unit).noisy(band.noise())
        }
        Decision::Unmeasured => Judged::inconclusive(THROUGHPUT, "no request was answered under load"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Outcome;

    fn repeats(throughput: &[f64], backlog_grew: bool) -> Vec<Repeat> {
        throughput
            .iter()
            .map(|throughput| Repeat {
                rate: 100.0,
                sending_s: 1.0,
                throughput: *throughput,
                backlog_grew,
                ..Repeat::default()
            })
            .collect()
    }

    #[test]
    fn the_rate_is_reached_when_98_of_100_are_answered_at_pace() {
        let judged = judge(&repeats(&[99.0, 100.0, 98.5], false), 3, Some(100.0), 0.25);
        assert_eq!(judged.check.outcome, Outcome::Passed);
    }

    #[test]
    fn a_rate_that_is_not_reached_is_a_finding() {
        let judged = judge(&repeats(&[60.0, 62.0, 61.0], true), 3, Some(100.0), 0.25);
        assert_eq!(judged.findings[0].kind, FindingKind::Throughput);
        assert_eq!((judged.findings[0].measured, judged.findings[0].wanted), (Some(61.0), Some(100.0)));
    }

    #[test]
    fn a_rate_at_which_a_backlog_grows_is_not_sustained() {
        let judged = judge(&repeats(&[99.0, 99.0, 99.0], true), 3, Some(100.0), 0.25);
        assert_eq!(judged.check.outcome, Outcome::Failed);
    }

    #[test]
    fn no_objective_no_check() {
        assert_eq!(judge(&repeats(&[1.0], false), 3, None, 0.25).check.outcome, Outcome::Skipped);
    }
}
