//! `/v2/requests/{id}`: the result of a request that was left in a queue, or its end. The id is `<namespace>.<deployment>.<request id>`,
//! as the answer that accepted it said; it is shown to nobody but who sent the request.

use super::{
    address::Address,
    enter::{Visit, enter, shown},
    later::{pending, recorded_answer},
};
use crate::{error::RequestError, respond, stack::Ingress, trail::Trail};
use axum::{
    Extension,
    extract::{ConnectInfo, Path, Request, State, rejection::PathRejection},
    response::Response,
};
use prost::Message as _;
use serde_json::json;
use slipway_bus::{BusError, Recorded, topology::Bucket};
use slipway_kernel::{DeploymentId, RequestId, Timestamp};
use slipway_proto::{
    failure::{FailureCode, is_cancellation},
    slipway::inference::v1::{InferenceResult, inference_result::Outcome},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// The result, or that there is none yet.
///
/// # Errors
/// [`RequestError::UnknownRequest`] for what nobody sent, what another caller sent and what is no id alike; otherwise why the
/// caller cannot be told, or how the request failed.
pub async fn poll(
    State(ingress): State<Arc<Ingress>>,
    Extension(trail): Extension<Arc<Trail>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    place: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, RequestError> {
    let place = place.map_err(|_| RequestError::UnknownRequest)?.0;
    let left = left(&ingress, &trail, peer, &place, request).await?;
    match ingress.mailbox.result(&left.deployment, &left.id).await.map_err(unavailable)? {
        Some(recorded) => recorded_answer(&trail, &recorded).await,
        None => {
            trail.ids(&left.id, left.id.as_str());
            Ok(pending(&place, &left.id))
        }
    }
}

/// Takes a request back. Only one outcome of a request is ever recorded: where that is the cancellation, whatever a worker may still
/// compute for it is dropped.
///
/// # Errors
/// [`RequestError::AlreadyAnswered`] when another outcome was recorded first; those of [`poll`].
pub async fn cancel(
    State(ingress): State<Arc<Ingress>>,
    Extension(trail): Extension<Arc<Trail>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    place: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, RequestError> {
    let place = place.map_err(|_| RequestError::UnknownRequest)?.0;
    let left = left(&ingress, &trail, peer, &place, request).await?;
    let result = cancelled(&left, ingress.clock.now())?;
    trail.ids(&left.id, left.id.as_str());
    let traceparent = Some(trail.traceparent.as_str());
    let recording = ingress.mailbox.record(&left.deployment, &left.id, result.encode_to_vec().into(), traceparent);
    match recording.await.map_err(|error| RequestError::Unrecorded(error.into()))? {
        Recorded::Stored => Ok(respond::json(200, &json!({ "id": left.id, "status": "cancelled" }))),
        // Cancelled twice is cancelled.
        Recorded::Already => match ingress.mailbox.result(&left.deployment, &left.id).await.map_err(unavailable)? {
            Some(recorded) if is_cancellation(&recorded) => {
                Ok(respond::json(200, &json!({ "id": left.id, "status": "cancelled" })))
            }
            _ => Err(RequestError::AlreadyAnswered),
        },
    }
}

/// A request that was left in a queue by who asks for it now.
struct Left {
    deployment: DeploymentId,
    id: RequestId,
    visit: Visit,
}

async fn left(
    ingress: &Ingress,
    trail: &Trail,
    peer: SocketAddr,
    place: &str,
    request: Request,
) -> Result<Left, RequestError> {
    let (deployment, id) = read(place).ok_or(RequestError::UnknownRequest)?;
    let (parts, _) = request.into_parts();
    let address = Address { deployment: deployment.clone(), revision: None };
    let visit = match enter(ingress, &address, shown(&parts, peer, trail), trail).await {
        Err(RequestError::UnknownDeployment(_)) => return Err(RequestError::UnknownRequest),
        entered => entered?,
    };
    let principal = &visit.caller.principal;
    let own = match ingress.tickets.accepted_at(&id, &deployment, principal) {
        // The same as for what is kept: forgotten with its result.
        Some(accepted) => ingress.clock.now().since(accepted) < Bucket::Accepted.max_age().unwrap_or(Duration::MAX),
        None => {
            let accepted = ingress.mailbox.accepted(&deployment, &id).await.map_err(unavailable)?;
            accepted.is_some_and(|accepted| accepted.principal == *principal)
        }
    };
    if own { Ok(Left { deployment, id, visit }) } else { Err(RequestError::UnknownRequest) }
}

fn unavailable(error: BusError) -> RequestError {
    RequestError::QueueUnavailable(error.into())
}

/// The outcome of a request that its sender takes back. It is told of the revision that would have answered.
fn cancelled(left: &Left, now: Timestamp) -> Result<InferenceResult, RequestError> {
    let target = left.visit.door.entry.pick(&left.id);
    let target = target.ok_or_else(|| RequestError::NothingServes(left.deployment.clone()))?;
    let unix_ms = i64::try_from(now.0).unwrap_or(i64::MAX);
    Ok(InferenceResult {
        namespace: left.deployment.namespace.to_string(),
        deployment: left.deployment.name.to_string(),
        revision: target.revision.to_string(),
        request_id: left.id.to_string(),
        correlation_id: left.id.to_string(),
        principal: left.visit.caller.principal.clone(),
        model_digest: target.model_digest.to_string(),
        probe: left.visit.caller.prober.is_some(),
        accepted_unix_ms: unix_ms,
        completed_unix_ms: unix_ms,
        outcome: Some(Outcome::Failure(FailureCode::Cancelled.with("taken back by its sender"))),
        ..InferenceResult::default()
    })
}

fn read(place: &str) -> Option<(DeploymentId, RequestId)> {
    let (deployment, request_id) = place.rsplit_once('.')?;
    Some((deployment.parse().ok()?, request_id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_deployment_and_a_request_and_nothing_else() {
        let (deployment, request) = read("default.digits.0197-a_B").unwrap();
        assert_eq!((deployment.to_string().as_str(), request.as_str()), ("default.digits", "0197-a_B"));
        for place in
            ["", "a", "digits.1", "default.digits.", "default.digits.a.b", "default.*.1", "default.digits.>", "A.d.1"]
        {
            assert!(read(place).is_none(), "{place}");
        }
    }
}
