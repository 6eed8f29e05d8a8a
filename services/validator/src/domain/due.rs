//! The join of the four, and when the question `validation` is to be answered.

use slipway_kernel::{
    Answer, Attempt, Deployment, Due, Finding, GenerationState, MAX_TRIES, RevisionId, RevisionState, Slot, Timestamp,
};
use std::time::Duration;

/// How long the four have from `deployed`. The validator owns this deadline: it is the one who waits.
pub const FOUR_DEADLINE: Duration = Duration::from_secs(60);
/// How long they have in a later attempt, after its backoff: most of what they need is there already.
pub const FOUR_GRACE: Duration = Duration::from_secs(20);
/// The most attempts that end without an answer; after them the controller treats the revision as failed.
pub const MAX_ATTEMPTS: u32 = 3;
/// Pauses before the second and the third attempt: long enough for a neighbour's build or a broker's election to pass.
const BACKOFF: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(15)];

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// The four are ready: prove the revision.
    Prove {
        /// Which.
        revision: RevisionId,
        /// The attempt that is answered.
        attempt: Attempt,
    },
    /// One of the four failed for good: so does the validation, with the same findings.
    Refuse {
        /// Which revision.
        revision: RevisionId,
        /// The attempt that is answered.
        attempt: Attempt,
    },
    /// The deadline passed: say who is missing.
    ReportMissing {
        /// Which revision.
        revision: RevisionId,
        /// The attempt that is answered.
        attempt: Attempt,
        /// Who did not answer.
        missing: Vec<Slot>,
    },
}

/// How the four stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Join {
    /// All are ready.
    Ready,
    /// These failed for good.
    Failed(Vec<Slot>),
    /// These have not given their last word.
    Waiting(Vec<Slot>),
}

/// How the four stand. A failure counts at once, whatever the others do, unless the service will try again by itself.
#[must_use]
pub fn join(revision: &RevisionState) -> Join {
    let (mut failed, mut waiting) = (Vec::new(), Vec::new());
    for slot in Slot::PARALLEL {
        match revision.answer(slot) {
            Some(
                Answer::IngressReady(_)
                | Answer::OutputsReady(_)
                | Answer::ObservabilityReady(_)
                | Answer::SecurityReady(_),
            ) => {}
            Some(answer) if answer.failed_transiently() && revision.attempts(slot).next().0 < MAX_TRIES => {
                waiting.push(slot);
            }
            Some(_) => failed.push(slot),
            None => waiting.push(slot),
        }
    }
    if !failed.is_empty() {
        Join::Failed(failed)
    } else if waiting.is_empty() {
        Join::Ready
    } else {
        Join::Waiting(waiting)
    }
}

/// The findings of those of the four that failed.
#[must_use]
pub fn findings_of_the_four(revision: &RevisionState) -> Vec<Finding> {
    let answers = Slot::PARALLEL.into_iter().filter_map(|slot| revision.answer(slot));
    answers.flat_map(|answer| answer.findings().iter().cloned()).collect()
}

/// What is due for the deployment. Only the latest revision of the newest generation is ever proved: an older one is
/// superseded, released or taken back.
#[must_use]
pub fn due(deployment: &Deployment, now: Timestamp) -> Due<Duty> {
    let Some(generation) = deployment.newest() else {
        return Due::Nothing;
    };
    if generation.is_terminal() || deployment.is_retiring(generation.generation) {
        return Due::Nothing;
    }
    let Some(revision) = generation.latest() else {
        return Due::Nothing;
    };
    let Some(deployed) = revision.fact(Slot::Deployment) else {
        return Due::Nothing;
    };
    if !revision.is_deployed() || revision.is_rolled_back() {
        return Due::Nothing;
    }
    match Window::of(generation, revision, deployed.at) {
        None => Due::Nothing,
        Some(window) if now < window.begin => Due::Wait(window.begin),
        Some(window) => within(revision, &window, now),
    }
}

