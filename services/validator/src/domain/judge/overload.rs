//! Under more load than it can take, the revision refuses politely and recovers.

use super::{Judged, float, listed, names::OVERLOAD};
use slipway_kernel::{Finding, FindingKind};

/// How requests fared while something was done to the revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manners {
    /// Requests sent.
    pub sent: u64,
    /// Requests answered.
    pub ok: u64,
    /// Requests refused with 429, 503 or 504.
    pub refused: u64,
    /// Of these, 429 and 503 without `Retry-After`.
    pub without_retry_after: u64,
    /// Requests that fared otherwise, by class.
    pub rude: Vec<(String, u64)>,
}

impl Manners {
    /// Requests that were neither answered nor refused politely.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.rude.iter().map(|(_, count)| count).sum()
    }

    pub(super) fn complaints(&self) -> String {
        let mut complaints = Vec::new();
        if self.lost() > 0 {
            complaints.push(format!(
                "{} of {} requests were not refused politely ({})",
                self.lost(),
                self.sent,
                listed(&self.rude)
            ));
        }
        if self.without_retry_after > 0 {
            complaints.push(format!("{} of {} refusals have no Retry-After", self.without_retry_after, self.refused));
        }
        complaints.join("; ")
    }
}

/// What the overload showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Overloaded {
    /// Requests a second that were sent.
    pub rate: f64,
    /// Requests a second that were answered before.
    pub capability: f64,
    /// How the requests fared.
    pub manners: Manners,
    /// How long after the overload requests were answered again, in milliseconds; `None` if not within the bound.
    pub recovered_ms: Option<f64>,
    /// The bound, in milliseconds.
    pub bound_ms: f64,
}

/// The check.
#[must_use]
pub fn judge(overloaded: &Overloaded) -> Judged {
    let Overloaded { rate, capability, manners, recovered_ms, bound_ms } = overloaded;
    if manners.sent == 0 {
        return Judged::inconclusive(OVERLOAD, "no request was sent");
    }
    let complaints = manners.complaints();
    if !complaints.is_empty() {
        let message = format!("at {rate:.0} requests/s: {complaints}");
        let rude = float(manners.lost() + manners.without_retry_after);
        let finding = Finding::deterministic(FindingKind::Overload, message).with_figures(rude, 0.0, "count");
        return Judged::failed(OVERLOAD, finding);
    }
    let Some(recovered_ms) = recovered_ms else {
        let message = format!("after {rate:.0} requests/s it did not answer again within {bound_ms:.0} ms");
        let finding = Finding::deterministic(FindingKind::Overload, message).with_figures(*bound_ms, *bound_ms, "ms");
        return Judged::failed(OVERLOAD, finding);
    };
    let how = if manners.refused == 0 {
        "all answered: what the generator could send was no overload".to_owned()
    } else {
        format!("{} answered, {} refused politely", manners.ok, manners.refused)
    };
    let detail = format!(
        "{} requests at {rate:.0}/s (it answers about {capability:.0}/s): {how}; answering again after {recovered_ms:.0} ms",
        manners.sent
    );
    Judged::passed(OVERLOAD, detail).measured(*recovered_ms, Some(*bound_ms), "ms")
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Outcome;

    fn overloaded(manners: Manners, recovered_ms: Option<f64>) -> Judged {
        judge(&Overloaded { rate: 1_000.0, capability: 200.0, manners, recovered_ms, bound_ms: 5_000.0 })
    }

    fn polite() -> Manners {
        Manners { sent: 500, ok: 100, refused: 400, without_retry_after: 0, rude: Vec::new() }
    }

    #[test]
    fn refusing_politely_and_recovering_passes() {
        assert_eq!(overloaded(polite(), Some(40.0)).check.outcome, Outcome::Passed);
        let unimpressed = Manners { sent: 500, ok: 500, ..Manners::default() };
        assert_eq!(overloaded(unimpressed, Some(1.0)).check.outcome, Outcome::Passed);
    }

    #[test]
    fn any_other_answer_any_refusal_without_advice_and_no_recovery_are_findings() {
        let rude = Manners { rude: vec![("status-500".into(), 1)], ..polite() };
        let terse = Manners { without_retry_after: 3, ..polite() };
        for judged in [overloaded(rude, Some(1.0)), overloaded(terse, Some(1.0)), overloaded(polite(), None)] {
            assert_eq!(judged.findings[0].kind, FindingKind::Overload, "{}", judged.check.detail);
        }
    }
}
