//! `slipway-loadtest`: the load generator by hand.

use clap::Parser;
use slipway_loadtest::cli;
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let arguments = cli::Arguments::parse();
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(cli::main(arguments))
}
