//! What waits in the queue of a revision whose workers are gone: it goes to the revision that has the traffic, through
//! the same consumer its workers used, so that nothing is done twice and nothing waits for ever.
//!
//! The queue of a revision that was taken back is fenced first, as soon as the log says so: what its workers still say of it is void.
//!
//! Level-triggered: whatever is not served any more and was not cleared by this process is looked at, in each round.

use super::group_of;
use crate::{
    domain::wanted,
    target::{Status, Target},
};
use slipway_bus::{Bus, Change, Changes, QueueError, View};
use slipway_kernel::{Deployment, DeploymentId, RevisionId, RevisionState, Slot, Timestamp};
use slipway_runtime::Frame;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// How often what is left is looked at. What a killed worker had in hand comes back half a minute later, and is moved
/// in the round after that.
const ROUND: Duration = Duration::from_secs(2);

/// Clears queues.
pub(crate) struct Queues {
    bus: Bus,
    view: View,
    target: Arc<dyn Target>,
    fenced: BTreeSet<(DeploymentId, RevisionId)>,
    cleared: BTreeSet<(DeploymentId, RevisionId)>,
}

impl Queues {
    pub(crate) fn new(bus: Bus, view: View, target: Arc<dyn Target>) -> Self {
        Self { bus, view, target, fenced: BTreeSet::new(), cleared: BTreeSet::new() }
    }

    /// Runs until shutdown.
    pub(crate) async fn run(mut self, frame: Frame) {
        let mut changes = self.view.changes();
        loop {
            let round = Box::pin(async {
                for id in self.view.ids() {
                    self.look(&id, frame.clock.now()).await;
                }
                // A rollback is not waited for: until the fence stands, the bad revision goes on answering.
                tokio::select! {
                    () = frame.clock.sleep(ROUND) => {}
                    () = taken_back(&mut changes) => {}
                }
            });
            if frame.shutdown.run_until_cancelled(round).await.is_none() {
                return;
            }
        }
    }

    async fn look(&mut self, id: &DeploymentId, now: Timestamp) {
        let Some(folded) = self.view.get(id) else { return };
        let deployment = &folded.deployment;
        let fenced = deployment.fenced();
        for revision in left(deployment, now, |revision| self.cleared.contains(&(id.clone(), revision))) {
            let is_fenced = fenced.contains(&revision);
            if is_fenced && !self.fenced.contains(&(id.clone(), revision)) {
                if let Err(error) = self.bus.requests().fence(id, revision).await {
                    tracing::warn!(deployment = %id, %revision, %error, "a queue is fenced later");
                    continue;
                }
                self.fenced.insert((id.clone(), revision));
            }
            // Workers that end may still give back what they have; those of another machine are another replica's
            // affair.
            if self.target.status(&group_of(deployment, revision)) != Status::Gone {
                continue;
            }
            match self.clear(id, revision, deployment.serving(), is_fenced).await {
                Ok(true) => {
                    self.cleared.insert((id.clone(), revision));
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(deployment = %id, %revision, %error, "a queue is cleared later"),
            }
        }
    }

    /// Whether nothing is left.
    async fn clear(
        &self,
        id: &DeploymentId,
        from: RevisionId,
        to: Option<RevisionId>,
        is_fenced: bool,
    ) -> Result<bool, QueueError> {
        let requests = self.bus.requests();
        let depth = requests.depth(id, from).await?;
        match to {
            Some(to) if depth > 0 => {
                let moved = if is_fenced {
                    requests.move_fenced(id, from, to).await?
                } else {
                    requests.move_all(id, from, to).await?
                };
                tracing::info!(deployment = %id, %from, %to, moved, "queued requests are moved");
                // What is still in somebody's hand comes back, and is moved in a later round.
                Ok(false)
            }
            _ => {
                if depth > 0 {
                    tracing::warn!(deployment = %id, revision = %from, depth, "requests wait for nobody");
                }
                requests.remove(id, from).await?;
                Ok(true)
            }
        }
    }
}

/// Waits until something may have been taken back.
async fn taken_back(changes: &mut Changes) {
    loop {
        match changes.next().await {
            Change::Deployment { slot: Some(slot), .. } if slot != Slot::Rollback => {}
            Change::Deployment { .. } | Change::All => return,
        }
    }
}

/// Revisions that had workers, shall have none, and are not cleared yet.
fn left(deployment: &Deployment, now: Timestamp, is_cleared: impl Fn(RevisionId) -> bool) -> Vec<RevisionId> {
    let open: Vec<RevisionId> =
        deployment.revisions().filter(|r| r.is_deployed() && !is_cleared(r.id)).map(|r: &RevisionState| r.id).collect();
    if open.is_empty() {
        return open;
    }
    let (wanted, _) = wanted(deployment, now);
    open.into_iter().filter(|id| wanted.iter().all(|wanted| wanted.revision != *id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scenario::Scenario;

    #[test]
    fn a_queue_is_left_when_its_revision_had_workers_and_shall_have_none() {
        let mut scenario = Scenario::new();
        scenario.at(1_000).released(1, 1).released(2, 1);
        let at = |scenario: &Scenario, now| left(&scenario.fold(), Timestamp(now), |_| false);
        assert_eq!(at(&scenario, 1_000), [], "the first is kept warm");
        assert_eq!(at(&scenario, 700_000), [RevisionId::new(1, 1)]);
        scenario.rolled_back(2, 1, RevisionId::new(1, 1));
        assert_eq!(at(&scenario, 1_000), [RevisionId::new(2, 1)]);
        assert_eq!(left(&scenario.fold(), Timestamp(1_000), |_| true), []);
    }
}
