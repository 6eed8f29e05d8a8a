//! The sum of the checks.

use slipway_kernel::{Check, Outcome};
use std::fmt;

/// What the checks say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is what was asked for.
    Validated,
    /// It is not.
    Failed,
    /// It could not be told.
    Inconclusive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validated => "validated",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// One check that failed decides; without one, one that could not be told leaves all untold. Nothing is validated by checks
/// that were skipped: at least one must have passed.
#[must_use]
pub fn verdict(checks: &[Check]) -> Verdict {
    let any = |outcome| checks.iter().any(|check| check.outcome == outcome);
    if any(Outcome::Failed) {
        Verdict::Failed
    } else if any(Outcome::Inconclusive) || !any(Outcome::Passed) {
        Verdict::Inconclusive
    } else {
        Verdict::Validated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(outcome: Outcome) -> Check {
        Check {
            name: "c".into(),
            outcome,
            detail: String::new(),
            measured: None,
            wanted: None,
            noise: None,
            unit: String::new(),
        }
    }

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![Just(Outcome::Passed), Just(Outcome::Failed), Just(Outcome::Inconclusive), Just(Outcome::Skipped)]
    }

    #[test]
    fn nothing_measured_is_nothing_proved() {
        assert_eq!(verdict(&[]), Verdict::Inconclusive);
        assert_eq!(verdict(&[check(Outcome::Skipped)]), Verdict::Inconclusive);
        assert_eq!(verdict(&[check(Outcome::Skipped), check(Outcome::Passed)]), Verdict::Validated);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_failed_check_is_never_validated(outcomes in proptest::collection::vec(outcome(), 0..12), at in 0usize..12) {
            let mut checks: Vec<Check> = outcomes.into_iter().map(check).collect();
            checks.insert(at.min(checks.len()), check(Outcome::Failed));
            prop_assert_eq!(verdict(&checks), Verdict::Failed);
        }

        #[test]
        fn an_untold_check_is_never_validated(outcomes in proptest::collection::vec(outcome(), 0..12)) {
            let mut checks: Vec<Check> = outcomes.into_iter().map(check).collect();
            checks.push(check(Outcome::Inconclusive));
            prop_assert_ne!(verdict(&checks), Verdict::Validated);
        }

        #[test]
        fn the_order_of_the_checks_does_not_matter(outcomes in proptest::collection::vec(outcome(), 0..12)) {
            let checks: Vec<Check> = outcomes.into_iter().map(check).collect();
            let reversed: Vec<Check> = checks.iter().rev().cloned().collect();
            prop_assert_eq!(verdict(&checks), verdict(&reversed));
        }

        #[test]
        fn one_more_check_never_makes_a_verdict_better_than_that_check(
            outcomes in proptest::collection::vec(outcome(), 1..12), extra in outcome(),
        ) {
            let checks: Vec<Check> = outcomes.into_iter().map(check).collect();
            let mut more = checks.clone();
            more.push(check(extra));
            if verdict(&checks) == Verdict::Failed {
                prop_assert_eq!(verdict(&more), Verdict::Failed);
            }
        }
    }
}
