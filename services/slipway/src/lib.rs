//! The command line, and `slipway up`: all services in one process. The only crate that names services.
//!
//! A command reads the log as an operator, or sends one message to the gate and waits for its answer; nothing here writes
//! a fact. What is printed for people goes through [`output`]; `--output json` prints the same for programs.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout))]

pub mod cli;
mod cluster;
mod commands;
pub mod context;
pub mod document;
pub mod failure;
mod kubernetes;
pub mod logline;
pub mod output;
mod services;
pub mod steps;
pub mod up;
mod upload;

use cli::{Cli, Command, DeadCommand, LogCommand};
use failure::Failure;
use std::process::ExitCode;

/// Runs one command and gives its exit code.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    // A process of its own brings its own threads.
    if let Some(ended) = commands::process(&cli.command) {
        return ended;
    }
    slipway_runtime::tls::install_provider();
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().min(4));
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::local(format!("threads could not be started: {error}")).print(&cli.global),
    };
    let outcome = runtime.block_on(Box::pin(dispatch(cli.command, &cli.global)));
    // A blocking read of a closed pipe must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(&cli.global),
    }
}

async fn dispatch(command: Command, global: &cli::Global) -> Result<(), Failure> {
    match command {
        Command::Up(args) => up::run(args, global).await,
        Command::Serve(args) => Box::pin(commands::serve::run(args, global)).await,
        Command::Demo(args) => commands::demo::run(args, global).await,
        Command::Deploy(args) => commands::deploy::run(args, global).await,
        Command::Plan(args) => Box::pin(commands::plan::run(args, global)).await,
        Command::Site(args) => commands::site::run(&args, global),
        Command::Render(args) => Box::pin(commands::render::run(args, global)).await,
        Command::Status(args) => commands::status::run(args, global).await,
        Command::Watch(args) => commands::watch::run(args, global).await,
        Command::Log(args) => match args.command {
            Some(LogCommand::Verify) => commands::log::verify(global).await,
            None => commands::log::run(args, global).await,
        },
        Command::Explain(args) => commands::explain::run(args, global).await,
        Command::Diff(args) => commands::diff::run(args, global).await,
        Command::Infer(args) => commands::infer::run(args, global).await,
        Command::Results(args) => commands::results::run(args, global).await,
        Command::Approve(args) => commands::order::approve(args, global).await,
        Command::Decline(args) => commands::order::decline(args, global).await,
        Command::Pause(args) => commands::order::pause(args, global).await,
        Command::Resume(args) => commands::order::resume(args, global).await,
        Command::Revalidate(args) => commands::order::revalidate(args, global).await,
        Command::Rollback(args) => commands::order::rollback(args, global).await,
        Command::Retire(args) => commands::order::retire(args, global).await,
        Command::Annul(args) => commands::order::annul(args, global).await,
        Command::Dead(args) => match args.command {
            DeadCommand::List => commands::dead::list(global).await,
            DeadCommand::Show { id } => commands::dead::show(id, global).await,
            DeadCommand::Redrive { id } => commands::dead::redrive(id, global).await,
        },
        Command::NatsClient(args) => commands::nats_client::run(&args, global).await,
        Command::ApiKey(args) => commands::api_key::run(&args, global).await,
        Command::Connect(args) => commands::connect::run(&args, global).await,
        Command::Ready(args) => commands::ready::run(&args, global).await,
        // Handled before the threads were started.
        Command::Service(_)
        | Command::ClusterInit(_)
        | Command::Topology(_)
        | Command::BrokerReload(_)
        | Command::InferenceWorker(_) => Ok(()),
    }
}
