//! The sinks: one file per kind.

mod files;
mod objects;
mod postgres;
mod sqlite;

pub(crate) use files::FilesSink;
pub(crate) use objects::ObjectsSink;
pub(crate) use postgres::{PostgresSink, is_unique_violation, open as open_postgres};
pub(crate) use sqlite::{SqliteSink, open as open_sqlite};

use crate::{domain::Row, error::SinkError};
use async_trait::async_trait;
use object_store::local::LocalFileSystem;
use serde_json::value::RawValue;
use slipway_bus::{SinkQuery, SinkRow};
use slipway_kernel::{DeploymentId, Proof, RevisionId, spec::SecretReference};
use std::{env, fs};

/// A place where rows are kept, each once per (namespace, deployment, request id).
#[async_trait]
pub(crate) trait Sink: Send + Sync {
    /// What it is called in metrics and messages; never holds a secret.
    fn name(&self) -> &str;

    /// Makes what is needed, writes a probe, reads it back, takes it away again.
    async fn prove(&self, deployment: &DeploymentId) -> Result<Proof, SinkError>;

    /// Writes rows durably; a row whose key is there already changes nothing. Returns how many were new.
    async fn write(&self, rows: &[&Row]) -> Result<u64, SinkError>;

    /// Marks the rows of a revision that was taken back. Returns how many.
    async fn mark_suspect(&self, deployment: &DeploymentId, revision: RevisionId) -> Result<u64, SinkError>;
}

/// A sink of the mesh's own, about whose rows others may ask.
#[async_trait]
pub(crate) trait Table: Sink {
    /// How many rows a query has, and one page of them.
    async fn rows(&self, query: &SinkQuery, page: usize) -> Result<(u64, Vec<SinkRow>), SinkError>;
}

/// Reads a secret.
fn secret(reference: &SecretReference) -> Result<String, SinkError> {
    let found = match reference {
        SecretReference::Environment(name) => env::var(name).ok(),
        SecretReference::File(path) => fs::read_to_string(path).ok(),
    };
    let found = found.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    found.ok_or_else(|| SinkError::SecretMissing { reference: reference.to_string() })
}

/// Opens the folder of a `file:///` URI that was checked at the gate, made if it is not there; and its name as a sink. What is
/// written to it is on disk, name and content, before it is told.
fn open_folder(uri: &str) -> Result<(LocalFileSystem, String), SinkError> {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    fs::create_dir_all(path).map_err(|source| SinkError::Path { path: path.to_owned(), source })?;
    let name = format!("files:{path}");
    match LocalFileSystem::new_with_prefix(path) {
        Ok(store) => Ok((store.with_fsync(true), name)),
        Err(source) => Err(SinkError::Object { sink: name, action: "opened", source }),
    }
}

/// What the id of a row begins with by which a sink proves itself. The underscores keep it apart from the ids that ingress makes; the
/// rest is random, so that replicas that prove at the same time do not take each other's row away.
const PROBE: &str = "__slipway_probe__";

fn probe_outputs() -> Box<RawValue> {
    let outputs = r#"[{"name":"probe","datatype":"FP32","shape":[2],"data":[0.5,-1.25]}]"#.to_owned();
    RawValue::from_string(outputs).unwrap_or_else(|_| unreachable!("it is JSON"))
}

/// The probe as a row.
pub(crate) fn probe_row(deployment: &DeploymentId) -> Row {
    Row {
        namespace: deployment.namespace.to_string(),
        deployment: deployment.name.to_string(),
        request_id: format!("{PROBE}{}", uuid::Uuid::new_v4().simple()),
        correlation_id: String::new(),
        revision: RevisionId::new(0, 0),
        model_digest: String::new(),
        trace_id: String::new(),
        principal: "sink-writer".to_owned(),
        attempt: 1,
        accepted_at: slipway_kernel::Timestamp(0),
        completed_at: slipway_kernel::Timestamp(0),
        ok: true,
        code: String::new(),
        outputs: probe_outputs(),
    }
}
