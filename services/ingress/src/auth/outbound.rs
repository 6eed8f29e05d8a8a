//! Fetching the keys of an issuer without being sent where only we can go: the host is resolved once, every address it has
//! must be public, and the connection goes to an address that was checked. No redirects, no proxies, a bound on everything.

use crate::{config::AuthConfig, limits};
use futures::StreamExt as _;
use reqwest::{
    Certificate, Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is none that is fetched from.
    #[error("`{0}` is no https URL of a public host")]
    Address(String),
    /// Nobody answered, or not with the document.
    #[error("the document could not be fetched")]
    Http(#[from] reqwest::Error),
    /// Another status than 200; a redirect is one.
    #[error("the server answered {0}")]
    Status(u16),
    /// Longer than any set of keys, or no file.
    #[error("the document is no file or has more than {} bytes", limits::JWKS_BYTES)]
    TooLong,
    /// The file could not be read.
    #[error("the file could not be read")]
    File(#[from] std::io::Error),
}

/// The client.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: Client,
    private: bool,
}

impl Outbound {
    /// As configured.
    ///
    /// # Errors
    /// If the certificates of the configuration cannot be used, or TLS not be set up.
    pub fn new(config: &AuthConfig) -> anyhow::Result<Self> {
        let mut builder = Client::builder()
            .https_only(true)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(limits::JWKS_FETCH)
            .connect_timeout(limits::JWKS_FETCH)
            .user_agent(concat!("slipway-ingress/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(PublicOnly { private: config.jwks_private }));
        if let Some(path) = &config.jwks_ca_file {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(&std::fs::read(path)?)?);
        }
        Ok(Self { client: builder.build()?, private: config.jwks_private })
    }

    /// The bytes of a document.
    ///
    /// # Errors
    /// Why it could not be had.
    pub async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let refused = || FetchError::Address(url.to_owned());
        let url = Url::parse(url).map_err(|_| refused())?;
        // The resolver is not asked about addresses.
        let literal = match url.host().ok_or_else(refused)? {
            url::Host::Ipv4(address) => Some(IpAddr::V4(address)),
            url::Host::Ipv6(address) => Some(IpAddr::V6(address)),
            url::Host::Domain(_) => None,
        };
        if url.scheme() != "https" || literal.is_some_and(|address| !self.private && !is_public(address)) {
            return Err(refused());
        }
        let response = self.client.get(url).send().await?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk?);
            if body.len() > limits::JWKS_BYTES {
                return Err(FetchError::TooLong);
            }
        }
        Ok(body)
    }
}

/// The system's resolver, less the addresses that nobody outside could reach.
#[derive(Clone, Copy, Debug)]
struct PublicOnly {
    private: bool,
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One private address among public ones is how rebinding looks: none of them is used.
            if !private && !found.iter().all(|address| is_public(address.ip())) {
                return Err(format!("{} has an address that is not public", name.as_str()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public network (IANA special-purpose registries), however it is written.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Only 2000::/3 is given out; of that, what embeds an IPv4 address (6to4, Teredo) or is for examples is not public.
    (a & 0xe000) == 0x2000 && a != 0x2002 && !(a == 0x2001 && (b == 0 || b == 0xdb8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_only_we_can_reach_are_not_public() {
        for address in [
            "169.254.169.254",
            "127.0.0.1",
            "127.1.2.3",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.100.100.200",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "fd00:ec2::254",
            "fe80::1",
            "2002:a9fe:a9fe::",
            "2001::1",
            "2001:db8::1",
            "64:ff9b::a9fe:a9fe",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_url_that_leads_inside_is_refused_before_anything_is_sent() {
        slipway_runtime::tls::install_provider();
        let outbound = Outbound::new(&AuthConfig::default()).unwrap();
        for url in [
            "http://example.com/",
            "file:///etc/passwd",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/",
            "https://169.254.169.254/latest",
            "https://",
            "gopher://x/",
        ] {
            assert!(matches!(outbound.get(url).await, Err(FetchError::Address(_))), "{url}");
        }
        assert!(matches!(outbound.get("https://localhost:1/").await, Err(FetchError::Http(_))));
    }
}
