//! The worker's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    slipway_inference_worker::start(std::env::args_os())
}
