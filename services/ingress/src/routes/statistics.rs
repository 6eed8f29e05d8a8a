//! `…/stats` and `…/config`: what was done with a model, and how it is served. Both are known by its workers, see
//! [`crate::upstream::ask`].

use super::{
    address::Address,
    enter::{Visit, enter, shown},
    models,
};
use crate::{auth::Shown, error::RequestError, respond, stack::Ingress, trail::Trail, upstream::ask};
use axum::{
    Extension,
    extract::{ConnectInfo, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    response::Response,
};
use slipway_kernel::RevisionId;
use slipway_oip::{configuration, statistics::Document};
use slipway_proto::inference::{ModelConfigResponse, ModelStatisticsResponse};
use std::{net::SocketAddr, sync::Arc};
use tokio::time::Instant;

/// What was done with a model.
///
/// # Errors
/// Why the caller cannot be told.
pub async fn stats(
    State(ingress): State<Arc<Ingress>>,
    Extension(trail): Extension<Arc<Trail>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, RequestError> {
    let (parts, _) = request.into_parts();
    let address = Address::read(params, &parts.headers)?;
    let told = done(&ingress, &trail, &address, shown(&parts, peer, &trail)).await?;
    Ok(respond::json(200, &Document::from(told)))
}

/// How a model is served.
///
/// # Errors
/// Why the caller cannot be told.
pub async fn config(
    State(ingress): State<Arc<Ingress>>,
    Extension(trail): Extension<Arc<Trail>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, RequestError> {
    let (parts, _) = request.into_parts();
    let address = Address::read(params, &parts.headers)?;
    let told = served(&ingress, &trail, &address, shown(&parts, peer, &trail)).await?;
    Ok(respond::json(200, &configuration::document(&told)))
}

/// What was done with the revision that is named, else with each that has a share of the traffic and a worker.
///
/// # Errors
/// Why the caller cannot be told.
pub async fn done(
    ingress: &Ingress,
    trail: &Trail,
    address: &Address,
    shown: Shown<'_>,
) -> Result<ModelStatisticsResponse, RequestError> {
    let visit = enter(ingress, address, shown, trail).await?;
    let id = &address.deployment;
    let deadline = shown.arrived + visit.rules.timeout;
    let revisions = revisions(ingress, &visit);
    let Some(first) = revisions.first() else { return Err(RequestError::NothingServes(id.clone())) };
    trail.revision(*first);
    let _place = visit.door.state.permits.acquire(deadline).await?;
    let _of_all = ingress.admission.all.acquire(deadline).await?;
    let mut model_stats = Vec::with_capacity(revisions.len());
    for revision in revisions {
        model_stats.push(ask::statistics(&ingress.pool, id, revision, deadline).await?);
    }
    Ok(ModelStatisticsResponse { model_stats })
}

/// The revisions that are meant: those with a share and a worker, the first of them if none has one.
fn revisions(ingress: &Ingress, visit: &Visit) -> Vec<RevisionId> {
    if let Some(named) = &visit.named {
        return vec![named.revision];
    }
    let entry = &visit.door.entry;
    let shares = entry.routes.shares.iter().map(|route| route.revision);
    let public: Vec<RevisionId> = shares.filter(|revision| entry.is_public(*revision)).collect();
    let able = |revision: &&RevisionId| ingress.pool.count(&entry.id, **revision) > 0;
    let able: Vec<RevisionId> = public.iter().filter(able).copied().collect();
    if able.is_empty() { public.into_iter().take(1).collect() } else { able }
}

/// How the revision that is named, else the one that serves, is served.
///
/// # Errors
/// Why the caller cannot be told.
pub async fn served(
    ingress: &Ingress,
    trail: &Trail,
    address: &Address,
    shown: Shown<'_>,
) -> Result<ModelConfigResponse, RequestError> {
    let target = models::asked(ingress, trail, address, shown).await?;
    let deadline: Instant = shown.arrived + target.rules.timeout;
    let _of_all = ingress.admission.all.acquire(deadline).await?;
    ask::configuration(&ingress.pool, &address.deployment, target.revision, deadline).await
}
