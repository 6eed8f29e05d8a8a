//! Decides where a model shall run, and makes that place ready.
//!
//! On `requested` it looks at this machine and at what else is in reach, weighs local, Kubernetes, bare metal, AWS, Azure
//! and Google Cloud by rules and scores, and writes `infrastructure-chosen` with every candidate and every reason. Where
//! the spec wants a person's approval it waits for it. Then it makes the place ready ([`local`]; in a cloud what a program of one's choice
//! makes, [`stack`]) or looks whether it is ([`kubernetes`]), proves each part on the spot, and writes `infrastructure-ready`; or
//! `infrastructure-failed` with typed findings. When a deployment is retired it removes what it made for it.
//!
//! It never fetches a model, starts a worker, or uses a credential that it was not configured to use: access is looked for, not tried.
//!
//! Invariants:
//! - The same demands in the same surroundings give the same choice ([`domain::choose`]).
//! - What a rule excludes is never chosen; an explicit target is excluded by hard facts only.
//! - Nothing is provisioned before the approval that the choice asked for.
//! - No plan is applied that the guard does not let through, and none beside another ([`stack`]).
//! - Nothing on this machine is touched without a lease, and nothing at all by a holder that a newer one has overtaken
//!   ([`local`]).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

pub mod config;
pub mod domain;
mod drift;
pub mod effects;
pub mod kubernetes;
pub mod local;
pub mod machine;
mod reconcile;
pub mod stack;
mod telemetry;

pub use config::{Config, PriceTableError};
pub use effects::{Effects, Installation};
pub use reconcile::WORK;

use domain::{choose::choose, demands::Demands, surroundings};
use slipway_bus::{Bus, Principal};
use slipway_kernel::{InfrastructureChosen, Service, spec::Spec};
use slipway_runtime::Frame;
use std::sync::Arc;

/// Lives until shutdown.
///
/// # Errors
/// When the price table cannot be read, or the broker cannot be reached at the start.
pub async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    let installation = Installation::new(config.clone(), frame.data_dir.clone())?;
    run_with(config, frame, installation).await
}

/// [`run`] with the world given: a bench or test puts a simulated one in its place.
///
/// # Errors
/// When the broker cannot be reached at the start.
pub async fn run_with(config: Config, frame: Frame, effects: impl Effects) -> anyhow::Result<()> {
    let bus = Bus::connect(&config.bus, Principal::Service(Service::Provisioner), &frame).await?;
    let (effects, telemetry) = (Arc::new(effects), telemetry::Telemetry::register(&frame));
    if let Some(watch) = drift::Watch::new(&config.stack, &bus, &effects, &telemetry) {
        frame.tasks.spawn("drift", watch.run(frame.shutdown.clone()));
    }
    let provisioner = reconcile::Provisioner::new(effects, telemetry);
    slipway_bus::react(&bus, &frame, provisioner).await?;
    Ok(())
}

/// What would be chosen for `spec` here and now; changes nothing (`slipway plan`).
///
/// # Errors
/// When the price table cannot be read.
pub async fn preview(
    config: &Config,
    data_dir: &std::path::Path,
    spec: &Spec,
) -> Result<InfrastructureChosen, PriceTableError> {
    let installation = Installation::new(config.clone(), data_dir.to_owned())?;
    let surroundings = installation.surroundings(&spec.placement()).await;
    Ok(choose(&Demands::of(spec), &surroundings))
}

/// A choice made again.
#[derive(Debug)]
pub struct Replayed {
    /// With the price table that was given.
    pub with: InfrastructureChosen,
    /// With the one that is built in.
    pub built_in: InfrastructureChosen,
}

/// What would be chosen for `spec` where `earlier` was chosen, with the price table in `file`; changes nothing (`slipway explain --with`).
/// The machine and the executors are those of the earlier choice, as far as its fact tells; the rest is as it is here and now.
///
/// # Errors
/// When the price table cannot be read.
pub async fn replay(
    data_dir: &std::path::Path,
    spec: &Spec,
    earlier: &InfrastructureChosen,
    file: &std::path::Path,
) -> Result<Replayed, PriceTableError> {
    let mut config = Config::default();
    let built_in = Installation::new(config.clone(), data_dir.to_owned())?;
    config.prices.file = Some(file.to_owned());
    let prices = config.prices.load()?;
    let mut surroundings = built_in.surroundings(&spec.placement()).await;
    surroundings.machine = earlier.machine.clone();
    surroundings.executors = surroundings::executors_of(earlier);
    let demands = Demands::of(spec);
    let built_in = choose(&demands, &surroundings);
    Ok(Replayed { with: choose(&demands, &surroundings::Surroundings { prices, ..surroundings }), built_in })
}
