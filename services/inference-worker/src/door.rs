//! The inference door: gRPC behind mutual TLS. Only ingress and the validator may knock.

use std::net::SocketAddr;
use std::time::Duration;

use slipway_kernel::{Service, spec::MAX_BODY_BYTES};
use slipway_oip::health::HealthServer;
use slipway_oip::reflection;
use slipway_proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use slipway_proto::slipway::inference::v1::direct_path_server::DirectPathServer;
use slipway_proto::slipway::inference::v1::worker_control_server::WorkerControlServer;
use slipway_runtime::tls::{self, Reloadable, SpiffeId};
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
}

impl Door {
    /// Listens.
    ///
    /// # Errors
    /// [`WorkerError::Listen`].
    pub async fn open(address: SocketAddr) -> Result<Self, WorkerError> {
        let failed = |source| WorkerError::Listen { address, source };
        let (listener, address) = drain::bind(address).await.map_err(failed)?;
        Ok(Self { listener, address })
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
        let incoming = tls::incoming(self.listener, config)
            .map_err(|source| WorkerError::Listen { address: self.address, source })?;
        let service = GrpcInferenceServiceServer::new(rooms.direct)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Server::builder()
            .max_concurrent_streams(MAX_STREAMS)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .add_service(service)
            .add_service(DirectPathServer::new(rooms.exchanges).max_decoding_message_size(MAX_MESSAGE_BYTES))
            .add_service(HealthServer::new(rooms.readiness))
            .add_service(WorkerControlServer::new(rooms.control))
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
