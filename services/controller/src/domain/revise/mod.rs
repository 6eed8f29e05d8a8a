//! The loop that must end: what follows a failure.
//!
//! [`revise`] is pure and always ends, because
//! - a plan that failed for a reason of its own is burnt: its digest is never tried again;
//! - a plan that failed for a reason that may pass is repeated at most [`MAX_SAME_PLAN`] times;
//! - revisions of a generation are bounded by `validation.maxRevisions`;
//! - each remedy moves a figure of the plan in one direction, within the bounds of [`Room`].
//!
//! A path that the spec lists under `fixed` is never changed. Wrong outputs and an open door are not for manifests to
//! heal: they go straight back.

mod capacity;
mod crashed;
mod edit;
mod error_rate;
mod latency;
mod out_of_memory;
mod overload;
mod resilience;
mod room;
mod start_timeout;
mod straight_back;
mod throughput;
mod unhealed;
mod unschedulable;

pub use edit::{Edit, Step};
pub use room::Room;

use super::{
    due::summary,
    history::{History, Tried},
};
use slipway_kernel::{Cause, Change, Finding, FindingKind, Plan, RevisionId};

/// How often one plan is tried when each failure may pass: the third time it is no longer chance.
pub const MAX_SAME_PLAN: usize = 3;

/// What follows a failure.
#[derive(Clone, Debug, PartialEq)]
pub enum NextStep {
    /// Another revision.
    Redeploy {
        /// Its plan.
        plan: Plan,
        /// What differs from the one that failed, and why; empty when the same plan is tried again.
        changes: Vec<Change>,
    },
    /// The traffic goes back, or stays, there.
    ReturnTo {
        /// Where.
        revision: RevisionId,
        /// One sentence.
        reason: String,
    },
    /// There is nothing to go back to.
    Abandon {
        /// One sentence.
        reason: String,
        /// What a person should do.
        advice: String,
    },
}

/// One finding against one plan: what a remedy looks at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What was tried.
    pub history: &'a History,
    /// The plan that failed.
    pub tried: &'a Tried,
    /// Why.
    pub finding: &'a Finding,
    /// What there is room for.
    pub room: Room<'a>,
}

impl Case<'_> {
    /// The plan that failed.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.tried.plan
    }

    /// How many times larger the wanted figure is than the measured one, or the measured than the wanted: 1 when
    /// unknown.
    #[must_use]
    pub fn gap(&self) -> f64 {
        match (self.finding.measured, self.finding.wanted) {
            (Some(measured), Some(wanted)) if measured > 0.0 && wanted > 0.0 => {
                (measured / wanted).max(wanted / measured)
            }
            _ => 1.0,
        }
    }

    /// The figures in words, for a reason.
    #[must_use]
    pub fn figures(&self) -> String {
        match (self.finding.measured, self.finding.wanted) {
            (Some(measured), Some(wanted)) => {
                format!(
                    "{} measured, {} wanted",
                    figure(measured, &self.finding.unit),
                    figure(wanted, &self.finding.unit)
                )
            }
            _ => self.finding.message.clone(),
        }
    }
}

fn figure(value: f64, unit: &str) -> String {
    let number = format!("{value:.2}");
    let number = number.trim_end_matches('0').trim_end_matches('.');
    if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
}

/// How urgent a finding is when several came at once: what keeps a worker from running comes before how well it runs.
const ORDER: [FindingKind; 13] = [
    FindingKind::Unschedulable,
    FindingKind::OutOfMemory,
    FindingKind::Crashed,
    FindingKind::StartTimeout,
    FindingKind::Resilience,
    FindingKind::Throughput,
    FindingKind::AutoscalerIdle,
    FindingKind::ErrorRate,
    FindingKind::Overload,
    FindingKind::Latency,
    FindingKind::Timeout,
    FindingKind::DependencyUnavailable,
    FindingKind::ImageUnavailable,
];

/// The steps that may heal a finding, the best first; empty where no manifest heals.
fn remedy(case: &Case<'_>) -> Vec<Step> {
    match case.finding.kind {
        FindingKind::Latency => latency::steps(case),
        FindingKind::Throughput => throughput::steps(case),
        FindingKind::ErrorRate => error_rate::steps(case),
        FindingKind::OutOfMemory => out_of_memory::steps(case),
        FindingKind::Unschedulable => unschedulable::steps(case),
        FindingKind::StartTimeout => start_timeout::steps(case),
        FindingKind::Crashed => crashed::steps(case),
        FindingKind::AutoscalerIdle => capacity::more_replicas(case, 1.5),
        FindingKind::Overload => overload::steps(case),
        FindingKind::Resilience => resilience::steps(case),
        FindingKind::ImageUnavailable
        | FindingKind::OutputMismatch
        | FindingKind::AuthHole
        | FindingKind::TraceGap
        | FindingKind::SinkLoss
        | FindingKind::TelemetryGap
        | FindingKind::PolicyViolation
        | FindingKind::SecretMissing
        | FindingKind::ArtifactInvalid
        | FindingKind::PlatformUnsuitable
        | FindingKind::InfrastructureUnsuitable
        | FindingKind::ExecutorMissing
        | FindingKind::Timeout
        | FindingKind::Declined
        | FindingKind::DependencyUnavailable
        | FindingKind::Misconfigured => Vec::new(),
    }
}

