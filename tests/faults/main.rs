//! Faults beyond a release's own steps: what a mesh survives, row by row. A release killed at each of its steps is in `flow`; here are
//! kills between the steps, of workers, of a generation's change and of its end; frozen replicas; races through a leader's death;
//! and logs that were truncated, changed or put back.
//!
//! By hand: `cargo build -p slipway && cargo test -p slipway-tests --test faults`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod crash;
mod damage;
mod killed_workers;
mod mesh;
mod races;
mod replicas;
mod rollback;
mod traffic;

use slipway_kernel::DeploymentId;
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};

/// Everything converges within this, counted from the last restart.
const CONVERGES: Duration = Duration::from_secs(60);

/// One mesh at a time: two on two cores would time each other out.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// `default.<name>`.
fn id(name: &str) -> DeploymentId {
    format!("default.{name}").parse().unwrap()
}
