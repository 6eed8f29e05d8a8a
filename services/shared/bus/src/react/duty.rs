//! What a service is to the bus: what is due, and how it is done.

use super::Scene;
use crate::{blobs::BlobError, error::BusError, lease::LeaseError, log::AppendError};
use async_trait::async_trait;
use slipway_kernel::{Deployment, Due, Service, Timestamp};
use std::{fmt::Debug, sync::Arc, time::Duration};

/// How a duty ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The answer stands in the log; its event goes on from here.
    Wrote,
    /// Look again at once: the deployment moved while it was decided.
    Again,
    /// Another replica holds the lease and does it. Looked at again soon, in case it does not.
    Elsewhere,
    /// Look again after this, unless something changes before.
    Later(Duration),
}

/// Why a duty was not done.
#[derive(Debug, thiserror::Error)]
pub enum DutyError {
    /// It may work later: tried again after 1 s, doubling up to 30 s.
    #[error("for the moment: {0:#}")]
    Transient(anyhow::Error),
    /// It will not work: a dead letter is written, and nothing is tried before the deployment changes.
    #[error("for good: {0:#}")]
    Permanent(anyhow::Error),
}

impl DutyError {
    /// It may work later.
    pub fn transient(error: impl Into<anyhow::Error>) -> Self {
        Self::Transient(error.into())
    }

    /// It will not work.
    pub fn permanent(error: impl Into<anyhow::Error>) -> Self {
        Self::Permanent(error.into())
    }

    fn classified(transient: bool, error: impl Into<anyhow::Error>) -> Self {
        if transient { Self::transient(error) } else { Self::permanent(error) }
    }
}

impl From<BusError> for DutyError {
    fn from(error: BusError) -> Self {
        Self::classified(error.is_transient(), error)
    }
}

impl From<AppendError> for DutyError {
    fn from(error: AppendError) -> Self {
        Self::classified(error.is_transient(), error)
    }
}

impl From<LeaseError> for DutyError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost { .. } => Self::transient(error),
            LeaseError::Bus(error) => error.into(),
        }
    }
}

impl From<BlobError> for DutyError {
    fn from(error: BlobError) -> Self {
        Self::classified(error.is_transient(), error)
    }
}

/// A service that answers questions of the log.
#[async_trait]
pub trait Actor: Send + Sync + 'static {
    /// What it may have to do. Equal duties are the same piece of work: what changes while it runs (counts, times) stays out.
    type Duty: Clone + PartialEq + Debug + Send + Sync + 'static;

    /// Which service it is.
    fn service(&self) -> Service;

    /// What is due. Pure: the same deployment and time give the same answer, on every replica.
    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Self::Duty>;

    /// Does it. May run twice, in two replicas at once, and be dropped at any await as soon as `due` says otherwise.
    async fn perform(&self, duty: Self::Duty, scene: Scene) -> Result<Done, DutyError>;

    /// How many duties this replica does at once. Most of a duty is waiting, but each may hold processes, connections or a disk:
    /// 64 keeps a thousand deployments moving without a thousand downloads.
    fn max_running(&self) -> usize {
        64
    }

    /// The duty's name in metrics and traces.
    fn label(&self, _duty: &Self::Duty) -> &'static str {
        "duty"
    }
}

#[async_trait]
impl<A: Actor> Actor for Arc<A> {
    type Duty = A::Duty;

    fn service(&self) -> Service {
        (**self).service()
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Self::Duty> {
        (**self).due(deployment, now)
    }

    async fn perform(&self, duty: Self::Duty, scene: Scene) -> Result<Done, DutyError> {
        (**self).perform(duty, scene).await
    }

    fn max_running(&self) -> usize {
        (**self).max_running()
    }

    fn label(&self, duty: &Self::Duty) -> &'static str {
        (**self).label(duty)
    }
}
