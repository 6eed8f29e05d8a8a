//! The configuration.

mod kubernetes;

pub use kubernetes::{KubernetesConfig, hostname};

use serde::{Deserialize, Serialize};
use slipway_bus::BusConfig;
use slipway_kernel::{ByteSize, Refusal, Span};
use slipway_runtime::{Common, ServiceConfig, lanes};
use std::{net::SocketAddr, num::NonZeroUsize, ops::RangeInclusive, path::PathBuf};

/// The configuration of ingress.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What every process has.
    pub common: Common,
    /// The broker.
    pub bus: BusConfig,
    /// The public door.
    pub http: HttpConfig,
    /// How much at once.
    pub limits: LimitsConfig,
    /// The way to the workers.
    pub upstream: UpstreamConfig,
    /// Who is believed.
    pub auth: AuthConfig,
    /// How clients outside of a cluster come to the door.
    pub kubernetes: KubernetesConfig,
}

/// The public door.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address that clients are told; unset: the one listened on.
    pub advertise: Option<String>,
    /// Threads, each of which serves its share of the connections by itself, from the request to the worker and back, 1 to 256. Unset: one per
    /// core, at most 16.
    pub threads: Option<usize>,
    /// Connections at once; the next ones wait in the kernel.
    pub max_connections: usize,
    /// How long a client may take to send its headers, and on HTTP/1.1 how long it may idle between two requests. 75 s: load
    /// balancers keep their side open for 60 s, and it should not be the server who closes just as the next request arrives.
    pub header_timeout: Span,
    /// How long it goes on accepting when it is told to end, so that whoever sends requests here has heard of it; clients of HTTP/1.1 are told
    /// with each answer to come back on another connection. A part of `common.drain`.
    pub notice: Span,
    /// Certificate chain (PEM). Unset: plain HTTP, for a loopback address or behind a proxy that ends TLS.
    pub tls_certificate: Option<PathBuf>,
    /// Its key (PEM).
    pub tls_key: Option<PathBuf>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            advertise: None,
            threads: None,
            max_connections: 4_096,
            header_timeout: Span::seconds(75),
            notice: Span::seconds(0),
            tls_certificate: None,
            tls_key: None,
        }
    }
}

impl HttpConfig {
    /// How many threads serve connections.
    #[must_use]
    pub fn lanes(&self) -> NonZeroUsize {
        self.threads.and_then(NonZeroUsize::new).unwrap_or_else(lanes::one_per_core)
    }
}

/// How much at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// Requests under way at workers, over all deployments.
    pub in_flight: usize,
    /// Requests under way at workers, per deployment: one deployment leaves room for others.
    pub in_flight_per_deployment: usize,
    /// How long a request may wait for room before it is refused with 429.
    pub queue_wait: Span,
    /// Memory for bodies that are being read or decoded, over all requests.
    pub body_memory: ByteSize,
    /// Memory for results on their way to the outputs; what has no room is shed and counted.
    pub capture_memory: ByteSize,
    /// Memory for answers that are kept for equal requests, over all deployments that want that.
    pub cache_memory: ByteSize,
    /// Deadline of a request sent with `Prefer: respond-async` that sets none itself.
    pub async_timeout: Span,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            in_flight: 1_024,
            in_flight_per_deployment: 256,
            queue_wait: Span::seconds(1),
            body_memory: ByteSize::mebibytes(256),
            capture_memory: ByteSize::mebibytes(64),
            cache_memory: ByteSize::mebibytes(256),
            async_timeout: Span::seconds(600),
        }
    }
}

/// The way to the workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpstreamConfig {
    /// How long connecting to a worker, TLS included, may take.
    pub connect_timeout: Span,
    /// How long a request waits for a worker to appear when its revision has none, its own deadline permitting.
    pub worker_wait: Span,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self { connect_timeout: Span::seconds(1), worker_wait: Span::seconds(10) }
    }
}

