//! `Prefer: respond-async`, and requests that come again under an idempotency key.

use super::{
    infer::{Admitted, written},
    prepare::Prepared,
};
use crate::{error::RequestError, respond, trail::Trail};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header::LOCATION};
use prost::Message as _;
use serde_json::{Value, json};
use slipway_bus::{Accepted, AcceptedRequest, QueueError, topology::MAX_INFERENCE_BYTES};
use slipway_kernel::RequestId;
use slipway_proto::slipway::inference::v1::{InferenceRequest, InferenceResult, ReplyTo, inference_result::Outcome};
use slipway_proto::{failure::FailureCode, inference::ModelInferResponse};

/// Says that the preference was followed (RFC 7240).
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// Says that the answer is the one of an earlier request under the same key.
const REPLAYED: HeaderName = HeaderName::from_static("slipway-replayed");

/// Leaves the request in the queue of its revision and says where its result will be.
pub(super) async fn leave(request: &Admitted<'_>, prepared: Prepared) -> Result<Response, RequestError> {
    let (id, request_id) = (&request.visit.door.entry.id, prepared.request_id.clone());
    let standing = standing(request, &request_id).await?;
    // One that is known may have failed to be queued the first time; queued twice, it is still answered once.
    queue(request, prepared, standing, None).await?;
    Ok(pending(&format!("{id}.{request_id}"), &request_id))
}

/// What is known of a request under its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The id is of our making and proves whose it is; nothing is kept.
    Proved,
    /// It came for the first time.
    New,
    /// It came before, from the same caller and with the same body.
    Known,
}

/// Registers the request, unless its id is of our making: one that was given must not be somebody else's.
pub(super) async fn standing(request: &Admitted<'_>, request_id: &RequestId) -> Result<Standing, RequestError> {
    if request.head.ticket.as_ref() == Some(request_id) {
        return Ok(Standing::Proved);
    }
    Ok(if register(request, request_id).await? { Standing::New } else { Standing::Known })
}

/// Puts the request into the queue of its revision. Its worker sends the answer to `reply_to`, beside recording it.
pub(super) async fn queue(
    request: &Admitted<'_>,
    prepared: Prepared,
    standing: Standing,
    reply_to: Option<ReplyTo>,
) -> Result<(), RequestError> {
    let (id, mailbox) = (&request.visit.door.entry.id, &request.ingress.mailbox);
    let Prepared { request_id, target, message, .. } = prepared;
    let revision = target.revision;
    let traceparent = &request.trail.traceparent;
    let queued = InferenceRequest {
        namespace: id.namespace.to_string(),
        deployment: id.name.to_string(),
        revision: revision.to_string(),
        request_id: request_id.to_string(),
        correlation_id: request.correlation_id(&request_id),
        principal: request.visit.caller.principal.clone(),
        deadline_unix_ms: i64::try_from(request.deadline.unix_ms).unwrap_or(i64::MAX),
        accepted_unix_ms: i64::try_from(request.deadline.accepted.0).unwrap_or(i64::MAX),
        probe: request.visit.caller.prober.is_some(),
        traceparent: traceparent.clone(),
        body: Some(message),
        reply_to,
    };
    let (payload, data) = parted(queued);
    let left = mailbox.leave(id, revision, &request_id, payload, data.as_ref(), Some(traceparent)).await;
    let Err(error) = left else { return Ok(()) };
    // Refused for certain: the id is free again. What is unknown stays registered, for the client to repeat.
    if standing == Standing::New && matches!(error, QueueError::Full) {
        mailbox.forget(id, &request_id).await.map_err(|error| RequestError::QueueUnavailable(error.into()))?;
    }
    Err(match error {
        QueueError::Full => RequestError::QueueFull(revision),
        QueueError::TooLarge { limit, .. } => RequestError::BodyTooLarge { limit },
        other => RequestError::QueueUnavailable(other.into()),
    })
}

/// A request as its message, and its tensors by themselves where they are too large for one.
fn parted(mut queued: InferenceRequest) -> (Bytes, Option<Bytes>) {
    let body = if queued.encoded_len() > MAX_INFERENCE_BYTES { queued.body.take() } else { None };
    (queued.encode_to_vec().into(), body.map(|body| body.encode_to_vec().into()))
}

/// The answer to a request that is not answered yet. `place` is its name under `/v2/requests/`.
pub(super) fn pending(place: &str, request_id: &RequestId) -> Response {
    let location = format!("/v2/requests/{place}");
    let mut response = respond::json(202, &json!({ "id": request_id, "status": "pending", "location": location }));
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(LOCATION, location);
    }
    headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
    response
}

/// The recorded result, if the same request came before under its idempotency key and was answered.
pub(super) async fn replay(request: &Admitted<'_>, prepared: &Prepared) -> Result<Option<Bytes>, RequestError> {
    if request.head.idempotency_key.is_none() || register(request, &prepared.request_id).await? {
        return Ok(None);
    }
    // If there is none it is still under way, or it failed: tried again under the same id, its effect still happens once.
    recorded(request, &prepared.request_id).await
}

/// The recorded result of the request of this id.
pub(super) async fn recorded(request: &Admitted<'_>, request_id: &RequestId) -> Result<Option<Bytes>, RequestError> {
    let result = request.ingress.mailbox.result(&request.visit.door.entry.id, request_id).await;
    result.map_err(|error| RequestError::QueueUnavailable(error.into()))
}

/// A recorded result as the answer of a request that came again.
pub(super) async fn replayed(trail: &Trail, recorded: &[u8]) -> Result<Response, RequestError> {
    let mut response = recorded_answer(trail, recorded).await?;
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// Registers the request under its id; whether it is new.
async fn register(request: &Admitted<'_>, request_id: &RequestId) -> Result<bool, RequestError> {
    let entry = AcceptedRequest {
        principal: request.visit.caller.principal.clone(),
        body_digest: request.wire.digest(),
        at: request.deadline.accepted,
        detail: Value::Null,
    };
    let id = &request.visit.door.entry.id;
    let accepted = request.ingress.mailbox.accept(id, request_id, &entry).await;
    match accepted.map_err(|error| RequestError::QueueUnavailable(error.into()))? {
        Accepted::New => Ok(true),
        Accepted::Existing(known) if known.principal == entry.principal && known.body_digest == entry.body_digest => {
            Ok(false)
        }
        Accepted::Existing(_) => Err(RequestError::IdempotencyConflict(request_id.clone())),
    }
}

/// A recorded result as the answer it would have been at once.
pub(super) async fn recorded_answer(trail: &Trail, recorded: &[u8]) -> Result<Response, RequestError> {
    let response = recorded_response(trail, recorded)?;
    Ok(respond::written(written(&response, &[]).await?))
}

/// The same as a message.
pub(super) fn recorded_response(trail: &Trail, recorded: &[u8]) -> Result<ModelInferResponse, RequestError> {
    let result = InferenceResult::decode(recorded).map_err(|error| RequestError::Internal(error.into()))?;
    if let Ok(revision) = result.revision.parse() {
        trail.revision(revision);
    }
    if let Ok(request_id) = result.request_id.parse() {
        trail.ids(&request_id, &result.correlation_id);
    }
    match result.outcome {
        Some(Outcome::Response(response)) => Ok(response),
        Some(Outcome::Failure(failure)) => Err(RequestError::Worker {
            code: failure.code.parse().unwrap_or(FailureCode::Internal),
            message: failure.message,
            retry_after: None,
        }),
        None => Err(RequestError::Internal(anyhow::anyhow!("a recorded result holds neither answer nor failure"))),
    }
}
