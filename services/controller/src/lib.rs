//! The controller: the gate, the plan, the rollout and the loop.
//!
//! It lets demands in ([`gate`]), makes the plan of each revision, has its workers run ([`target`]), moves the traffic
//! to what was validated, watches it, and when something fails decides what follows: another revision, back to the last
//! good one, or the end with advice ([`domain`]). It supersedes, retires, and keeps the workers of this machine.
//!
//! Where a cluster serves them, custom resources become demands, and are told what came of them ([`bridge`]).
//!
//! It never routes a request, reads a model or judges a validation; it believes what the log says.
//!
//! Invariants (checked in [`domain::invariants`], proved by properties over arbitrary histories):
//! - Every history ends: plans that failed are burnt, remedies and revisions are bounded, every state has a deadline.
//! - Nothing gets traffic that was not validated; nothing that was taken back gets it again.
//! - A path under `fixed:` is never changed. Retirement wins from any state.
//! - Decisions are written against the sequence they were made on: of two replicas one wins, the other decides again.
//! - Workers are started by the holder of the host's lease only, and listed with it before they start.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

pub mod bridge;
mod changes;
mod config;
pub mod domain;
pub mod gate;
mod shell;
pub mod target;
mod telemetry;

pub use config::{Config, GateConfig, KubernetesConfig, LocalConfig, OnShutdown};
pub use domain::first_plan;
pub use telemetry::Telemetry;

use bridge::Bridge;
use domain::Deadlines;
use gate::Gatekeeper;
use shell::{Controller, Queues, Renderer, Wisher, troubles};
use slipway_bus::{Bus, Principal};
use slipway_kernel::Service;
use slipway_runtime::Frame;
use std::sync::Arc;
use target::{Target, kubernetes::Kubernetes, local::Local};

/// Lives until shutdown, with workers as processes of this machine or pods of a cluster.
///
/// # Errors
/// When the broker cannot be reached at the start, or the data folder or the cluster cannot be used.
pub async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    let bus = connect(&config, &frame).await?;
    let telemetry = Telemetry::register(&frame);
    if config.kubernetes.enabled {
        let setup = config.kubernetes.setup(&config.bus, &config.common.telemetry).await?;
        let renderer = Renderer { cluster: Some(setup.cluster.clone()) };
        let target = Arc::new(Kubernetes::new(setup, bus.clone(), telemetry.clone()));
        return Box::pin(serve(config, frame, bus, target, renderer, telemetry)).await;
    }
    let target: Arc<dyn Target> = if config.local.enabled {
        Arc::new(Local::new(config.setup(&frame.data_dir)?, bus.clone(), telemetry.clone()))
    } else {
        Arc::new(target::Absent)
    };
    Box::pin(serve(config, frame, bus, target, Renderer::default(), telemetry)).await
}

/// [`run`] with the target given: a bench or test puts a simulated one in its place.
///
/// # Errors
/// Those of [`run`].
pub async fn run_with(config: Config, frame: Frame, target: Arc<dyn Target>) -> anyhow::Result<()> {
    let bus = connect(&config, &frame).await?;
    let telemetry = Telemetry::register(&frame);
    Box::pin(serve(config, frame, bus, target, Renderer::default(), telemetry)).await
}

async fn connect(config: &Config, frame: &Frame) -> anyhow::Result<Bus> {
    Ok(Bus::connect(&config.bus, Principal::Service(Service::Controller), frame).await?)
}

async fn serve(
    config: Config,
    frame: Frame,
    bus: Bus,
    target: Arc<dyn Target>,
    renderer: Renderer,
    telemetry: Telemetry,
) -> anyhow::Result<()> {
    let view = bus.log().follow().await?;
    let wanted = &config.kubernetes.custom_resources;
    let bridge = if wanted.is_empty() {
        None
    } else {
        let client = slipway_cluster::connect(config.kubernetes.kubeconfig.as_deref(), None).await?.client;
        Some(Bridge::new(client, wanted, bus.clone(), view.clone(), telemetry.clone()))
    };
    let principals: Vec<_> = config.gate.principals.into_iter().chain(bridge::principal(&bus, wanted)).collect();
    let gate = Gatekeeper::new(bus.clone(), view.clone(), &principals, telemetry.clone());
    let routes = bus.routes().follow().await?;
    let queues = Queues::new(bus.clone(), view.clone(), Arc::clone(&target));
    let wisher = Wisher::new(frame.clock.clone(), view, Arc::clone(&target), telemetry.clone(), routes.clone());
    let deadlines = Deadlines { counted_from: frame.clock.now(), ..config.deadlines };
    let controller = Controller::new(Arc::clone(&target), deadlines, telemetry, routes, renderer);
    let troubles = troubles::run(bus.clone(), Arc::clone(&target), frame.clone());
    let keeping = async { target.run(frame.clone()).await };
    let wishing = async {
        tokio::join!(wisher.run(frame.clone()), queues.run(frame.clone()), troubles);
        anyhow::Ok(())
    };
    let bridging = async {
        if let Some(bridge) = bridge {
            bridge.run(&frame).await;
        }
        anyhow::Ok(())
    };
    let acting = async { Ok(slipway_bus::react(&bus, &frame, controller).await?) };
    let admitting = async { Ok(bus.intake().serve(&frame, gate).await?) };
    // The first that fails ends the others; on shutdown each ends in its own time.
    tokio::try_join!(keeping, wishing, acting, admitting, bridging)?;
    Ok(())
}
