//! A result as a row: what came out, and where it came from.

use serde::Serialize;
use serde_json::value::RawValue;
use slipway_kernel::{RevisionId, Timestamp};

/// One result of one request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The namespace.
    pub namespace: String,
    /// The deployment.
    pub deployment: String,
    /// The request; with the two above the key.
    pub request_id: String,
    /// What binds requests together.
    pub correlation_id: String,
    /// Who computed it.
    pub revision: RevisionId,
    /// SHA-256 of the model.
    pub model_digest: String,
    /// The trace.
    pub trace_id: String,
    /// On whose behalf.
    pub principal: String,
    /// Which delivery computed it, from 1.
    pub attempt: u32,
    /// When the request was accepted.
    pub accepted_at: Timestamp,
    /// When the result was there.
    pub completed_at: Timestamp,
    /// Whether there is a result; else a failure.
    pub ok: bool,
    /// The failure's code, empty for a result.
    pub code: String,
    /// The outputs (name, datatype, shape, data), or the failure's message.
    pub outputs: Box<RawValue>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A row of `default.digits` in January 2026.
    pub(crate) fn row(request_id: &str) -> Row {
        Row {
            namespace: "default".to_owned(),
            deployment: "digits".to_owned(),
            request_id: request_id.to_owned(),
            correlation_id: "run-1".to_owned(),
            revision: RevisionId::new(1, 2),
            model_digest: "m".repeat(64),
            trace_id: String::new(),
            principal: "ann".to_owned(),
            attempt: 1,
            accepted_at: Timestamp(1_767_225_600_250),
            completed_at: Timestamp(1_767_225_600_375),
            ok: true,
            code: String::new(),
            outputs: RawValue::from_string(r#"[{"name":"label","data":[7]}]"#.to_owned()).unwrap(),
        }
    }
}
