//! A table of the embedded database.

use super::{Sink, Table, probe_row};
use crate::{domain::Row, error::SinkError};
use async_trait::async_trait;
use slipway_bus::{SinkQuery, SinkRow};
use slipway_kernel::{DeploymentId, Proof, RevisionId};
use sqlx::{
    AssertSqlSafe, Row as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, sync::Arc, time::Duration};

/// A table of an embedded database.
#[derive(Clone, Debug)]
pub(crate) struct SqliteSink {
    pool: SqlitePool,
    table: String,
    name: String,
}

/// Rows of one statement. Each statement is a trip to the database's own thread, which costs several times what a row does; beyond
/// this the trip is below a tenth, and SQLite takes no more than 32,766 values.
const ROWS_PER_STATEMENT: usize = 256;

/// Opens an embedded database, private to its owner, with every commit on disk before it is reported.
pub(crate) async fn open(file: &Path) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // With a write-ahead log, FULL syncs it at each commit: what was acknowledged survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        // Two replicas on one machine share the file; a commit takes milliseconds.
        .busy_timeout(Duration::from_secs(10));
    // One writer at a time is SQLite's nature; a second connection reads.
    SqlitePoolOptions::new().max_connections(2).connect_with(options).await
}

/// The texts of the row before. What is bound is a copy that the database's thread frees, and most columns of a batch say the same.
#[derive(Default)]
struct Texts([Arc<str>; 8]);

impl Texts {
    fn of(&mut self, place: usize, text: &str) -> Arc<str> {
        let last = &mut self.0[place];
        if **last != *text {
            *last = Arc::from(text);
        }
        Arc::clone(last)
    }
}

impl SqliteSink {
    /// The sink for `table`, a checked identifier. The table is made if it is not there.
    pub(crate) async fn new(pool: SqlitePool, table: &str) -> Result<Self, SinkError> {
        let sink = Self { pool, table: table.to_owned(), name: format!("sqlite:{table}") };
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} (
                namespace TEXT NOT NULL, deployment TEXT NOT NULL, request_id TEXT NOT NULL,
                correlation_id TEXT NOT NULL, revision TEXT NOT NULL, model_digest TEXT NOT NULL,
                trace_id TEXT NOT NULL, principal TEXT NOT NULL, attempt INTEGER NOT NULL,
                accepted_unix_ms INTEGER NOT NULL, completed_unix_ms INTEGER NOT NULL,
                ok INTEGER NOT NULL, code TEXT NOT NULL, outputs TEXT NOT NULL, suspect INTEGER NOT NULL DEFAULT 0,
                PRIMARY KEY (namespace, deployment, request_id)) WITHOUT ROWID;
             CREATE INDEX IF NOT EXISTS {table}_correlated ON {table} (namespace, deployment, correlation_id)
                WHERE correlation_id <> request_id;
             DROP INDEX IF EXISTS {table}_correlation;"
        );
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&sink.pool)
            .await
            .map_err(|e| sink.failed("making the table", e))?;
        Ok(sink)
    }

    fn failed(&self, action: &'static str, source: sqlx::Error) -> SinkError {
        SinkError::Database { sink: self.name.clone(), action, source }
    }

    /// The statement that inserts so many rows.
    fn insert(&self, rows: usize) -> String {
        let values = ["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"].repeat(rows).join(", ");
        format!(
            "INSERT INTO {} (namespace, deployment, request_id, correlation_id, revision, model_digest, trace_id, principal,
                attempt, accepted_unix_ms, completed_unix_ms, ok, code, outputs)
             VALUES {values} ON CONFLICT DO NOTHING",
            self.table
        )
    }

    /// Where the rows of a query come from. Most requests are their own piece of work and found by their key; only for the others there is
    /// an index, which is half of what a row costs. (One condition with OR would look at all rows.)
    fn source(&self, query: &SinkQuery) -> String {
        let (table, owner) = (&self.table, "namespace = ?1 AND deployment = ?2");
        if query.correlation.is_none() {
            return format!("{table} WHERE {owner} AND ?3 IS NULL");
        }
        format!(
            "(SELECT * FROM {table} WHERE {owner} AND request_id = ?3 AND correlation_id = ?3 UNION ALL
              SELECT * FROM {table} INDEXED BY {table}_correlated
              WHERE {owner} AND correlation_id = ?3 AND correlation_id <> request_id)"
        )
    }
}

