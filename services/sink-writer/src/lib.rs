//! The sink-writer: every result in every sink once, and a ledger of the log.
//!
//! What it does: on `deployed` it opens the deployment's outputs, writes a probe, reads it back and answers `outputs`; it takes
//! recorded results and acknowledges each only after every required sink has it durably; it keeps a copy of every fact with its
//! digest, and compares the log with it.
//!
//! What it never does: write a result of a revision that was taken back; write validation traffic anywhere but into the probe
//! sink; change a fact.
//!
//! Invariants: *once*: the key of a row is (namespace, deployment, request id), among objects within the day or hour of its request,
//! so a second delivery changes nothing.
//! *Durable before acknowledged*: an acknowledgement follows the commit of all sinks. *Own ledger*: the ledger lies in a database
//! of the mesh's own, never in one that a deployment names.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

mod actor;
mod config;
mod consume;
pub mod domain;
mod error;
mod gather;
mod ledger;
mod outputs;
mod own;
mod queries;
mod record;
mod sinks;
mod telemetry;
mod write;

pub use config::{Config, DatabaseConfig};
pub use error::SinkError;

use actor::OutputsActor;
use consume::Consumer;
use ledger::Keeper;
use outputs::Outputs;
use own::Own;
use slipway_bus::{Bus, Principal};
use slipway_kernel::Service;
use slipway_runtime::Frame;
use std::sync::Arc;
use telemetry::SinkMetrics;

/// Runs until shutdown.
///
/// # Errors
/// When the broker refuses the key, or the embedded databases cannot be opened.
pub async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    let bus = Bus::connect(&config.bus, Principal::Service(Service::SinkWriter), &frame).await?;
    let metrics = SinkMetrics::register(&frame.metrics);
    let view = bus.log().follow().await?;
    let Some(own) = Own::open(&config, &frame).await? else { return Ok(()) };
    let keeper = Arc::new(Keeper::new(own.ledger(), bus.clone(), metrics.clone()));
    let outputs = Arc::new(Outputs::new(own, config.objects, view));

    let consumer = Consumer::new(bus.clone(), Arc::clone(&outputs), metrics, &config);
    let (shutdown, queue) = (frame.shutdown.clone(), consumer.clone());
    frame.tasks.spawn_restarting("results", move || {
        let (consumer, shutdown) = (queue.clone(), shutdown.clone());
        async move { consumer.recorded(&shutdown).await }
    });
    let (shutdown, queue) = (frame.shutdown.clone(), consumer);
    frame.tasks.spawn_restarting("captures", move || {
        let (consumer, shutdown) = (queue.clone(), shutdown.clone());
        async move { consumer.captured(&shutdown).await }
    });
    let (marking, shutdown) = (Arc::clone(&outputs), frame.shutdown.clone());
    frame.tasks.spawn_restarting("suspects", move || {
        let (outputs, shutdown) = (Arc::clone(&marking), shutdown.clone());
        async move { outputs.follow_rollbacks(&shutdown).await }
    });
    keeper.spawn(&frame, config.ledger.verify_every.0);
    queries::spawn(&frame, &bus, &outputs, &keeper);
    slipway_bus::react(&bus, &frame, OutputsActor::new(outputs)).await?;
    Ok(())
}
