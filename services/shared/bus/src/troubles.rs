//! What is wrong with workers, by whoever keeps them, and with what they stand on, by the provisioner. Where all is well there is no entry; one that is not said again is gone in fifteen seconds.

use crate::{
    connect::Bus,
    error::BusError,
    kv::{Table, decode_all},
    topology::Bucket,
    workers::deployment_text,
};
use serde::{Deserialize, Serialize};
use slipway_kernel::{DeploymentId, Revision, RevisionId, Service};

/// The workers of a revision that are not as they should be; of revision 0, what all workers of its generation stand on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerTrouble {
    /// Whose workers.
    #[serde(with = "deployment_text")]
    pub deployment: DeploymentId,
    /// Of which revision.
    pub revision: RevisionId,
    /// What is known of it, as a sentence.
    pub detail: String,
}

impl WorkerTrouble {
    /// Who says it stands in the key, so that permissions keep the two off each other's entries.
    fn key(&self) -> String {
        let key = format!("{}.{}", self.deployment, self.revision);
        if self.revision.revision == Revision(0) { format!("{key}.{}", Service::Provisioner) } else { key }
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Troubles {
    table: Table,
}

impl Troubles {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { table: Table::new(bus, Bucket::Troubles) }
    }

    /// Says what is wrong. To be repeated each 5 s for as long as it is.
    ///
    /// # Errors
    /// When the write fails.
    pub async fn say(&self, trouble: &WorkerTrouble) -> Result<(), BusError> {
        self.table.put(&trouble.key(), trouble).await.map(drop)
    }

    /// Says that it is over.
    ///
    /// # Errors
    /// When the write fails; the entry then expires.
    pub async fn over(&self, trouble: &WorkerTrouble) -> Result<(), BusError> {
        self.table.remove(&trouble.key()).await
    }

    /// All that is wrong now.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn list(&self) -> Result<Vec<WorkerTrouble>, BusError> {
        let entries = self.table.list(">").await?;
        Ok(decode_all(&entries).into_iter().map(|(_, trouble)| trouble).collect())
    }
}
