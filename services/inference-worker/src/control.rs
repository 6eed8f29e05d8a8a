//! What the validator may tell this worker: to end at once, so that it can be seen what is lost.
//!
//! Whoever may do that could harm production, so the worker does not take anybody's word for it. That it is the validator who asks, its
//! certificate says; that it means this very worker, the request; that the revision has no traffic, the log, read at that moment. What cannot
//! be read is refused.

use std::sync::Arc;
use std::time::Duration;

use slipway_bus::{Bus, BusError, Content};
use slipway_kernel::{Deployment, Service, Timestamp, fold};
use slipway_proto::slipway::inference::v1::worker_control_server::WorkerControl;
use slipway_proto::slipway::inference::v1::{AbortRequest, AbortResponse};
use slipway_runtime::Clock;
use slipway_runtime::tls::{SpiffeId, peer_id};
use tonic::{Request, Response, Status};

use crate::config::Assignment;
use crate::domain::abort::{Meant, may_end};

/// How long the answer has to get out before the end.
const FAREWELL: Duration = Duration::from_millis(50);
/// How long the log may take to be read. The validator waits a little longer.
const READING: Duration = Duration::from_secs(5);

/// The service.
#[derive(Clone)]
pub struct Control {
    assignment: Assignment,
    /// When it registered.
    since: Timestamp,
    bus: Bus,
    clock: Clock,
    /// Ends the process. A test brings its own.
    end: Arc<dyn Fn() + Send + Sync>,
}

impl Control {
    /// Control of the worker with this assignment, which registered at `since`; `end` ends it.
    #[must_use]
    pub fn new(
        assignment: Assignment,
        since: Timestamp,
        bus: Bus,
        clock: Clock,
        end: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { assignment, since, bus, clock, end: Arc::new(end) }
    }

    /// The deployment as the log has it now.
    async fn deployment(&self) -> Result<Deployment, BusError> {
        let id = &self.assignment.deployment;
        let entries = self.bus.log().read(id).await?;
        Ok(fold(
            id,
            entries.into_iter().filter_map(|entry| match entry.content {
                Content::Fact(fact) => Some(fact),
                _ => None,
            }),
        ))
    }
}

#[tonic::async_trait]
impl WorkerControl for Control {
    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<AbortResponse>, Status> {
        is_the_validator(&request)?;
        let AbortRequest { instance, since_unix_ms } = request.into_inner();
        let meant = Meant { instance, since: Timestamp(u64::try_from(since_unix_ms).unwrap_or(0)) };
        meant.is(&self.assignment.instance, self.since).map_err(Status::failed_precondition)?;
        let reading = tokio::time::timeout(READING, self.deployment()).await;
        let deployment = match reading {
            Ok(Ok(deployment)) => deployment,
            Ok(Err(error)) => return Err(Status::unavailable(format!("the log cannot be read: {error}"))),
            Err(_) => return Err(Status::unavailable("the log cannot be read in time")),
        };
        may_end(&deployment, self.assignment.revision).map_err(Status::failed_precondition)?;
        tracing::warn!("the validator has this worker end at once, to see what is lost");
        let (clock, end) = (self.clock.clone(), Arc::clone(&self.end));
        tokio::spawn(async move {
            clock.sleep(FAREWELL).await;
            end();
        });
        Ok(Response::new(AbortResponse {}))
    }
}

/// The ingress is let in too, and may not do this.
fn is_the_validator<T>(request: &Request<T>) -> Result<(), Status> {
    let certificates = request.peer_certs();
    let peer = certificates.as_deref().map(|certificates| peer_id(certificates));
    match peer {
        Some(Ok(SpiffeId::Service(Service::Validator))) => Ok(()),
        Some(Ok(other)) => Err(Status::permission_denied(format!("only the validator may do this, not {other}"))),
        Some(Err(_)) | None => Err(Status::permission_denied("only the validator may do this")),
    }
}
