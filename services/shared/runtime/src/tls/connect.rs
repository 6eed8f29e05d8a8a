//! Connections out.

use super::{HANDSHAKE_TIMEOUT, TlsError, WrongIdentity};
use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig, pki_types::ServerName};
use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

/// Connects and shakes hands, both within `bound`.
///
/// # Errors
/// When nobody answers, or one of the two refuses the other.
pub async fn connect(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    bound: Duration,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        // Small frames must not wait for each other: Nagle costs up to 40 ms.
        stream.set_nodelay(true)?;
        // The name is not looked at (the id is); an address sends none.
        TlsConnector::from(config).connect(ServerName::IpAddress(address.ip().into()), stream).await
    };
    let connected = timeout(bound, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    connected.map_err(|source| match wrong_identity(&source) {
        Some(found) => TlsError::WrongServer { address, found },
        None => TlsError::Connect { address, source },
    })
}

/// What our verifier said, if it was that which failed.
fn wrong_identity(error: &io::Error) -> Option<WrongIdentity> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref().cloned(),
        _ => None,
    }
}

/// The same for tonic's `Endpoint::connect_with_connector` and `connect_with_connector_lazy`. The endpoint's own address
/// must be `http://…`: with `https://` tonic asks for a TLS of its own on top.
pub fn connector(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> impl Service<http::Uri, Response = TokioIo<TlsStream<TcpStream>>, Error = TlsError, Future: Future + Send>
+ Clone
+ Send
+ 'static {
    tower::service_fn(move |_: http::Uri| {
        let config = Arc::clone(&config);
        async move { connect(address, config, HANDSHAKE_TIMEOUT).await.map(TokioIo::new) }
    })
}
