//! Where a generation stands, as the controller needs to know it: which question is open, since when, and what failed.
//!
//! [`standing`] reads the slots once, in the order of the workflow, so that the table in [`due`](super::due) can be one
//! exhaustive match without looking at slots.

use super::deadlines::{MAX_ATTEMPTS, retry_at};
use slipway_kernel::{
    Answer, Answered, Attempt, Attempts, Cause, Deployment, Finding, FindingKind, GenerationState, RevisionId,
    RevisionState, Slot, Timestamp,
};

/// A state of a generation that neither ended nor retires.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// The provisioner chooses.
    Choosing {
        /// Since then.
        since: Timestamp,
    },
    /// A person must approve the choice.
    AwaitingApproval {
        /// Since then.
        since: Timestamp,
    },
    /// The infrastructure is made ready.
    Provisioning {
        /// Since then.
        since: Timestamp,
    },
    /// The model is read and a platform selected.
    SelectingPlatform {
        /// Since then.
        since: Timestamp,
    },
    /// It failed before its first plan, for good.
    FailedEarly {
        /// Why.
        findings: Vec<Finding>,
    },
    /// All is known for the first plan.
    Unplanned,
    /// Its workers are to run.
    Deploying {
        /// Which revision.
        revision: RevisionId,
        /// Which try.
        attempt: Attempt,
        /// From then on; later than now after a failure.
        since: Timestamp,
    },
    /// The four, then the validator, are at work.
    Proving {
        /// Which revision.
        revision: RevisionId,
        /// Since then.
        since: Timestamp,
    },
    /// It does not run, or is not what was asked for.
    Failed {
        /// Which revision.
        revision: RevisionId,
        /// Why.
        findings: Vec<Finding>,
    },
    /// It is proved and takes over the traffic.
    RollingOut {
        /// Which revision.
        revision: RevisionId,
        /// Its share in percent, if it has one.
        shifted: Option<u8>,
        /// Since then.
        since: Timestamp,
        /// A person holds it since then.
        paused: Option<Timestamp>,
    },
    /// It has the traffic and keeps its objectives.
    Released {
        /// Which revision.
        revision: RevisionId,
    },
    /// It has the traffic and was found wanting while it is watched.
    Degraded {
        /// Which revision.
        revision: RevisionId,
        /// Why.
        findings: Vec<Finding>,
    },
    /// Its last revision was taken back to an earlier one of the same generation, and stays there.
    SettledBack,
}

/// Reads where `generation` stands.
#[must_use]
pub fn standing(generation: &GenerationState) -> Standing {
    match generation.latest() {
        Some(revision) => of_revision(generation, revision),
        None => before_plan(generation),
    }
}

fn before_plan(generation: &GenerationState) -> Standing {
    if let Some(fact) = generation.fact(Slot::Platform) {
        return match &fact.answer {
            Answer::PlatformSelected(_) => Standing::Unplanned,
            _ if tried_again(generation.attempts(Slot::Platform)) => Standing::SelectingPlatform { since: fact.at },
            answer => Standing::FailedEarly { findings: answer.findings().to_vec() },
        };
    }
    if let Some(fact) = generation.fact(Slot::Infrastructure) {
        return match &fact.answer {
            Answer::InfrastructureReady(_) => Standing::SelectingPlatform { since: fact.at },
            _ if tried_again(generation.attempts(Slot::Infrastructure)) => Standing::Provisioning { since: fact.at },
            answer => Standing::FailedEarly { findings: answer.findings().to_vec() },
        };
    }
    let Some(choice) = generation.fact(Slot::Choice) else {
        return Standing::Choosing { since: generation.request().at };
    };
    let needs_approval = matches!(&choice.answer, Answer::InfrastructureChosen(chosen) if chosen.needs_approval);
    match generation.fact(Slot::Approval) {
        Some(fact) => match &fact.answer {
            Answer::Declined(declined) => Standing::FailedEarly {
                findings: vec![Finding::deterministic(FindingKind::Declined, declined_because(&declined.reason))],
            },
            _ => Standing::Provisioning { since: fact.at },
        },
        None if needs_approval => Standing::AwaitingApproval { since: choice.at },
        None => Standing::Provisioning { since: choice.at },
    }
}

fn declined_because(reason: &str) -> String {
    if reason.is_empty() { "a person declined".to_owned() } else { format!("a person declined: {reason}") }
}

/// Whether the last answer is a failure that its own service tries again.
fn tried_again(attempts: &Attempts) -> bool {
    attempts.next().0 < MAX_ATTEMPTS && attempts.last().is_some_and(|fact| fact.answer.failed_transiently())
}

