//! The doors over NATS: requests that are left, which the broker keeps until they are dealt with, and requests whose clients wait. Both are
//! let in, limited, read and routed as those of HTTP and gRPC are, by the same code.

mod asked;
mod data;
mod inbound;
mod message;

use crate::stack::Ingress;
pub(crate) use inbound::Door;
use slipway_bus::Bus;
use slipway_runtime::CancellationToken;
use std::sync::Arc;

/// Serves both doors until the shutdown; then what is under way is finished.
///
/// # Errors
/// When the connection to the broker is closed.
pub async fn serve(ingress: Arc<Ingress>, bus: Bus, shutdown: CancellationToken) -> anyhow::Result<()> {
    let door = Door::new(Arc::clone(&ingress), bus.clone());
    let (asked, ()) = tokio::join!(asked::serve(ingress, &bus, &shutdown), door.serve(&shutdown));
    // What cannot be sent any more is missed by who waits for it, as when it is lost on its way.
    let _ = bus.replies().flush().await;
    asked
}
