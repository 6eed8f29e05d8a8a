//! Nobody without the right comes in, in quiet and under load.

use super::{Judged, float, names::AUTHENTICATION};
use slipway_kernel::{Finding, FindingKind};

/// How a stranger was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Kept out: 401 or 403.
    KeptOut,
    /// Served: the status.
    LetIn(u16),
    /// Turned away for another reason (busy, unreachable), or answered in a way that says nothing.
    Unclear(String),
}

/// One kind of stranger and how often it was treated how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stranger {
    /// Who: `no credential`, `a JWT with alg none`…
    pub who: String,
    /// Times it was kept out.
    pub kept_out: u64,
    /// Times it was let in, and with what status last.
    pub let_in: u64,
    /// Status of the last time it was let in.
    pub status: u16,
    /// What was said when it was neither.
    pub unclear: Option<String>,
}

impl Stranger {
    /// Nobody yet.
    #[must_use]
    pub fn new(who: &str) -> Self {
        Self { who: who.to_owned(), ..Self::default() }
    }

    /// Counts one more try.
    pub fn count(&mut self, treatment: Treatment) {
        match treatment {
            Treatment::KeptOut => self.kept_out += 1,
            Treatment::LetIn(status) => {
                self.let_in += 1;
                self.status = status;
            }
            Treatment::Unclear(said) => self.unclear = Some(said),
        }
    }
}

/// The check. One stranger let in once is a hole; one that was never clearly kept out leaves it open.
#[must_use]
pub fn judge(strangers: &[Stranger]) -> Judged {
    let tries: u64 = strangers.iter().map(|stranger| stranger.kept_out + stranger.let_in).sum();
    let holes: Vec<&Stranger> = strangers.iter().filter(|stranger| stranger.let_in > 0).collect();
    if let Some(first) = holes.first() {
        let who: Vec<&str> = holes.iter().map(|stranger| stranger.who.as_str()).collect();
        let let_in: u64 = holes.iter().map(|stranger| stranger.let_in).sum();
        let message =
            format!("strangers were let in {let_in} of {tries} times (status {}): {}", first.status, who.join(", "));
        let mut finding =
            Finding::deterministic(FindingKind::AuthHole, message).with_figures(float(let_in), 0.0, "count");
        for stranger in holes {
            finding = finding.with_evidence(format!("{} answered with {}", stranger.who, stranger.status));
        }
        return Judged::failed(AUTHENTICATION, finding.with_evidence("spec.access"));
    }
    let unclear: Vec<String> = strangers
        .iter()
        .filter(|stranger| stranger.kept_out == 0)
        .map(|stranger| format!("{} ({})", stranger.who, stranger.unclear.as_deref().unwrap_or("not tried")))
        .collect();
    if !unclear.is_empty() || strangers.is_empty() {
        let detail = format!("not clearly kept out: {}", unclear.join(", "));
        return Judged::inconclusive(AUTHENTICATION, detail);
    }
    let detail = format!("{} kinds of stranger were kept out in all of {tries} tries", strangers.len());
    Judged::passed(AUTHENTICATION, detail).measured(0.0, Some(0.0), "count")
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Outcome;

    fn stranger(treatments: &[Treatment]) -> Stranger {
        let mut stranger = Stranger::new("no credential");
        treatments.iter().cloned().for_each(|treatment| stranger.count(treatment));
        stranger
    }

    #[test]
    fn one_stranger_let_in_once_is_a_hole() {
        let kept = || stranger(&[Treatment::KeptOut, Treatment::KeptOut]);
        assert_eq!(judge(&[kept(), kept()]).check.outcome, Outcome::Passed);
        let judged = judge(&[kept(), stranger(&[Treatment::KeptOut, Treatment::LetIn(200)])]);
        assert_eq!(judged.findings[0].kind, FindingKind::AuthHole);
        assert_eq!(judged.findings[0].measured, Some(1.0));
    }

    #[test]
    fn being_turned_away_as_busy_once_proves_nothing_and_spoils_nothing() {
        let busy = Treatment::Unclear("503".into());
        assert_eq!(judge(&[stranger(std::slice::from_ref(&busy))]).check.outcome, Outcome::Inconclusive);
        assert_eq!(judge(&[stranger(&[busy, Treatment::KeptOut])]).check.outcome, Outcome::Passed);
        assert_eq!(judge(&[]).check.outcome, Outcome::Inconclusive);
    }
}
