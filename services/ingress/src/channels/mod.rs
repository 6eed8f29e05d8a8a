//! The ways in, one file per input channel, and how a connection is held to its bounds.

pub mod http;
mod linger;
pub mod messages;
pub mod metered;
pub mod nats;
mod stall;
mod tls;

pub use tls::DoorCertificate;
