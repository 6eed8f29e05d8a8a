//! The ledger: a copy of every fact with its digest, in a database of its own, and the comparison of the log with it.
//!
//! Counts lie: a flipped bit can leave them right. So a verification reads every fact and compares digests.

use crate::{sinks::open_sqlite, telemetry::SinkMetrics};
use slipway_bus::{Bus, BusError, Damage, Entry, Verdict};
use slipway_kernel::DeploymentId;
use slipway_runtime::Frame;
use sqlx::{Row as _, SqlitePool};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Damages reported by one verification. Who sees a thousand needs a restore, not a longer list.
const MAX_DAMAGES: usize = 1_000;
/// Facts written in one transaction while catching up.
const BATCH: usize = 500;

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
    pool: SqlitePool,
    bus: Bus,
    metrics: SinkMetrics,
}

#[derive(Clone, Debug)]
struct Recorded {
    digest: String,
    sequence: u64,
}

impl Keeper {
    pub(crate) async fn open(file: &Path, bus: Bus, metrics: SinkMetrics) -> Result<Self, LedgerError> {
        let pool = open_sqlite(file).await?;
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS facts (
                subject TEXT PRIMARY KEY, digest TEXT NOT NULL, sequence INTEGER NOT NULL,
                appended_unix_ms INTEGER NOT NULL, headers TEXT NOT NULL, payload BLOB NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), created INTEGER NOT NULL, sequence INTEGER NOT NULL);",
        )
        .execute(&pool)
        .await?;
        Ok(Self { pool, bus, metrics })
    }

    /// Copies what is new on every change, and verifies now and then; each in its own task.
    pub(crate) fn spawn(self: &Arc<Self>, frame: &Frame, every: Duration) {
        let (keeper, shutdown) = (Arc::clone(self), frame.shutdown.clone());
        frame.tasks.spawn_restarting("ledger", move || {
            let (keeper, shutdown) = (Arc::clone(&keeper), shutdown.clone());
            async move {
                let view = keeper.bus.log().follow().await?;
                let mut changes = view.changes();
                loop {
                    keeper.catch_up().await?;
                    tokio::select! {
                        _ = changes.next() => {}
                        () = shutdown.cancelled() => return Ok::<(), LedgerError>(()),
                    }
                }
            }
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

    /// Copies every fact the ledger has not seen. A stream that was made anew is read from its beginning; a fact that is there
    /// already keeps the digest it was first seen with.
    pub(crate) async fn catch_up(&self) -> Result<(), LedgerError> {
        let state = self.bus.log().state().await?;
        let created = i64::try_from(state.created.0).unwrap_or(i64::MAX);
        let known: Option<(i64, i64)> =
            sqlx::query_as("SELECT created, sequence FROM position WHERE one = 1").fetch_optional(&self.pool).await?;
        let from = match known {
            // A last sequence below ours: the broker lost its tail and counts on from there. Read it all again.
            Some((same, sequence)) if same == created && u64::try_from(sequence).is_ok_and(|s| s <= state.last) => {
                u64::try_from(sequence).unwrap_or(0)
            }
            _ => 0,
        };
        if from >= state.last {
            return Ok(());
        }
        // The reader calls back without waiting, so entries are collected first; what is new since the last time is little.
        let fresh: Arc<Mutex<Vec<Entry>>> = Arc::default();
        let collected = Arc::clone(&fresh);
        let last = self
            .bus
            .log()
            .read_all(from + 1, move |entry| {
                if let Ok(mut entries) = collected.lock() {
                    entries.push(entry);
                }
            })
            .await?;
        let entries = fresh.lock().map(|mut entries| std::mem::take(&mut *entries)).unwrap_or_default();
        for chunk in entries.chunks(BATCH) {
            self.record(chunk).await?;
        }
        sqlx::query(
            "INSERT INTO position (one, created, sequence) VALUES (1, ?1, ?2)
             ON CONFLICT (one) DO UPDATE SET created = ?1, sequence = ?2",
        )
        .bind(created)
        .bind(i64::try_from(last).unwrap_or(i64::MAX))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn record(&self, entries: &[Entry]) -> Result<(), LedgerError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for entry in entries {
            sqlx::query(
                "INSERT INTO facts (subject, digest, sequence, appended_unix_ms, headers, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (subject) DO NOTHING",
            )
            .bind(&entry.subject)
            .bind(entry.digest.as_str())
            .bind(i64::try_from(entry.sequence).unwrap_or(i64::MAX))
            .bind(i64::try_from(entry.at.0).unwrap_or(i64::MAX))
            .bind(serde_json::to_string(&entry.raw.headers).unwrap_or_default())
            .bind(entry.raw.payload.as_ref())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Reads every fact of the log and compares it with the ledger. Deployments with damage get the integrity flag, on which
    /// no service decides anything.
    pub(crate) async fn verify(&self) -> Result<Verdict, LedgerError> {
        // The ledger is read first: what is appended in between is in the log alone, which is no damage.
        let recorded = self.recorded().await?;
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

    async fn recorded(&self) -> Result<BTreeMap<String, Recorded>, LedgerError> {
        let rows = sqlx::query("SELECT subject, digest, sequence FROM facts").fetch_all(&self.pool).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let sequence = u64::try_from(row.get::<i64, _>("sequence")).unwrap_or(0);
                (row.get("subject"), Recorded { digest: row.get("digest"), sequence })
            })
            .collect())
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
