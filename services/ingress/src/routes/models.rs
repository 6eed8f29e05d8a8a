//! `/v2/models/{model}` and `…/ready`: what a model takes and gives, and whether it can answer now.

use super::{
    address::Address,
    enter::{enter, shown},
};
use crate::{auth::Shown, error::RequestError, respond, stack::Ingress, table::Target, trail::Trail};
use axum::{
    Extension,
    extract::{ConnectInfo, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    response::Response,
};
use serde_json::json;
use slipway_oip::documents::Model;
use std::{net::SocketAddr, sync::Arc};

/// What the model takes and gives.
///
/// # Errors
/// Why the caller cannot be told.
pub async fn metadata(
    State(ingress): State<Arc<Ingress>>,
    Extension(trail): Extension<Arc<Trail>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, RequestError> {
    let (address, target) = target(&ingress, &trail, peer, params, request).await?;
    let signature = target.signature.as_ref().map_err(|reason| RequestError::Unservable(reason.clone()))?;
    let (name, version) = (address.deployment.name.as_str(), target.revision.to_string());
    Ok(respond::json(200, &Model::new(name, version, &target.platform, signature)))
}

/// Whether a worker of it can answer.
///
/// # Errors
/// Why the caller cannot be told, or [`RequestError::NoWorker`].
pub async fn ready(
    State(ingress): State<Arc<Ingress>>,
    Extension(trail): Extension<Arc<Trail>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, RequestError> {
    let (address, target) = target(&ingress, &trail, peer, params, request).await?;
    let revision = target.revision;
    if ingress.pool.count(&address.deployment, revision) == 0 {
        return Err(RequestError::NoWorker { revision });
    }
    Ok(respond::json(200, &json!({ "name": address.deployment.name, "version": revision.to_string(), "ready": true })))
}

async fn target(
    ingress: &Ingress,
    trail: &Trail,
    peer: SocketAddr,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<(Address, Arc<Target>), RequestError> {
    let (parts, _) = request.into_parts();
    let address = Address::read(params, &parts.headers)?;
    let target = asked(ingress, trail, &address, shown(&parts, peer, trail)).await?;
    Ok((address, target))
}

/// The revision of an address: the one named, else the one that serves.
///
/// # Errors
/// Why the caller cannot be told.
pub async fn asked(
    ingress: &Ingress,
    trail: &Trail,
    address: &Address,
    shown: Shown<'_>,
) -> Result<Arc<Target>, RequestError> {
    let visit = enter(ingress, address, shown, trail).await?;
    let entry = &visit.door.entry;
    let target = visit.named.or_else(|| entry.targets.get(&entry.serving()?).cloned());
    let target = target.ok_or_else(|| RequestError::NothingServes(address.deployment.clone()))?;
    trail.revision(target.revision);
    Ok(target)
}
