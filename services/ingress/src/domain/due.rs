//! What the door of a deployment needs.

use slipway_kernel::{Answer, Attempt, Deployment, Generation, RevisionId, Service, Slot, Timestamp};
use std::time::Duration;

/// How often a transient failure is tried again before the next decider takes it as it is.
const MAX_ATTEMPTS: u32 = 3;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Open the door to a revision for marked traffic, prove it, answer `ingress`.
    Open {
        /// Which revision.
        revision: RevisionId,
        /// Which try.
        attempt: Attempt,
    },
    /// Forget the routes of a retired deployment, answer `removal-ingress`.
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
    let attempts = candidate.attempts(Slot::Ingress);
    if let Some(last) = attempts.last() {
        if !last.answer.failed_transiently() || attempts.next().0 >= MAX_ATTEMPTS {
            return Ok(None);
        }
        pause(last.at, attempts.next(), now)?;
    }
    Ok(Some(Duty::Open { revision: candidate.id, attempt: attempts.next() }))
}

fn removal(deployment: &Deployment, now: Timestamp) -> Result<Option<Duty>, Timestamp> {
    let Some(generation) = deployment.retiring() else { return Ok(None) };
    let Some(state) = deployment.generations.get(&generation) else { return Ok(None) };
    // A superseded or abandoned generation may still be retired; a retired or archived one is done with.
    let done = state.ended().is_some_and(|end| matches!(end, Answer::Retired(_) | Answer::Archived(_)));
    let attempts = state.attempts(Slot::Removal(Service::Ingress));
    if done {
        return Ok(None);
    }
    if let Some(last) = attempts.last() {
        if !last.answer.failed_transiently() {
            return Ok(None);
        }
        pause(last.at, attempts.next(), now)?;
    }
    Ok(Some(Duty::Remove { generation, attempt: attempts.next() }))
}

/// The nth try waits 1, 2, 4… seconds after the answer before it, at most half a minute.
fn pause(after: Timestamp, attempt: Attempt, now: Timestamp) -> Result<(), Timestamp> {
    let seconds = 1_u64 << attempt.0.saturating_sub(1).min(5);
    let at = after.after(Duration::from_secs(seconds.min(30)));
    if now < at { Err(at) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::build::tests::History;
    use slipway_kernel::{Failed, Finding, FindingKind, Ready, Removed, Revision};

    fn open(attempt: u32) -> Result<Option<Duty>, Timestamp> {
        Ok(Some(Duty::Open { revision: RevisionId::new(1, 1), attempt: Attempt(attempt) }))
    }

    fn failed(finding: Finding) -> Answer {
        Answer::IngressFailed(Failed { findings: vec![finding] })
    }

    fn transient() -> Finding {
        Finding::transient(FindingKind::Timeout, "late")
    }

    #[test]
    fn a_door_is_opened_once_workers_run() {
        let mut history = History::new();
        assert_eq!(due(&history.fold(), Timestamp(0)), Ok(None));
        history.deploy(1, 1);
        assert_eq!(due(&history.fold(), Timestamp(0)), open(0));
        let ready = Answer::IngressReady(Ready { configured: Vec::new(), proofs: Vec::new() });
        history.add(RevisionId::new(1, 1), Slot::Ingress, ready);
        assert_eq!(due(&history.fold(), Timestamp(0)), Ok(None));
    }

    #[test]
    fn a_transient_failure_is_tried_again_after_a_pause_and_only_so_often() {
        let mut history = History::new();
        history.deploy(1, 1);
        history.add(RevisionId::new(1, 1), Slot::Ingress, failed(transient()));
        let at = history.facts.last().unwrap().at;
        let again = at.after(Duration::from_secs(1));
        assert_eq!(due(&history.fold(), at), Err(again));
        assert_eq!(due(&history.fold(), again), open(1));
        for attempt in [1, 2] {
            history.add_attempt(RevisionId::new(1, 1), Slot::Ingress, attempt, failed(transient()));
        }
        assert_eq!(due(&history.fold(), Timestamp(u64::MAX)), Ok(None));
    }

    #[test]
    fn a_deterministic_failure_is_for_the_controller() {
        let mut history = History::new();
        history.deploy(1, 1);
        let finding = Finding::deterministic(FindingKind::Misconfigured, "no such file");
        history.add(RevisionId::new(1, 1), Slot::Ingress, failed(finding));
        assert_eq!(due(&history.fold(), Timestamp(u64::MAX)), Ok(None));
    }

    #[test]
    fn a_revision_that_was_released_or_taken_back_needs_nothing() {
        let mut history = History::new();
        history.release(1, 1);
        assert_eq!(due(&history.fold(), Timestamp(0)), Ok(None));
        history.deploy(2, 1);
        history.roll_back(RevisionId::new(2, 1), RevisionId::new(1, 1));
        assert_eq!(due(&history.fold(), Timestamp(0)), Ok(None));
    }

    #[test]
    fn retirement_comes_first_and_is_answered_once() {
        let mut history = History::new();
        history.deploy(1, 1);
        history.retire(1);
        let remove = Duty::Remove { generation: Generation(1), attempt: Attempt(0) };
        assert_eq!(due(&history.fold(), Timestamp(0)), Ok(Some(remove)));
        let at = RevisionId { generation: Generation(1), revision: Revision(0) };
        history.add(at, Slot::Removal(Service::Ingress), Answer::Removed(Removed { items: Vec::new() }));
        assert_eq!(due(&history.fold(), Timestamp(0)), Ok(None));
    }
}
