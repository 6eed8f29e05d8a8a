//! Workers that do not exist: for benches and tests that drive the mesh with its effects simulated.

use super::{Desired, Group, Running, Status, Target};
use async_trait::async_trait;
use slipway_kernel::{DeploymentId, Endpoint, Finding, Plan};
use slipway_runtime::Frame;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// How a plan would fare: `Ok` = its workers come up, `Err` = they fail with these findings.
pub type Verdict = Box<dyn Fn(&Group, &Plan) -> Result<(), Vec<Finding>> + Send + Sync>;

/// The simulated target. Clones are the same one, so two replicas of the controller can share a "machine".
#[derive(Clone)]
pub struct Simulated {
    shared: Arc<Shared>,
}

struct Shared {
    verdict: Verdict,
    wanted: Mutex<BTreeMap<DeploymentId, Vec<Desired>>>,
    changed: Notify,
}

impl std::fmt::Debug for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulated").field("wanted", &self.wanted().len()).finish_non_exhaustive()
    }
}

impl Default for Simulated {
    fn default() -> Self {
        Self::new(Box::new(|_, _| Ok(())))
    }
}

impl Simulated {
    /// A target where each plan fares as `verdict` says.
    #[must_use]
    pub fn new(verdict: Verdict) -> Self {
        Self { shared: Arc::new(Shared { verdict, wanted: Mutex::default(), changed: Notify::new() }) }
    }

    /// The revisions of a deployment that have workers now.
    #[must_use]
    pub fn revisions(&self, deployment: &DeploymentId) -> Vec<slipway_kernel::RevisionId> {
        let wanted = self.wanted();
        wanted.get(deployment).map_or_else(Vec::new, |desired| desired.iter().map(|d| d.wanted.revision).collect())
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeMap<DeploymentId, Vec<Desired>>> {
        self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Target for Simulated {
    fn want(&self, deployment: &DeploymentId, revisions: Vec<Desired>) {
        if revisions.is_empty() {
            self.wanted().remove(deployment);
        } else {
            self.wanted().insert(deployment.clone(), revisions);
        }
        self.shared.changed.notify_waiters();
    }

    fn all_told(&self) {}

    fn groups(&self) -> Vec<Group> {
        // Their fate is known beforehand.
        Vec::new()
    }

    fn status(&self, group: &Group) -> Status {
        let plan = {
            let wanted = self.wanted();
            let desired = wanted.get(&group.deployment).and_then(|desired| {
                desired.iter().find(|d| d.wanted.revision == group.revision && d.wanted.attempt == group.attempt)
            });
            match desired {
                Some(desired) => desired.wanted.plan.clone(),
                None => return Status::Gone,
            }
        };
        match (self.shared.verdict)(group, &plan) {
            Err(findings) => Status::Failed(findings),
            Ok(()) => {
                let endpoint = |n| Endpoint {
                    instance: format!("{}-{}-{n}", group.deployment.name, group.revision),
                    address: "127.0.0.1:1".to_owned(),
                };
                let endpoints = (0..plan.replicas).map(endpoint).collect();
                Status::Running(Running { endpoints, fencing_token: 1, ..Running::default() })
            }
        }
    }

    async fn changed(&self, at_most: Duration) {
        // A timeout is as good as a change: whoever waits looks again.
        let _ = tokio::time::timeout(at_most, self.shared.changed.notified()).await;
    }

    async fn run(self: Arc<Self>, frame: Frame) -> anyhow::Result<()> {
        frame.shutdown.cancelled().await;
        Ok(())
    }
}