fn within(revision: &RevisionState, window: &Window, now: Timestamp) -> Due<Duty> {
    let attempt = revision.attempts(Slot::Validation).next();
    let revision_id = revision.id;
    match join(revision) {
        Join::Ready => Due::Now(Duty::Prove { revision: revision_id, attempt }),
        Join::Failed(_) => Due::Now(Duty::Refuse { revision: revision_id, attempt }),
        Join::Waiting(_) if now < window.deadline => Due::Wait(window.deadline),
        Join::Waiting(missing) => Due::Now(Duty::ReportMissing { revision: revision_id, attempt, missing }),
    }
}

/// When an attempt may begin, and until when it waits for the four.
struct Window {
    begin: Timestamp,
    deadline: Timestamp,
}

impl Window {
    /// The window of the next attempt; `None` if there is no next one.
    fn of(generation: &GenerationState, revision: &RevisionState, deployed: Timestamp) -> Option<Self> {
        let Some(last) = revision.fact(Slot::Validation) else {
            return Some(Self { begin: deployed, deadline: deployed.after(FOUR_DEADLINE) });
        };
        match &last.answer {
            Answer::ValidationInconclusive(_) => {
                let backoff = BACKOFF.get(inconclusive_in_a_row(revision).checked_sub(1)?)?;
                let begin = last.at.after(*backoff);
                Some(Self { begin, deadline: begin.after(FOUR_GRACE) })
            }
            Answer::Validated(_) if revalidation_is_open(generation) => {
                Some(Self { begin: last.at, deadline: last.at.after(FOUR_DEADLINE) })
            }
            _ => None,
        }
    }
}

fn inconclusive_in_a_row(revision: &RevisionState) -> usize {
    let answers: Vec<bool> = revision
        .attempts(Slot::Validation)
        .iter()
        .map(|fact| matches!(fact.answer, Answer::ValidationInconclusive(_)))
        .collect();
    answers.iter().rev().take_while(|inconclusive| **inconclusive).count()
}

/// Whether a person asked for the proof again and has not got it. Counted and not compared by time, because order in the log
/// is never time: an attempt that follows an answer which is final can only be owed to a command.
fn revalidation_is_open(generation: &GenerationState) -> bool {
    let asked = generation.commands().filter(|fact| matches!(fact.answer, Answer::RevalidationRequested(_))).count();
    let answered: usize = generation.revisions.values().map(attempts_owed_to_a_command).sum();
    asked > answered
}

