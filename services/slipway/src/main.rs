//! `slipway`: see `slipway --help`.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    slipway::run(slipway::cli::Cli::parse())
}
