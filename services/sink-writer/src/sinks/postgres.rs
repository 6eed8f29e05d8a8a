//! A PostgreSQL table, written in batches by UNNEST.

use super::{Sink, Table, probe_row, secret};
use crate::{domain::Row, error::SinkError};
use async_trait::async_trait;
use serde_json::value::RawValue;
use slipway_bus::{SinkQuery, SinkRow};
use slipway_kernel::{DeploymentId, Proof, RevisionId, spec::SecretReference};
use sqlx::{
    AssertSqlSafe, PgPool, Row as _,
    postgres::{PgConnectOptions, PgPoolOptions},
    types::Json,
};
use std::time::Duration;

/// A PostgreSQL table.
#[derive(Clone, Debug)]
pub(crate) struct PostgresSink {
    pool: PgPool,
    table: String,
    name: String,
}

/// The connections to the database that `reference` names, made when they are first used.
///
/// # Errors
/// When there is no such secret, or it is no URL of a database.
pub(crate) fn open(reference: &SecretReference, connections: u32) -> Result<PgPool, SinkError> {
    let url = secret(reference)?;
    // The parser's own error is dropped: it may repeat a part of the URL.
    let options: PgConnectOptions =
        url.parse().map_err(|_| SinkError::SecretUnusable { reference: reference.to_string() })?;
    let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(5));
    Ok(pool.connect_lazy_with(options.application_name("slipway-sink-writer")))
}

impl PostgresSink {
    /// The sink for `table`, a checked identifier, in the database that `reference` names.
    pub(crate) fn new(reference: &SecretReference, table: &str) -> Result<Self, SinkError> {
        // One writes a batch, one proves or marks; more would only compete for the same table.
        Ok(Self::over(open(reference, 2)?, table))
    }

    /// The sink for `table`, a checked identifier, over connections that are there.
    pub(crate) fn over(pool: PgPool, table: &str) -> Self {
        Self { pool, table: table.to_owned(), name: format!("postgres:{table}") }
    }

    /// Makes the table, so that others may ask about its rows before anything was written.
    pub(crate) async fn made(self) -> Result<Self, SinkError> {
        self.make_table().await?;
        let table = &self.table;
        let index = format!(
            "CREATE INDEX IF NOT EXISTS {table}_correlation ON {table} (namespace, deployment, correlation_id)"
        );
        match sqlx::raw_sql(AssertSqlSafe(index)).execute(&self.pool).await {
            Ok(_) => Ok(self),
            Err(error) if is_unique_violation(&error) => Ok(self),
            Err(error) => Err(self.failed("making the index", error)),
        }
    }

    fn failed(&self, action: &'static str, source: sqlx::Error) -> SinkError {
        SinkError::Database { sink: self.name.clone(), action, source }
    }

    async fn make_table(&self) -> Result<(), SinkError> {
        let table = &self.table;
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {table} (
                namespace text NOT NULL, deployment text NOT NULL, request_id text NOT NULL,
                correlation_id text NOT NULL, revision text NOT NULL, model_digest text NOT NULL,
                trace_id text NOT NULL, principal text NOT NULL, attempt integer NOT NULL,
                accepted_unix_ms bigint NOT NULL, completed_unix_ms bigint NOT NULL,
                ok boolean NOT NULL, code text NOT NULL, outputs jsonb NOT NULL, suspect boolean NOT NULL DEFAULT false,
                PRIMARY KEY (namespace, deployment, request_id))"
        );
        match sqlx::raw_sql(AssertSqlSafe(create)).execute(&self.pool).await {
            Ok(_) => Ok(()),
            // Two replicas that make it at once: one is told that the type of the table's row exists (23505). It is there then.
            Err(error) if is_unique_violation(&error) => Ok(()),
            Err(error) => Err(self.failed("making the table", error)),
        }
    }
}

pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