#[async_trait]
impl Sink for SqliteSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn prove(&self, deployment: &DeploymentId) -> Result<Proof, SinkError> {
        let row = probe_row(deployment);
        self.write(&[&row]).await?;
        let key = "namespace = ?1 AND deployment = ?2 AND request_id = ?3";
        let select = format!("SELECT outputs FROM {} WHERE {key}", self.table);
        let read: String = sqlx::query_scalar(AssertSqlSafe(select))
            .bind(&row.namespace)
            .bind(&row.deployment)
            .bind(&row.request_id)
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.failed("reading the probe back", error))?;
        let delete = format!("DELETE FROM {} WHERE {key}", self.table);
        sqlx::query(AssertSqlSafe(delete))
            .bind(&row.namespace)
            .bind(&row.deployment)
            .bind(&row.request_id)
            .execute(&self.pool)
            .await
            .map_err(|error| self.failed("removing the probe", error))?;
        if read != row.outputs.get() {
            return Err(SinkError::ProbeDiffers { sink: self.name.clone() });
        }
        Ok(Proof { name: self.name.clone(), detail: "a row was written, read back, compared and removed".to_owned() })
    }

    async fn write(&self, rows: &[&Row]) -> Result<u64, SinkError> {
        let failed = |error| self.failed("writing", error);
        // Taking the write lock at once: a read that turns into a write is refused under contention instead of waiting.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let (mut written, mut rest, mut texts) = (0, rows, Texts::default());
        while !rest.is_empty() {
            // Powers of two, so that any batch is made of a few statements that are prepared once.
            let size = (1 << rest.len().ilog2()).min(ROWS_PER_STATEMENT);
            let (now, later) = rest.split_at(size);
            rest = later;
            let insert = self.insert(size);
            let statement = now.iter().fold(sqlx::query(AssertSqlSafe(insert)), |statement, row| {
                statement
                    .bind(texts.of(0, &row.namespace))
                    .bind(texts.of(1, &row.deployment))
                    // Mostly a request is its own piece of work.
                    .bind(texts.of(2, &row.request_id))
                    .bind(texts.of(2, &row.correlation_id))
                    .bind(texts.of(3, &row.revision.to_string()))
                    .bind(texts.of(4, &row.model_digest))
                    .bind(texts.of(5, &row.trace_id))
                    .bind(texts.of(6, &row.principal))
                    .bind(row.attempt)
                    .bind(i64::try_from(row.accepted_at.0).unwrap_or(i64::MAX))
                    .bind(i64::try_from(row.completed_at.0).unwrap_or(i64::MAX))
                    .bind(row.ok)
                    .bind(texts.of(7, &row.code))
                    .bind(Arc::<str>::from(row.outputs.get()))
            });
            written += statement.execute(&mut *transaction).await.map_err(failed)?.rows_affected();
        }
        transaction.commit().await.map_err(failed)?;
        Ok(written)
    }

    async fn mark_suspect(&self, deployment: &DeploymentId, revision: RevisionId) -> Result<u64, SinkError> {
        let update = format!(
            "UPDATE {} SET suspect = 1 WHERE namespace = ?1 AND deployment = ?2 AND revision = ?3 AND suspect = 0",
            self.table
        );
        let done = sqlx::query(AssertSqlSafe(update))
            .bind(deployment.namespace.as_str())
            .bind(deployment.name.as_str())
            .bind(revision.to_string())
            .execute(&self.pool)
            .await
            .map_err(|error| self.failed("marking suspect rows", error))?;
        Ok(done.rows_affected())
    }
}

