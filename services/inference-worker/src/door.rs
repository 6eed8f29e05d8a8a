//! The inference door: gRPC behind mutual TLS. Only ingress and the validator may knock.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use slipway_kernel::{Service, spec::MAX_BODY_BYTES};
use slipway_oip::health::HealthServer;
use slipway_oip::reflection;
use slipway_proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use slipway_proto::slipway::inference::v1::direct_path_server::DirectPathServer;
use slipway_proto::slipway::inference::v1::worker_control_server::WorkerControlServer;
use slipway_runtime::lanes::{self, Connection, LanesError};
use slipway_runtime::tls::{self, Reloadable, SpiffeId, TlsListener};
use slipway_runtime::{CancellationToken, drain};
use tokio::net::TcpListener;
use tonic::transport::Server;

use crate::control::Control;
use crate::error::WorkerError;
use crate::exchange::Exchanges;
use crate::grpc::Direct;
use crate::health::Readiness;

/// Largest message taken in or given out: the largest body that a document may allow, and what protobuf adds.
pub(crate) const MAX_MESSAGE_BYTES: usize = MAX_BODY_BYTES + (64 << 10);
/// Streams at once on one connection. Ingress keeps a few connections per worker, and the queue behind is shorter than this.
const MAX_STREAMS: u32 = 1024;
/// A connection without traffic is asked whether its peer lives, so that a host that vanished does not keep it for ever.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// What is behind the door.
#[derive(Clone)]
pub struct Rooms {
    /// Inference, one call each.
    pub direct: Direct,
    /// The same, many on a stream.
    pub exchanges: Exchanges,
    /// Health.
    pub readiness: Readiness,
    /// What the validator may tell the worker.
    pub control: Control,
}

/// An open door that nobody is let through yet.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    address: SocketAddr,
    threads: NonZeroUsize,
}

impl Door {
    /// Listens, for so many threads that serve.
    ///
    /// # Errors
    /// [`WorkerError::Listen`].
    pub async fn open(address: SocketAddr, threads: NonZeroUsize) -> Result<Self, WorkerError> {
        let failed = |source| WorkerError::Listen { address, source };
        let (listener, address) = drain::bind(address).await.map_err(failed)?;
        Ok(Self { listener, address, threads })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `closing`, then finishes what is in flight, however long it takes: whoever ends the worker bounds that.
    ///
    /// # Errors
    /// When TLS cannot be set up or the server fails.
    pub async fn serve(
        self,
        rooms: Rooms,
        identity: &Reloadable,
        closing: CancellationToken,
    ) -> Result<(), WorkerError> {
        let config = identity.server_config(may_knock)?;
        let serve = move |lane| {
            let (rooms, config, closing) = (rooms.clone(), Arc::clone(&config), closing.clone());
            async move { rooms.served(tls::over(lane, config).map_err(LanesError::from)?, closing).await }
        };
        lanes::serve("door", self.listener, self.threads, serve).await?.into_iter().collect()
    }
}

impl Rooms {
    /// The server of one thread.
    async fn served(self, incoming: TlsListener<Connection>, closing: CancellationToken) -> Result<(), WorkerError> {
        let service = GrpcInferenceServiceServer::new(self.direct)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Server::builder()
            .max_concurrent_streams(MAX_STREAMS)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .add_service(service)
            .add_service(DirectPathServer::new(self.exchanges).max_decoding_message_size(MAX_MESSAGE_BYTES))
            .add_service(HealthServer::new(self.readiness))
            .add_service(WorkerControlServer::new(self.control))
            .add_service(reflection::v1())
            .add_service(reflection::v1alpha())
            .serve_with_incoming_shutdown(incoming, closing.cancelled_owned())
            .await
            .map_err(WorkerError::Server)
    }
}

fn may_knock(peer: &SpiffeId) -> bool {
    matches!(peer, SpiffeId::Service(Service::Ingress | Service::Validator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ingress_and_the_validator_are_let_in() {
        for service in Service::ALL {
            let expected = [Service::Ingress, Service::Validator].contains(&service);
            assert_eq!(may_knock(&SpiffeId::Service(service)), expected, "{service}");
        }
        let worker =
            SpiffeId::Revision { deployment: "default.digits".parse().unwrap(), revision: "1-1".parse().unwrap() };
        assert!(!may_knock(&worker));
    }
}
