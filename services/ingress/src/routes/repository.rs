//! `/v2/repository/index`: what this door serves to this caller, and nothing that it would refuse them.

use super::enter::shown;
use crate::{
    auth::{Shown, credential},
    body,
    error::RequestError,
    limits, respond,
    stack::Ingress,
    table::{Door, Rules},
    trail::Trail,
};
use axum::{
    Extension,
    extract::{ConnectInfo, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    response::Response,
};
use slipway_kernel::Label;
use slipway_oip::repository::{Asked, Served};
use std::{net::SocketAddr, sync::Arc};
use tokio::time::{sleep_until, timeout_at};

/// The namespace of names that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// Which deployments are asked for, and so by what name they are told.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Those of a namespace, by their names.
    Namespace(Label),
    /// All, by the names that gRPC calls them: outside of the namespace `default` with their namespace.
    All,
}

impl Scope {
    /// The namespace of this name; what is no name is that of nothing.
    #[must_use]
    pub fn namespace(name: Option<&str>) -> Option<Self> {
        name.unwrap_or(DEFAULT_NAMESPACE).parse().ok().map(Self::Namespace)
    }

    /// The name of a deployment; none if it is not asked for.
    fn name(&self, door: &Door) -> Option<String> {
        let id = &door.entry.id;
        match self {
            Self::Namespace(namespace) => (id.namespace == *namespace).then(|| id.name.to_string()),
            Self::All if id.namespace.as_str() == DEFAULT_NAMESPACE => Some(id.name.to_string()),
            Self::All => Some(id.to_string()),
        }
    }
}

/// What of a namespace is served to the caller.
///
/// # Errors
/// When the body is none, or too many requests are under way.
pub async fn index(
    State(ingress): State<Arc<Ingress>>,
    Extension(trail): Extension<Arc<Trail>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, RequestError> {
    let (parts, body) = request.into_parts();
    let params = params.map_err(|_| RequestError::UnknownPath)?;
    let namespace = params.iter().find(|(name, _)| *name == "namespace").map(|(_, value)| value);
    let Some(scope) = Scope::namespace(namespace) else { return Err(RequestError::UnknownPath) };
    let deadline = trail.arrived + limits::INDEX;
    let memory = &ingress.admission.bodies;
    let body = body::read(&parts.headers, body, limits::INDEX_BYTES, deadline, memory).await?;
    let asked = Asked::read(&body.bytes)?;
    Ok(respond::json(200, &asked.of(served(&ingress, &scope, shown(&parts, peer, &trail)).await?)))
}

/// What is served to the caller.
///
/// # Errors
/// [`RequestError::Overloaded`], [`RequestError::DeadlineExceeded`].
pub async fn served(ingress: &Ingress, scope: &Scope, shown: Shown<'_>) -> Result<Vec<Served>, RequestError> {
    let deadline = shown.arrived + limits::INDEX;
    let _of_all = ingress.admission.all.acquire(deadline).await?;
    let looked = timeout_at(deadline, look(ingress, scope, shown)).await;
    // What was found does not show in the time it took.
    sleep_until(shown.arrived + limits::REFUSAL_AFTER).await;
    looked.map_err(|_| RequestError::DeadlineExceeded)
}

async fn look(ingress: &Ingress, scope: &Scope, shown: Shown<'_>) -> Vec<Served> {
    let table = Arc::clone(&ingress.routing.load());
    let (mut found, mut judged) = (Vec::new(), Judged::default());
    for door in table.doors() {
        let Some(name) = scope.name(door) else { continue };
        let entry = &door.entry;
        for route in entry.routes.shares.iter().filter(|route| route.percent > 0) {
            let Some(target) = entry.targets.get(&route.revision) else { continue };
            if !judged.may_enter(ingress, door, &target.rules, shown).await {
                continue;
            }
            let unavailable = match &target.signature {
                Err(_) => Some("the protocol lacks a type of its tensors"),
                Ok(_) if ingress.pool.count(&entry.id, target.revision) == 0 => Some("no worker of it is ready"),
                Ok(_) => None,
            };
            found.push(Served::new(name.clone(), target.revision.to_string(), unavailable));
        }
    }
    found
}

/// What was found of the caller's token so far. Checking a signature takes a tenth of a millisecond, and many deployments share
/// an issuer and its rules.
#[derive(Default)]
struct Judged(Vec<(Arc<Rules>, bool)>);

impl Judged {
    async fn may_enter(&mut self, ingress: &Ingress, door: &Door, rules: &Arc<Rules>, shown: Shown<'_>) -> bool {
        let is_token = matches!(credential::credential(shown.headers, shown.uri), Ok(credential::Credential::Token(_)));
        let same = |known: &Rules| known.access == rules.access && known.allow_from == rules.allow_from;
        if let Some((_, may)) = self.0.iter().find(|(known, _)| is_token && same(known)) {
            return *may;
        }
        let caller = ingress.authenticator.caller(shown, &door.entry.id, rules, ingress.clock.now()).await;
        if is_token {
            self.0.push((Arc::clone(rules), caller.is_ok()));
        }
        caller.is_ok()
    }
}
