//! Reading a recorded result: from the wire to a row.

use crate::domain::Row;
use serde_json::{Value, json};
use slipway_kernel::{DeploymentId, RequestId, Timestamp};
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
    result: &InferenceResult,
) -> Result<Row, NotAResult> {
    let told = (result.namespace.as_str(), result.deployment.as_str(), result.request_id.as_str());
    let known = (deployment.namespace.as_str(), deployment.name.as_str(), request.as_str());
    if told != known {
        return Err(NotAResult(format!("it says {told:?} and stands at {known:?}")));
    }
    let revision = result.revision.parse().map_err(|allowed| NotAResult(format!("revision: {allowed}")))?;
    let (ok, code, outputs) = match &result.outcome {
        Some(Outcome::Response(response)) => {
            let tensors = response_tensors(response).map_err(|error| NotAResult(error.to_string()))?;
            let outputs = tensors.iter().map(tensor).collect::<Result<Vec<_>, _>>()?;
            (true, String::new(), Value::Array(outputs))
        }
        Some(Outcome::Failure(failure)) => (false, failure.code.clone(), json!({ "message": failure.message })),
        None => return Err(NotAResult("neither outputs nor failure".to_owned())),
    };
    Ok(Row {
        namespace: result.namespace.clone(),
        deployment: result.deployment.clone(),
        request_id: result.request_id.clone(),
        correlation_id: result.correlation_id.clone(),
        revision,
        model_digest: result.model_digest.clone(),
        trace_id: result.trace_id.clone(),
        principal: result.principal.clone(),
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

fn tensor(tensor: &slipway_proto::oip::Tensor) -> Result<Value, NotAResult> {
    let data = json_of(tensor).map_err(NotAResult)?;
    Ok(json!({
        "name": tensor.name(),
        "datatype": tensor.data_type().as_str(),
        "shape": tensor.shape(),
        "data": data,
    }))
}

/// The elements as flat JSON.
///
/// # Errors
/// If the elements have no typed form (half-precision numbers).
fn json_of(tensor: &slipway_proto::oip::Tensor) -> Result<Value, String> {
    if let Some(numbers) = tensor.as_f32() {
        return Ok(numbers.into());
    }
    if let Some(numbers) = tensor.as_i64() {
        return Ok(numbers.into());
    }
    let contents = tensor.contents().map_err(|error| error.to_string())?;
    let json = slipway_proto::json::to_json("inference.InferTensorContents", &contents).map_err(|e| e.to_string())?;
    // One of its lists holds the elements, the others are empty.
    let lists = json.as_object().into_iter().flat_map(|fields| fields.values());
    let mut filled = lists.filter(|list| list.as_array().is_some_and(|list| !list.is_empty()));
    Ok(filled.next().cloned().unwrap_or_else(|| json!([])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::RevisionId;
    use slipway_proto::oip::{Tensor, raw_response};

    fn result() -> InferenceResult {
        let outputs = vec![Tensor::from_i64("label", vec![1], &[7]).unwrap()];
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
        row_of(&"default.digits".parse().unwrap(), &"r1".parse().unwrap(), result)
    }

    #[test]
    fn a_result_becomes_a_row_with_readable_outputs() {
        let row = row(&result()).unwrap();
        assert_eq!(row.revision, RevisionId::new(1, 2));
        assert_eq!(row.outputs, json!([{ "name": "label", "datatype": "INT64", "shape": [1], "data": [7] }]));
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
