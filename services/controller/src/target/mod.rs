//! Where workers run. The trait has two targets behind it, supervised processes of this machine and pods of a cluster, and a simulated one, so
//! that the mesh can be driven without effects.
//!
//! A target is level-triggered: it is told what shall be, compares it with what is, and does the difference, again and
//! again.

pub mod kubernetes;
pub mod local;
pub mod simulated;
mod wishes;

use crate::domain::{Wanted, manifest::Model};
use async_trait::async_trait;
use slipway_kernel::{DeploymentId, Endpoint, Finding, Measurement, RevisionId};
use slipway_runtime::Frame;
use std::{sync::Arc, time::Duration};

/// A revision that must have workers, with what a worker must know beside its plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Which revision, how, and which try.
    pub wanted: Wanted,
    /// What is to be known of its model.
    pub model: Model,
}

/// One try at the workers of a revision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// Whose.
    pub deployment: DeploymentId,
    /// Which revision.
    pub revision: RevisionId,
    /// Which try.
    pub attempt: u32,
}

/// Workers that are ready.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Running {
    /// Where each answers.
    pub endpoints: Vec<Endpoint>,
    /// What warm-up measured, of the first worker.
    pub measurements: Vec<Measurement>,
    /// The fencing token under which they were started.
    pub fencing_token: u64,
    /// What threatens them although they serve: a node that does not answer any more.
    pub trouble: Option<String>,
}

/// How the workers of a revision stand.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    /// Another replica of the controller runs the workers.
    Elsewhere,
    /// There are none.
    Gone,
    /// Not all are ready.
    Starting {
        /// So many are.
        ready: u32,
        /// So many shall be.
        of: u32,
        /// What is known about the others.
        detail: String,
    },
    /// All are ready.
    Running(Running),
    /// They do not start, or do not stay, and starting them again was given up for now.
    Failed(Vec<Finding>),
}

/// Where workers run.
#[async_trait]
pub trait Target: Send + Sync + 'static {
    /// What shall run of a deployment from now on; replaces what was said of it before.
    fn want(&self, deployment: &DeploymentId, revisions: Vec<Desired>);

    /// Every deployment was told of once: what nobody wants may be stopped now.
    fn all_told(&self);

    /// Every try that shall have workers.
    fn groups(&self) -> Vec<Group>;

    /// How one try at a revision stands.
    fn status(&self, group: &Group) -> Status;

    /// Waits until something changed that [`status`](Self::status) tells, or `at_most` is over.
    async fn changed(&self, at_most: Duration);

    /// Does the work until the process is to end.
    async fn run(self: Arc<Self>, frame: Frame) -> anyhow::Result<()>;
}

/// No target: this replica keeps no workers, another one does.
#[derive(Clone, Copy, Debug)]
pub struct Absent;

#[async_trait]
impl Target for Absent {
    fn want(&self, _: &DeploymentId, _: Vec<Desired>) {}

    fn all_told(&self) {}

    fn groups(&self) -> Vec<Group> {
        Vec::new()
    }

    fn status(&self, _: &Group) -> Status {
        Status::Elsewhere
    }

    async fn changed(&self, at_most: Duration) {
        tokio::time::sleep(at_most).await;
    }

    async fn run(self: Arc<Self>, frame: Frame) -> anyhow::Result<()> {
        frame.shutdown.cancelled().await;
        Ok(())
    }
}
