//! The target `kubernetes`: workers are pods of Deployments, or of StatefulSets where they have volumes.
//!
//! - **One keeper per installation.** Replicas contend for its lease; the holder makes and removes objects. Each deployment has an anchor that
//!   bears the token of the last holder, written only over what was read: who finds a greater one there has been succeeded.
//! - **What was planned is what is applied**: the objects in the blob that `planned` names, by server-side apply, with one field manager.
//! - **Level-triggered.** Each round lists what is there, from the API server and no cache, compares it with what shall be ([`reconcile`]) and
//!   does the difference. Watches only ring. A crash between any two calls leaves work for the next round and nothing else.
//! - **Only what bears the installation's label** is ever touched, and removed only as exactly the object that was seen.

mod bell;
mod keeper;
mod look;
mod objects;
mod publish;
mod reconcile;

pub use objects::SCALED_OBJECT;

use super::{Desired, Group, Status, Target, wishes::Wishes};
use crate::{domain::manifest::kubernetes::Cluster, telemetry::Telemetry};
use async_trait::async_trait;
use publish::{GroupState, Published};
use serde::{Deserialize, Serialize};
use slipway_bus::Bus;
use slipway_kernel::DeploymentId;
use slipway_runtime::Frame;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// What happens to objects that others changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDrift {
    /// They are made what was planned, and it is told.
    #[default]
    PutRight,
    /// It is told.
    Report,
}

/// How the target is set up.
#[derive(Clone)]
pub struct Setup {
    /// What all workers have in common.
    pub cluster: Cluster,
    /// How long the lease holds without renewal.
    pub lease: Duration,
    /// What happens to objects that others changed.
    pub on_drift: OnDrift,
    /// The way to the API server.
    pub client: kube::Client,
}

/// The target of one replica.
pub struct Kubernetes {
    setup: Setup,
    bus: Bus,
    telemetry: Telemetry,
    wishes: Mutex<Wishes>,
    published: Mutex<Published>,
    /// Somebody wished something, or something changed in the cluster.
    bell: Arc<Notify>,
    /// The keeper published something.
    changed: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each is replaced as a whole; a panic in between leaves the old one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kubernetes {
    /// A target that does nothing before [`Target::run`].
    #[must_use]
    pub fn new(setup: Setup, bus: Bus, telemetry: Telemetry) -> Self {
        Self {
            setup,
            bus,
            telemetry,
            wishes: Mutex::default(),
            published: Mutex::default(),
            bell: Arc::default(),
            changed: Notify::new(),
        }
    }

    fn wishes(&self) -> Wishes {
        lock(&self.wishes).clone()
    }

    /// What was seen last stays true until it is seen otherwise; where nothing was, why is told.
    fn publish_blind(&self, why: String) {
        if !lock(&self.published).holds {
            self.publish(Published { blind: Some(why), ..Published::default() });
        }
    }

    fn publish(&self, published: Published) {
        let mut held = lock(&self.published);
        let same = *held == published;
        *held = published;
        drop(held);
        if !same {
            self.changed.notify_waiters();
        }
    }
}

#[async_trait]
impl Target for Kubernetes {
    fn want(&self, deployment: &DeploymentId, revisions: Vec<Desired>) {
        lock(&self.wishes).want(deployment, revisions);
        self.bell.notify_one();
    }

    fn all_told(&self) {
        lock(&self.wishes).all_told = true;
        self.bell.notify_one();
    }

    fn groups(&self) -> Vec<Group> {
        lock(&self.wishes).by_group().into_keys().collect()
    }

    fn status(&self, group: &Group) -> Status {
        let published = lock(&self.published);
        if !published.holds {
            let blind = published.blind.clone();
            drop(published);
            return match (blind, lock(&self.wishes).of(group)) {
                (Some(detail), Some(wish)) => Status::Starting { ready: 0, of: wish.wanted.plan.replicas, detail },
                _ => Status::Elsewhere,
            };
        }
        if let Some(state) = published.groups.get(group) {
            return state.status();
        }
        // Another try of the same revision may still have pods, and what is left of one that nobody wants is not gone.
        let left = published.left(group);
        drop(published);
        match lock(&self.wishes).of(group) {
            Some(wish) => GroupState::unseen(wish.wanted.plan.replicas).status(),
            None if left > 0 => {
                Status::Starting { ready: 0, of: 0, detail: format!("{left} object(s) and pod(s) are being removed") }
            }
            None => Status::Gone,
        }
    }

    async fn changed(&self, at_most: Duration) {
        // A timeout is as good as a change: whoever waits looks again.
        let _ = tokio::time::timeout(at_most, self.changed.notified()).await;
    }

    async fn run(self: Arc<Self>, frame: Frame) -> anyhow::Result<()> {
        keeper::run(self, frame).await
    }
}
