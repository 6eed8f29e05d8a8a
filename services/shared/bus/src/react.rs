//! How a service lives. An event is a doorbell: an event, a sweep, a nudge and a start all do the same, which is to fold the log,
//! ask the service's pure `due` what is to be done, and do it. So order, doubles and loss of messages cannot matter, and every
//! replica of every service can act.

mod doorbell;
mod duty;
mod engine;
mod hold;
mod metrics;
mod scene;
mod work;

pub use duty::{Actor, Done, DutyError};
pub use scene::Scene;

pub(crate) use doorbell::open as open_consumer;

use crate::{connect::Bus, error::BusError, topology::nudges};
use engine::Engine;
use slipway_runtime::Frame;
use std::sync::Arc;

/// Acts for a service until the process is to end; then every running duty is dropped and its lease released.
///
/// # Errors
/// When the log cannot be read at the start. After that nothing ends it: it waits for a broker that is away.
pub async fn react<A: Actor>(bus: &Bus, frame: &Frame, actor: A) -> Result<(), BusError> {
    let view = bus.log().follow().await?;
    let flags = bus.flags().follow().await?;
    let service = actor.service();
    let knocks = bus.client().subscribe(nudges(service)).await;
    let knocks = knocks.map_err(|error| BusError::Connection(error.to_string()))?;
    let engine = Engine::new(bus, frame, view, flags, Arc::new(actor));
    engine.run(knocks).await;
    Ok(())
}
