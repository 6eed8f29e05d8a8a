//! What tests stand on: real servers on free ports in folders of their own, and waiting for conditions instead of for time.
//!
//! - [`NatsServer`] and [`NatsCluster`]: a real broker, open or with generated keys and permissions, that can be killed and restarted.
//! - [`eventually`]: waits until something holds.
//!
//! Only tests depend on this crate; a failure here is a failed test, so it panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "whoever calls this is a test")]

mod nats;
mod ports;
mod wait;

pub use nats::{NatsCluster, NatsServer, frame, nats_binary};
pub use ports::free_port;
pub use wait::{Held, eventually};
