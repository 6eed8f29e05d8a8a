//! Observability: a deployment can be seen before it may be used, and is watched afterwards.
//!
//! What it does: on `deployed` it writes Prometheus targets, burn-rate alert rules and a Grafana dashboard for the deployment,
//! and scrapes what they refer to: only when each promised series is really there does it answer `observability-ready`. After the
//! release it compares what clients see with the objectives and writes `degraded` and `recovered`.
//!
//! What it never does: decide what follows from a degradation (the controller does), or stand in the way of a request.
//!
//! Invariants: *promised is present*: no rule or panel refers to a series that was not seen. *Two windows*: nothing is called
//! degraded on a short spike or on few requests.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

mod actor;
pub mod cluster;
mod config;
pub mod domain;
mod effects;
mod files;
pub mod render;
mod scrape;
mod telemetry;
mod watch;

pub use config::{Config, KubernetesConfig};
pub use effects::{Effects, Simulated, Subject};

use actor::ObservabilityActor;
use cluster::Cluster;
use effects::Exposing;
use files::Files;
use scrape::Scraper;
use slipway_bus::{Bus, Principal};
use slipway_kernel::Service;
use slipway_runtime::Frame;
use std::sync::Arc;
use telemetry::ObservabilityMetrics;
use watch::Watch;

/// Runs until shutdown.
///
/// # Errors
/// When the broker refuses the key, or the folder for generated files cannot be used.
pub async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    let bus = connect(&config, &frame).await?;
    let cluster = Cluster::open(&config.kubernetes).await?;
    let metrics = ObservabilityMetrics::register(&frame.metrics);
    let scraper = Arc::new(Scraper::new(&config, metrics.clone())?);
    let files = Files::new(frame.data_dir.join("observability"));
    files.write_prometheus_config(&config.ingress_metrics)?;
    let watch = Arc::new(Watch::new(&config, bus.clone(), Arc::clone(&scraper), metrics).await?);
    let shutdown = frame.shutdown.clone();
    frame.tasks.spawn_restarting("objectives", move || {
        let (watch, shutdown) = (Arc::clone(&watch), shutdown.clone());
        async move { watch.run(&shutdown).await }
    });
    let effects = Exposing::new(&config, files, cluster, scraper, bus.clone());
    slipway_bus::react(&bus, &frame, ObservabilityActor::new(effects)).await?;
    Ok(())
}

/// The duties of [`run`] with the world given: a bench or test puts a simulated one in its place. Objectives are not watched.
///
/// # Errors
/// When the broker refuses the key or cannot be reached.
pub async fn run_with(config: Config, frame: Frame, effects: impl Effects) -> anyhow::Result<()> {
    let bus = connect(&config, &frame).await?;
    slipway_bus::react(&bus, &frame, ObservabilityActor::new(effects)).await?;
    Ok(())
}

async fn connect(config: &Config, frame: &Frame) -> anyhow::Result<Bus> {
    Ok(Bus::connect(&config.bus, Principal::Service(Service::Observability), frame).await?)
}
