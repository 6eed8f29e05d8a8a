//! What the mesh itself costs: the hop from service to service beside the floor of JetStream, the way from `requested` to `released`,
//! many deployments at once, and memory.
//!
//! Every service is a process of its own (this program again, with `--role`), with what it does to the world simulated: the machine
//! was looked at once, the model was read once, workers, doors and proofs are not there. The broker, the log, the leases and the
//! sink-writer's databases are real. `cargo bench --package slipway-tests -- --deployments 100,1000 --rounds 100`.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

mod events;
mod figures;
mod hops;
mod idle;
mod many;
mod mesh;
mod report;
mod roles;

use anyhow::Context as _;
use std::process::ExitCode;

/// What is measured.
struct Options {
    /// Deployments one after the other, and messages for the floor.
    rounds: usize,
    /// Deployments at once, one run each.
    deployments: Vec<usize>,
}

impl Options {
    fn read(arguments: &[String]) -> anyhow::Result<Self> {
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1)
        };
        let rounds = value("--rounds").map_or(Ok(100), |text| text.parse()).context("--rounds: a number")?;
        let deployments = value("--deployments").map_or("100,1000", String::as_str).split(',').map(str::parse);
        let deployments =
            deployments.collect::<Result<_, _>>().context("--deployments: numbers with commas between")?;
        Ok(Self { rounds, deployments })
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, role, config, ..] = arguments.as_slice()
        && flag == "--role"
    {
        return roles::run(role, config);
    }
    slipway_runtime::tls::install_provider();
    let measured = Options::read(&arguments).and_then(|options| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(measure(&options))
    });
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("the bench failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let mut report = report::Report::begin();
    // First, while nothing else runs.
    report.idle(&idle::measure().await);
    report.floor(&hops::floor(options.rounds).await);
    report.hops(&hops::measure(options.rounds).await?);
    for &count in &options.deployments {
        report.many(&many::measure(count).await?);
    }
    report.end()
}
