//! Leases: who may act on the world. Write-once guards the record; a lease guards the effect, and its token travels with it.

mod held;
mod key;

pub use held::Lease;
pub use key::LeaseKey;

use crate::{
    connect::Bus,
    error::BusError,
    kv::{Guarded, Table, decode},
    topology::Bucket,
    watched::Watched,
    wire::Stored,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_kernel::{DeploymentId, Service, Timestamp};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// The shortest lease: lifetimes are whole seconds, and a renewal each third of it must survive a slow disk.
const SHORTEST_LEASE: Duration = Duration::from_secs(2);

/// What went wrong with a lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// It is held by another now, or ran out: the effect must stop.
    #[error("the lease `{key}` is lost")]
    Lost {
        /// Which.
        key: String,
    },
    /// The broker.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// What the bucket holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Held {
    pub(crate) holder: String,
    /// 0 in the first write, whose revision is the token; named from the first renewal on.
    #[serde(with = "slipway_kernel::wire::u64_string")]
    pub(crate) token: u64,
    #[serde(default)]
    pub(crate) value: Value,
}

/// A lease as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseInfo {
    /// The fencing token of its holder.
    pub token: u64,
    /// The connection that holds it.
    pub holder: String,
    /// What the holder says with it.
    pub value: Value,
    /// When it was last renewed, by the broker's clock.
    pub at: Timestamp,
}

impl LeaseInfo {
    fn read(key: &str, stored: &Stored) -> Result<Self, BusError> {
        let held: Held = decode(key, stored)?;
        let token = if held.token == 0 { stored.sequence } else { held.token };
        Ok(Self { token, holder: held.holder, value: held.value, at: stored.at })
    }
}

/// Takes and reads leases.
#[derive(Clone, Debug)]
pub struct Leases {
    table: Table,
    bus: Bus,
}

impl Leases {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { table: Table::new(bus.clone(), Bucket::Leases), bus }
    }

    /// Takes a lease if nobody holds it. It is renewed in the background each third of `ttl` (at least 2 s, in whole seconds).
    ///
    /// # Errors
    /// When the broker does not answer; the lease may then be held for `ttl` by nobody.
    pub async fn acquire(&self, key: &LeaseKey, ttl: Duration) -> Result<Option<Lease>, LeaseError> {
        let ttl = ttl.max(SHORTEST_LEASE);
        let text = key.to_string();
        let first = Held {
            holder: format!("{}.{:016x}", self.bus.instance(), rand::random::<u64>()),
            token: 0,
            value: Value::Null,
        };
        let asked = Instant::now();
        let revision = match self.table.create(&text, &first, Some(ttl)).await {
            Ok(revision) => revision,
            // Unknown: perhaps it is ours. Whoever reads our name there knows.
            Err(error) if error.is_transient() => self.mine(&text, &first.holder).await?,
            Err(error) => return Err(error.into()),
        };
        Ok(revision.map(|revision| Lease::start(&self.bus, self.table.clone(), text, first, revision, ttl, asked)))
    }

    async fn mine(&self, key: &str, holder: &str) -> Result<Option<u64>, LeaseError> {
        match self.table.read(key).await? {
            Some(value) if value.live && LeaseInfo::read(key, &value.stored)?.holder == holder => {
                Ok(Some(value.stored.sequence))
            }
            _ => Ok(None),
        }
    }

    /// Who holds a lease now.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn read(&self, key: &LeaseKey) -> Result<Option<LeaseInfo>, LeaseError> {
        let text = key.to_string();
        match self.table.read(&text).await? {
            Some(value) if value.live => Ok(Some(LeaseInfo::read(&text, &value.stored)?)),
            _ => Ok(None),
        }
    }

    /// Who holds a service's leases on some work now, by deployment.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn list(&self, service: Service, work: &str) -> Result<BTreeMap<DeploymentId, LeaseInfo>, BusError> {
        let entries = self.table.list(&LeaseKey::of_every_deployment(service, work)).await?;
        // One that cannot be read must not hide the others.
        let read = entries
            .iter()
            .filter_map(|(key, stored)| Some((LeaseKey::deployment(key)?, LeaseInfo::read(key, stored).ok()?)));
        Ok(read.collect())
    }

    /// Follows one lease.
    ///
    /// # Errors
    /// When the broker does not answer at first.
    pub async fn follow(&self, key: &LeaseKey) -> Result<Watched<Option<LeaseInfo>>, LeaseError> {
        let text = key.to_string();
        let filter = text.clone();
        let watched = self
            .table
            .follow(&filter, move |entries| entries.get(&text).and_then(|stored| LeaseInfo::read(&text, stored).ok()));
        Ok(watched.await?)
    }
}

/// Renews by compare-and-set. `Ok(None)`: somebody else has it, or it ran out.
pub(crate) async fn renew(
    table: &Table,
    key: &str,
    held: &Held,
    revision: u64,
    ttl: Duration,
) -> Result<Option<u64>, BusError> {
    match table.put_at(key, held, revision, Some(ttl)).await? {
        Guarded::Written(revision) => Ok(Some(revision)),
        Guarded::Conflict => match table.read(key).await? {
            // A renewal whose answer was lost has moved the revision.
            Some(value) if value.live => {
                let there: Held = decode(key, &value.stored)?;
                if there.holder == held.holder { Ok(Some(value.stored.sequence)) } else { Ok(None) }
            }
            _ => Ok(None),
        },
    }
}
