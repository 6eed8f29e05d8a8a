//! Through the door: the deployment exists, the caller may come in, the revision can be reached.

use super::address::Address;
use crate::{
    auth::{Caller, Shown},
    error::RequestError,
    stack::Ingress,
    table::{Door, Rules, Target},
    trail::Trail,
};
use http::request::Parts;
use std::{net::SocketAddr, sync::Arc};

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The door it came through.
    pub door: Arc<Door>,
    /// The rules that hold for it.
    pub rules: Arc<Rules>,
    /// Who sends it.
    pub caller: Caller,
    /// The revision it asks for by name.
    pub named: Option<Arc<Target>>,
}

/// Lets a request in, or not. Who is not let in learns whether the deployment exists and nothing else.
///
/// # Errors
/// [`RequestError::UnknownDeployment`], those of [`crate::auth::Authenticator::caller`] and of [`Before::admit`].
pub async fn enter(
    ingress: &Ingress,
    address: &Address,
    shown: Shown<'_>,
    trail: &Trail,
) -> Result<Visit, RequestError> {
    let before = Before::find(ingress, address, trail)?;
    let id = &address.deployment;
    let caller = ingress.authenticator.caller(shown, id, &before.rules, ingress.clock.now()).await?;
    before.admit(address, caller, trail)
}

/// A request before a door.
#[derive(Debug)]
pub struct Before {
    door: Arc<Door>,
    /// The rules that hold for it.
    pub rules: Arc<Rules>,
    named: Option<Arc<Target>>,
}

impl Before {
    /// Finds the door.
    ///
    /// # Errors
    /// [`RequestError::UnknownDeployment`].
    pub fn find(ingress: &Ingress, address: &Address, trail: &Trail) -> Result<Self, RequestError> {
        let id = &address.deployment;
        let door = ingress.routing.load().door(id).cloned();
        let door = door.ok_or_else(|| RequestError::UnknownDeployment(id.to_string()))?;
        trail.deployment(id);
        let named = address.revision.and_then(|revision| door.entry.targets.get(&revision)).cloned();
        // Whoever names a revision is held to its rules, so that a new revision's access can be tried before it is released.
        let rules = named.as_ref().map(|target| &target.rules).or_else(|| door.entry.rules()).cloned();
        let rules = rules.ok_or_else(|| RequestError::UnknownDeployment(id.to_string()))?;
        Ok(Self { door, rules, named })
    }

    /// Lets in who is known.
    ///
    /// # Errors
    /// [`RequestError::UnknownRevision`], [`RequestError::RateLimited`].
    pub fn admit(self, address: &Address, caller: Caller, trail: &Trail) -> Result<Visit, RequestError> {
        let Self { door, rules, named } = self;
        trail.probe(caller.prober.is_some());
        if let Some(revision) = address.revision {
            let reachable = named.is_some() && (caller.prober.is_some() || door.entry.is_public(revision));
            if !reachable {
                return Err(RequestError::UnknownRevision { deployment: address.deployment.clone(), revision });
            }
        }
        if caller.prober.is_none()
            && let Some(rates) = &door.rates
        {
            rates.count(&caller.principal)?;
        }
        Ok(Visit { door, rules, caller, named })
    }
}

/// What a request of HTTP shows of who sent it.
#[must_use]
pub fn shown<'a>(parts: &'a Parts, peer: SocketAddr, trail: &Trail) -> Shown<'a> {
    Shown { headers: &parts.headers, uri: &parts.uri, peer: peer.ip(), arrived: trail.arrived }
}
