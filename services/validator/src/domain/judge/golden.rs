//! Golden rows: the share of right labels, and the numbers within their tolerance.

use super::{
    Judged, float,
    names::{GOLDEN_ACCURACY, GOLDEN_OUTPUTS},
};
use crate::domain::golden::RowResult;
use slipway_kernel::{Finding, FindingKind};

/// How one golden row was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// With outputs.
    With(RowResult),
    /// With a refusal or fault that trying again does not change: status and what it said.
    Refused(String),
    /// Not at all: busy, unreachable, not admitted.
    Not(String),
}

/// The two checks. `least` is the share of labels that must be right, `tolerance` the most a number may differ.
#[must_use]
pub fn judge(rows: &[Answered], least: f64, tolerance: f64) -> [Judged; 2] {
    if let Some(reason) = rows.iter().find_map(|row| if let Answered::Not(reason) = row { Some(reason) } else { None })
    {
        let missing = rows.iter().filter(|row| matches!(row, Answered::Not(_))).count();
        let detail = format!("{missing} of {} golden rows were not answered: {reason}", rows.len());
        return [GOLDEN_ACCURACY, GOLDEN_OUTPUTS].map(|name| Judged::inconclusive(name, detail.clone()));
    }
    [accuracy(rows, least), outputs(rows, tolerance)]
}

fn results(rows: &[Answered]) -> impl Iterator<Item = &RowResult> {
    rows.iter().filter_map(|row| if let Answered::With(result) = row { Some(result) } else { None })
}

fn accuracy(rows: &[Answered], least: f64) -> Judged {
    let labelled = results(rows).filter(|result| result.label_right.is_some()).count() as u64;
    let right = results(rows).filter(|result| result.label_right == Some(true)).count() as u64;
    if labelled == 0 {
        return Judged::skipped(
            GOLDEN_ACCURACY,
            "the golden rows expect no label (a whole number, truth value or text)",
        );
    }
    // Rows that were refused are answers that are not right.
    let asked = labelled + rows.iter().filter(|row| matches!(row, Answered::Refused(_))).count() as u64;
    let share = float(right) / float(asked);
    if share >= least {
        let detail = format!("{right} of {asked} golden labels are right, {least} wanted");
        return Judged::passed(GOLDEN_ACCURACY, detail).measured(share, Some(least), "ratio");
    }
    let message = format!("{right} of {asked} golden labels are right ({share:.4}), at least {least} is wanted");
    let finding = Finding::deterministic(FindingKind::OutputMismatch, message)
        .with_figures(share, least, "ratio")
        .with_evidence("spec.validation.minAccuracy");
    Judged::failed(GOLDEN_ACCURACY, finding)
}

fn outputs(rows: &[Answered], tolerance: f64) -> Judged {
    if let Some(reason) = rows.iter().find_map(|row| match row {
        Answered::Refused(reason) => Some(reason.as_str()),
        Answered::With(result) => result.misshapen.as_deref(),
        Answered::Not(_) => None,
    }) {
        let wrong = |row: &&Answered| match row {
            Answered::With(result) => result.misshapen.is_some(),
            _ => true,
        };
        let count = rows.iter().filter(wrong).count() as u64;
        let message = format!("{count} of {} golden rows have no usable answer: {reason}", rows.len());
        let finding = Finding::deterministic(FindingKind::OutputMismatch, message)
            .with_figures(float(count), 0.0, "count")
            .with_evidence("spec.validation.golden");
        return Judged::failed(GOLDEN_OUTPUTS, finding);
    }
    let differences: Vec<f64> = results(rows).filter_map(|result| result.difference).collect();
    if differences.is_empty() {
        return Judged::passed(
            GOLDEN_OUTPUTS,
            format!("{} golden rows answered; no floating-point output is expected", rows.len()),
        );
    }
    // Infinity (an output that is no number) has no JSON.
    let worst = differences.iter().copied().fold(0.0, f64::max).min(f64::MAX);
    let outside = differences.iter().filter(|difference| **difference > tolerance).count();
    if outside == 0 {
        let detail = format!("{} golden rows differ by at most {worst:.2e}, {tolerance:e} allowed", differences.len());
        return Judged::passed(GOLDEN_OUTPUTS, detail).measured(worst, Some(tolerance), "");
    }
    let message = format!(
        "{outside} of {} golden rows differ by more than {tolerance:e}, by up to {worst:.2e}",
        differences.len()
    );
    let finding = Finding::deterministic(FindingKind::OutputMismatch, message)
        .with_figures(worst, tolerance, "")
        .with_evidence("spec.validation.tolerance");
    Judged::failed(GOLDEN_OUTPUTS, finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Outcome::{Failed, Inconclusive, Passed, Skipped};

    fn row(label_right: Option<bool>, difference: Option<f64>) -> Answered {
        Answered::With(RowResult { label_right, difference, misshapen: None })
    }

    fn outcomes(rows: &[Answered]) -> [slipway_kernel::Outcome; 2] {
        judge(rows, 0.9, 1e-3).map(|judged| judged.check.outcome)
    }

    #[test]
    fn labels_count_as_a_share_and_numbers_one_by_one() {
        let mut rows = vec![row(Some(true), Some(1e-6)); 9];
        rows.push(row(Some(false), Some(1e-6)));
        assert_eq!(outcomes(&rows), [Passed, Passed]);
        rows.push(row(Some(false), Some(1e-6)));
        assert_eq!(outcomes(&rows), [Failed, Passed]);
        rows.truncate(9);
        rows.push(row(Some(true), Some(0.2)));
        assert_eq!(outcomes(&rows), [Passed, Failed]);
    }

    #[test]
    fn a_wrong_model_has_output_mismatches_with_figures() {
        let judged = judge(&vec![row(Some(false), Some(0.9)); 10], 0.9, 1e-3);
        for judged in judged {
            assert_eq!(judged.findings[0].kind, FindingKind::OutputMismatch);
            assert!(judged.findings[0].measured.is_some());
        }
    }

    #[test]
    fn a_row_that_was_not_answered_leaves_it_open_and_a_refused_one_does_not() {
        let good = row(Some(true), Some(0.0));
        assert_eq!(outcomes(&[good.clone(), Answered::Not("503".into())]), [Inconclusive, Inconclusive]);
        assert_eq!(outcomes(&[good, Answered::Refused("400: no such input".into())]), [Failed, Failed]);
    }

    #[test]
    fn without_labels_there_is_no_accuracy() {
        assert_eq!(outcomes(&[row(None, Some(0.0))]), [Skipped, Passed]);
        assert_eq!(outcomes(&[row(Some(true), None)]), [Passed, Passed]);
    }

    #[test]
    fn an_output_that_is_no_number_is_reported_with_a_number() {
        let judged = judge(&[row(None, Some(f64::INFINITY))], 0.9, 1e-3);
        assert!(judged[1].is_failed() && judged[1].check.measured.is_some_and(f64::is_finite));
    }
}
