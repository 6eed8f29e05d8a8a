//! The door over real sockets, with workers behind real mTLS. The broker alone is a double.

mod access;
mod admission;
mod authority;
mod client;
mod framing;
mod inference;
mod later;
mod mailbox;
mod resilience;
mod routing;
mod worker;
mod world;
