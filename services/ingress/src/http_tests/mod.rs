//! The door over real sockets, with workers behind real mTLS. The broker is a double, but in `mesh`, where it is real too.

mod access;
mod admission;
mod authority;
mod client;
mod framing;
mod inference;
mod issuers;
mod later;
mod mailbox;
mod mesh;
mod resilience;
mod routing;
mod worker;
mod world;