#[async_trait]
impl Table for SqliteSink {
    async fn rows(&self, query: &SinkQuery, page: usize) -> Result<(u64, Vec<SinkRow>), SinkError> {
        let source = self.source(query);
        let count = format!("SELECT count(*) FROM {source}");
        let total: i64 = sqlx::query_scalar(AssertSqlSafe(count))
            .bind(&query.namespace)
            .bind(&query.deployment)
            .bind(&query.correlation)
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.failed("counting", error))?;
        let select =
            format!("SELECT request_id, trace_id, revision, ok FROM {source} ORDER BY request_id LIMIT ?4 OFFSET ?5");
        let found = sqlx::query(AssertSqlSafe(select))
            .bind(&query.namespace)
            .bind(&query.deployment)
            .bind(&query.correlation)
            .bind(i64::try_from(page).unwrap_or(i64::MAX))
            .bind(i64::try_from(query.offset).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed("reading", error))?;
        let rows = found.iter().filter_map(|row| {
            Some(SinkRow {
                request_id: row.get("request_id"),
                trace_id: row.get("trace_id"),
                revision: row.get::<String, _>("revision").parse().ok()?,
                ok: row.get("ok"),
            })
        });
        Ok((u64::try_from(total).unwrap_or(0), rows.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sink(folder: &Path) -> SqliteSink {
        SqliteSink::new(open(&folder.join("r.db")).await.unwrap(), "results").await.unwrap()
    }

    fn id() -> DeploymentId {
        "default.digits".parse().unwrap()
    }

    #[tokio::test]
    async fn a_row_is_written_once_however_often_it_comes() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path()).await;
        let row = probe_row(&id());
        assert_eq!(sink.write(&[&row, &row]).await.unwrap(), 1);
        assert_eq!(sink.write(&[&row]).await.unwrap(), 0);
        let query = SinkQuery { correlation: None, ..SinkQuery::of_run(&id(), "") };
        assert_eq!(sink.rows(&query, 10).await.unwrap().0, 1);
    }

    #[tokio::test]
    async fn rows_of_one_piece_of_work_are_found_without_looking_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path()).await;
        let row = |request: &str, correlation: &str| Row {
            request_id: request.to_owned(),
            correlation_id: correlation.to_owned(),
            ..probe_row(&id())
        };
        let rows = [row("a", "a"), row("b", "a"), row("c", "a"), row("d", "d"), row("e", "x")];
        sink.write(&rows.each_ref()).await.unwrap();
        let query = |correlation: &str| SinkQuery {
            correlation: Some(correlation.to_owned()),
            ..SinkQuery::of_run(&id(), correlation)
        };
        for (correlation, expected) in [("a", 3), ("d", 1), ("x", 1), ("e", 0), ("b", 0)] {
            assert_eq!(sink.rows(&query(correlation), 10).await.unwrap().0, expected, "{correlation}");
        }
        let plan = format!("EXPLAIN QUERY PLAN SELECT count(*) FROM {}", sink.source(&query("a")));
        let plan = sqlx::query(AssertSqlSafe(plan)).bind("n").bind("d").bind("a").fetch_all(&sink.pool).await.unwrap();
        let steps: Vec<String> = plan.iter().map(|step| step.get("detail")).collect();
        let found = |by: &str| steps.iter().any(|step| step.starts_with("SEARCH") && step.contains(by));
        assert!(found("request_id=?") && found("results_correlated"), "{steps:?}");
    }

    #[tokio::test]
    async fn a_batch_of_any_size_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path()).await;
        let rows: Vec<Row> = (0..3 * ROWS_PER_STATEMENT + 7).map(|_| probe_row(&id())).collect();
        let all: Vec<&Row> = rows.iter().collect();
        assert_eq!(sink.write(&all[..5]).await.unwrap(), 5);
        assert_eq!(sink.write(&all).await.unwrap(), rows.len() as u64 - 5);
        let query = SinkQuery { correlation: None, ..SinkQuery::of_run(&id(), "") };
        assert_eq!(sink.rows(&query, 10).await.unwrap().0, rows.len() as u64);
    }

    #[tokio::test]
    async fn a_probe_leaves_nothing_behind_and_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path()).await;
        sink.prove(&id()).await.unwrap();
        sink.prove(&id()).await.unwrap();
        let query = SinkQuery { correlation: None, ..SinkQuery::of_run(&id(), "") };
        assert_eq!(sink.rows(&query, 10).await.unwrap(), (0, Vec::new()));
    }

    #[tokio::test]
    async fn rows_of_a_revision_that_was_taken_back_are_marked() {
        let folder = tempfile::tempdir().unwrap();
        let sink = sink(folder.path()).await;
        sink.write(&[&probe_row(&id())]).await.unwrap();
        assert_eq!(sink.mark_suspect(&id(), RevisionId::new(0, 0)).await.unwrap(), 1);
        assert_eq!(sink.mark_suspect(&id(), RevisionId::new(0, 0)).await.unwrap(), 0);
        assert_eq!(sink.mark_suspect(&id(), RevisionId::new(1, 1)).await.unwrap(), 0);
    }
}
