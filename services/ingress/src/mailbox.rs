//! Where requests are left that are answered later, and whose they are.

use async_trait::async_trait;
use bytes::Bytes;
use slipway_bus::{Accepted, AcceptedRequest, Bus, BusError, QueueError};
use slipway_kernel::{DeploymentId, RequestId, RevisionId};

/// Queue, results and the register of accepted requests. The broker, or a double of it.
#[async_trait]
pub trait Mailbox: Send + Sync + 'static {
    /// Registers a request, once.
    async fn accept(
        &self,
        id: &DeploymentId,
        request: &RequestId,
        entry: &AcceptedRequest,
    ) -> Result<Accepted, BusError>;

    /// What was registered.
    async fn accepted(&self, id: &DeploymentId, request: &RequestId) -> Result<Option<AcceptedRequest>, BusError>;

    /// Takes a registration back.
    async fn forget(&self, id: &DeploymentId, request: &RequestId) -> Result<(), BusError>;

    /// Leaves a request in the queue of a revision.
    async fn leave(
        &self,
        id: &DeploymentId,
        revision: RevisionId,
        request: &RequestId,
        payload: Bytes,
        traceparent: Option<&str>,
    ) -> Result<(), QueueError>;

    /// The recorded result of a request.
    async fn result(&self, id: &DeploymentId, request: &RequestId) -> Result<Option<Bytes>, BusError>;
}

#[async_trait]
impl Mailbox for Bus {
    async fn accept(
        &self,
        id: &DeploymentId,
        request: &RequestId,
        entry: &AcceptedRequest,
    ) -> Result<Accepted, BusError> {
        self.accepted().create(id, request, entry).await
    }

    async fn accepted(&self, id: &DeploymentId, request: &RequestId) -> Result<Option<AcceptedRequest>, BusError> {
        Bus::accepted(self).get(id, request).await
    }

    async fn forget(&self, id: &DeploymentId, request: &RequestId) -> Result<(), BusError> {
        Bus::accepted(self).remove(id, request).await
    }

    async fn leave(
        &self,
        id: &DeploymentId,
        revision: RevisionId,
        request: &RequestId,
        payload: Bytes,
        traceparent: Option<&str>,
    ) -> Result<(), QueueError> {
        self.requests().publish(id, revision, request, payload, traceparent).await
    }

    async fn result(&self, id: &DeploymentId, request: &RequestId) -> Result<Option<Bytes>, BusError> {
        self.results().get(id, request).await
    }
}
