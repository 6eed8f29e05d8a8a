//! The worker's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    slipway_runtime::boot::<slipway_inference_worker::Config, _, _>("inference-worker", slipway_inference_worker::run)
}
