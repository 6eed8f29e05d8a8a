//! The inference worker: one model of one revision, served directly over gRPC and from its queue.
//!
//! What it does: it fetches the artifact by digest, loads it behind an [`engine::Engine`], tries it out, measures it, says so in
//! the registry of workers, asks security for an identity, and then answers requests in batches until it is wanted no more.
//!
//! What it never does: it never writes the log (and reads it only to see whether it may be ended for a proof), never loads bytes whose
//! digest is not the assigned one, never serves without an identity, and never decides whether it should live; the controller does, by its
//! lease, or the platform that keeps it.
//!
//! What holds:
//! - *Record before reply*: a result is in the results stream before anyone is answered.
//! - *One bad request fails alone*: a failing batch is run again request by request, a redelivered request runs alone.
//! - *Nothing waits for ever*: every queue is bounded, every deadline is checked at the door, in the queue and before the run.
//! - *The async runtime runs no kernel*: engines run on their own threads.
//! - *An engine may panic*; that is an error of one request.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

pub mod advertised;
pub mod artifact;
pub mod batcher;
pub mod config;
pub mod control;
pub mod domain;
pub mod door;
pub mod ending;
pub mod engine;
pub mod error;
pub mod exchange;
pub mod findings;
pub mod front;
pub mod gpu_memory;
pub mod grpc;
mod grpc_stream;
pub mod health;
pub mod identity;
pub mod inference;
pub mod lifetime;
pub mod load;
pub mod memory;
pub mod queue;
pub mod refusal;
pub mod registration;
pub mod serve;
pub mod standalone;
pub mod statistics;
pub mod telemetry;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use slipway_runtime::Frame;

use crate::engine::choice::Engines;
use crate::engine::device::{self, DeviceWanted};

pub use config::Config;
pub(crate) use slipway_oip::signature;

/// The worker's process, with the arguments given; the first is the program's name. With `--engines` it says which engines it has and
/// ends: who decides where a model can run asks the program that will run it. With `--gpu` it looks for a GPU, says what it saw and ends,
/// at worst by the driver's hand: a worker starts one such before it believes in a GPU.
#[must_use]
pub fn start(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let has = |flag: &str| arguments.iter().skip(1).any(|argument| argument == flag);
    if has("--engines") {
        let device = device::find_blocking(DeviceWanted::Auto, GPU_PATIENCE);
        return tell(&Engines::found(None, device).told().to_string());
    }
    if has(device::FLAG) {
        // Panics are part of the answer.
        std::panic::set_hook(Box::new(|_| {}));
        let told = serde_json::to_string(&device::here());
        return told.map_or(ExitCode::FAILURE, |told| tell(&told));
    }
    slipway_runtime::boot_from::<Config, _, _>("inference-worker", arguments, run)
}

/// Who asks for the engines waits ten seconds for the answer; what a driver does not say in most of that is told as such.
const GPU_PATIENCE: Duration = Duration::from_secs(8);

fn tell(answer: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{answer}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs the worker until it has drained.
///
/// # Errors
/// When it fails; the reason is also in the findings file that the controller reads.
pub async fn run(config: Config, frame: Frame) -> anyhow::Result<()> {
    let Err(error) = Box::pin(serve::serve(&config, &frame)).await else {
        return Ok(());
    };
    let path = findings::path(&frame.data_dir, &config.worker);
    if let Err(unwritten) = findings::write(&path, &[findings::finding(&error)]) {
        tracing::error!(error = %unwritten, path = %path.display(), "the findings cannot be written");
    }
    Err(error.into())
}
