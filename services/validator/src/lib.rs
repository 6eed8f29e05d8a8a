//! The validator: joins the four and proves a revision before it gets traffic.
//!
//! What it does: when ingress, outputs, observability and security are ready it sends golden rows, strangers, load, too much load
//! and a kill through the public door to the unreleased revision, looks for every answered request in the probe sinks, and
//! answers `validation` with every check, typed findings and a report for a person. When one of the four failed it says so at
//! once; when one is missing at the deadline it names it.
//!
//! What it never does: give a verdict it cannot stand for (unclear is `inconclusive`, and is tried again); write into a
//! deployment's own sinks; go on while the revision that has the traffic suffers; end anything but a worker of the revision it
//! proves, which that worker does itself, if it agrees.
//!
//! Invariants: *a failed check is never validated*; *more noise never turns unclear into failed*; *one proof at a time* per
//! deployment (lease) and per replica; *the report is stored before the fact*.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

mod actor;
mod checks;
mod config;
mod course;
pub mod domain;
mod door;
mod effects;
mod error;
mod exposition;
mod follow;
mod machine;
mod mesh;
mod probe;
mod replicas;
mod telemetry;
mod watch;
mod worker;
mod world;

#[cfg(test)]
mod samples;

pub use config::{Bounds, Config, IngressConfig};
pub use effects::{Checks, Effects, Proof, Simulated};
pub use error::{AbortError, WorldError};
pub use world::{RowPage, Worker, World};

use actor::Validator;
use slipway_bus::{Bus, Principal};
use slipway_kernel::Service;
use slipway_runtime::Frame;
use std::sync::Arc;
use telemetry::ValidatorMetrics;

/// Runs until shutdown.
///
/// # Errors
/// When the broker refuses the key, or the log cannot be read at the start.
pub async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    let bus = connect(&config, &frame).await?;
    let checks = Checks::in_mesh(&bus, &config)?;
    react(&bus, &frame, Arc::new(checks), false).await
}

/// The same with proofs of another kind: [`Simulated`] for a bench of the mesh.
///
/// # Errors
/// Those of [`run`].
pub async fn run_with(config: Config, frame: Frame, effects: Arc<dyn Effects>) -> anyhow::Result<()> {
    let bus = connect(&config, &frame).await?;
    react(&bus, &frame, effects, true).await
}

async fn connect(config: &Config, frame: &Frame) -> anyhow::Result<Bus> {
    Ok(Bus::connect(&config.bus, Principal::Service(Service::Validator), frame).await?)
}

async fn react(bus: &Bus, frame: &Frame, effects: Arc<dyn Effects>, simulated: bool) -> anyhow::Result<()> {
    let metrics = ValidatorMetrics::register(&frame.metrics);
    slipway_bus::react(bus, frame, Validator::new(effects, metrics, simulated)).await?;
    Ok(())
}
