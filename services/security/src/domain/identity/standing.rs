//! Whether a revision lives: whether workers of it may still speak for it.

use super::{Claim, Denial, Grant, Reason, Verdict};
use slipway_kernel::{Deployment, RevisionId};

/// Whether a revision lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It serves, may serve again, or is about to be proved.
    Live,
    /// The log, as far as it was read here, does not know it.
    Unknown,
    /// It is not to be served any more, and why.
    Over(&'static str),
}

/// Whether `revision` lives, as the log tells it.
#[must_use]
pub fn standing(deployment: Option<&Deployment>, revision: RevisionId) -> Standing {
    let Some(deployment) = deployment else { return Standing::Unknown };
    let Some(generation) = deployment.generations.get(&revision.generation) else { return Standing::Unknown };
    let Some(state) = deployment.revision(revision).filter(|state| state.planned().is_some()) else {
        return Standing::Unknown;
    };
    if state.is_rolled_back() {
        return Standing::Over("the revision was taken back");
    }
    if deployment.is_retiring(revision.generation) {
        return Standing::Over("the deployment is being retired");
    }
    // What was good is kept warm through its successor's watch and may be gone back to, though its generation has ended.
    if deployment.serving() == Some(revision) || state.is_good() {
        return Standing::Live;
    }
    if generation.is_terminal() {
        return Standing::Over("the generation has ended");
    }
    match generation.latest() {
        Some(latest) if latest.id == revision => Standing::Live,
        _ => Standing::Over("a later revision has taken its place"),
    }
}

/// What the standing of its revision makes of a request that is in order.
pub(super) fn weigh(grant: Grant, claim: Claim) -> Verdict {
    let id = &grant.id;
    match claim {
        Claim { standing: Standing::Over(why), .. } => {
            Verdict::Refuse(Denial::new(Reason::RevisionOver, format!("{id}: {why}")))
        }
        Claim { standing: Standing::Unknown, .. } => {
            Verdict::NotYet(Denial::new(Reason::NoSuchRevision, format!("{id}: no such revision is planned")))
        }
        Claim { standing: Standing::Live, registered: false } => {
            let detail = format!("the instance is not registered among {id}");
            Verdict::NotYet(Denial::new(Reason::NotRegistered, detail))
        }
        Claim { standing: Standing::Live, registered: true } => Verdict::Grant(grant),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::History;

    fn of(history: &History, generation: u32, revision: u32) -> Standing {
        standing(Some(&history.fold()), RevisionId::new(generation, revision))
    }

    const OVER: fn(Standing) -> bool = |standing| matches!(standing, Standing::Over(_));

    #[test]
    fn what_is_not_planned_is_unknown() {
        let history = History::new().requested(1);
        assert_eq!(standing(None, RevisionId::new(1, 1)), Standing::Unknown);
        assert_eq!(of(&history, 1, 1), Standing::Unknown);
        assert_eq!(of(&history, 2, 1), Standing::Unknown);
    }

    #[test]
    fn a_planned_revision_lives_until_a_later_one_takes_its_place() {
        let history = History::new().requested(1).planned(1, 1);
        assert_eq!(of(&history, 1, 1), Standing::Live);
        let revised = history.deployed(1, 1).planned(1, 2);
        assert!(OVER(of(&revised, 1, 1)));
        assert_eq!(of(&revised, 1, 2), Standing::Live);
    }

    #[test]
    fn a_good_revision_lives_through_its_successor_and_is_over_when_taken_back() {
        let good = History::new().requested(1).planned(1, 1).deployed(1, 1).validated(1, 1).released(1, 1);
        let beside = good.requested(2).planned(2, 1);
        assert_eq!(of(&beside, 1, 1), Standing::Live);
        let over = beside.deployed(2, 1).validated(2, 1).released(2, 1).superseded(1);
        assert_eq!(of(&over, 1, 1), Standing::Live);
        let back = over.rolled_back((2, 1), (1, 1));
        assert_eq!(of(&back, 1, 1), Standing::Live);
        assert!(OVER(of(&back, 2, 1)));
    }

    #[test]
    fn nobody_speaks_for_what_is_retired_or_abandoned() {
        let history = History::new().requested(1).planned(1, 1).deployed(1, 1);
        assert!(OVER(of(&history.clone().abandoned(1), 1, 1)));
        assert!(OVER(of(&history.validated(1, 1).released(1, 1).retire_requested(1), 1, 1)));
    }
}
