//! Files of web servers. The name is looked up once, every address it has is checked, and the connection goes to an address
//! that was checked: a name that says one thing to the check and another to the connection gets nowhere. No redirects, no
//! proxy from the environment, no plain HTTP.

use super::{FetchError, Fetched, Limit, sink::Sink};
use crate::{config::HttpsConfig, domain::addresses::not_public};
use async_trait::async_trait;
use futures::StreamExt as _;
use reqwest::{Certificate, Client, Response, StatusCode, redirect::Policy};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};
use tokio::sync::mpsc;
use url::{Host, Url};

/// Pieces between network and disk; with the usual 16 KiB each, a quarter of a mebibyte.
const PIECES_WAITING: usize = 16;

/// Looks names up.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// Every address of `host`.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 443)).await?.map(|address| address.ip()).collect())
    }
}

/// The door to the web.
#[derive(Clone)]
pub(super) struct Door {
    config: HttpsConfig,
    resolver: Arc<dyn Resolve>,
}

impl Door {
    pub(super) fn new(config: HttpsConfig, resolver: Arc<dyn Resolve>) -> Self {
        // A process of Slipway has its provider by now; whoever uses only this library may not. An error says that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { config, resolver }
    }

    /// Downloads what `url` names.
    pub(super) async fn download(&self, url: &Url, to: &Path, limit: Limit) -> Result<Fetched, FetchError> {
        let addresses = self.checked(url).await?;
        let client = self.client(url, &addresses)?;
        let response = client.get(url.clone()).send().await.map_err(|error| unavailable(&error))?;
        // That the connection went where it was told is believed and checked.
        if let Some(peer) = response.remote_addr().filter(|peer| !addresses.contains(&peer.ip())) {
            return Err(FetchError::not_allowed(format!("the connection went to {peer}"), "report this"));
        }
        judge(&response, limit)?;
        receive(response, to, limit).await
    }

    /// The addresses of the host, if it and all of them may be asked.
    async fn checked(&self, url: &Url) -> Result<Vec<IpAddr>, FetchError> {
        let port = url.port_or_known_default().unwrap_or(443);
        if !self.config.ports.contains(&port) {
            return Err(FetchError::not_allowed(
                format!("port {port} is not asked"),
                "use port 443, or have the operator add it to https.ports",
            ));
        }
        let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        if !self.config.hosts.iter().any(|pattern| matches(pattern, &host)) {
            return Err(FetchError::not_allowed(
                format!("the host `{host}` is not asked"),
                "have the operator add it to https.hosts",
            ));
        }
        let addresses = match url.host() {
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            _ => {
                let found = self.resolver.resolve(&host).await;
                found.map_err(|error| FetchError::Unavailable {
                    what: format!("the host `{host}` is not found: {error}"),
                })?
            }
        };
        if addresses.is_empty() {
            return Err(FetchError::Unavailable { what: format!("the host `{host}` has no address") });
        }
        for address in &addresses {
            let allowed = self.config.allow_networks.iter().any(|network| network.contains(address));
            if let Some(why) = not_public(*address).filter(|_| !allowed) {
                tracing::warn!(%host, %address, why, "an artifact's address is not public; refused");
                return Err(FetchError::not_allowed(
                    format!("the host `{host}` has the address {address}, which is {why}"),
                    "use a public server, or have the operator add its network to https.allow_networks",
                ));
            }
        }
        Ok(addresses)
    }

    /// A client for this one download: it knows the host by the checked addresses only.
    fn client(&self, url: &Url, addresses: &[IpAddr]) -> Result<Client, FetchError> {
        let port = url.port_or_known_default().unwrap_or(443);
        let sockets: Vec<SocketAddr> = addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
        let mut builder = Client::builder()
            .https_only(true)
            .no_proxy()
            .redirect(Policy::none())
            .resolve_to_addrs(url.host_str().unwrap_or_default(), &sockets)
            .connect_timeout(self.config.connect_timeout.0)
            .read_timeout(self.config.stall_timeout.0)
            .timeout(self.config.timeout.0)
            .pool_max_idle_per_host(0)
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &self.config.ca_file {
            let pem = std::fs::read(path).map_err(|source| FetchError::io(path, source))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| unavailable(&error))?;
            builder = builder.tls_certs_only(certificates);
        }
        builder.build().map_err(|error| unavailable(&error))
    }
}

/// Whether a pattern of `https.hosts` covers the host.
fn matches(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    match pattern.strip_prefix("*.") {
        _ if pattern == "*" => true,
        Some(parent) => host.strip_suffix(parent).is_some_and(|child| child.len() > 1 && child.ends_with('.')),
        None => pattern == host,
    }
}

/// What the server's first words mean.
fn judge(response: &Response, limit: Limit) -> Result<(), FetchError> {
    let status = response.status();
    let said = format!("the server answered {status}");
    match status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(FetchError::NotFound { what: said }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(FetchError::not_allowed(
                said,
                "make the artifact readable without a login, with a signed address, or put it into a bucket (nats-object)",
            ));
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            return Err(FetchError::Unavailable { what: said });
        }
        _ if status.is_redirection() => {
            return Err(FetchError::not_allowed(
                format!("{said}, and redirects are not followed"),
                "name the address it leads to",
            ));
        }
        _ if status.is_server_error() => return Err(FetchError::Unavailable { what: said }),
        _ => return Err(FetchError::not_allowed(said, "see that the address is the artifact's")),
    }
    if response.content_length().is_some_and(|length| length > limit.bytes) {
        return Err(FetchError::TooLarge { limit: limit.bytes, key: limit.key });
    }
    Ok(())
}

/// Network and disk work side by side: pieces go through a short queue to a thread that hashes and writes.
async fn receive(response: Response, to: &Path, limit: Limit) -> Result<Fetched, FetchError> {
    let (pieces, mut waiting) = mpsc::channel::<bytes::Bytes>(PIECES_WAITING);
    let to = to.to_owned();
    let writing = tokio::task::spawn_blocking(move || {
        let mut sink = Sink::create(&to, limit)?;
        while let Some(piece) = waiting.blocking_recv() {
            sink.write(&piece)?;
        }
        sink.finish()
    });
    let announced = response.content_length();
    let mut received = 0_u64;
    let mut body = response.bytes_stream();
    let mut fault = None;
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => {
                received += piece.len() as u64;
                // The writer stopped: its own error says why.
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                fault = Some(unavailable(&error));
                break;
            }
        }
    }
    drop(pieces);
    let written = writing.await.unwrap_or_else(|error| {
        Err(FetchError::Unavailable { what: format!("the download ended before its time: {error}") })
    });
    match (written, fault) {
        (Err(error), _) | (Ok(_), Some(error)) => Err(error),
        (Ok(_), None) if announced.is_some_and(|announced| announced != received) => Err(FetchError::Unavailable {
            what: format!("the server announced {} bytes and sent {received}", announced.unwrap_or(0)),
        }),
        (Ok(fetched), None) => Ok(fetched),
    }
}

/// The whole chain of causes, without the address: that is shown elsewhere, and may hold a signature.
fn unavailable(error: &reqwest::Error) -> FetchError {
    let mut what = if error.is_timeout() {
        "the server did not answer in time".to_owned()
    } else if error.is_connect() {
        "the server cannot be connected to".to_owned()
    } else {
        "the download failed".to_owned()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        what.push_str(": ");
        what.push_str(&source.to_string());
        cause = source.source();
    }
    FetchError::Unavailable { what }
}

#[cfg(test)]
mod tests;
