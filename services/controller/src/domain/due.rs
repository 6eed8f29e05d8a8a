//! The transition table: a deployment and the time in, one duty out.
//!
//! First what concerns the deployment as a whole (retirement wins from any state, a newer generation supersedes, a
//! person demands a rollback), then the state of the newest generation.

use super::{
    deadlines::{DEPLOY_GRACE, Deadlines},
    duty::Duty,
    history::History,
    plan::first_plan,
    revise::{NextStep, revise},
    standing::{Standing, demanded_rollback, goes_back_to, standing},
};
use slipway_kernel::{
    Answer, Deployment, Due, Finding, FindingKind, GenerationState, Revision, RevisionId, Service, Slot, Timestamp,
};
use std::time::Duration;

/// What is due now.
#[must_use]
pub fn due(deployment: &Deployment, now: Timestamp, deadlines: &Deadlines) -> Due<Duty> {
    if let Some(due) = retirement(deployment, now, deadlines) {
        return due;
    }
    if let Some(duty) = supersession(deployment) {
        return Due::Now(duty);
    }
    if let Some(duty) = demanded(deployment) {
        return Due::Now(duty);
    }
    let live =
        |generation: &&GenerationState| !generation.is_terminal() && !deployment.is_retiring(generation.generation);
    match deployment.newest().filter(live) {
        Some(generation) => Table { deployment, generation, now, deadlines }.due(),
        None => Due::Nothing,
    }
}

/// Retirement: `retired` for every covered generation without an end once the five have answered, the covered one last.
fn retirement(deployment: &Deployment, now: Timestamp, deadlines: &Deadlines) -> Option<Due<Duty>> {
    let covered = deployment.generations.get(&deployment.retiring()?)?;
    if matches!(covered.ended(), Some(Answer::Retired(_) | Answer::Archived(_))) {
        return None;
    }
    let missing: Vec<Service> = Service::REMOVERS.into_iter().filter(|service| !covered.removed(*service)).collect();
    if missing.is_empty() {
        let older = deployment.generations.values().find(|g| g.generation < covered.generation && !g.is_terminal());
        let generation = older.unwrap_or(covered).generation;
        return Some(Due::Now(Duty::Retire { generation }));
    }
    if deployment.newest().is_some_and(|newest| newest.generation > covered.generation) {
        // A newer generation that slipped in goes on while the older ones are removed.
        return None;
    }
    let deadline = deadlines.end(covered.retire_requested()?.at, deadlines.removal.0);
    Some(if now < deadline {
        Due::Wait(deadline)
    } else {
        Due::Now(Duty::ReportStuck { generation: covered.generation, missing })
    })
}

/// An older generation ends when a newer one was requested, unless the traffic is still on it.
fn supersession(deployment: &Deployment) -> Option<Duty> {
    let newest = deployment.newest()?;
    let serving = deployment.serving().map(|id| id.generation);
    let superseded = deployment.generations.values().find(|older| {
        older.generation < newest.generation
            && !older.is_terminal()
            && !deployment.is_retiring(older.generation)
            && serving != Some(older.generation)
    })?;
    Some(Duty::Supersede { generation: superseded.generation, by: newest.generation })
}

fn demanded(deployment: &Deployment) -> Option<Duty> {
    let (revision, to, command) = demanded_rollback(deployment)?;
    let said = match &command.answer {
        Answer::RollbackRequested(request) if !request.reason.is_empty() => format!(": {}", request.reason),
        _ => String::new(),
    };
    let reason = format!("demanded by {}{said}", command.actor);
    Some(Duty::RollBack { revision, to, reason, findings: Vec::new(), command: Some(command.key.clone()) })
}

struct Table<'a> {
    deployment: &'a Deployment,
    generation: &'a GenerationState,
    now: Timestamp,
    deadlines: &'a Deadlines,
}

