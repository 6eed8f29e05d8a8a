//! `/v2/requests/{id}`: the result of a request that was left in a queue. The id is `<namespace>.<deployment>.<request id>`,
//! as the answer that accepted it said; it is shown to nobody but who sent the request.

use super::{
    address::Address,
    enter::{enter, shown},
    later::{pending, recorded_answer},
};
use crate::{error::RequestError, stack::Ingress, trail::Trail};
use axum::{
    Extension,
    extract::{ConnectInfo, Path, Request, State, rejection::PathRejection},
    response::Response,
};
use slipway_bus::topology::Bucket;
use slipway_kernel::{DeploymentId, RequestId};
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
    let Path(place) = place.map_err(|_| RequestError::UnknownRequest)?;
    let (deployment, request_id) = read(&place).ok_or(RequestError::UnknownRequest)?;
    let (parts, _) = request.into_parts();
    let address = Address { deployment: deployment.clone(), revision: None };
    let visit = match enter(&ingress, &address, shown(&parts, peer, &trail), &trail).await {
        Err(RequestError::UnknownDeployment(_)) => return Err(RequestError::UnknownRequest),
        entered => entered?,
    };
    let unavailable = |error: slipway_bus::BusError| RequestError::QueueUnavailable(error.into());
    let principal = &visit.caller.principal;
    let own = match ingress.tickets.accepted_at(&request_id, &deployment, principal) {
        // The same as for what is kept: forgotten with its result.
        Some(accepted) => ingress.clock.now().since(accepted) < Bucket::Accepted.max_age().unwrap_or(Duration::MAX),
        None => {
            let accepted = ingress.mailbox.accepted(&deployment, &request_id).await.map_err(unavailable)?;
            accepted.is_some_and(|accepted| accepted.principal == *principal)
        }
    };
    if !own {
        return Err(RequestError::UnknownRequest);
    }
    match ingress.mailbox.result(&deployment, &request_id).await.map_err(unavailable)? {
        Some(recorded) => recorded_answer(&trail, &recorded).await,
        None => {
            trail.ids(&request_id, request_id.as_str());
            Ok(pending(&place, &request_id))
        }
    }
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
