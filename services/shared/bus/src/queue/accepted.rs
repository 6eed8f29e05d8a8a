//! Accepted asynchronous requests: whose they are, so that nobody else can ask for the result.

use crate::{connect::Bus, error::BusError, kv::Table, topology::Bucket};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_kernel::{DeploymentId, Digest, RequestId, Timestamp};

/// An accepted request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedRequest {
    /// Whose it is.
    pub principal: String,
    /// Digest of its body: the same id with another body is another request.
    pub body_digest: Digest,
    /// When it was accepted.
    pub at: Timestamp,
    /// What else the ingress wants to know of it.
    #[serde(default)]
    pub detail: Value,
}

/// How accepting came out.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// It was not known.
    New,
    /// It was accepted before.
    Existing(AcceptedRequest),
}

/// The accepted requests.
#[derive(Clone, Debug)]
pub struct AcceptedRequests {
    table: Table,
}

fn key(id: &DeploymentId, request: &RequestId) -> String {
    format!("{id}.{request}")
}

impl AcceptedRequests {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { table: Table::new(bus, Bucket::Accepted) }
    }

    /// Accepts a request, once.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn create(
        &self,
        id: &DeploymentId,
        request: &RequestId,
        accepted: &AcceptedRequest,
    ) -> Result<Accepted, BusError> {
        let key = key(id, request);
        if self.table.create(&key, accepted, None).await?.is_some() {
            return Ok(Accepted::New);
        }
        // It may have run out between the two; then it is as good as new, and the next try will say so.
        self.table
            .get(&key)
            .await?
            .map(Accepted::Existing)
            .ok_or_else(|| BusError::Connection(format!("`{key}` is gone")))
    }

    /// Reads an accepted request.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn get(&self, id: &DeploymentId, request: &RequestId) -> Result<Option<AcceptedRequest>, BusError> {
        self.table.get(&key(id, request)).await
    }

    /// Forgets an accepted request.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn remove(&self, id: &DeploymentId, request: &RequestId) -> Result<(), BusError> {
        self.table.remove(&key(id, request)).await
    }
}
