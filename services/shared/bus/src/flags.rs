//! Integrity flags: a flagged deployment is one whose facts cannot be trusted. Nobody acts on it until an operator says so.

use crate::{
    connect::Bus,
    error::BusError,
    kv::{Table, decode_all},
    topology::Bucket,
    watched::Watched,
};
use serde::{Deserialize, Serialize};
use slipway_kernel::{DeploymentId, Timestamp};
use std::collections::BTreeMap;

/// Why a deployment is not acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntegrityFlag {
    /// What was found.
    pub reason: String,
    /// Who found it.
    pub by: String,
    /// When, by the finder's clock.
    pub at: Timestamp,
}

/// The flags.
#[derive(Clone, Debug)]
pub struct Flags {
    table: Table,
    bus: Bus,
}

fn key(id: &DeploymentId) -> String {
    format!("{id}.integrity")
}

fn by_deployment(entries: &BTreeMap<String, crate::wire::Stored>) -> BTreeMap<DeploymentId, IntegrityFlag> {
    let flags = decode_all(entries).into_iter();
    flags.filter_map(|(key, flag)| Some((key.strip_suffix(".integrity")?.parse().ok()?, flag))).collect()
}

impl Flags {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { table: Table::new(bus.clone(), Bucket::Flags), bus }
    }

    /// Flags a deployment. The first reason stays: it is the nearest to the cause.
    ///
    /// # Errors
    /// When the write fails.
    pub async fn raise(&self, id: &DeploymentId, reason: &str) -> Result<(), BusError> {
        let flag =
            IntegrityFlag { reason: reason.to_owned(), by: self.bus.instance().to_owned(), at: self.bus.clock().now() };
        tracing::error!(deployment = %id, reason, "integrity alarm: nobody acts on this deployment any more");
        self.table.create(&key(id), &flag, None).await.map(drop)
    }

    /// Takes the flag away: an operator has looked.
    ///
    /// # Errors
    /// When the write fails or is not allowed.
    pub async fn clear(&self, id: &DeploymentId) -> Result<(), BusError> {
        self.table.remove(&key(id)).await
    }

    /// All flags now.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn list(&self) -> Result<BTreeMap<DeploymentId, IntegrityFlag>, BusError> {
        Ok(by_deployment(&self.table.list(">").await?))
    }

    /// Follows all flags.
    ///
    /// # Errors
    /// When the broker does not answer at first.
    pub async fn follow(&self) -> Result<Watched<BTreeMap<DeploymentId, IntegrityFlag>>, BusError> {
        self.table.follow(">", by_deployment).await
    }
}
