//! Fetches the model, reads what it is, and decides what serves it.
//!
//! On `infrastructure-ready` it fetches the artifact and the golden file, verifies the digest, tells the format from the
//! content, reads signature, operators and size, checks the golden rows against the signature, pins both files in the blob
//! store, weighs the platforms, and writes `platform-selected`; or `platform-rejected` with findings that name the path,
//! what was found and what to do.
//!
//! It never runs a model, never unpacks an archive, never loads a pickle, and never follows a redirect.
//!
//! Invariants:
//! - What is pinned is what was read: the file is copied once, and hashed while it is copied.
//! - A format is told from content, never from a name; nothing of a refused file's content is quoted.
//! - No address is asked that was not checked, and the address that was checked is the one that is asked ([`fetch`]).
//! - What cannot serve is never chosen, and says why ([`domain::choose`]).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

pub mod config;
pub mod domain;
pub mod effects;
mod engine;
pub mod examine;
pub mod fetch;
mod reconcile;
mod telemetry;

pub use config::Config;
pub use effects::{Effects, ExamineError, Examined, Order, Workshop};
pub use engine::own_engines;

use domain::choose::{Choice, Question, choose};
use slipway_bus::{Bus, Principal};
use slipway_kernel::{Finding, MachineFacts, ModelFacts, Service, spec::Spec};
use slipway_runtime::Frame;
use std::path::Path;

/// Lives until shutdown.
///
/// # Errors
/// When the working folder cannot be made, or the broker cannot be reached at the start.
pub async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    let workshop = Workshop::new(&config, &frame.data_dir)?;
    run_with(config, frame, workshop).await
}

/// [`run`] with the world given: a bench or test puts a simulated one in its place.
///
/// # Errors
/// When the broker cannot be reached at the start.
pub async fn run_with(config: Config, frame: Frame, effects: impl Effects) -> anyhow::Result<()> {
    let bus = Bus::connect(&config.bus, Principal::Service(Service::PlatformSelector), &frame).await?;
    let selector = reconcile::PlatformSelector::new(effects, config.platforms.images(), &frame);
    slipway_bus::react(&bus, &frame, selector).await?;
    Ok(())
}

/// What would be decided, and on what.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What was read of the model.
    pub facts: ModelFacts,
    /// How many golden rows were checked, if there is a golden file.
    pub golden_rows: Option<u64>,
    /// What would be chosen.
    pub choice: Choice,
    /// Why nothing can serve; empty if something can.
    pub findings: Vec<Finding>,
}

/// What would be selected for `spec` on `target`; pins nothing (`slipway plan`). `bus` is needed for `nats-object` only.
///
/// # Errors
/// The findings, when the artifact or the golden file cannot be used.
pub async fn preview(
    config: &Config,
    data_dir: &Path,
    bus: Option<&Bus>,
    spec: &Spec,
    target: &str,
    machine: &MachineFacts,
) -> Result<Preview, Vec<Finding>> {
    let workshop = Workshop::new(config, data_dir).map_err(|error| vec![effects::no_folder(&error)])?;
    let looked = workshop.look(spec, bus).await?;
    let images = &config.platforms.images();
    let question = Question { spec, target, machine, model: &looked.model, engines: own_engines(), images };
    let choice = choose(&question);
    let findings = if choice.platform.is_some() { Vec::new() } else { domain::choose::findings(&choice, spec) };
    Ok(Preview { facts: looked.facts(), golden_rows: looked.golden_rows(), choice, findings })
}
