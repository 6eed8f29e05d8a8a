//! HTTP/1.1 and HTTP/2, in the clear (HTTP/2 with prior knowledge) or over TLS (by ALPN).

use super::{stall::Guarded, tls::DoorCertificate};
use crate::{config::HttpConfig, error::IngressError, limits};
use slipway_runtime::{
    drain,
    lanes::{HttpLanes, LanesError},
    tls,
    websocket::WebSockets,
};
use std::{net::SocketAddr, num::NonZeroUsize, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The open door: bound, not yet served.
#[derive(Debug)]
pub struct HttpDoor {
    listener: TcpListener,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its certificate, if it speaks TLS.
    pub certificate: Option<Arc<DoorCertificate>>,
    limits: drain::HttpLimits,
    lanes: NonZeroUsize,
}

impl HttpDoor {
    /// Takes the address and reads the certificate, so that what is wrong with either is known at the start. The bound is that of the whole
    /// end, the notice included.
    ///
    /// # Errors
    /// [`IngressError`].
    pub async fn open(config: &HttpConfig, bound: Duration) -> Result<Self, IngressError> {
        let (listener, address) = drain::bind(config.listen)
            .await
            .map_err(|source| IngressError::Listen { address: config.listen, source })?;
        let certificate = match (&config.tls_certificate, &config.tls_key) {
            (Some(certificate), Some(key)) => Some(DoorCertificate::load(certificate, key)?),
            _ => None,
        };
        let limits = drain::HttpLimits {
            max_connections: config.max_connections,
            max_streams: limits::STREAMS_PER_CONNECTION,
            header_timeout: config.header_timeout.0,
            notice: config.notice.0,
            bound: bound.saturating_sub(config.notice.0),
            ..drain::HttpLimits::default()
        };
        Ok(Self { listener, address, certificate, limits, lanes: config.lanes() })
    }

    /// Serves until the shutdown; then requests under way are finished, WebSockets are ended, and what does not end within the bound is
    /// dropped.
    ///
    /// # Errors
    /// If TLS cannot be set up, or no thread be started.
    pub async fn serve(
        self,
        app: impl drain::App,
        websockets: WebSockets,
        shutdown: CancellationToken,
    ) -> Result<(), IngressError> {
        let server = HttpLanes { name: "ingress", count: self.lanes, app, limits: self.limits, websockets, shutdown };
        let served = match &self.certificate {
            None => server.serve(self.listener, |lane| Ok(Guarded(lane))).await,
            Some(certificate) => {
                let config = certificate.server_config()?;
                server.serve(self.listener, move |lane| Ok(Guarded(tls::over(lane, Arc::clone(&config))?))).await
            }
        };
        match served {
            Err(LanesError::NotDrained(error)) => {
                warn!(%error, "requests under way were dropped at the end");
                Ok(())
            }
            served => Ok(served?),
        }
    }
}