/// What follows the failure of the last plan in `history` (or of the generation before its first one).
#[must_use]
pub fn revise(history: &History, findings: &[Finding]) -> NextStep {
    let Some(last) = history.tried.last() else {
        return end(history, findings, "it failed before its first plan");
    };
    if let Some(finding) = findings.iter().find(|finding| straight_back::concerns(finding.kind)) {
        return end(history, findings, straight_back::reason(finding.kind));
    }
    let own: Vec<&Finding> = findings.iter().filter(|finding| finding.cause == Cause::Deterministic).collect();
    if own.iter().any(|finding| unhealed::concerns(finding.kind)) {
        return end(history, findings, "no change of the plan heals this");
    }
    let limit = usize::try_from(history.spec.validation.max_revisions).unwrap_or(usize::MAX);
    if history.tried.len() >= limit {
        return end(
            history,
            findings,
            &format!("all {limit} revisions that validation.maxRevisions allows were tried"),
        );
    }
    let may_repeat = !history.is_burnt(&last.digest) && history.times_tried(&last.digest) < MAX_SAME_PLAN;
    if own.is_empty() && !findings.is_empty() && may_repeat {
        return NextStep::Redeploy { plan: last.plan.clone(), changes: Vec::new() };
    }
    let treated = if own.is_empty() { findings.iter().collect() } else { own };
    match remedied(history, last, &treated) {
        Some((plan, changes)) => NextStep::Redeploy { plan, changes },
        None => end(history, findings, "every remedy within the bounds of the spec and the machine was tried"),
    }
}

/// The first plan that answers the findings and was never tried: the most urgent finding decides, the others add what
/// does not contradict it.
fn remedied(history: &History, last: &Tried, findings: &[&Finding]) -> Option<(Plan, Vec<Change>)> {
    let room = Room::of(history);
    let mut cases: Vec<Case<'_>> =
        findings.iter().map(|finding| Case { history, tried: last, finding, room }).collect();
    cases.sort_by_key(|case| ORDER.iter().position(|kind| *kind == case.finding.kind));
    let fits = |plan: &Plan| {
        let digest = plan.digest();
        digest != last.digest && !history.is_burnt(&digest) && room.admits(&last.plan, plan)
    };
    let alone = |step: &Step, case: &Case<'_>| {
        let plan = step.apply(&last.plan, &history.spec)?;
        fits(&plan).then(|| (plan.clone(), step.changes(&last.plan, &plan, case.finding.kind)))
    };
    for (n, case) in cases.iter().enumerate() {
        for step in remedy(case) {
            let Some((plan, changes)) = alone(&step, case) else { continue };
            let others = cases.iter().skip(n + 1).filter(|other| other.finding.kind != case.finding.kind);
            return Some(joined(plan, changes, others, &history.spec, &fits));
        }
    }
    None
}

/// Adds the first step of each further case that touches nothing touched before and leaves a plan that fits.
fn joined<'a>(
    mut plan: Plan,
    mut changes: Vec<Change>,
    others: impl Iterator<Item = &'a Case<'a>>,
    spec: &slipway_kernel::spec::Spec,
    fits: &impl Fn(&Plan) -> bool,
) -> (Plan, Vec<Change>) {
    for case in others {
        for step in remedy(case) {
            if step.edits.iter().any(|(edit, _)| changes.iter().any(|change| change.path == edit.path())) {
                continue;
            }
            let Some(next) = step.apply(&plan, spec).filter(|next| fits(next)) else { continue };
            let known: Vec<String> = changes.iter().map(|change| change.path.clone()).collect();
            let added = step.changes(&plan, &next, case.finding.kind);
            changes.extend(added.into_iter().filter(|change| !known.contains(&change.path)));
            plan = next;
            break;
        }
    }
    (plan, changes)
}

fn end(history: &History, findings: &[Finding], why: &str) -> NextStep {
    match history.good {
        Some(revision) => {
            let advice = unhealed::advice(findings);
            let reason = format!("{why}, and {revision} is good: {}; what to do: {advice}", summary(findings));
            NextStep::ReturnTo { revision, reason }
        }
        None => {
            NextStep::Abandon { reason: format!("{why}: {}", summary(findings)), advice: unhealed::advice(findings) }
        }
    }
}

#[cfg(test)]
mod tests;
