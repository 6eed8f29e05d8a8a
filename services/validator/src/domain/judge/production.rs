//! The revision that has the traffic comes first: when it burns its budget, the proof stops and says nothing.

use super::{Judged, names::PRODUCTION};
use crate::domain::burn::Burn;
use slipway_kernel::RevisionId;

/// What was seen of the live revision.
#[derive(Clone, Debug, PartialEq)]
pub enum Watched {
    /// No other revision has traffic.
    Nobody,
    /// Its figures could not be had: why.
    Unseen(String),
    /// It kept its objectives.
    Kept(RevisionId),
    /// It did not, and the proof was stopped.
    Burnt(RevisionId, Burn),
}

/// The check.
#[must_use]
pub fn judge(watched: &Watched) -> Judged {
    match watched {
        Watched::Nobody => Judged::skipped(PRODUCTION, "no other revision has traffic that the proof could hurt"),
        Watched::Unseen(reason) => {
            Judged::skipped(PRODUCTION, format!("the live revision could not be watched: {reason}"))
        }
        Watched::Kept(revision) => {
            Judged::passed(PRODUCTION, format!("revision {revision} kept its objectives beside the proof"))
        }
        Watched::Burnt(revision, burn) => {
            let detail = format!(
                "stopped: revision {revision}, which has the traffic, burnt its budget of {} {:.0} times too fast ({} of {} requests) beside the proof",
                burn.objective, burn.rate, burn.bad, burn.requests
            );
            Judged::inconclusive(PRODUCTION, detail).measured(burn.rate, Some(1.0), "ratio")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Outcome;

    #[test]
    fn a_live_revision_that_suffers_makes_the_proof_inconclusive() {
        let live = RevisionId::new(1, 1);
        let burn = Burn { objective: "availability", rate: 20.0, bad: 20, requests: 1_000 };
        assert_eq!(judge(&Watched::Burnt(live, burn)).check.outcome, Outcome::Inconclusive);
        assert_eq!(judge(&Watched::Kept(live)).check.outcome, Outcome::Passed);
        assert_eq!(judge(&Watched::Nobody).check.outcome, Outcome::Skipped);
        assert_eq!(judge(&Watched::Unseen("no metrics".into())).check.outcome, Outcome::Skipped);
    }
}
