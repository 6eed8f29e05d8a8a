//! HTTP/1.1 and HTTP/2, in the clear (HTTP/2 with prior knowledge) or over TLS (by ALPN).

use super::{stall::Guarded, tls::DoorCertificate};
use crate::{config::HttpConfig, error::IngressError, limits};
use axum::serve::ListenerExt as _;
use slipway_runtime::{drain, tls};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
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
        Ok(Self { listener, address, certificate, limits })
    }

    /// Serves until the shutdown; then requests under way are finished, and what does not end within the bound is dropped.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub async fn serve(self, app: impl drain::App, shutdown: CancellationToken) -> Result<(), IngressError> {
        let drained = match &self.certificate {
            None => {
                let listener = self.listener.tap_io(|stream: &mut TcpStream| {
                    // Small frames must not wait for each other: Nagle costs up to 40 ms.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection stays with Nagle's algorithm");
                    }
                });
                drain::http(Guarded(listener), app, self.limits, shutdown).await
            }
            Some(certificate) => {
                let incoming = tls::incoming(self.listener, certificate.server_config()?)
                    .map_err(|source| IngressError::Listen { address: self.address, source })?;
                drain::http(Guarded(incoming), app, self.limits, shutdown).await
            }
        };
        if let Err(error) = drained {
            warn!(%error, "requests under way were dropped at the end");
        }
        Ok(())
    }
}
