//! What is to be done about a resource.

use super::{
    Condition, ConditionKind, Resource, Truth,
    own::{SOURCE, demand_id, further_demand_id, is_retiring, own, retirement_id, stranger, was_demanded},
};
use slipway_kernel::Deployment;

/// One thing to be done. Each is harmless when it is done twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing but telling it how it stands.
    Tell,
    /// It must not go before what comes of it: the finalizer.
    Hold,
    /// A demand to deploy, with this id.
    Deploy {
        /// `ce-id`.
        id: String,
    },
    /// A demand to retire, with this id.
    Retire {
        /// `ce-id`.
        id: String,
    },
    /// Nothing is left of it: the finalizer goes.
    LetGo,
}

/// Why the gate was not asked, or is asked again: not its last word.
pub(super) const MADE_BY_OTHERS: &str = "MadeByOthers";
/// One before is being taken down.
pub(super) const RETIRING: &str = "Retiring";
/// The gate was asked and has not answered.
pub(super) const PENDING: &str = "Pending";
/// Refusals that a change of rights ends, and no change of the spec: the gate does not keep them.
const OF_RIGHTS: [&str; 2] = ["PermissionDenied", "Unauthenticated"];

/// What is to be done. `anew`: what was refused for lack of rights is tried again.
#[must_use]
pub fn step(resource: &Resource, deployment: &Deployment, anew: bool) -> Step {
    match (resource.is_leaving, resource.is_held) {
        (false, false) => Step::Hold,
        (false, true) => demand(resource, deployment, anew),
        (true, true) => leave(resource, deployment),
        // Others hold it.
        (true, false) => Step::Tell,
    }
}

fn demand(resource: &Resource, deployment: &Deployment, anew: bool) -> Step {
    let (uid, generation) = (resource.uid.as_str(), resource.generation);
    if let Some(id) = pending(resource, deployment) {
        return Step::Deploy { id: id.to_owned() };
    }
    if is_retiring(deployment) || (stranger(deployment, uid).is_some() && !resource.adopts) {
        return Step::Tell;
    }
    match own(deployment, uid) {
        // Demanded, or taken down since by somebody who knew why: another spec asks for it again, the same one does not.
        Some(own) if own.by >= generation => return Step::Tell,
        // A demand for an older spec came in late and is the newest now.
        Some(own) if !own.is_gone && was_demanded(deployment, uid, generation) => {
            return Step::Deploy { id: further_demand_id(uid, generation, newest(deployment)) };
        }
        _ if is_settled(resource, deployment, anew) => return Step::Tell,
        _ => {}
    }
    // The gate keeps its answer to an id; that one said only that it was too early, or was about a deployment that is gone.
    let is_spent = is_told_to_wait(resource) || was_demanded(deployment, uid, generation);
    let id = if is_spent { further_demand_id(uid, generation, newest(deployment)) } else { demand_id(uid, generation) };
    Step::Deploy { id }
}

/// The demand that was, or was about to be, sent, and of which the log and the resource say nothing yet. It is sent once more before anything
/// is concluded from its not being there, also when the spec is another by now: whoever wrote it down may still send it, at any time, and its
/// answer is then the one that was given.
pub(super) fn pending<'a>(resource: &'a Resource, deployment: &Deployment) -> Option<&'a str> {
    let id = resource.status.as_ref()?.demand.as_deref()?;
    deployment.answered_intake(SOURCE, id).is_none().then_some(id)
}

/// Whether one before was being taken down when this was last looked at. It may have been demanded then.
fn is_told_to_wait(resource: &Resource) -> bool {
    resource.told(ConditionKind::Accepted).is_some_and(|told| told.reason == RETIRING)
}

/// Whether the gate has said its last word about this spec.
fn is_settled(resource: &Resource, deployment: &Deployment, anew: bool) -> bool {
    let told = resource.told(ConditionKind::Accepted).filter(|told| told.observed_generation == resource.generation);
    told.is_some_and(|told| match told.status {
        // What others made since is taken over anew.
        Truth::True => !is_lost(resource, deployment) && stranger(deployment, &resource.uid).is_none(),
        Truth::False => is_final(told) && !(anew && OF_RIGHTS.contains(&told.reason.as_str())),
        Truth::Unknown => false,
    })
}

pub(super) fn is_final(told: &Condition) -> bool {
    told.reason != MADE_BY_OTHERS && told.reason != RETIRING
}

/// Whether the log knows nothing of what it once accepted: it is another log, and the cluster is what is left of the old one. One that was
/// archived has left its tombstone.
fn is_lost(resource: &Resource, deployment: &Deployment) -> bool {
    let was_accepted = resource.told(ConditionKind::Accepted).is_some_and(|told| told.status == Truth::True);
    was_accepted && deployment.generations.is_empty() && deployment.set_aside.is_empty()
}

fn leave(resource: &Resource, deployment: &Deployment) -> Step {
    let uid = resource.uid.as_str();
    if let Some(id) = pending(resource, deployment) {
        return Step::Deploy { id: id.to_owned() };
    }
    match own(deployment, uid) {
        Some(own) if own.is_gone => Step::LetGo,
        Some(_) if is_retiring(deployment) => Step::Tell,
        Some(_) => Step::Retire { id: retirement_id(uid, newest(deployment)) },
        None => Step::LetGo,
    }
}

fn newest(deployment: &Deployment) -> slipway_kernel::Generation {
    deployment.newest().map_or(slipway_kernel::Generation(0), |newest| newest.generation)
}