fn of_revision(generation: &GenerationState, revision: &RevisionState) -> Standing {
    let id = revision.id;
    if revision.is_rolled_back() {
        return Standing::SettledBack;
    }
    if let Some(released) = revision.fact(Slot::Release) {
        return after_release(generation, revision, released);
    }
    let Some(deployment) = revision.fact(Slot::Deployment) else {
        let since = revision.fact(Slot::Plan).map_or(Timestamp(0), |plan| plan.at);
        return Standing::Deploying { revision: id, attempt: Attempt(0), since };
    };
    if let Answer::DeployFailed(failed) = &deployment.answer {
        let attempts = revision.attempts(Slot::Deployment);
        if tried_again(attempts) {
            let since = retry_at(deployment.at, attempts.next().0);
            return Standing::Deploying { revision: id, attempt: attempts.next(), since };
        }
        return Standing::Failed { revision: id, findings: final_findings(&failed.findings) };
    }
    match revision.fact(Slot::Validation) {
        None => Standing::Proving { revision: id, since: deployment.at },
        Some(fact) => match &fact.answer {
            Answer::ValidationInconclusive(report) => {
                if trailing_inconclusive(revision.attempts(Slot::Validation)) < MAX_ATTEMPTS {
                    return Standing::Proving { revision: id, since: fact.at };
                }
                Standing::Failed { revision: id, findings: vec![unproved(&report.findings)] }
            }
            Answer::Validated(_) => rolling_out(generation, revision, fact),
            answer => Standing::Failed { revision: id, findings: answer.findings().to_vec() },
        },
    }
}

/// A transient failure that came back at every try is no longer one.
fn final_findings(findings: &[Finding]) -> Vec<Finding> {
    findings.iter().map(|finding| Finding { cause: Cause::Deterministic, ..finding.clone() }).collect()
}

fn trailing_inconclusive(attempts: &Attempts) -> u32 {
    let mut count = 0;
    for fact in attempts.iter() {
        count = if matches!(fact.answer, Answer::ValidationInconclusive(_)) { count + 1 } else { 0 };
    }
    count
}

fn unproved(findings: &[Finding]) -> Finding {
    let because = findings.first().map_or(String::new(), |finding| format!(": {}", finding.message));
    let message = format!("validation could not tell in {MAX_ATTEMPTS} tries{because}");
    Finding::deterministic(FindingKind::Timeout, message)
}

fn rolling_out(generation: &GenerationState, revision: &RevisionState, validated: &Answered) -> Standing {
    let shifted = revision.shifted();
    let shift = shifted.and_then(|percent| revision.fact(Slot::Shift(percent)));
    let paused = generation.is_paused().then(|| {
        let pauses = generation.commands().filter(|fact| matches!(fact.answer, Answer::Paused(_)));
        pauses.last().map_or(validated.at, |fact| fact.at)
    });
    let resumed = generation.commands().filter(|fact| matches!(fact.answer, Answer::Resumed(_))).last();
    // A pause does not count against the deadline of the share.
    let since = shift.unwrap_or(validated).at.max(resumed.map_or(Timestamp(0), |fact| fact.at));
    Standing::RollingOut { revision: revision.id, shifted, since, paused }
}

fn after_release(generation: &GenerationState, revision: &RevisionState, released: &Answered) -> Standing {
    let id = revision.id;
    let watched_until = released.at.after(generation.spec().rollout.watch.0);
    if let Some(Answer::ValidationFailed(report)) = revision.answer(Slot::Validation) {
        return Standing::Degraded { revision: id, findings: report.findings.clone() };
    }
    match revision.fact(Slot::Degradation) {
        Some(fact) if fact.at <= watched_until && matches!(fact.answer, Answer::Degraded(_)) => {
            Standing::Degraded { revision: id, findings: fact.answer.findings().to_vec() }
        }
        _ => Standing::Released { revision: id },
    }
}

/// The rollback that a person demanded and that was not answered yet: who is taken back, to whom, and the command.
#[must_use]
pub fn demanded_rollback(deployment: &Deployment) -> Option<(RevisionId, RevisionId, Answered)> {
    let newest = deployment.newest().filter(|generation| !deployment.is_retiring(generation.generation))?;
    let command = newest.commands().filter(|fact| matches!(fact.answer, Answer::RollbackRequested(_))).last()?;
    let key = command.key.to_string();
    let answers = |fact: &&Answered| {
        matches!(fact.answer, Answer::RolledBack(_)) && fact.causation.as_deref() == Some(key.as_str())
    };
    if deployment.facts().any(|fact| answers(&fact)) {
        return None;
    }
    let Answer::RollbackRequested(request) = &command.answer else { return None };
    let from = taken_back(deployment, newest)?;
    let to = request.to.or_else(|| goes_back_to(deployment, from))?;
    (to != from && deployment.revision(to).is_some()).then(|| (from, to, Answered::clone(command)))
}

/// Who a demanded rollback takes back: what is on its way, else what serves.
#[must_use]
pub fn taken_back(deployment: &Deployment, newest: &GenerationState) -> Option<RevisionId> {
    if !newest.is_terminal() {
        match newest.latest() {
            None => return Some(RevisionId { generation: newest.generation, revision: slipway_kernel::Revision(0) }),
            Some(revision) if !revision.is_released() && !revision.is_rolled_back() => return Some(revision.id),
            Some(_) => {}
        }
    }
    deployment.serving()
}

/// Where the traffic of `from` goes back to: what serves beside it, else the last good one before it.
#[must_use]
pub fn goes_back_to(deployment: &Deployment, from: RevisionId) -> Option<RevisionId> {
    deployment.serving().filter(|serving| *serving != from).or_else(|| deployment.last_good_before(from))
}
