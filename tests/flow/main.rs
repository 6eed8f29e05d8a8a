//! What a user sees: the real program, real servers, real requests. Each test starts a mesh of its own in a folder of its own.
//!
//! `make test` builds the program first; by hand: `cargo build -p slipway && cargo test -p slipway-tests --test flow`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::needless_pass_by_value,
    missing_docs,
    reason = "tests"
)]

mod asynchronous;
mod bad_clients;
mod bad_input;
mod bad_requests;
mod client;
mod crash;
mod damage;
mod documents;
mod facts;
mod foreign;
mod healing;
mod large;
mod over_nats;
mod people;
mod protocol;
mod rebuild;
mod released;
mod replicas;
mod sinks;
mod targets;
mod traces;

use slipway_kernel::DeploymentId;
use tokio::sync::{Mutex, MutexGuard};

/// One mesh at a time: a proof measures, and two meshes on two cores would measure each other.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// `default.<name>`.
fn id(name: &str) -> DeploymentId {
    format!("default.{name}").parse().unwrap()
}
