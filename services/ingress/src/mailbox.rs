//! The broker as the door sees it: where requests are left that are answered later, whose they are, and where results go.

use async_trait::async_trait;
use bytes::Bytes;
use slipway_bus::{Accepted, AcceptedRequest, Bus, BusError, QueueError, Recorded};
use slipway_kernel::{DeploymentId, RequestId, RevisionId};

/// Queue, results, captures and the register of accepted requests. The broker, or a double of it.
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

    /// Leaves a request in the queue of a revision; `data` is what of it is too large for a message.
    async fn leave(
        &self,
        id: &DeploymentId,
        revision: RevisionId,
        request: &RequestId,
        payload: Bytes,
        data: Option<&Bytes>,
        traceparent: Option<&str>,
    ) -> Result<(), QueueError>;

    /// The recorded result of a request.
    async fn result(&self, id: &DeploymentId, request: &RequestId) -> Result<Option<Bytes>, BusError>;

    /// Records the result of a request, where it can be asked for. One that is there already is the one that counts.
    async fn record(
        &self,
        id: &DeploymentId,
        request: &RequestId,
        result: Bytes,
        traceparent: Option<&str>,
    ) -> Result<Recorded, QueueError>;

    /// Leaves a batch of results for the outputs of a deployment.
    async fn capture(&self, id: &DeploymentId, batch: Bytes) -> Result<(), QueueError>;
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
        data: Option<&Bytes>,
        traceparent: Option<&str>,
    ) -> Result<(), QueueError> {
        match data {
            Some(data) => self.requests().publish_with_data(id, revision, request, payload, data, traceparent).await,
            None => self.requests().publish(id, revision, request, payload, traceparent).await,
        }
    }

    async fn result(&self, id: &DeploymentId, request: &RequestId) -> Result<Option<Bytes>, BusError> {
        self.results().get(id, request).await
    }

    async fn record(
        &self,
        id: &DeploymentId,
        request: &RequestId,
        result: Bytes,
        traceparent: Option<&str>,
    ) -> Result<Recorded, QueueError> {
        self.results().publish(id, request, result, traceparent).await
    }

    async fn capture(&self, id: &DeploymentId, batch: Bytes) -> Result<(), QueueError> {
        self.captures().publish(id, batch).await
    }
}
