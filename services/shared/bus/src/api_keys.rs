//! Hashed API keys per deployment: written by security, read by the ingress. The keys themselves are shown once and kept nowhere.

use crate::{
    ask,
    connect::Bus,
    error::BusError,
    kv::{Table, decode_all},
    topology::Bucket,
    watched::Watched,
    wire::Stored,
};
use serde::{Deserialize, Serialize};
use slipway_kernel::{DeploymentId, Label, Service, Timestamp};
use slipway_runtime::Frame;
use std::{collections::BTreeMap, fmt, future::Future, time::Duration};

const ISSUE: &str = "api-key";

/// One key of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyRecord {
    /// Its name, a DNS label; the part of the key that is not secret.
    pub key_id: String,
    /// SHA-256 of the whole key, 64 hexadecimal digits. A key has 256 random bits, so a fast hash is as good as a slow one.
    pub hash: String,
    /// As whom its bearer is known.
    pub principal: String,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// A demand for a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyDemand {
    /// For which deployment, `<namespace>.<name>`.
    pub deployment: String,
}

/// What becomes of a demand for a key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedApiKey {
    /// The key, told this once; none if the demand was refused.
    pub key: Option<String>,
    /// Why it was refused; empty if it was not.
    #[serde(default)]
    pub refused: String,
}

impl fmt::Debug for IssuedApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedApiKey").field("refused", &self.refused).finish_non_exhaustive()
    }
}

/// The hashed keys.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    table: Table,
    bus: Bus,
}

fn key(id: &DeploymentId, key_id: &str) -> Result<String, BusError> {
    let label: Label =
        key_id.parse().map_err(|reason| BusError::Unreadable { action: format!("name a key `{key_id}`"), reason })?;
    Ok(format!("{id}.{label}"))
}

fn by_deployment(entries: &BTreeMap<String, Stored>) -> BTreeMap<DeploymentId, Vec<ApiKeyRecord>> {
    let mut keys: BTreeMap<DeploymentId, Vec<ApiKeyRecord>> = BTreeMap::new();
    for (key, record) in decode_all::<ApiKeyRecord>(entries) {
        if let Some(id) = key.rsplit_once('.').and_then(|(id, _)| id.parse().ok()) {
            keys.entry(id).or_default().push(record);
        }
    }
    keys
}

impl ApiKeys {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { table: Table::new(bus.clone(), Bucket::ApiKeys), bus }
    }

    /// Asks for a new key of a deployment (operator): it is told in the answer and nowhere else.
    ///
    /// # Errors
    /// When no security answers in time.
    pub async fn issue(&self, id: &DeploymentId, timeout: Duration) -> Result<IssuedApiKey, BusError> {
        let demand = ApiKeyDemand { deployment: id.to_string() };
        ask::question(&self.bus, Service::Security, ISSUE, &demand, timeout).await
    }

    /// Answers demands for keys until shutdown (security).
    ///
    /// # Errors
    /// When the subscription fails.
    pub async fn serve<F, Fut>(&self, frame: &Frame, answer: F) -> Result<(), BusError>
    where
        F: Fn(ApiKeyDemand) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<IssuedApiKey>> + Send + 'static,
    {
        ask::serve(&self.bus, frame, Service::Security, ISSUE, answer).await
    }

    /// Writes a key's record.
    ///
    /// # Errors
    /// When the name is no label or the write fails.
    pub async fn put(&self, id: &DeploymentId, record: &ApiKeyRecord) -> Result<(), BusError> {
        self.table.put(&key(id, &record.key_id)?, record).await.map(drop)
    }

    /// Removes one key.
    ///
    /// # Errors
    /// When the name is no label or the write fails.
    pub async fn remove(&self, id: &DeploymentId, key_id: &str) -> Result<(), BusError> {
        self.table.remove(&key(id, key_id)?).await
    }

    /// Removes all keys of a deployment; returns how many there were.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn remove_all(&self, id: &DeploymentId) -> Result<usize, BusError> {
        let entries = self.table.list(&format!("{id}.*")).await?;
        for key in entries.keys() {
            self.table.remove(key).await?;
        }
        Ok(entries.len())
    }

    /// The keys of a deployment.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn list(&self, id: &DeploymentId) -> Result<Vec<ApiKeyRecord>, BusError> {
        let entries = self.table.list(&format!("{id}.*")).await?;
        Ok(by_deployment(&entries).remove(id).unwrap_or_default())
    }

    /// Follows the keys of all deployments.
    ///
    /// # Errors
    /// When the broker does not answer at first.
    pub async fn follow(&self) -> Result<Watched<BTreeMap<DeploymentId, Vec<ApiKeyRecord>>>, BusError> {
        self.table.follow(">", by_deployment).await
    }
}
