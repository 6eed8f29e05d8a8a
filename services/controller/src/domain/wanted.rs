//! Which revisions must have workers now.
//!
//! - the candidate, from its plan on until it failed or was released;
//! - the revision that has the traffic;
//! - the last good one before it, while the release is watched: warm, so that the traffic can return at once;
//! - the one that a person demands to go back to.
//!
//! Whoever is not here has no workers.

use super::standing::{Standing, demanded_rollback, standing};
use slipway_kernel::{Answer, BlobReference, Deployment, Plan, RevisionId, RevisionState, Slot, Timestamp};
use std::collections::BTreeMap;

/// A revision that must have workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which revision.
    pub revision: RevisionId,
    /// How.
    pub plan: Plan,
    /// Which try: another one means other processes.
    pub attempt: u32,
    /// What was rendered for it.
    pub manifests: Option<BlobReference>,
}

/// Who must have workers now, and when that changes by time alone.
#[must_use]
pub fn wanted(deployment: &Deployment, now: Timestamp) -> (Vec<Wanted>, Option<Timestamp>) {
    let mut set = Set { revisions: BTreeMap::new(), changes_at: None };
    candidate(deployment, now, &mut set);
    if let Some(serving) = deployment.serving() {
        set.add(deployment, serving);
        let released = deployment.revision(serving).and_then(|revision| revision.fact(Slot::Release));
        let watch = deployment.generations.get(&serving.generation).map(|g| g.spec().rollout.watch.0);
        if let (Some(released), Some(watch), Some(good)) = (released, watch, deployment.last_good_before(serving)) {
            let until = released.at.after(watch);
            if now < until {
                set.add(deployment, good);
                set.at(until);
            }
        }
    }
    if let Some((_, to, _)) = demanded_rollback(deployment) {
        set.add(deployment, to);
    }
    (set.revisions.into_values().collect(), set.changes_at)
}

struct Set {
    revisions: BTreeMap<RevisionId, Wanted>,
    changes_at: Option<Timestamp>,
}

impl Set {
    fn add(&mut self, deployment: &Deployment, id: RevisionId) {
        let Some(revision) = deployment.revision(id) else { return };
        let Some(planned) = revision.planned() else { return };
        let wanted = Wanted {
            revision: id,
            plan: planned.plan.clone(),
            attempt: failed_tries(revision),
            manifests: planned.manifests.clone(),
        };
        self.revisions.insert(id, wanted);
    }

    fn at(&mut self, time: Timestamp) {
        self.changes_at = Some(self.changes_at.map_or(time, |known| known.min(time)));
    }
}

fn failed_tries(revision: &RevisionState) -> u32 {
    let failed = revision.attempts(Slot::Deployment).iter().filter(|f| matches!(f.answer, Answer::DeployFailed(_)));
    u32::try_from(failed.count()).unwrap_or(u32::MAX)
}

fn candidate(deployment: &Deployment, now: Timestamp, set: &mut Set) {
    let Some(candidate) = deployment.candidate() else { return };
    let Some(generation) = deployment.generations.get(&candidate.id.generation) else { return };
    match standing(generation) {
        Standing::Deploying { revision, since, .. } if now < since => {
            // After a failure its workers stay away until the next try.
            debug_assert_eq!(revision, candidate.id);
            set.at(since);
        }
        Standing::Deploying { revision, .. }
        | Standing::Proving { revision, .. }
        | Standing::RollingOut { revision, .. } => set.add(deployment, revision),
        Standing::Choosing { .. }
        | Standing::AwaitingApproval { .. }
        | Standing::Provisioning { .. }
        | Standing::SelectingPlatform { .. }
        | Standing::FailedEarly { .. }
        | Standing::Unplanned
        | Standing::Failed { .. }
        | Standing::Released { .. }
        | Standing::Degraded { .. }
        | Standing::SettledBack => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scenario::Scenario;

    fn ids(scenario: &Scenario, now: u64) -> (Vec<String>, Option<u64>) {
        let (wanted, at) = wanted(&scenario.fold(), Timestamp(now));
        let names = wanted.iter().map(|w| format!("{}/{}", w.revision, w.attempt)).collect();
        (names, at.map(|at| at.0))
    }

    #[test]
    fn a_candidate_has_workers_from_its_plan_until_it_failed() {
        let mut scenario = Scenario::new();
        scenario.at(1_000).ready(1).planned(1, 1);
        assert_eq!(ids(&scenario, 1_000).0, ["1-1/0"]);
        scenario.deployed(1, 1).validation_failed(1, 1);
        assert_eq!(ids(&scenario, 1_000).0, [""; 0]);
    }

    #[test]
    fn after_a_failure_that_may_pass_the_next_try_has_other_workers() {
        let mut scenario = Scenario::new();
        scenario.at(1_000).ready(1).planned(1, 1).deploy_failed_transiently(1, 1);
        assert_eq!(ids(&scenario, 1_500), (vec![], Some(2_000)));
        assert_eq!(ids(&scenario, 2_000), (vec!["1-1/1".to_owned()], None));
    }

    #[test]
    fn the_last_good_one_stays_warm_until_its_successor_was_watched() {
        let mut scenario = Scenario::new();
        scenario.at(1_000).released(1, 1).at(5_000).released(2, 1);
        assert_eq!(ids(&scenario, 5_000), (vec!["1-1/0".to_owned(), "2-1/0".to_owned()], Some(605_000)));
        assert_eq!(ids(&scenario, 605_000), (vec!["2-1/0".to_owned()], None));
    }

    #[test]
    fn who_was_taken_back_has_none_and_who_serves_again_has() {
        let mut scenario = Scenario::new();
        scenario.released(1, 1).released(2, 1).rolled_back(2, 1, RevisionId::new(1, 1));
        assert_eq!(ids(&scenario, 0).0, ["1-1/0"]);
    }

    #[test]
    fn whom_a_person_demands_is_started_before_it_gets_the_traffic() {
        let mut scenario = Scenario::new();
        scenario.at(1_000).released(1, 1).released(2, 1).at(900_000).rollback_requested(2);
        assert_eq!(ids(&scenario, 900_000).0, ["1-1/0", "2-1/0"]);
    }

    #[test]
    fn what_retires_has_none() {
        let mut scenario = Scenario::new();
        scenario.released(1, 1).retire_requested(1);
        assert_eq!(ids(&scenario, 0), (vec![], None));
    }
}
