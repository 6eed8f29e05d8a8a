//! `grpc.health.v1`: whether this door, or a model behind it, can be asked now. A model is called as in the inference service and is
//! told about to whom it is served.

use super::{address::Address, grpc::Caller, models};
use crate::{error::RequestError, stack::Ingress};
use futures::{StreamExt as _, stream};
use slipway_oip::health::{self, Health, HealthCheckRequest, HealthCheckResponse, Readings, Subject};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Ingress>);

impl Readiness {
    /// The readiness of a door.
    #[must_use]
    pub const fn new(ingress: Arc<Ingress>) -> Self {
        Self(ingress)
    }

    /// Who is meant; a model only if the caller may know of it.
    async fn subject(&self, caller: &Caller, service: &str) -> Result<Meant, RequestError> {
        match Subject::of(service) {
            Subject::Server => Ok(Meant::Server),
            Subject::Model(name) => {
                let address = caller.address(name, "")?;
                match models::asked(&self.0, &caller.trail, &address, caller.shown()).await {
                    // There is one, and it does not serve yet.
                    Ok(_) | Err(RequestError::NothingServes(_)) => Ok(Meant::Model(address)),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// Who is asked about.
enum Meant {
    Server,
    Model(Address),
}

impl Meant {
    /// Whether it can be asked now; none if it is gone.
    fn is_ready(&self, ingress: &Ingress) -> Option<bool> {
        match self {
            Self::Server => Some(ingress.health.is_ready()),
            Self::Model(address) => {
                let table = ingress.routing.load();
                let entry = &table.door(&address.deployment)?.entry;
                Some(entry.serving().is_some_and(|revision| ingress.pool.count(&address.deployment, revision) > 0))
            }
        }
    }
}

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let (caller, message) = Caller::of(request)?;
        let meant = self.subject(&caller, &message.service).await.map_err(|error| caller.refused(&error))?;
        Ok(Response::new(health::response(Some(meant.is_ready(&self.0).unwrap_or(false)))))
    }

    type WatchStream = Readings;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Readings>, Status> {
        let (caller, message) = Caller::of(request)?;
        let meant = match self.subject(&caller, &message.service).await {
            Ok(meant) => meant,
            // Who waits for a model to be made is told of that; the name was one.
            Err(RequestError::UnknownDeployment(_)) => {
                let nothing = stream::iter([None]).chain(stream::pending());
                let closing = self.0.closing.clone().cancelled_owned();
                return Ok(Response::new(health::readings(nothing.take_until(closing))));
            }
            Err(error) => return Err(caller.refused(&error)),
        };
        Ok(Response::new(watched(Arc::clone(&self.0), meant)))
    }
}

/// What is read of it now and after each change of routes, workers and conditions, until the door closes.
fn watched(ingress: Arc<Ingress>, meant: Meant) -> Readings {
    // Subscribed before the first reading, so that no change between it and the next is missed.
    let changes = (ingress.routing.changes(), ingress.pool.changes(), ingress.health.changes());
    let state = (ingress, meant, changes, true);
    health::readings(stream::unfold(state, |(ingress, meant, mut changes, first)| async move {
        let (routes, workers, conditions) = (&mut changes.0, &mut changes.1, &mut changes.2);
        if !first {
            tokio::select! {
                () = ingress.closing.cancelled() => return None,
                _ = routes.changed() => {}
                _ = workers.changed() => {}
                _ = conditions.changed() => {}
            }
        }
        let ready = meant.is_ready(&ingress);
        Some((ready, (ingress, meant, changes, false)))
    }))
}
