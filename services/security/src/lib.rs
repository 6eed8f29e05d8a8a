//! Security: who is who, who may come in, and the proof of it.
//!
//! What it does: it is the mesh's certificate authority and answers requests for identities as they come. On `deployed` it
//! checks spec and plan against the policy, reads the artifact back and digests it anew, makes the deployment's API key, and
//! tries to get into every worker as a stranger; only when every stranger was refused and the ingress was served does it
//! answer `security-ready`. On `retire-requested` it removes keys, files and identities.
//!
//! What it never does: give anybody an identity on his own word (who asks is vouched for by the broker, whether a revision
//! lives by the log); take anything but the public key from a request; write a key or a secret into a fact, a log line or a
//! metric; call something proved that it has not seen refused.
//!
//! Invariants: *own identity only*: no principal ever gets another's ([`domain::identity`]). *One key per deployment*, for all
//! its revisions, never brought back to life once it was taken back ([`domain::api_key`]). *Whoever signs is trusted, for as
//! long as what it signed is valid* ([`domain::authority`]). *What cannot be told is not proof* ([`domain::proof`]).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

mod actor;
mod artifact;
mod authority;
mod config;
pub mod domain;
mod effects;
mod error;
mod files;
mod identities;
mod keys;
mod proof;
mod telemetry;
#[cfg(test)]
mod testing;
mod world;

pub use authority::{Authority, AuthorityError, CertificateError, Renewal, StoreError, renew};
pub use config::{ApiKeysConfig, AuthorityConfig, Config, IdentitiesConfig, Loss, ProofConfig};
pub use effects::{Effects, Place, Simulated, Trouble};
pub use files::FileError;

use actor::Guard;
use identities::Registrar;
use keys::ApiKeys;
use slipway_bus::{Bus, Principal, View};
use slipway_kernel::Service;
use slipway_runtime::Frame;
use std::sync::Arc;
use telemetry::SecurityMetrics;
use world::World;

/// Runs until shutdown.
///
/// # Errors
/// When the broker refuses the key or cannot be reached, or the data folder cannot be used.
pub async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    let bus = connect(&config, &frame).await?;
    let metrics = SecurityMetrics::register(&frame.metrics);
    let folder = config.authority_folder(&frame.data_dir);
    let authority = Arc::new(Authority::new(&folder, &config.authority, config.identities.lifetime.0)?);
    keep_authority(&frame, &bus, &authority, &metrics);
    let starting = start(&config, &frame, &bus, authority, &metrics);
    // A broker that is not set up yet is waited for, but not past the end of the process.
    let Some(world) = frame.shutdown.run_until_cancelled(starting).await else { return Ok(()) };
    slipway_bus::react(&bus, &frame, Guard::new(world?, config.policy, metrics)).await?;
    Ok(())
}

/// Looks after the authority for as long as the process lives.
fn keep_authority(frame: &Frame, bus: &Bus, authority: &Arc<Authority>, metrics: &SecurityMetrics) {
    let (own, bus, authority, metrics) = (frame.clone(), bus.clone(), Arc::clone(authority), metrics.clone());
    frame.tasks.spawn_restarting("authority", move || {
        let (frame, bus, authority, metrics) = (own.clone(), bus.clone(), Arc::clone(&authority), metrics.clone());
        async move {
            let shutdown = frame.shutdown.clone();
            shutdown.run_until_cancelled(authority.keep(bus, frame, metrics)).await.unwrap_or(Ok(()))
        }
    });
}

/// Begins to answer requests for identities, and waits until there is an authority: without one nothing can be proved, and
/// another replica may have it.
async fn start(
    config: &Config,
    frame: &Frame,
    bus: &Bus,
    authority: Arc<Authority>,
    metrics: &SecurityMetrics,
) -> anyhow::Result<World> {
    let workers = bus.workers().follow().await?;
    let view = bus.log().follow().await?;
    let registrar = Registrar {
        bus: bus.clone(),
        authority: Arc::clone(&authority),
        view: view.clone(),
        workers: workers.clone(),
        config: config.identities.clone(),
        metrics: metrics.clone(),
    };
    let shutdown = frame.shutdown.clone();
    frame.tasks.spawn_restarting("identities", move || {
        let (registrar, shutdown) = (registrar.clone(), shutdown.clone());
        async move { shutdown.run_until_cancelled(registrar.run()).await.unwrap_or(Ok(())) }
    });
    authority.in_force().await;
    let world = World::new(bus, config, &frame.data_dir, authority, workers, metrics)?;
    answer_demands(frame, bus, world.keys(), view);
    Ok(world)
}

/// Answers operators who ask for a key, for as long as the process lives.
fn answer_demands(frame: &Frame, bus: &Bus, keys: &ApiKeys, view: View) {
    let (own, bus, keys) = (frame.clone(), bus.clone(), keys.clone());
    frame.tasks.spawn_restarting("key-demands", move || {
        let (frame, bus, keys, view) = (own.clone(), bus.clone(), keys.clone(), view.clone());
        async move {
            let answer = move |demand| {
                let (keys, view) = (keys.clone(), view.clone());
                async move { keys.issue(&view, demand).await }
            };
            bus.api_keys().serve(&frame, answer).await
        }
    });
}

/// The duties of [`run`] with the world given: a bench or test puts a simulated one in its place. No identities are issued.
///
/// # Errors
/// When the broker refuses the key or cannot be reached.
pub async fn run_with(config: Config, frame: Frame, effects: impl Effects) -> anyhow::Result<()> {
    let bus = connect(&config, &frame).await?;
    let metrics = SecurityMetrics::register(&frame.metrics);
    slipway_bus::react(&bus, &frame, Guard::new(effects, config.policy, metrics)).await?;
    Ok(())
}

async fn connect(config: &Config, frame: &Frame) -> anyhow::Result<Bus> {
    Ok(Bus::connect(&config.bus, Principal::Service(Service::Security), frame).await?)
}
