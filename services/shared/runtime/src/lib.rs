//! The frame of a process: everything a service needs that is not its subject.
//!
//! A service is a library with `run(config, frame)` and a `main` of one line, [`boot`]: flags, layered configuration with
//! every refusal at once ([`config`]), logs and traces, TLS provider, admin endpoints (`/livez`, `/readyz`, `/metrics`,
//! `/status`), signals, supervised tasks, a bounded drain, an exit code. `slipway up` puts many services into one
//! [`Process`] instead; each gets its own [`Frame`] there and shares shutdown, admin endpoints and telemetry.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use slipway_runtime::{Common, Frame, ServiceConfig, boot};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! #[serde(default)]
//! struct Config {
//!     common: Common,
//!     limit: u32,
//! }
//!
//! impl ServiceConfig for Config {
//!     const SERVICE: &'static str = "validator";
//!     fn common(&self) -> &Common {
//!         &self.common
//!     }
//! }
//!
//! async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
//!     let nats = frame.health.condition("nats");
//!     nats.set_ready();
//!     frame.status.set("limit", &config.limit);
//!     frame.shutdown.cancelled().await;
//!     Ok(())
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     boot::<Config, _, _>("validator", run)
//! }
//! ```
//!
//! # What holds here
//!
//! - Nothing runs unwatched: a task that fails or panics ends the process in order ([`Tasks`]), unless it was started to
//!   be restarted.
//! - Every shutdown ends: tasks have `common.drain`, servers their own bound below it ([`drain`]), the last traces two
//!   seconds, a second signal cuts all of it short.
//! - Telemetry is never needed: a collector or a scraper that is slow or dead costs spans, never requests.
//! - Secrets are [`Secret`]s: they appear as `***` in dumps, refusals and logs.
//! - A [`websocket`] holds no server that ends, no more memory than it is allowed, and no place after its client vanished.
//! - A connection is served by one thread, which hands nothing to another ([`lanes`]).
//! - Between parts of the mesh there is mutual TLS by SPIFFE id ([`tls`]); no chain or validity check is ever skipped.
//! - Time comes from [`Clock`], which a test moves by hand.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

mod admin;
mod boot;
mod clock;
pub mod config;
pub mod drain;
mod frame;
pub mod health;
pub mod lanes;
mod metrics;
mod process;
mod status;
mod tasks;
mod telemetry;
pub mod tls;
pub mod together;
pub mod trace;
pub mod websocket;

pub use boot::{boot, boot_from};
pub use clock::{Clock, ManualClock};
pub use config::{
    AdminConfig, Common, ConfigError, ConfigKey, Layers, LogFormat, Secret, ServiceConfig, TelemetryConfig,
    check_readme, dump, keys,
};
pub use frame::Frame;
pub use health::{Condition, Health};
pub use metrics::Metrics;
pub use process::{Process, ProcessConfig, ProcessError};
pub use status::StatusBoard;
pub use tasks::{Outcome, Tasks, TasksNotDrained};
pub use telemetry::TelemetryError;
pub use tokio_util::sync::CancellationToken;

/// Under load a fifth of an ingress' time goes into taking and giving back small pieces of memory with the C library's allocator (ADR 0013).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The version of Slipway; all its crates have one.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
