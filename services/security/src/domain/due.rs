//! What the security of a deployment needs.

use slipway_kernel::{Answer, Attempt, Deployment, Generation, RevisionId, Service, Slot, Timestamp};
use std::time::Duration;

/// How often a transient failure is tried again before the next decider takes it as it is.
const MAX_ATTEMPTS: u32 = 3;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Check the policy and the artifact, make the key, prove that strangers stay outside, answer `security`.
    Secure {
        /// Which revision.
        revision: RevisionId,
        /// Which try.
        attempt: Attempt,
    },
    /// Remove keys, files and identities, answer `removal-security`.
    Remove {
        /// The generation whose retirement was demanded.
        generation: Generation,
        /// Which try.
        attempt: Attempt,
    },
}

/// What is due now, or when to look again.
///
/// # Errors
/// The time at which to look again: the pause after a transient failure is not over.
pub fn due(deployment: &Deployment, now: Timestamp) -> Result<Option<Duty>, Timestamp> {
    if let Some(duty) = removal(deployment, now)? {
        return Ok(Some(duty));
    }
    let Some(candidate) = deployment.candidate().filter(|revision| revision.is_deployed()) else { return Ok(None) };
    let attempts = candidate.attempts(Slot::Security);
    match attempts.last() {
        None => Ok(Some(Duty::Secure { revision: candidate.id, attempt: attempts.next() })),
        Some(last) if last.answer.failed_transiently() && attempts.next().0 < MAX_ATTEMPTS => {
            later(last.at, attempts.next(), now)?;
            Ok(Some(Duty::Secure { revision: candidate.id, attempt: attempts.next() }))
        }
        Some(_) => Ok(None),
    }
}

fn removal(deployment: &Deployment, now: Timestamp) -> Result<Option<Duty>, Timestamp> {
    let Some(generation) = deployment.retiring() else { return Ok(None) };
    let Some(state) = deployment.generations.get(&generation) else { return Ok(None) };
    // A superseded or abandoned generation may still be retired; a retired or archived one is done with.
    let done = state.ended().is_some_and(|end| matches!(end, Answer::Retired(_) | Answer::Archived(_)));
    if done || state.removed(Service::Security) {
        return Ok(None);
    }
    let attempts = state.attempts(Slot::Removal(Service::Security));
    if let Some(last) = attempts.last() {
        if !last.answer.failed_transiently() {
            return Ok(None);
        }
        later(last.at, attempts.next(), now)?;
    }
    Ok(Some(Duty::Remove { generation, attempt: attempts.next() }))
}

/// The nth try waits 1, 2, 4… seconds after the answer before it, at most half a minute.
fn later(after: Timestamp, attempt: Attempt, now: Timestamp) -> Result<(), Timestamp> {
    let pause = Duration::from_secs(1 << attempt.0.saturating_sub(1).min(5)).min(Duration::from_secs(30));
    let at = after.after(pause);
    if now < at { Err(at) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::History;
    use slipway_kernel::{Cause, FindingKind};

    fn secure(generation: u32, revision: u32, attempt: u32) -> Result<Option<Duty>, Timestamp> {
        Ok(Some(Duty::Secure { revision: RevisionId::new(generation, revision), attempt: Attempt(attempt) }))
    }

    fn at(history: &History, now: u64) -> Result<Option<Duty>, Timestamp> {
        due(&history.fold(), Timestamp(now))
    }

    #[test]
    fn nothing_is_due_before_workers_run() {
        let history = History::new();
        assert_eq!(at(&history, 0), Ok(None));
        let history = history.requested(1);
        assert_eq!(at(&history, 0), Ok(None));
        assert_eq!(at(&history.planned(1, 1), 0), Ok(None));
    }

    #[test]
    fn a_deployed_candidate_is_secured_once() {
        let history = History::new().requested(1).planned(1, 1).deployed(1, 1);
        assert_eq!(at(&history, 0), secure(1, 1, 0));
        assert_eq!(at(&history.secured(1, 1), 0), Ok(None));
    }

    #[test]
    fn only_the_newest_revision_of_the_newest_generation_is_secured() {
        let history = History::new().requested(1).planned(1, 1).deployed(1, 1);
        assert_eq!(at(&history.clone().planned(1, 2), 0), Ok(None));
        assert_eq!(at(&history.clone().planned(1, 2).deployed(1, 2), 0), secure(1, 2, 0));
        assert_eq!(at(&history.clone().requested(2), 0), Ok(None));
        assert_eq!(at(&history.released(1, 1), 0), Ok(None));
    }

    #[test]
    fn a_transient_failure_is_tried_three_times_with_growing_pauses_and_a_deterministic_one_never_again() {
        let history = History::new().requested(1).planned(1, 1).deployed(1, 1);
        let once = history.clone().security_failed(1, 1, 0, Cause::Transient, FindingKind::Timeout, 10_000);
        assert_eq!(at(&once, 10_500), Err(Timestamp(11_000)));
        assert_eq!(at(&once, 11_000), secure(1, 1, 1));
        let twice = once.security_failed(1, 1, 1, Cause::Transient, FindingKind::Timeout, 20_000);
        assert_eq!(at(&twice, 20_000), Err(Timestamp(22_000)));
        assert_eq!(at(&twice, 22_000), secure(1, 1, 2));
        let thrice = twice.security_failed(1, 1, 2, Cause::Transient, FindingKind::Timeout, 30_000);
        assert_eq!(at(&thrice, 99_000), Ok(None));
        let hole = history.security_failed(1, 1, 0, Cause::Deterministic, FindingKind::AuthHole, 10_000);
        assert_eq!(at(&hole, 99_000), Ok(None));
    }

    #[test]
    fn a_demand_to_retire_comes_before_everything_and_is_followed_until_it_is_done() {
        let remove = |attempt| Ok(Some(Duty::Remove { generation: Generation(1), attempt: Attempt(attempt) }));
        let history = History::new().requested(1).planned(1, 1).deployed(1, 1).retire_requested(1);
        assert_eq!(at(&history, 0), remove(0));
        let mut failed = history.clone();
        for attempt in 0..6 {
            failed = failed.removal_failed(1, attempt, 1_000);
            assert_eq!(at(&failed, 90_000), remove(attempt + 1));
        }
        assert_eq!(at(&failed, 30_999), Err(Timestamp(31_000)));
        assert_eq!(at(&failed.removed(1, 6), 90_000), Ok(None));
        assert_eq!(at(&history.superseded(1), 0), remove(0));
    }
}
