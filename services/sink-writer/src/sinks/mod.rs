//! The sinks: one file per kind.

mod files;
mod postgres;
mod sqlite;

pub(crate) use files::FilesSink;
pub(crate) use postgres::PostgresSink;
pub(crate) use sqlite::{SqliteSink, open as open_sqlite};

use crate::{domain::Row, error::SinkError};
use async_trait::async_trait;
use serde_json::value::RawValue;
use slipway_kernel::{DeploymentId, Proof, RevisionId};

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
