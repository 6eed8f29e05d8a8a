//! Where a duty is done: the deployment as it was folded, and what is needed to answer about it.

use super::{Done, DutyError};
use crate::{
    connect::Bus,
    lease::{Lease, LeaseKey},
    log::{Draft, Folded, View, Written, WrittenAgainst},
};
use slipway_kernel::{Answer, DeploymentId, Fact, FactKey, RevisionId, Service, Slot, Timestamp};
use std::{sync::Arc, time::Duration};

/// What a duty works with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The connection.
    pub bus: Bus,
    /// The log, as far as this replica has read it by now.
    pub view: View,
    /// Whose deployment.
    pub id: DeploymentId,
    /// The deployment as the duty was decided on.
    pub folded: Arc<Folded>,
    /// The newest of its facts: what led to the duty.
    pub cause: Option<Arc<Fact>>,
    /// Who acts.
    pub service: Service,
}

impl Scene {
    pub(super) fn new(bus: &Bus, view: &View, id: &DeploymentId, folded: Arc<Folded>, service: Service) -> Self {
        let cause = folded.deployment.facts().max_by_key(|fact| fact.sequence).cloned();
        Self { bus: bus.clone(), view: view.clone(), id: id.clone(), folded, cause, service }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.bus.clock().now()
    }

    /// The key of the first try at a question about this deployment.
    #[must_use]
    pub fn key(&self, revision: RevisionId, slot: Slot) -> FactKey {
        FactKey::new(self.id.clone(), revision, slot)
    }

    /// A draft by this service, caused by the newest fact, in the trace of the current span.
    #[must_use]
    pub fn draft(&self, answer: Answer) -> Draft {
        let correlation = self.cause.as_ref().map(|fact| fact.correlation.clone()).unwrap_or_default();
        let draft = Draft::new(answer, self.service.name(), correlation).traced();
        match &self.cause {
            Some(cause) => draft.caused_by(&cause.key),
            None => draft,
        }
    }

    /// Writes an answer once; one that is there already is adopted.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn append(&self, key: &FactKey, answer: Answer) -> Result<Written, DutyError> {
        Ok(self.bus.log().append(key, self.draft(answer)).await?)
    }

    /// Writes a decision that holds only for the deployment as it was folded; if that moved, it is to be decided again.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn decide(&self, key: &FactKey, answer: Answer) -> Result<Done, DutyError> {
        let last = self.folded.last_sequence;
        match self.bus.log().append_against(key, self.draft(answer), last).await? {
            WrittenAgainst::Stored(_) | WrittenAgainst::Adopted(_) => Ok(Done::Wrote),
            WrittenAgainst::Moved => Ok(Done::Again),
        }
    }

    /// Takes this service's lease on some work for the deployment; `None` if another replica has it.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn lease(&self, work: &str, ttl: Duration) -> Result<Option<Lease>, DutyError> {
        Ok(self.bus.leases().acquire(&LeaseKey::new(&self.id, self.service, work), ttl).await?)
    }
}
