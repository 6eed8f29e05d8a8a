//! Keeps what requests are answered by up to date: routes from the log, workers from their registry, hashed keys from security.

use super::{Entry, build::build};
use crate::{
    auth::{self, api_key::KeyHash},
    stack::Ingress,
    upstream::Seat,
};
use slipway_bus::{ApiKeyRecord, Change, View, Watched, WorkerRecord, WorkerState};
use slipway_kernel::DeploymentId;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Builds the table from the view of the log.
pub struct Routes {
    view: View,
    ingress: Arc<Ingress>,
    /// The sequence at which each deployment was built.
    built: HashMap<DeploymentId, u64>,
}

impl Routes {
    /// Builds the table as the log stands now.
    #[must_use]
    pub fn new(view: View, ingress: Arc<Ingress>) -> Self {
        let mut own = Self { view, ingress, built: HashMap::new() };
        own.look_at_all();
        own
    }

    /// Follows the log until the shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (mut changes, mut applied) = (self.view.changes(), self.view.applied_changes());
        // What came between building and subscribing.
        self.look_at_all();
        loop {
            let mut told = Vec::new();
            tokio::select! {
                () = shutdown.cancelled() => return,
                change = changes.next() => told.push(change),
                _ = applied.changed() => {}
            }
            // Read first: every change up to it was told before, so none of them is missed below.
            let applied = *applied.borrow_and_update();
            told.extend(std::iter::from_fn(|| changes.try_next()));
            self.take(told, applied);
        }
    }

    /// Rebuilds what changed; the whole table then stands at `applied`.
    fn take(&mut self, changes: Vec<Change>, applied: u64) {
        let mut ids = Vec::with_capacity(changes.len());
        for change in changes {
            match change {
                Change::All => return self.look_at_all(),
                // What cannot have moved anything is applied by being known.
                Change::Deployment { slot: Some(slot), .. } if !slot.moves_routes() => {}
                Change::Deployment { id, .. } => ids.push(id),
            }
        }
        ids.sort();
        ids.dedup();
        self.rebuild(ids, applied);
    }

    /// Rebuilds whatever is not as the log says.
    fn look_at_all(&mut self) {
        // Read first: every fact up to it is in the view already.
        let applied = self.view.applied();
        let ids = self.view.ids();
        let gone = self.built.keys().filter(|id| ids.binary_search(id).is_err()).cloned();
        let stale = ids.iter().filter(|id| {
            let now = self.view.get(id).map(|folded| folded.last_sequence);
            now != self.built.get(*id).copied()
        });
        let stale: Vec<DeploymentId> = gone.chain(stale.cloned()).collect();
        self.rebuild(stale, applied);
    }

    fn rebuild(&mut self, ids: Vec<DeploymentId>, applied: u64) {
        let mut routed_at = 0;
        let entries: Vec<(DeploymentId, Option<Entry>)> = ids
            .into_iter()
            .map(|id| {
                let folded = self.view.get(&id);
                match &folded {
                    Some(folded) => {
                        routed_at = folded.deployment.routed_at().max(routed_at);
                        self.built.insert(id.clone(), folded.last_sequence)
                    }
                    None => self.built.remove(&id),
                };
                (id, folded.and_then(|folded| build(&folded.deployment)))
            })
            .collect();
        let any = !entries.is_empty();
        self.ingress.routing.apply(&self.ingress.admission, entries, routed_at, applied);
        if any {
            let table = self.ingress.routing.load();
            let wanted = auth::locations(table.doors().map(|door| &door.entry));
            self.ingress.authenticator.issuers.retain(|location| wanted.contains(location));
        }
        self.ingress.metrics.applied.set(i64::try_from(applied).unwrap_or(i64::MAX));
    }
}

/// Follows the registry of workers.
pub async fn workers(ingress: Arc<Ingress>, mut registry: Watched<Vec<WorkerRecord>>) -> anyhow::Result<()> {
    loop {
        let seats = seats(&registry.get());
        ingress.metrics.workers.set(i64::try_from(seats.len()).unwrap_or(i64::MAX));
        ingress.pool.set_seats(seats);
        if !registry.changed().await {
            return Ok(());
        }
    }
}

/// The workers that can be sent requests.
fn seats(records: &[WorkerRecord]) -> Vec<Seat> {
    let ready = records.iter().filter(|record| record.state == WorkerState::Ready);
    ready
        .filter_map(|record| match record.address.parse() {
            Ok(address) => Some(Seat {
                deployment: record.deployment.clone(),
                revision: record.revision,
                instance: record.instance.clone(),
                address,
            }),
            Err(_) => {
                warn!(instance = record.instance, address = record.address, "a worker registered under no address");
                None
            }
        })
        .collect()
}

/// Follows the hashed API keys.
pub async fn api_keys(
    ingress: Arc<Ingress>,
    mut keys: Watched<BTreeMap<DeploymentId, Vec<ApiKeyRecord>>>,
) -> anyhow::Result<()> {
    loop {
        let hashes =
            keys.get().iter().map(|(id, records)| (id.clone(), records.iter().filter_map(hash).collect())).collect();
        ingress.authenticator.api_keys.set(hashes);
        if !keys.changed().await {
            return Ok(());
        }
    }
}

fn hash(record: &ApiKeyRecord) -> Option<KeyHash> {
    let mut sha256 = [0; 32];
    if hex::decode_to_slice(&record.hash, &mut sha256).is_err() {
        warn!(key = record.key_id, "an API key is kept without a hash");
        return None;
    }
    Some(KeyHash { sha256, principal: record.principal.clone(), expires: record.expires })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{RevisionId, Timestamp};

    fn record(instance: &str, address: &str, state: WorkerState) -> WorkerRecord {
        WorkerRecord {
            deployment: "default.digits".parse().unwrap(),
            revision: RevisionId::new(1, 1),
            instance: instance.to_owned(),
            host: "here".to_owned(),
            address: address.to_owned(),
            admin: String::new(),
            pid: 1,
            fencing_token: 1,
            state,
            measurements: Vec::new(),
            detail: serde_json::Value::Null,
            since: Timestamp(0),
        }
    }

    #[test]
    fn only_workers_that_are_ready_and_have_an_address_get_requests() {
        let records = [
            record("a", "127.0.0.1:1", WorkerState::Ready),
            record("b", "127.0.0.1:2", WorkerState::Warm),
            record("c", "127.0.0.1:3", WorkerState::Draining),
            record("d", "", WorkerState::Ready),
            record("e", "localhost:1", WorkerState::Ready),
        ];
        let instances: Vec<String> = seats(&records).into_iter().map(|seat| seat.instance).collect();
        assert_eq!(instances, ["a"]);
    }

    #[test]
    fn a_key_whose_hash_cannot_be_read_lets_nobody_in() {
        let record = |hash: &str| ApiKeyRecord {
            key_id: "k".to_owned(),
            hash: hash.to_owned(),
            principal: "p".to_owned(),
            created: Timestamp(0),
            expires: None,
        };
        assert!(hash(&record(&"0f".repeat(32))).is_some());
        for text in ["", "0f", &"0g".repeat(32), &"0f".repeat(33)] {
            assert!(hash(&record(text)).is_none(), "{text}");
        }
    }
}