#[async_trait]
impl Sink for PostgresSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn prove(&self, deployment: &DeploymentId) -> Result<Proof, SinkError> {
        self.make_table().await?;
        let row = probe_row(deployment);
        self.write(&[&row]).await?;
        // Taken away and read back in one statement: nobody sees the probe in between but by chance.
        let delete = format!(
            "DELETE FROM {} WHERE namespace = $1 AND deployment = $2 AND request_id = $3 RETURNING outputs",
            self.table
        );
        let read: serde_json::Value = sqlx::query_scalar(AssertSqlSafe(delete))
            .bind(&row.namespace)
            .bind(&row.deployment)
            .bind(&row.request_id)
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.failed("reading the probe back", error))?;
        if serde_json::from_str::<serde_json::Value>(row.outputs.get()).is_ok_and(|written| read != written) {
            return Err(SinkError::ProbeDiffers { sink: self.name.clone() });
        }
        Ok(Proof { name: self.name.clone(), detail: "a row was written, read back, compared and removed".to_owned() })
    }

    async fn write(&self, rows: &[&Row]) -> Result<u64, SinkError> {
        let insert = format!(
            "INSERT INTO {} (namespace, deployment, request_id, correlation_id, revision, model_digest, trace_id, principal,
                attempt, accepted_unix_ms, completed_unix_ms, ok, code, outputs)
             SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::text[], $9::int4[], $10::int8[], $11::int8[], $12::bool[], $13::text[], $14::jsonb[])
             ON CONFLICT DO NOTHING",
            self.table
        );
        let texts = |of: fn(&Row) -> String| rows.iter().map(|row| of(row)).collect::<Vec<String>>();
        let numbers = |of: fn(&Row) -> u64| {
            rows.iter().map(|row| i64::try_from(of(row)).unwrap_or(i64::MAX)).collect::<Vec<i64>>()
        };
        let attempts: Vec<i32> = rows.iter().map(|row| i32::try_from(row.attempt).unwrap_or(i32::MAX)).collect();
        let done = sqlx::query(AssertSqlSafe(insert))
            .bind(texts(|row| row.namespace.clone()))
            .bind(texts(|row| row.deployment.clone()))
            .bind(texts(|row| row.request_id.clone()))
            .bind(texts(|row| row.correlation_id.clone()))
            .bind(texts(|row| row.revision.to_string()))
            .bind(texts(|row| row.model_digest.clone()))
            .bind(texts(|row| row.trace_id.clone()))
            .bind(texts(|row| row.principal.clone()))
            .bind(attempts)
            .bind(numbers(|row| row.accepted_at.0))
            .bind(numbers(|row| row.completed_at.0))
            .bind(rows.iter().map(|row| row.ok).collect::<Vec<bool>>())
            .bind(texts(|row| row.code.clone()))
            .bind(rows.iter().map(|row| Json(&*row.outputs)).collect::<Vec<Json<&RawValue>>>())
            .execute(&self.pool)
            .await
            .map_err(|error| self.failed("writing", error))?;
        Ok(done.rows_affected())
    }

    async fn mark_suspect(&self, deployment: &DeploymentId, revision: RevisionId) -> Result<u64, SinkError> {
        let update = format!(
            "UPDATE {} SET suspect = true WHERE namespace = $1 AND deployment = $2 AND revision = $3 AND NOT suspect",
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
impl Table for PostgresSink {
    async fn rows(&self, query: &SinkQuery, page: usize) -> Result<(u64, Vec<SinkRow>), SinkError> {
        let source = format!(
            "{} WHERE namespace = $1 AND deployment = $2 AND ($3::text IS NULL OR correlation_id = $3)",
            self.table
        );
        let total: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {source}")))
            .bind(&query.namespace)
            .bind(&query.deployment)
            .bind(&query.correlation)
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.failed("counting", error))?;
        let select =
            format!("SELECT request_id, trace_id, revision, ok FROM {source} ORDER BY request_id LIMIT $4 OFFSET $5");
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
