//! The objective on availability: how many requests under load failed, against how many may.
//!
//! A few seconds of load cannot prove 99.9 %. So no failure passes; more failures than chance explains at the promised rate
//! fail; between them more load may tell.

use super::{Judged, float, listed, load::Repeat, names::ERRORS};
use slipway_kernel::{Finding, FindingKind};
use std::collections::BTreeMap;

/// How unlikely the failures must be at the promised rate before it counts as broken: once in a hundred validations of a
/// revision that is just good enough.
const UNLIKELY: f64 = 0.01;

/// What the failures say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// No more than promised.
    Kept,
    /// More than chance explains.
    Broken,
    /// More than promised, but so few requests that chance explains it.
    Unclear,
}

/// Compares `failed` of `due` requests with the promise. Availability in percent.
#[must_use]
pub fn rate(failed: u64, due: u64, availability: f64) -> Rate {
    let expected = float(due) * (100.0 - availability) / 100.0;
    if float(failed) <= expected {
        Rate::Kept
    } else if at_least(failed, expected) < UNLIKELY {
        Rate::Broken
    } else {
        Rate::Unclear
    }
}

/// How likely `count` or more failures are where `expected` are expected: the Poisson tail, which is the limit of the
/// binomial for rare failures and the more cautious of the two for frequent ones.
fn at_least(count: u64, expected: f64) -> f64 {
    let mut term = (-expected).exp();
    let mut below = 0.0;
    for n in 0..count {
        below += term;
        term *= expected / float(n + 1);
        // Past the expectation the terms only fall; what is left of them is not seen any more.
        if term < 1e-300 && float(n) > expected {
            break;
        }
    }
    // For an expectation so great that its exponential is 0, failures beyond it are beyond chance.
    if below == 0.0 && count > 0 { 0.0 } else { (1.0 - below).max(0.0) }
}

/// What the repeats say so far.
#[must_use]
pub fn decision(repeats: &[Repeat], availability: f64) -> Rate {
    let (failed, due) = totals(repeats);
    rate(failed, due, availability)
}

fn totals(repeats: &[Repeat]) -> (u64, u64) {
    let failed = repeats.iter().map(Repeat::failed).sum();
    (failed, repeats.iter().map(|repeat| repeat.sent + repeat.shed).sum())
}

/// The check. Availability in percent.
#[must_use]
pub fn judge(repeats: &[Repeat], availability: f64, limit: f64) -> Judged {
    let (failed, due) = totals(repeats);
    if due == 0 {
        return Judged::inconclusive(ERRORS, "no request was sent under load");
    }
    let (measured, wanted) = (float(failed) / float(due), (100.0 - availability) / 100.0);
    let counted = counted(repeats);
    let classes = if counted.is_empty() { String::new() } else { format!(" ({})", listed(&counted)) };
    let figures = |judged: Judged| judged.measured(measured, Some(wanted), "ratio");
    match rate(failed, due, availability) {
        Rate::Kept => figures(Judged::passed(ERRORS, format!("{failed} of {due} requests failed{classes}"))),
        Rate::Unclear => {
            let detail = format!(
                "{failed} of {due} requests failed{classes}: more than {availability} % allows, and still chance"
            );
            figures(Judged::inconclusive(ERRORS, detail))
        }
        Rate::Broken if repeats.iter().all(|repeat| repeat.failed() == 0 || repeat.explains_failures(limit)) => {
            let detail = format!("{failed} of {due} requests failed{classes}, only while others kept the machine busy");
            figures(Judged::inconclusive(ERRORS, detail))
        }
        Rate::Broken => {
            let message =
                format!("{failed} of {due} requests failed under load{classes}; {availability} % must be answered");
            let finding = Finding::deterministic(FindingKind::ErrorRate, message)
                .with_figures(measured, wanted, "ratio")
                .with_evidence("spec.slo.availability");
            // By these the loop tells a full queue from all else.
            let by_class =
                |finding: Finding, (class, _): &(String, u64)| finding.with_evidence(format!("failures:{class}"));
            Judged::failed(ERRORS, counted.iter().fold(finding, by_class))
        }
    }
}

/// How often what failed.
fn counted(repeats: &[Repeat]) -> Vec<(String, u64)> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (class, count) in repeats.iter().flat_map(|repeat| &repeat.failures) {
        *sums.entry(class).or_default() += count;
    }
    let shed: u64 = repeats.iter().map(|repeat| repeat.shed).sum();
    if shed > 0 {
        sums.insert("not sent because too many waited", shed);
    }
    sums.into_iter().map(|(class, count)| (class.to_owned(), count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use slipway_kernel::Outcome;

    fn repeat(sent: u64, failed: u64) -> Repeat {
        let failures = if failed > 0 { vec![("status-503".to_owned(), failed)] } else { Vec::new() };
        Repeat { sent, ok: sent - failed, failures, ..Repeat::default() }
    }

    #[test]
    fn no_failure_passes_one_in_150_is_chance_and_ten_are_not() {
        let judge = |failed| judge(&[repeat(150, failed)], 99.9, 0.25);
        assert_eq!(judge(0).check.outcome, Outcome::Passed);
        assert_eq!(judge(1).check.outcome, Outcome::Inconclusive);
        let broken = judge(10);
        assert_eq!((broken.check.outcome, broken.findings[0].kind), (Outcome::Failed, FindingKind::ErrorRate));
        assert!(broken.check.detail.contains("10 status-503"), "{}", broken.check.detail);
    }

    #[test]
    fn a_low_promise_allows_many_failures() {
        assert_eq!(rate(50, 1_000, 95.0), Rate::Kept);
        assert_eq!(rate(55, 1_000, 95.0), Rate::Unclear);
        assert_eq!(rate(100, 1_000, 95.0), Rate::Broken);
        assert_eq!(rate(900_000, 1_000_000, 50.0), Rate::Broken);
        assert_eq!(rate(1_000, 1_000, 0.0), Rate::Kept);
    }

    #[test]
    fn requests_that_could_not_be_sent_are_failures() {
        let mut overrun = repeat(100, 0);
        overrun.shed = 50;
        assert_eq!(judge(&[overrun], 99.9, 0.25).check.outcome, Outcome::Failed);
    }

    #[test]
    fn failures_only_while_others_kept_the_machine_busy_are_inconclusive() {
        let mut busy = repeat(100, 20);
        busy.foreign = Some(0.9);
        assert_eq!(judge(&[busy.clone(), repeat(100, 0)], 99.9, 0.25).check.outcome, Outcome::Inconclusive);
        assert_eq!(judge(&[busy, repeat(100, 5)], 99.9, 0.25).check.outcome, Outcome::Failed);
    }

    #[test]
    fn the_tail_is_that_of_the_poisson_distribution() {
        assert!((at_least(0, 2.0) - 1.0).abs() < 1e-12);
        assert!((at_least(1, 0.15) - 0.139_292).abs() < 1e-6);
        assert!((at_least(2, 0.15) - 0.010_186).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn more_failures_never_look_better(failed in 0u64..500, due in 500u64..5_000, availability in 50.0f64..99.99) {
            let worse = |rate| match rate { Rate::Kept => 0, Rate::Unclear => 1, Rate::Broken => 2 };
            prop_assert!(worse(rate(failed + 1, due, availability)) >= worse(rate(failed, due, availability)));
        }
    }
}
