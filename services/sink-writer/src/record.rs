//! Reading a recorded result: from the wire to a row.

use crate::domain::Row;
use serde::Serialize;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use slipway_kernel::{DeploymentId, RequestId, Timestamp};
use slipway_oip::json::Readable;
use slipway_proto::{
    oip::response_tensors,
    slipway::inference::v1::{InferenceResult, inference_result::Outcome},
};

/// Why a recorded result is no row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a result: {0}")]
pub(crate) struct NotAResult(String);

/// The row of a recorded result; `deployment` and `request` are those of its subject, which the record must not contradict.
///
/// # Errors
/// What is wrong with the record.
pub(crate) fn row_of(
    deployment: &DeploymentId,
    request: &RequestId,
    result: InferenceResult,
) -> Result<Row, NotAResult> {
    let told = (result.namespace.as_str(), result.deployment.as_str(), result.request_id.as_str());
    let known = (deployment.namespace.as_str(), deployment.name.as_str(), request.as_str());
    if told != known {
        return Err(NotAResult(format!("it says {told:?} and stands at {known:?}")));
    }
    let revision = result.revision.parse().map_err(|allowed| NotAResult(format!("revision: {allowed}")))?;
    let (ok, code, outputs) = match result.outcome {
        Some(Outcome::Response(response)) => {
            let tensors = response_tensors(&response).map_err(|error| NotAResult(error.to_string()))?;
            (true, String::new(), json(&Readable(&tensors))?)
        }
        Some(Outcome::Failure(failure)) => {
            let message = json(&json!({ "message": failure.message }))?;
            (false, failure.code, message)
        }
        None => return Err(NotAResult("neither outputs nor failure".to_owned())),
    };
    Ok(Row {
        namespace: result.namespace,
        deployment: result.deployment,
        request_id: result.request_id,
        correlation_id: result.correlation_id,
        revision,
        model_digest: result.model_digest,
        trace_id: result.trace_id,
        principal: result.principal,
        attempt: result.attempt,
        accepted_at: unix_ms(result.accepted_unix_ms),
        completed_at: unix_ms(result.completed_unix_ms),
        ok,
        code,
        outputs,
    })
}

fn unix_ms(ms: i64) -> Timestamp {
    Timestamp(u64::try_from(ms).unwrap_or(0))
}

/// JSON as it stands in a table.
fn json(document: &impl Serialize) -> Result<Box<RawValue>, NotAResult> {
    to_raw_value(document).map_err(|error| NotAResult(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::RevisionId;
    use slipway_proto::oip::{DataType, Tensor, raw_response};

    fn result() -> InferenceResult {
        let half = Tensor::new("share", DataType::Fp16, vec![1], vec![0x00, 0x38].into()).unwrap();
        let outputs = vec![Tensor::from_i64("label", vec![1], &[7]).unwrap(), half];
        InferenceResult {
            namespace: "default".into(),
            deployment: "digits".into(),
            revision: "1-2".into(),
            request_id: "r1".into(),
            outcome: Some(Outcome::Response(raw_response("digits", "1-2", "r1", outputs))),
            ..InferenceResult::default()
        }
    }

    fn row(result: &InferenceResult) -> Result<Row, NotAResult> {
        row_of(&"default.digits".parse().unwrap(), &"r1".parse().unwrap(), result.clone())
    }

    #[test]
    fn a_result_becomes_a_row_with_readable_outputs() {
        let row = row(&result()).unwrap();
        assert_eq!(row.revision, RevisionId::new(1, 2));
        let label = r#"{"name":"label","datatype":"INT64","shape":[1],"data":[7]}"#;
        let share = r#"{"name":"share","datatype":"FP16","shape":[1],"data":[0.5]}"#;
        assert_eq!(row.outputs.get(), format!("[{label},{share}]"));
    }

    #[test]
    fn a_record_that_contradicts_its_subject_or_is_incomplete_is_no_row() {
        for spoil in [
            |r: &mut InferenceResult| r.deployment = "other".into(),
            |r: &mut InferenceResult| r.request_id = "r2".into(),
            |r: &mut InferenceResult| r.revision = "one".into(),
            |r: &mut InferenceResult| r.outcome = None,
        ] {
            let mut spoilt = result();
            spoil(&mut spoilt);
            assert!(row(&spoilt).is_err());
        }
    }
}
