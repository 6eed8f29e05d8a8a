//! The same row must have the same answer under load as in quiet: a batcher that mixes rows up shows nowhere else.

use super::{Judged, float, names::STEADY_OUTPUTS};
use slipway_kernel::{Finding, FindingKind};

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steadiness {
    /// Answers under load that were compared with the quiet one.
    pub compared: u64,
    /// Of these, answers that say something else.
    pub differing: u64,
}

/// The check.
#[must_use]
pub fn judge(steadiness: Steadiness) -> Judged {
    let Steadiness { compared, differing } = steadiness;
    if compared == 0 {
        return Judged::inconclusive(STEADY_OUTPUTS, "no answer under load could be compared with a quiet one");
    }
    if differing == 0 {
        let detail = format!("{compared} answers under load are the quiet ones");
        return Judged::passed(STEADY_OUTPUTS, detail).measured(0.0, Some(0.0), "count");
    }
    let message = format!("{differing} of {compared} answers under load are not what the same rows give in quiet");
    let finding = Finding::deterministic(FindingKind::OutputMismatch, message)
        .with_figures(float(differing), 0.0, "count")
        .with_evidence("spec.validation.tolerance");
    Judged::failed(STEADY_OUTPUTS, finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Outcome;

    #[test]
    fn one_answer_that_changes_under_load_fails_it() {
        assert_eq!(judge(Steadiness { compared: 100, differing: 0 }).check.outcome, Outcome::Passed);
        let judged = judge(Steadiness { compared: 100, differing: 1 });
        assert_eq!(judged.findings[0].kind, FindingKind::OutputMismatch);
        assert_eq!(judge(Steadiness::default()).check.outcome, Outcome::Inconclusive);
    }
}