/// Who is believed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// Public keys (`U…`) whose probe tokens are accepted: the validator's. None: nobody can reach an unreleased revision.
    pub probe_keys: Vec<String>,
    /// Whether the keys of an issuer may be fetched from private, loopback and link-local addresses.
    pub jwks_private: bool,
    /// Certificate authorities (PEM) for fetching keys; unset: those of the system.
    pub jwks_ca_file: Option<PathBuf>,
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "ingress";
    const ABOUT: &'static str =
        "The public door: Open Inference Protocol v2 over HTTP, checked, limited and routed to workers.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let http = &self.http;
        if let Some(threads) = http.threads {
            number(&mut refusals, "http.threads", threads, 1..=256);
        }
        number(&mut refusals, "http.max_connections", http.max_connections, 1..=100_000);
        span(&mut refusals, "http.header_timeout", http.header_timeout, Span::millis(100)..=Span::seconds(600));
        if http.notice.0 >= self.common.drain.0 {
            refusals.push(Refusal::new("http.notice", http.notice, "less than common.drain"));
        }
        if http.tls_certificate.is_some() != http.tls_key.is_some() {
            refusals.push(Refusal::new(
                "http.tls_key",
                "one of two",
                "both http.tls_certificate and http.tls_key, or neither",
            ));
        }
        let limits = &self.limits;
        number(&mut refusals, "limits.in_flight", limits.in_flight, 1..=100_000);
        let per_deployment = "limits.in_flight_per_deployment";
        number(&mut refusals, per_deployment, limits.in_flight_per_deployment, 1..=limits.in_flight.max(1));
        span(&mut refusals, "limits.queue_wait", limits.queue_wait, Span::default()..=Span::seconds(60));
        if !((64 << 20)..=(64 << 30)).contains(&limits.body_memory.0) {
            // The largest body of a spec must fit.
            refusals.push(Refusal::new("limits.body_memory", limits.body_memory, "64Mi to 64Gi"));
        }
        if !((1 << 20)..=(64 << 30)).contains(&limits.capture_memory.0) {
            refusals.push(Refusal::new("limits.capture_memory", limits.capture_memory, "1Mi to 64Gi"));
        }
        if limits.cache_memory.0 > 64 << 30 {
            refusals.push(Refusal::new("limits.cache_memory", limits.cache_memory, "0 to 64Gi"));
        }
        span(&mut refusals, "limits.async_timeout", limits.async_timeout, Span::seconds(1)..=Span::seconds(86_400));
        let upstream = &self.upstream;
        span(&mut refusals, "upstream.connect_timeout", upstream.connect_timeout, Span::millis(10)..=Span::seconds(30));
        span(&mut refusals, "upstream.worker_wait", upstream.worker_wait, Span::default()..=Span::seconds(300));
        for key in &self.auth.probe_keys {
            if !is_public_key(key) {
                refusals.push(Refusal::new(
                    "auth.probe_keys",
                    key,
                    "public user keys of nkeys (`U` and 55 more of A-Z, 2-7)",
                ));
            }
        }
        self.kubernetes.check(&mut refusals);
        refusals
    }
}

fn is_public_key(key: &str) -> bool {
    key.len() == 56 && key.starts_with('U') && key.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b))
}

fn number(refusals: &mut Vec<Refusal>, path: &str, value: usize, range: RangeInclusive<usize>) {
    if !range.contains(&value) {
        refusals.push(Refusal::new(path, value, format!("{} to {}", range.start(), range.end())));
    }
}

fn span(refusals: &mut Vec<Refusal>, path: &str, value: Span, range: RangeInclusive<Span>) {
    if !range.contains(&value) {
        refusals.push(Refusal::new(path, value, format!("{} to {}", range.start(), range.end())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted() {
        assert_eq!(Config::default().check(), []);
    }

    #[test]
    fn each_value_out_of_range_is_refused_by_its_path() {
        let config = Config {
            http: HttpConfig {
                threads: Some(0),
                max_connections: 0,
                header_timeout: Span::seconds(0),
                notice: Span::seconds(25),
                tls_key: Some(PathBuf::from("key.pem")),
                ..HttpConfig::default()
            },
            limits: LimitsConfig {
                in_flight: 10,
                in_flight_per_deployment: 11,
                queue_wait: Span::seconds(61),
                body_memory: ByteSize(1),
                capture_memory: ByteSize(1),
                cache_memory: ByteSize(1 << 40),
                async_timeout: Span::millis(1),
            },
            upstream: UpstreamConfig { connect_timeout: Span::millis(1), worker_wait: Span::seconds(301) },
            auth: AuthConfig { probe_keys: vec!["UABC".to_owned()], ..AuthConfig::default() },
            ..Config::default()
        };
        let paths: Vec<String> = config.check().into_iter().map(|refusal| refusal.path).collect();
        assert_eq!(
            paths,
            [
                "http.threads",
                "http.max_connections",
                "http.header_timeout",
                "http.notice",
                "http.tls_key",
                "limits.in_flight_per_deployment",
                "limits.queue_wait",
                "limits.body_memory",
                "limits.capture_memory",
                "limits.cache_memory",
                "limits.async_timeout",
                "upstream.connect_timeout",
                "upstream.worker_wait",
                "auth.probe_keys",
            ]
        );
    }

    #[test]
    fn the_readme_lists_every_key_with_its_default() {
        slipway_runtime::check_readme::<Config>(include_str!("../README.md")).unwrap();
    }
}