fn attempts_owed_to_a_command(revision: &RevisionState) -> usize {
    let facts: Vec<_> = revision.attempts(Slot::Validation).iter().collect();
    facts.windows(2).filter(|pair| !matches!(pair[0].answer, Answer::ValidationInconclusive(_))).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{History, inconclusive, validated};
    use slipway_kernel::FindingKind;

    const SECOND: u64 = 1_000;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * SECOND)
    }

    fn prove(attempt: u32) -> Due<Duty> {
        Due::Now(Duty::Prove { revision: RevisionId::new(1, 1), attempt: Attempt(attempt) })
    }

    #[test]
    fn nothing_is_due_before_the_revision_is_deployed() {
        assert_eq!(due(&History::new().fold(), at(0)), Due::Nothing);
        assert_eq!(due(&History::new().requested().planned().fold(), at(0)), Due::Nothing);
        assert_eq!(due(&History::new().requested().planned().deploy_failed().fold(), at(0)), Due::Nothing);
    }

    #[test]
    fn the_proof_is_due_when_all_four_are_ready_and_not_before() {
        let mut history = History::new().requested().planned().deployed(at(100));
        for slot in Slot::PARALLEL {
            assert_eq!(due(&history.fold(), at(101)), Due::Wait(at(160)), "before {slot}");
            history = history.ready(slot);
        }
        assert_eq!(due(&history.fold(), at(101)), prove(0));
        assert_eq!(due(&history.fold(), at(10_000)), prove(0), "a validator that was away does it late");
    }

    #[test]
    fn one_that_failed_for_good_fails_the_validation_at_once() {
        for slot in Slot::PARALLEL {
            let history =
                History::new().requested().planned().deployed(at(100)).failed(slot, FindingKind::Misconfigured);
            let duty = Duty::Refuse { revision: RevisionId::new(1, 1), attempt: Attempt(0) };
            assert_eq!(due(&history.fold(), at(101)), Due::Now(duty), "{slot}");
        }
    }

    #[test]
    fn one_that_will_try_again_is_waited_for_until_its_last_try() {
        let deployed = History::new().requested().planned().deployed(at(100));
        let mut history = deployed.ready(Slot::Ingress).ready(Slot::Outputs).ready(Slot::Observability);
        for _ in 1..MAX_TRIES {
            history = history.failed_for_now(Slot::Security);
            assert_eq!(due(&history.fold(), at(101)), Due::Wait(at(160)));
        }
        history = history.failed_for_now(Slot::Security);
        assert!(matches!(due(&history.fold(), at(101)), Due::Now(Duty::Refuse { .. })));
    }

    #[test]
    fn who_is_missing_at_the_deadline_is_named() {
        let history = History::new().requested().planned().deployed(at(100)).ready(Slot::Ingress).ready(Slot::Outputs);
        let missing = vec![Slot::Observability, Slot::Security];
        let duty = Duty::ReportMissing { revision: RevisionId::new(1, 1), attempt: Attempt(0), missing };
        assert_eq!(due(&history.fold(), at(159)), Due::Wait(at(160)));
        assert_eq!(due(&history.fold(), at(160)), Due::Now(duty));
    }

    #[test]
    fn an_inconclusive_attempt_is_repeated_after_a_pause_and_only_so_often() {
        let mut history = History::new().requested().planned().deployed(at(100)).four_ready();
        history = history.validation(inconclusive(), at(200));
        assert_eq!(due(&history.fold(), at(201)), Due::Wait(at(205)));
        assert_eq!(due(&history.fold(), at(205)), prove(1));
        history = history.validation(inconclusive(), at(300));
        assert_eq!(due(&history.fold(), at(301)), Due::Wait(at(315)));
        assert_eq!(due(&history.fold(), at(315)), prove(2));
        history = history.validation(inconclusive(), at(400));
        assert_eq!(due(&history.fold(), at(10_000)), Due::Nothing);
    }

    #[test]
    fn a_later_attempt_waits_again_for_who_was_missing() {
        let history = History::new().requested().planned().deployed(at(100)).validation(inconclusive(), at(160));
        assert_eq!(due(&history.fold(), at(161)), Due::Wait(at(165)));
        assert_eq!(due(&history.fold(), at(165)), Due::Wait(at(185)));
        assert!(matches!(due(&history.fold(), at(185)), Due::Now(Duty::ReportMissing { .. })));
        assert_eq!(due(&history.four_ready().fold(), at(166)), prove(1));
    }

    #[test]
    fn an_answer_is_not_asked_for_again_unless_a_person_wants_it() {
        let history =
            History::new().requested().planned().deployed(at(100)).four_ready().validation(validated(), at(200));
        assert_eq!(due(&history.fold(), at(300)), Due::Nothing);
        let again = history.revalidation_requested();
        assert_eq!(due(&again.fold(), at(300)), prove(1));
        let answered = again.validation(validated(), at(400));
        assert_eq!(due(&answered.fold(), at(500)), Due::Nothing);
        assert_eq!(due(&answered.revalidation_requested().fold(), at(500)), prove(2));
    }

    #[test]
    fn nothing_is_proved_that_is_going_away() {
        let ready = || History::new().requested().planned().deployed(at(100)).four_ready();
        assert_eq!(due(&ready().retire_requested().fold(), at(101)), Due::Nothing);
        assert_eq!(due(&ready().abandoned().fold(), at(101)), Due::Nothing);
        assert_eq!(due(&ready().rolled_back().fold(), at(101)), Due::Nothing);
    }
}
