//! What becomes of the result of a request that was answered at once: recorded before its answer, or captured after it.

use crate::{
    error::RequestError,
    stack::Ingress,
    table::Target,
    upstream::{Answer, Call},
};
use prost::Message as _;
use slipway_bus::{QueueError, topology::MAX_INFERENCE_BYTES};
use slipway_kernel::{Timestamp, spec::Record};
use slipway_proto::{
    failure::FailureCode,
    inference::ModelInferResponse,
    slipway::inference::v1::{InferenceResult, inference_result::Outcome},
};
use slipway_runtime::trace;
use std::borrow::Cow;
use tokio::time::timeout_at;

/// Records the result of `call`, or sees to it that it is, and gives the answer back.
///
/// # Errors
/// Before the reply: [`RequestError::Unrecorded`] when it is not certain that it is recorded, [`RequestError::DeadlineExceeded`] when
/// that is not known in time, [`RequestError::ResultTooLarge`]. After it never: there is an answer, and its client has it.
pub async fn record(
    ingress: &Ingress,
    when: Record,
    call: Call,
    target: &Target,
    answer: Answer,
) -> Result<ModelInferResponse, RequestError> {
    let (id, request, deadline) = (call.deployment.clone(), call.request_id.clone(), call.deadline);
    let traceparent = call.traceparent.clone();
    let result = result(call, target, answer, ingress.clock.now());
    match when {
        Record::BeforeReply => {
            let recording = ingress.mailbox.record(&id, &request, result.encode_to_vec().into(), Some(&traceparent));
            let recorded = timeout_at(deadline, recording).await.map_err(|_| RequestError::DeadlineExceeded)?;
            recorded.map_err(|error| match error {
                QueueError::TooLarge { bytes, limit } => RequestError::ResultTooLarge { bytes, limit },
                other => RequestError::Unrecorded(other.into()),
            })?;
        }
        Record::AfterReply => {
            ingress.capture.offer(&id, &request, &traceparent, &captured(&result));
        }
    }
    let Some(Outcome::Response(response)) = result.outcome else { unreachable!("it was made of an answer") };
    Ok(response)
}

fn result(call: Call, target: &Target, answer: Answer, completed: Timestamp) -> InferenceResult {
    let unix_ms = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
    InferenceResult {
        namespace: call.deployment.namespace.to_string(),
        deployment: call.deployment.name.to_string(),
        revision: call.revision.to_string(),
        request_id: call.request_id.into(),
        correlation_id: call.correlation_id,
        principal: call.principal,
        model_digest: target.model_digest.to_string(),
        worker: answer.instance,
        trace_id: trace::id_of(&call.traceparent).unwrap_or_default().to_owned(),
        probe: call.probe,
        accepted_unix_ms: unix_ms(call.accepted_unix_ms),
        completed_unix_ms: unix_ms(completed.0),
        attempt: answer.attempt,
        outcome: Some(Outcome::Response(answer.response)),
    }
}

/// A result that is too large for the broker is captured without its outputs: that there was an answer is not lost.
fn captured(result: &InferenceResult) -> Cow<'_, InferenceResult> {
    let bytes = result.encoded_len();
    if bytes <= MAX_INFERENCE_BYTES - ENVELOPE {
        return Cow::Borrowed(result);
    }
    let message = format!("answered, but with {bytes} bytes too large to be recorded");
    let outcome = Some(Outcome::Failure(FailureCode::PayloadTooLarge.with(message)));
    Cow::Owned(InferenceResult { outcome, ..result.clone() })
}

/// What a batch of one needs besides its result: ids of at most 128 bytes, a trace, and framing.
const ENVELOPE: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_too_large_is_kept_without_its_outputs() {
        let response = |bytes| slipway_proto::inference::ModelInferResponse {
            raw_output_contents: vec![vec![0; bytes].into()],
            ..Default::default()
        };
        let of = |bytes| InferenceResult { outcome: Some(Outcome::Response(response(bytes))), ..Default::default() };
        let kept = |bytes| captured(&of(bytes)).outcome.clone().unwrap();
        assert!(matches!(kept(1_000), Outcome::Response(_)));
        let Outcome::Failure(failure) = kept(MAX_INFERENCE_BYTES) else { panic!("it is too large") };
        assert_eq!(failure.code, "payload-too-large");
    }
}
