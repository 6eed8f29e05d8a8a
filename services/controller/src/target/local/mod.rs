//! The local target: workers are child processes of this machine, supervised.
//!
//! - **One keeper per host.** Replicas contend for the host's lease; its holder starts and stops workers, the others do
//!   nothing. The lease's value lists the wanted workers, and a worker that is not listed ends by itself: so a keeper
//!   that was paused and comes back cannot leave anything running that its successor does not want.
//! - **Nothing is lost with the keeper.** Workers outlive it; the next one finds them by what lies in `<data>/run`,
//!   recognises each by process number and start time, takes over those that are wanted and ends the others.
//! - **Level-triggered.** Each round compares what shall be with what is ([`reconcile`]) and does the difference.

mod autopsy;
mod cgroup;
mod keeper;
mod launch;
mod machine;
mod process;
mod reconcile;
mod records;
mod settings;

pub use launch::{LaunchError, default_command};
pub use machine::host_name;
pub use settings::Surroundings;

use super::{Desired, Group, Running, Status, Target, wishes::Wishes};
use crate::telemetry::Telemetry;
use async_trait::async_trait;
use reconcile::Trouble;
use slipway_bus::Bus;
use slipway_kernel::{DeploymentId, Endpoint, Measurement};
use slipway_runtime::Frame;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// How the local target is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Program and first arguments of a worker.
    pub command: Vec<String>,
    /// What all workers have in common.
    pub around: Surroundings,
    /// How long the lease holds without renewal.
    pub lease: Duration,
    /// Whether workers end with the controller.
    pub stop_with_controller: bool,
    /// Whether control groups are used where they can be.
    pub control_groups: bool,
}

/// The local target of one replica.
#[derive(Debug)]
pub struct Local {
    setup: Setup,
    bus: Bus,
    telemetry: Telemetry,
    wishes: Mutex<Wishes>,
    published: Mutex<Published>,
    /// Somebody wished something.
    wished: Notify,
    /// The keeper published something.
    changed: Notify,
}

/// What is, as of the keeper's last round.
#[derive(Debug, Default)]
struct Published {
    /// Whether this replica holds the lease and knows what is there.
    holds: bool,
    groups: BTreeMap<Group, GroupState>,
}

/// One group in a round.
#[derive(Clone, Debug, Default, PartialEq)]
struct GroupState {
    /// Workers that are ready.
    ready: Vec<Endpoint>,
    /// Workers that are there, also those that end.
    present: u32,
    /// Workers that shall be.
    of: u32,
    /// What the first ready one measured.
    measurements: Vec<Measurement>,
    /// The largest token under which one was started.
    token: u64,
    trouble: Trouble,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both are replaced as a whole; a panic in between leaves the old one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Local {
    /// A target that does nothing before [`Target::run`].
    #[must_use]
    pub fn new(setup: Setup, bus: Bus, telemetry: Telemetry) -> Self {
        Self {
            setup,
            bus,
            telemetry,
            wishes: Mutex::default(),
            published: Mutex::default(),
            wished: Notify::new(),
            changed: Notify::new(),
        }
    }

    fn wishes(&self) -> Wishes {
        lock(&self.wishes).clone()
    }

    fn publish(&self, published: Published) {
        let mut held = lock(&self.published);
        let same = held.holds == published.holds && held.groups == published.groups;
        *held = published;
        drop(held);
        if !same {
            self.changed.notify_waiters();
        }
    }
}

impl GroupState {
    fn status(&self) -> Status {
        let ready = u32::try_from(self.ready.len()).unwrap_or(u32::MAX);
        if self.trouble.given_up {
            return Status::Failed(self.trouble.findings.clone());
        }
        if self.of == 0 {
            let detail = format!("{} worker(s) end", self.present);
            return if self.present == 0 { Status::Gone } else { Status::Starting { ready: 0, of: 0, detail } };
        }
        if ready >= self.of {
            return Status::Running(Running {
                endpoints: self.ready.clone(),
                measurements: self.measurements.clone(),
                fencing_token: self.token,
                trouble: None,
            });
        }
        if self.trouble.is_crash_loop() {
            return Status::Failed(self.trouble.findings.clone());
        }
        let last =
            self.trouble.findings.first().map(|finding| format!("; the last one that died: {}", finding.message));
        let detail = format!("{} process(es) run{}", self.present, last.unwrap_or_default());
        Status::Starting { ready, of: self.of, detail }
    }
}

#[async_trait]
impl Target for Local {
    fn want(&self, deployment: &DeploymentId, revisions: Vec<Desired>) {
        lock(&self.wishes).want(deployment, revisions);
        self.wished.notify_one();
    }

    fn all_told(&self) {
        lock(&self.wishes).all_told = true;
        self.wished.notify_one();
    }

    fn groups(&self) -> Vec<Group> {
        lock(&self.wishes).by_group().into_keys().collect()
    }

    fn status(&self, group: &Group) -> Status {
        let published = lock(&self.published);
        if !published.holds {
            return Status::Elsewhere;
        }
        if let Some(state) = published.groups.get(group) {
            return state.status();
        }
        drop(published);
        // The keeper has not seen the wish yet.
        let wishes = lock(&self.wishes);
        match wishes.of(group) {
            Some(wish) => {
                let of = wish.wanted.plan.replicas;
                Status::Starting { ready: 0, of, detail: "not looked at yet".to_owned() }
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
