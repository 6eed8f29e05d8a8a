//! The registry of live inference workers. A worker that stops renewing its entry is gone within ten seconds.

use crate::{
    connect::Bus,
    error::BusError,
    kv::{Table, decode_all},
    topology::Bucket,
    watched::Watched,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use slipway_kernel::{DeploymentId, Measurement, RevisionId, Timestamp};
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// A third of the lifetime of an entry, so that two renewals may be lost.
const RENEWAL: Duration = Duration::from_secs(3);

/// What a worker is able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    /// Loading the model.
    Starting,
    /// Loaded and warmed up, without an identity yet: it answers health only.
    Warm,
    /// Serving.
    Ready,
    /// Finishing what it has, taking nothing new.
    Draining,
}

/// One live worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerRecord {
    /// Whose model it serves.
    #[serde(with = "deployment_text")]
    pub deployment: DeploymentId,
    /// Which revision.
    pub revision: RevisionId,
    /// Its name, a DNS label, unique among all workers.
    pub instance: String,
    /// The host it runs on.
    pub host: String,
    /// Where it serves (`ip:port`).
    pub address: String,
    /// Where its health and metrics are (`ip:port`).
    pub admin: String,
    /// Its process.
    pub pid: u32,
    /// The fencing token under which it was started.
    #[serde(with = "slipway_kernel::wire::u64_string")]
    pub fencing_token: u64,
    /// What it is able to do.
    pub state: WorkerState,
    /// What warm-up measured.
    #[serde(default)]
    pub measurements: Vec<Measurement>,
    /// What else the controller and the ingress agreed upon.
    #[serde(default)]
    pub detail: Value,
    /// Since when it runs.
    pub since: Timestamp,
}

/// [`DeploymentId`] as its text.
pub(crate) mod deployment_text {
    use super::{DeploymentId, Deserialize as _, Deserializer, Serializer};
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(id: &DeploymentId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DeploymentId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The registry.
#[derive(Clone, Debug)]
pub struct Workers {
    table: Table,
    bus: Bus,
}

impl Workers {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { table: Table::new(bus.clone(), Bucket::Workers), bus }
    }

    /// Registers a worker and keeps its entry alive until the registration is dropped.
    ///
    /// # Errors
    /// When the first write fails.
    pub async fn register(&self, record: WorkerRecord) -> Result<Registration, BusError> {
        let key = key(&record)?;
        self.table.put(&key, &record).await?;
        let shared = Arc::new(Shared { table: self.table.clone(), key, record: Mutex::new(Some(record)) });
        let stop = CancellationToken::new();
        self.bus.background(renew(Arc::clone(&shared), self.bus.clone(), stop.clone()));
        Ok(Registration { bus: self.bus.clone(), shared, stop })
    }

    /// All live workers now.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn list(&self) -> Result<Vec<WorkerRecord>, BusError> {
        let entries = self.table.list(">").await?;
        Ok(decode_all(&entries).into_iter().map(|(_, record)| record).collect())
    }

    /// Follows all live workers.
    ///
    /// # Errors
    /// When the broker does not answer at first.
    pub async fn follow(&self) -> Result<Watched<Vec<WorkerRecord>>, BusError> {
        self.table.follow(">", |entries| decode_all(entries).into_iter().map(|(_, record)| record).collect()).await
    }
}

fn key(record: &WorkerRecord) -> Result<String, BusError> {
    let instance: slipway_kernel::Label = record
        .instance
        .parse()
        .map_err(|reason| BusError::Unreadable { action: format!("register `{}`", record.instance), reason })?;
    Ok(format!("{}.{}.{instance}", record.deployment, record.revision))
}

#[derive(Debug)]
struct Shared {
    table: Table,
    key: String,
    /// `None` once deregistered.
    record: Mutex<Option<WorkerRecord>>,
}

impl Shared {
    async fn write(&self) -> Result<(), BusError> {
        // Held over the write, so that an older state never overtakes a newer one.
        let record = self.record.lock().await;
        match record.as_ref() {
            Some(record) => self.table.put(&self.key, record).await.map(drop),
            None => Ok(()),
        }
    }

    async fn remove(&self) -> Result<(), BusError> {
        let mut record = self.record.lock().await;
        if record.take().is_some() { self.table.remove(&self.key).await } else { Ok(()) }
    }
}

async fn renew(shared: Arc<Shared>, bus: Bus, stop: CancellationToken) {
    let mut connections = bus.connections();
    loop {
        tokio::select! {
            () = tokio::time::sleep(RENEWAL) => {}
            // A broker that was away has expired the entry: do not let clients wait for the next renewal.
            _ = connections.changed() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = shared.write().await {
            tracing::warn!(key = shared.key, %error, "renewing a registration failed");
        }
    }
}

/// A worker's entry, alive as long as this is held.
#[derive(Debug)]
pub struct Registration {
    bus: Bus,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.stop.cancel();
        let shared = Arc::clone(&self.shared);
        self.bus.farewell(async move {
            if let Err(error) = shared.remove().await {
                tracing::debug!(key = shared.key, %error, "the registration is left to expire");
            }
        });
    }
}

impl Registration {
    /// Changes the entry and writes it at once.
    ///
    /// # Errors
    /// When the write fails; the change stays and goes out with the next renewal.
    pub async fn update(&self, change: impl FnOnce(&mut WorkerRecord) + Send) -> Result<(), BusError> {
        if let Some(record) = self.shared.record.lock().await.as_mut() {
            change(record);
        }
        self.shared.write().await
    }

    /// Removes the entry at once.
    ///
    /// # Errors
    /// When the write fails; the entry then expires by itself.
    pub async fn deregister(self) -> Result<(), BusError> {
        self.shared.remove().await
    }
}
