//! Doing what is due.
//!
//! - [`actor`]: from a duty to its performance.
//! - [`deploy`]: workers up, and the answer `deployed` or `deploy-failed`.
//! - [`manifests`]: what is rendered of a plan.
//! - [`queues`]: what waits for a revision that is gone goes to the one that serves.
//! - [`rollout`]: shares of the traffic, held against their measurements.
//! - [`troubles`]: which workers are not as they should be, for who asks.
//! - [`wishes`]: tells the target which revisions must have workers, from the log alone.

mod actor;
mod deploy;
mod manifests;
mod queues;
mod rollout;
pub(crate) mod troubles;
mod wishes;

pub(crate) use actor::Controller;
pub(crate) use manifests::Renderer;
pub(crate) use queues::Queues;
pub(crate) use wishes::Wisher;

use crate::target::Group;
use slipway_bus::{Done, Draft, DutyError, Scene, WrittenAgainst};
use slipway_kernel::{Answer, Deployment, DeploymentId, FactKey, RevisionId, RevisionState, Slot};

/// The try at a revision's workers that is in force: each failed deployment began another one.
pub(crate) fn group_of(deployment: &Deployment, revision: RevisionId) -> Group {
    let failed = |revision: &RevisionState| {
        let attempts = revision.attempts(Slot::Deployment);
        attempts.iter().filter(|fact| matches!(fact.answer, Answer::DeployFailed(_))).count()
    };
    let attempt = deployment.revision(revision).map_or(0, failed);
    group(&deployment.id, revision, u32::try_from(attempt).unwrap_or(u32::MAX))
}

fn group(deployment: &DeploymentId, revision: RevisionId, attempt: u32) -> Group {
    Group { deployment: deployment.clone(), revision, attempt }
}

/// Writes a decision that holds only for the deployment as it was folded, caused by `cause` if that is given.
async fn decide(scene: &Scene, key: &FactKey, answer: Answer, cause: Option<&FactKey>) -> Result<Done, DutyError> {
    let draft: Draft = scene.draft(answer);
    let draft = match cause {
        Some(cause) => draft.caused_by(cause),
        None => draft,
    };
    // On the heap: a write with its retries is by far the largest part of a duty.
    let log = scene.bus.log();
    let writing = Box::pin(log.append_against(key, draft, scene.folded.last_sequence));
    match writing.await? {
        WrittenAgainst::Stored(_) | WrittenAgainst::Adopted(_) => Ok(Done::Wrote),
        WrittenAgainst::Moved => Ok(Done::Again),
    }
}
