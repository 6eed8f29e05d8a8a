//! Ingress: the public door of every deployment.
//!
//! What it does: takes Open Inference Protocol v2 over HTTP, gRPC, WebSockets and NATS, knows who asks, holds requests to the limits of the spec and
//! to the signature of the model, routes each to a worker of one revision by the shares the log says, answers now or later, and
//! sees to it that what was answered is recorded.
//! On `deployed` it opens the door to the new revision for marked traffic, proves that, and answers `ingress-ready`.
//!
//! What it never does: run a model, decide about shares (the controller does), write into an output (sink-writer does), or believe a
//! header about who its sender is.
//!
//! Invariants: *one id, one effect*: every try of a request bears the same id. *The same id meets the same revision* while the
//! shares stand. *An unreleased revision is reached by marked traffic only.* *Everything is bounded*: each wait, queue, body and
//! table has a limit, and its refusal names it. *A refused credential teaches nothing*: one sentence, one status, one time.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

pub mod actor;
pub mod admission;
pub mod auth;
pub mod body;
pub mod cache;
pub mod capture;
pub mod channels;
pub mod config;
pub mod domain;
pub mod error;
pub mod exposure;
mod framing;
#[cfg(test)]
mod http_tests;
pub mod identity;
pub mod limits;
pub mod mailbox;
mod observe;
pub mod recording;
pub mod respond;
pub mod routes;
pub mod stack;
pub mod table;
pub mod telemetry;
pub mod ticket;
pub mod trail;
pub mod upstream;

pub use actor::{Effects, RealEffects, Subject};
pub use config::Config;

use actor::{IngressActor, OwnDoor};
use admission::Admission;
use auth::{Authenticator, api_key::ApiKeys, issuers::Issuers, outbound::Outbound, probe::Probes};
use capture::Capture;
use channels::{http::HttpDoor, nats};
use error::IngressError;
use exposure::Exposure;
use slipway_bus::{Bus, Principal};
use slipway_kernel::Service;
use slipway_runtime::{CancellationToken, Frame, websocket::WebSockets};
use stack::Ingress;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};
use table::{Routing, follow, report};
use telemetry::IngressMetrics;
use ticket::Tickets;
use upstream::Pool;

/// What the key of the tickets is for. Without a credential, where the broker asks for none, each process has a key of its own.
const TICKETS: &str = "ids of requests that are answered later";

/// Runs until shutdown.
///
/// # Errors
/// When the address cannot be listened on, the certificate not be used, or the broker refuses the key.
pub async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    run_with(config, frame, Arc::new(RealEffects)).await
}

/// The same with other effects.
///
/// # Errors
/// As [`run`].
pub async fn run_with(config: Config, frame: Frame, effects: Arc<dyn Effects>) -> anyhow::Result<()> {
    let routes_known = frame.health.condition("routes");
    let identified = frame.health.condition("identity");
    // First what can be wrong with the configuration, then what can be wrong with the world.
    let http = HttpDoor::open(&config.http, config.common.drain.0).await?;
    let bus = Bus::connect(&config.bus, Principal::Service(Service::Ingress), &frame).await?;
    let exposure = Exposure::open(&config.kubernetes).await?;
    let ingress = Arc::new(ingress(&config, &frame, &bus)?);
    let door = own_door(&config, &http);
    frame.status.set("http", &serde_json::json!({ "address": http.address, "advertised": door.advertised }));

    // The table stands before the first request is taken.
    let routes = follow::Routes::new(bus.log().follow().await?, Arc::clone(&ingress));
    let (workers, keys) = (bus.workers().follow().await?, bus.api_keys().follow().await?);
    let shutdown = || frame.shutdown.clone();
    frame.tasks.spawn("routes", routes.run(shutdown()));
    frame.tasks.spawn("workers", until(shutdown(), follow::workers(Arc::clone(&ingress), workers)));
    frame.tasks.spawn("api-keys", until(shutdown(), follow::api_keys(Arc::clone(&ingress), keys)));
    frame.tasks.spawn("reports", report::run(Arc::clone(&ingress), bus.clone(), shutdown()));
    frame.tasks.spawn("identity", identity::run(Arc::clone(&ingress), bus.clone(), identified, shutdown()));
    if let Some(certificate) = &http.certificate {
        frame.tasks.spawn("certificate", Arc::clone(certificate).follow(shutdown()));
    }
    routes_known.set_ready();
    let serving = http.serve(stack::stack(Arc::clone(&ingress)), ingress.websockets.clone(), shutdown());
    let nats_closed = CancellationToken::new();
    let (over_nats, closed) =
        (nats::serve(Arc::clone(&ingress), bus.clone(), shutdown()), nats_closed.clone().drop_guard());
    frame.tasks.spawn("nats", async move {
        let _closed = closed;
        over_nats.await
    });
    let served = Arc::clone(&ingress);
    frame.tasks.spawn("http", async move {
        let ended = serving.await;
        if ended.is_ok() {
            nats_closed.cancelled().await;
        }
        // The last answers are given; their results are the last.
        served.capture.close();
        ended
    });
    let captured = Arc::clone(&ingress);
    frame.tasks.spawn("capture", async move { captured.capture.run(captured.mailbox.as_ref()).await });

    let actor = IngressActor::new(Arc::clone(&ingress), bus.clone(), door, exposure, effects);
    slipway_bus::react(&bus, &frame, actor).await?;
    Ok(())
}

/// What follows something for ever ends with the shutdown; that it ends before is an error.
async fn until(shutdown: CancellationToken, following: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        followed = following => followed.and_then(|()| anyhow::bail!("the broker's connection was closed")),
    }
}

fn ingress(config: &Config, frame: &Frame, bus: &Bus) -> Result<Ingress, IngressError> {
    let outbound = Outbound::new(&config.auth).map_err(IngressError::KeyClient)?;
    let metrics = IngressMetrics::register(&frame.metrics);
    Ok(Ingress {
        routing: Routing::default(),
        pool: Pool::new(config.upstream.connect_timeout.0, config.http.lanes()),
        authenticator: Authenticator {
            api_keys: ApiKeys::default(),
            issuers: Issuers::new(outbound),
            probes: Probes::new(config.auth.probe_keys.clone()),
        },
        admission: Admission::new(&config.limits),
        limits: config.limits.clone(),
        worker_wait: config.upstream.worker_wait.0,
        mailbox: Arc::new(bus.clone()),
        capture: Capture::new(usize::try_from(config.limits.capture_memory.0).unwrap_or(usize::MAX), metrics.clone()),
        tickets: Tickets::new(&bus.shared_secret(TICKETS).unwrap_or_else(rand::random::<[u8; 32]>)),
        metrics,
        clock: frame.clock.clone(),
        health: frame.health.clone(),
        websockets: WebSockets::new(limits::WEBSOCKETS, frame.shutdown.clone()),
        closing: frame.shutdown.clone(),
    })
}

fn own_door(config: &Config, http: &HttpDoor) -> OwnDoor {
    // Whoever listens everywhere is reached at loopback.
    let ip = match http.address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let scheme = if http.certificate.is_some() { "https" } else { "http" };
    OwnDoor {
        address: SocketAddr::new(ip, http.address.port()),
        advertised: config.http.advertise.clone().unwrap_or_else(|| format!("{scheme}://{}", http.address)),
        certificate: http.certificate.clone(),
    }
}
