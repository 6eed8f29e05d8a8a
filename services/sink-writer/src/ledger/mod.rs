//! The ledger: a copy of every fact with its digest, in a database of its own, and the comparison of the log with it.
//!
//! Counts lie: a flipped bit can leave them right. So a verification reads every fact and compares digests.

mod store;

pub(crate) use store::Store;

use crate::telemetry::SinkMetrics;
use slipway_bus::{Bus, BusError, Damage, Entry, TailEvent, Verdict};
use slipway_kernel::DeploymentId;
use slipway_runtime::{CancellationToken, Frame};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};
use store::{Recorded, milliseconds};
use tokio::time::Instant;

/// Damages reported by one verification. Who sees a thousand needs a restore, not a longer list.
const MAX_DAMAGES: usize = 1_000;
/// Facts written in one transaction while catching up.
const BATCH: usize = 500;
/// How long a fact may wait for others to be written with. A write of the disk for each would take it from those who decide.
const PAUSE: Duration = Duration::from_millis(100);

/// Why the ledger could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("the ledger's database failed")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Keeps the ledger.
pub(crate) struct Keeper {
    store: Store,
    bus: Bus,
    metrics: SinkMetrics,
}

impl Keeper {
    pub(crate) const fn new(store: Store, bus: Bus, metrics: SinkMetrics) -> Self {
        Self { store, bus, metrics }
    }

    /// Copies what is new, and verifies now and then; each in its own task.
    pub(crate) fn spawn(self: &Arc<Self>, frame: &Frame, every: Duration) {
        let (keeper, shutdown) = (Arc::clone(self), frame.shutdown.clone());
        frame.tasks.spawn_restarting("ledger", move || {
            let (keeper, shutdown) = (Arc::clone(&keeper), shutdown.clone());
            async move { keeper.copy(&shutdown).await }
        });
        let (keeper, shutdown) = (Arc::clone(self), frame.shutdown.clone());
        frame.tasks.spawn_restarting("ledger-verification", move || {
            let (keeper, shutdown) = (Arc::clone(&keeper), shutdown.clone());
            async move {
                loop {
                    keeper.verify().await?;
                    tokio::select! {
                        () = tokio::time::sleep(every) => {}
                        () = shutdown.cancelled() => return Ok::<(), LedgerError>(()),
                    }
                }
            }
        });
    }

    /// Copies every fact the ledger has not seen, until shutdown. A log that was made anew is read from its beginning; a fact that is
    /// there already keeps the digest it was first seen with.
    async fn copy(&self, shutdown: &CancellationToken) -> Result<(), LedgerError> {
        let mut tail = self.bus.log().tail(self.first_unseen().await?);
        let mut created = None;
        while !shutdown.is_cancelled() {
            let mut fresh: Vec<Entry> = Vec::new();
            let mut until = None;
            while fresh.len() < BATCH {
                let event = tokio::select! {
                    event = tail.next() => event,
                    () = over(until) => break,
                    () = shutdown.cancelled() => break,
                };
                match event {
                    Some(TailEvent::Anew { created: birth }) => {
                        // What came before belongs to the log as it was, whose sequences say nothing about this one.
                        if let Some(before) = created.replace(birth) {
                            self.store.record(before, &std::mem::take(&mut fresh)).await?;
                            until = None;
                        }
                    }
                    Some(TailEvent::Entry(entry)) => {
                        fresh.push(entry);
                        until.get_or_insert_with(|| Instant::now() + PAUSE);
                    }
                    Some(TailEvent::CaughtUp { .. }) => {}
                    None => return Ok(()),
                }
            }
            if let Some(created) = created {
                self.store.record(created, &fresh).await?;
            }
        }
        Ok(())
    }

    /// The sequence from which on nothing was copied.
    async fn first_unseen(&self) -> Result<u64, LedgerError> {
        let state = self.bus.log().state().await?;
        let known = self.store.position().await?;
        Ok(match known.map(|(created, sequence)| (created, u64::try_from(sequence).unwrap_or(0))) {
            // A last sequence below ours: the broker lost its tail and counts on from there. Read it all again.
            Some((created, sequence)) if created == milliseconds(state.created) && sequence <= state.last => {
                sequence + 1
            }
            _ => 1,
        })
    }

    /// Reads every fact of the log and compares it with the ledger. Deployments with damage get the integrity flag, on which
    /// no service decides anything.
    pub(crate) async fn verify(&self) -> Result<Verdict, LedgerError> {
        // The ledger is read first: what is appended in between is in the log alone, which is no damage.
        let recorded = self.store.recorded().await?;
        let found: Arc<Mutex<HashMap<String, String>>> = Arc::default();
        let collected = Arc::clone(&found);
        self.bus
            .log()
            .read_all(1, move |entry| {
                if let Ok(mut found) = collected.lock() {
                    found.insert(entry.subject, entry.digest.to_string());
                }
            })
            .await?;
        let found = found.lock().map(|mut found| std::mem::take(&mut *found)).unwrap_or_default();
        let damages = compare(&recorded, &found);
        self.metrics.ledger(u64::try_from(recorded.len()).unwrap_or(u64::MAX), damages.len());
        self.alarm(&damages).await?;
        Ok(Verdict {
            facts: u64::try_from(found.len()).unwrap_or(u64::MAX),
            recorded: u64::try_from(recorded.len()).unwrap_or(u64::MAX),
            damages: damages.into_iter().take(MAX_DAMAGES).collect(),
        })
    }

    async fn alarm(&self, damages: &[Damage]) -> Result<(), LedgerError> {
        let mut worst: BTreeMap<DeploymentId, BTreeSet<&str>> = BTreeMap::new();
        for damage in damages {
            tracing::error!(subject = damage.subject, problem = damage.problem, "the log is damaged");
            if let Some(id) = slipway_bus::topology::deployment_of(&damage.subject) {
                worst.entry(id).or_default().insert(&damage.problem);
            }
        }
        for (id, problems) in worst {
            let problems: Vec<&str> = problems.into_iter().collect();
            self.bus.flags().raise(&id, &format!("facts are {}", problems.join(" and "))).await?;
        }
        Ok(())
    }
}

async fn over(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// What the ledger has and the log has not, or has differently, in the order it was written.
fn compare(recorded: &BTreeMap<String, Recorded>, found: &HashMap<String, String>) -> Vec<Damage> {
    let mut damages: Vec<(u64, Damage)> = recorded
        .iter()
        .filter_map(|(subject, known)| {
            let problem = match found.get(subject) {
                None => "lost",
                Some(digest) if *digest != known.digest => "altered",
                Some(_) => return None,
            };
            Some((known.sequence, Damage { subject: subject.clone(), problem: problem.to_owned() }))
        })
        .collect();
    damages.sort();
    damages.into_iter().map(|(_, damage)| damage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_altered_facts_are_named_and_new_ones_are_no_damage() {
        let known = |digest: &str, sequence| Recorded { digest: digest.to_owned(), sequence };
        let recorded = BTreeMap::from([
            ("a".to_owned(), known("1", 3)),
            ("b".to_owned(), known("2", 1)),
            ("c".to_owned(), known("3", 2)),
        ]);
        let found = HashMap::from([("a", "1"), ("c", "x"), ("new", "9")].map(|(s, d)| (s.to_owned(), d.to_owned())));
        let damages = compare(&recorded, &found);
        let told: Vec<(&str, &str)> = damages.iter().map(|d| (d.subject.as_str(), d.problem.as_str())).collect();
        assert_eq!(told, [("b", "lost"), ("c", "altered")]);
    }
}
