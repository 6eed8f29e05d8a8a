//! What tests stand on: real servers on free ports in folders of their own, and waiting for conditions instead of for time.
//!
//! - [`NatsServer`] and [`NatsCluster`]: a real broker, open or with generated keys and permissions, that can be killed and restarted.
//! - [`Postgres`], [`S3Server`], [`Prometheus`], [`Collector`]: the other real servers, from `.tools/bin` or the system.
//! - [`Mesh`]: `slipway up` as a user starts it; [`MeshParts`]: a process per service, each behind a [`NatsProxy`] that can kill
//!   it at an exact moment.
//! - [`Authority`]: what security is to the other parts, where it does not run itself.
//! - [`archive`]: a tar archive of some files.
//! - [`eventually`]: waits until something holds.
//!
//! Only tests depend on this crate; a failure here is a failed test, so it panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "whoever calls this is a test")]

mod archive;
mod authority;
mod collector;
mod mesh;
mod nats;
mod ports;
mod postgres;
mod program;
mod prometheus;
mod proxy;
mod s3;
mod served;
mod tools;
mod wait;

pub use archive::archive;
pub use authority::Authority;
pub use collector::{Collector, Span, broken_links};
pub use mesh::{DataFolder, Mesh, MeshOptions, MeshParts, Part, Ran};
pub use nats::{Appended, Floor, Heard, ModelClient, NatsCluster, NatsServer, frame, nats_binary};
pub use ports::free_port;
pub use postgres::Postgres;
pub use program::{Program, was_killed};
pub use prometheus::{Prometheus, Sample, promtool};
pub use proxy::{Moment, NatsProxy, Trap};
pub use s3::S3Server;
pub use served::ServedModel;
pub use tools::{slipway_binary, tool, workspace};
pub use wait::{Held, eventually};
