//! Where the ledger lies: in a file of its own, or in the database of the mesh, which replicas share.

use super::LedgerError;
use crate::sinks::{is_unique_violation, open_sqlite};
use slipway_bus::Entry;
use slipway_kernel::Timestamp;
use sqlx::{PgPool, Row as _, SqlitePool};
use std::{collections::BTreeMap, path::Path};

/// A fact as the ledger has it.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) digest: String,
    pub(super) sequence: u64,
}

/// The ledger's tables.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    /// In a file.
    File(SqlitePool),
    /// In the database of the mesh.
    Database(PgPool),
}

const FILE_TABLES: &str = "CREATE TABLE IF NOT EXISTS facts (
        subject TEXT PRIMARY KEY, digest TEXT NOT NULL, sequence INTEGER NOT NULL,
        appended_unix_ms INTEGER NOT NULL, headers TEXT NOT NULL, payload BLOB NOT NULL) WITHOUT ROWID;
     CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), created INTEGER NOT NULL, sequence INTEGER NOT NULL);";
const DATABASE_TABLES: &str = "CREATE TABLE IF NOT EXISTS slipway_ledger (
        subject text PRIMARY KEY, digest text NOT NULL, sequence bigint NOT NULL,
        appended_unix_ms bigint NOT NULL, headers text NOT NULL, payload bytea NOT NULL);
     CREATE TABLE IF NOT EXISTS slipway_ledger_position (one integer PRIMARY KEY CHECK (one = 1), created bigint NOT NULL, sequence bigint NOT NULL);";

impl Store {
    pub(crate) async fn in_file(file: &Path) -> Result<Self, sqlx::Error> {
        let pool = open_sqlite(file).await?;
        sqlx::raw_sql(FILE_TABLES).execute(&pool).await?;
        Ok(Self::File(pool))
    }

    pub(crate) async fn in_database(pool: PgPool) -> Result<Self, sqlx::Error> {
        match sqlx::raw_sql(DATABASE_TABLES).execute(&pool).await {
            Ok(_) => Ok(Self::Database(pool)),
            // Another replica makes them at this moment: one is told so.
            Err(error) if is_unique_violation(&error) => Ok(Self::Database(pool)),
            Err(error) => Err(error),
        }
    }

    /// Which log was copied, by the moment it was made, and how far.
    pub(super) async fn position(&self) -> Result<Option<(i64, i64)>, LedgerError> {
        Ok(match self {
            Self::File(pool) => {
                let select = "SELECT created, sequence FROM position WHERE one = 1";
                sqlx::query_as(select).fetch_optional(pool).await?
            }
            Self::Database(pool) => {
                let select = "SELECT created, sequence FROM slipway_ledger_position WHERE one = 1";
                sqlx::query_as(select).fetch_optional(pool).await?
            }
        })
    }

    /// Copies entries of the log that was made at `created`, and notes how far it got.
    pub(super) async fn record(&self, created: Timestamp, entries: &[Entry]) -> Result<(), LedgerError> {
        let Some(last) = entries.last().map(|entry| number(entry.sequence)) else { return Ok(()) };
        match self {
            Self::File(pool) => in_file(pool, created, last, entries).await,
            Self::Database(pool) => in_database(pool, created, last, entries).await,
        }
    }

    /// Every fact with its digest.
    pub(super) async fn recorded(&self) -> Result<BTreeMap<String, Recorded>, LedgerError> {
        let fact = |subject, digest, sequence: i64| {
            (subject, Recorded { digest, sequence: u64::try_from(sequence).unwrap_or(0) })
        };
        Ok(match self {
            Self::File(pool) => {
                let rows = sqlx::query("SELECT subject, digest, sequence FROM facts").fetch_all(pool).await?;
                rows.iter().map(|row| fact(row.get(0), row.get(1), row.get(2))).collect()
            }
            Self::Database(pool) => {
                let rows = sqlx::query("SELECT subject, digest, sequence FROM slipway_ledger").fetch_all(pool).await?;
                rows.iter().map(|row| fact(row.get(0), row.get(1), row.get(2))).collect()
            }
        })
    }
}

async fn in_file(pool: &SqlitePool, created: Timestamp, last: i64, entries: &[Entry]) -> Result<(), LedgerError> {
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    for entry in entries {
        sqlx::query(
            "INSERT INTO facts (subject, digest, sequence, appended_unix_ms, headers, payload)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (subject) DO NOTHING",
        )
        .bind(&entry.subject)
        .bind(entry.digest.as_str())
        .bind(number(entry.sequence))
        .bind(milliseconds(entry.at))
        .bind(headers(entry))
        .bind(entry.raw.payload.as_ref())
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::query(
        "INSERT INTO position (one, created, sequence) VALUES (1, ?1, ?2)
         ON CONFLICT (one) DO UPDATE SET created = ?1, sequence = ?2",
    )
    .bind(milliseconds(created))
    .bind(last)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Each replica copies for itself, in the order of the log, and the first copy stands. A position that one sets back means that a few facts are
/// read again.
async fn in_database(pool: &PgPool, created: Timestamp, last: i64, entries: &[Entry]) -> Result<(), LedgerError> {
    let mut transaction = pool.begin().await?;
    sqlx::query(
        "INSERT INTO slipway_ledger (subject, digest, sequence, appended_unix_ms, headers, payload)
         SELECT * FROM UNNEST($1::text[], $2::text[], $3::int8[], $4::int8[], $5::text[], $6::bytea[])
         ON CONFLICT (subject) DO NOTHING",
    )
    .bind(entries.iter().map(|entry| entry.subject.clone()).collect::<Vec<String>>())
    .bind(entries.iter().map(|entry| entry.digest.to_string()).collect::<Vec<String>>())
    .bind(entries.iter().map(|entry| number(entry.sequence)).collect::<Vec<i64>>())
    .bind(entries.iter().map(|entry| milliseconds(entry.at)).collect::<Vec<i64>>())
    .bind(entries.iter().map(headers).collect::<Vec<String>>())
    .bind(entries.iter().map(|entry| entry.raw.payload.to_vec()).collect::<Vec<Vec<u8>>>())
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "INSERT INTO slipway_ledger_position (one, created, sequence) VALUES (1, $1, $2)
         ON CONFLICT (one) DO UPDATE SET created = $1, sequence = $2",
    )
    .bind(milliseconds(created))
    .bind(last)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

fn headers(entry: &Entry) -> String {
    serde_json::to_string(&entry.raw.headers).unwrap_or_default()
}

fn number(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

pub(super) fn milliseconds(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}
