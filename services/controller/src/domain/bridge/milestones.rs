//! What is worth an event on the resource: told when its status is written, and not again.

use super::{
    Condition, ConditionKind, Resource, Status, Truth,
    own::{SOURCE, about, own},
    step::MADE_BY_OTHERS,
    words::sentence,
};
use slipway_kernel::{Answer, Deployment, Digest, Fact};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Milestone {
    /// Makes its name, so that two replicas make one event.
    pub token: String,
    /// What happened, in one word.
    pub reason: &'static str,
    /// What was being done.
    pub action: &'static str,
    /// What happened, in one sentence.
    pub note: String,
    /// Whether a person should look.
    pub is_warning: bool,
}

impl Milestone {
    fn new(resource: &Resource, reason: &'static str, what: &str, note: String) -> Self {
        let (action, is_warning) = match reason {
            "Refused" | "DemandedByOthers" => ("Demand", true),
            "Accepted" => ("Demand", false),
            "Retired" => ("Retire", false),
            "Released" => ("Rollout", false),
            _ => ("Rollout", true),
        };
        let token = Digest::of(format!("{}\n{reason}\n{what}", resource.uid).as_bytes()).short().to_owned();
        Self { token, reason, action, note, is_warning }
    }
}

/// What happened since the status that the resource bears, which `next` takes the place of.
#[must_use]
pub fn milestones(resource: &Resource, deployment: &Deployment, next: &Status) -> Vec<Milestone> {
    let told_until = resource.status.as_ref().and_then(|status| status.last_change);
    let reach = own(deployment, &resource.uid).map_or_else(Vec::new, |own| own.reach);
    let facts = reach.into_iter().flat_map(slipway_kernel::GenerationState::facts);
    let mut new: Vec<&Fact> =
        facts.map(|fact| &**fact).filter(|fact| told_until.is_none_or(|at| fact.at > at)).collect();
    new.sort_by_key(|fact| (fact.at, fact.key.order()));
    let of_facts = new.into_iter().filter_map(|fact| {
        let reason = reason(fact, &resource.uid)?;
        Some(Milestone::new(resource, reason, &fact.key.to_string(), sentence(fact)))
    });
    of_facts.chain(refusal(resource, next)).collect()
}

fn reason(fact: &Fact, uid: &str) -> Option<&'static str> {
    Some(match &fact.answer {
        Answer::Requested(requested) => {
            let intake = &requested.intake;
            let is_own = intake.source == SOURCE && about(&intake.id, uid).is_some();
            // What others demand of it is worth a look.
            if is_own { "Accepted" } else { "DemandedByOthers" }
        }
        Answer::Released(_) => "Released",
        Answer::RolledBack(_) => "RolledBack",
        Answer::Abandoned(_) => "Abandoned",
        Answer::Retired(_) => "Retired",
        _ => return None,
    })
}

/// A refusal that the resource was not told yet.
fn refusal(resource: &Resource, next: &Status) -> Option<Milestone> {
    let accepted = next.conditions.iter().find(|condition| condition.kind == ConditionKind::Accepted)?;
    let said = |told: &Condition| (told.status, told.observed_generation, told.reason.clone(), told.message.clone());
    let is_new = resource.told(ConditionKind::Accepted).is_none_or(|before| said(before) != said(accepted));
    if accepted.status != Truth::False || !is_new {
        return None;
    }
    let what = format!("{} {} {}", accepted.observed_generation, accepted.reason, accepted.message);
    let note = if accepted.reason == MADE_BY_OTHERS {
        accepted.message.clone()
    } else {
        format!("{}: {}", accepted.reason, accepted.message)
    };
    Some(Milestone::new(resource, "Refused", &what, super::words::cut(&note)))
}