impl Table<'_> {
    fn due(&self) -> Due<Duty> {
        let limits = self.deadlines;
        match standing(self.generation) {
            Standing::Choosing { since } => self.until(since, limits.choice.0, "the provisioner did not choose"),
            Standing::AwaitingApproval { since } => self.until(since, limits.approval.0, "nobody approved the choice"),
            Standing::Provisioning { since } => self.until(
                since,
                limits.infrastructure.0,
                "the provisioner did not say whether the infrastructure is ready",
            ),
            Standing::SelectingPlatform { since } => {
                self.until(since, limits.platform.0, "the platform-selector did not select")
            }
            Standing::FailedEarly { findings } => self.failed(None, findings),
            Standing::Unplanned => self.plan_first(),
            Standing::Deploying { revision, attempt, since } => {
                let deadline = limits.end(since, limits.deploy.0);
                if self.now < since {
                    Due::Wait(since)
                } else if self.now < deadline.after(DEPLOY_GRACE) {
                    Due::Now(Duty::Deploy { revision, attempt, deadline })
                } else {
                    Due::Now(Duty::FailDeploy { revision, attempt })
                }
            }
            Standing::Proving { revision, since } => {
                let deadline = limits.end(since, limits.validation_of(self.generation.spec()));
                if self.now < deadline {
                    Due::Wait(deadline)
                } else {
                    self.failed(
                        Some(revision),
                        vec![Finding::transient(FindingKind::Timeout, "the validator did not answer")],
                    )
                }
            }
            Standing::Failed { revision, findings } => self.failed(Some(revision), findings),
            Standing::RollingOut { revision, shifted, since, paused } => {
                self.roll_out(revision, shifted, since, paused)
            }
            Standing::Released { .. } | Standing::SettledBack => Due::Nothing,
            Standing::Degraded { revision, findings } => self.degraded(revision, findings),
        }
    }

    /// Waits for somebody else's answer, and gives the generation up when it does not come.
    fn until(&self, since: Timestamp, limit: Duration, late: &str) -> Due<Duty> {
        let deadline = self.deadlines.end(since, limit);
        if self.now < deadline {
            return Due::Wait(deadline);
        }
        let message = format!("{late} within {}", slipway_kernel::Span(limit));
        self.failed(None, vec![Finding::transient(FindingKind::Timeout, message)])
    }

    fn plan_first(&self) -> Due<Duty> {
        let (Some(platform), Some(Answer::InfrastructureReady(infrastructure))) =
            (self.generation.platform(), self.generation.answer(Slot::Infrastructure))
        else {
            let finding = Finding::deterministic(
                FindingKind::InfrastructureUnsuitable,
                "a platform was selected without `infrastructure-ready`",
            );
            return self.failed(None, vec![finding]);
        };
        match first_plan(self.generation.spec(), platform, infrastructure) {
            Ok(plan) => Due::Now(Duty::Plan {
                revision: self.revision(1),
                plan: Box::new(plan),
                revises: None,
                changes: Vec::new(),
            }),
            Err(finding) => self.failed(None, vec![finding]),
        }
    }

    fn revision(&self, revision: u32) -> RevisionId {
        RevisionId { generation: self.generation.generation, revision: Revision(revision) }
    }

    /// What follows the failure of `revision` (`None`: before the first plan).
    fn failed(&self, revision: Option<RevisionId>, findings: Vec<Finding>) -> Due<Duty> {
        after_failure(self.deployment, self.generation, revision, findings).map_or(Due::Nothing, Due::Now)
    }

    fn roll_out(
        &self,
        revision: RevisionId,
        shifted: Option<u8>,
        since: Timestamp,
        paused: Option<Timestamp>,
    ) -> Due<Duty> {
        let rollout = &self.generation.spec().rollout;
        if let Some(paused) = paused {
            let deadline = self.deadlines.end(paused, self.deadlines.pause.0);
            return if self.now >= deadline {
                let message = format!("nobody resumed the rollout within {}", self.deadlines.pause);
                self.failed(Some(revision), vec![Finding::deterministic(FindingKind::Timeout, message)])
            } else if let Some(percent) = shifted {
                Due::Now(Duty::Hold { revision, percent })
            } else {
                Due::Wait(deadline)
            };
        }
        let held_until = shifted.map_or(since, |_| since.after(rollout.hold.0));
        if let Some(percent) = shifted.filter(|_| self.now < held_until) {
            return Due::Now(Duty::Hold { revision, percent });
        }
        if self.now >= self.deadlines.end(held_until, self.deadlines.shift.0) {
            let message = format!("not every ingress replica applied the routes within {}", self.deadlines.shift);
            return self.failed(Some(revision), vec![Finding::deterministic(FindingKind::Timeout, message)]);
        }
        Due::Now(match next_share(self.deployment, &rollout.steps, revision, shifted) {
            Some(percent) => Duty::Shift { revision, percent },
            None => Duty::Release { revision },
        })
    }

    /// A released revision that was found wanting goes back to the last good one at once; without one it is revised,
    /// and if nothing is left to try it keeps serving, for worse is not better than nothing.
    fn degraded(&self, revision: RevisionId, findings: Vec<Finding>) -> Due<Duty> {
        if let Some(to) = self.deployment.last_good_before(revision) {
            let reason = format!("{revision} was found wanting after its release: {}", summary(&findings));
            return Due::Now(Duty::RollBack { revision, to, reason, findings, command: None });
        }
        match self.failed(Some(revision), findings) {
            Due::Now(duty @ Duty::Plan { .. }) => Due::Now(duty),
            _ => Due::Nothing,
        }
    }
}

/// The next share below 100, if another revision has the traffic now: the first one has nobody to share with.
fn next_share(deployment: &Deployment, steps: &[u32], revision: RevisionId, shifted: Option<u8>) -> Option<u8> {
    deployment.serving().filter(|serving| *serving != revision)?;
    let above = |percent: &u8| *percent < 100 && shifted.is_none_or(|now| *percent > now);
    steps.iter().filter_map(|step| u8::try_from(*step).ok()).find(above)
}

/// The duty that follows the failure of `revision` (`None`: of the generation before its first plan), also when the
/// findings come from measurements and not from the log. `None` where nothing is to be done: what failed has the
/// traffic, and there is neither a remedy nor anybody to give it to.
#[must_use]
pub fn after_failure(
    deployment: &Deployment,
    generation: &GenerationState,
    revision: Option<RevisionId>,
    findings: Vec<Finding>,
) -> Option<Duty> {
    let failed = revision.unwrap_or(RevisionId { generation: generation.generation, revision: Revision(0) });
    let history = History::of(generation, goes_back_to(deployment, failed));
    match revise(&history, &findings) {
        NextStep::Redeploy { plan, changes } => Some(Duty::Plan {
            revision: RevisionId { revision: Revision(failed.revision.0.saturating_add(1)), ..failed },
            plan: Box::new(plan),
            revises: Some(failed),
            changes,
        }),
        NextStep::ReturnTo { revision: to, reason } => {
            Some(Duty::RollBack { revision: failed, to, reason, findings, command: None })
        }
        NextStep::Abandon { reason, advice } => (deployment.serving() != Some(failed)).then_some(Duty::Abandon {
            generation: generation.generation,
            reason,
            advice,
            findings,
        }),
    }
}

/// The findings in one line.
pub(super) fn summary(findings: &[Finding]) -> String {
    let words: Vec<String> = findings.iter().map(|f| format!("{} ({})", f.kind, f.message)).collect();
    if words.is_empty() { "no finding was given".to_owned() } else { words.join("; ") }
}
