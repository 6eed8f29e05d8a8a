//! What a worker costs before it has anything to do, what its threads are good for, and whether it stays as it was: `make bench-worker`, or
//! `cargo bench --package slipway-tests --bench worker`. `SLIPWAY_BENCH_MODELS` names model files, separated by colons;
//! `SLIPWAY_BENCH_SOAK` how many seconds the worker is kept busy.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it stands on the testkit, which panics too")]

mod life;
mod sizing;

use slipway_testkit::workspace;
use slipway_tests::results::{conditions, write_section};
use std::{path::PathBuf, time::Duration};

/// The small example: a worker that serves it is a worker and next to nothing else.
const SMALL: &str = "infra/examples/digits-v1.onnx";
const SOAK: Duration = Duration::from_secs(600);

fn models() -> Vec<PathBuf> {
    match std::env::var("SLIPWAY_BENCH_MODELS") {
        Ok(list) if !list.is_empty() => list.split(':').map(PathBuf::from).collect(),
        _ => [SMALL, "infra/examples/digits-wide.onnx"].iter().map(|file| workspace().join(file)).collect(),
    }
}

fn soak() -> Duration {
    let seconds = std::env::var("SLIPWAY_BENCH_SOAK").ok().filter(|seconds| !seconds.is_empty());
    seconds
        .map_or(SOAK, |seconds| Duration::from_secs(seconds.parse().expect("SLIPWAY_BENCH_SOAK: a number of seconds")))
}

fn main() -> std::io::Result<()> {
    slipway_runtime::tls::install_provider();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let models = models();
    let mut text = format!("# A worker by itself\n\nWritten by `make bench-worker`.\n\n{}", conditions());
    let mut add = |part: String| {
        println!("{part}");
        text.push('\n');
        text.push_str(&part);
    };
    add(runtime.block_on(life::starts(&models)));
    for model in &models {
        add(sizing::table(model));
    }
    add(runtime.block_on(life::soak(&workspace().join(SMALL), soak())));
    write_section("worker", &text)?;
    println!("written to loadtest/RESULTS.md");
    Ok(())
}

/// A model's name for a table.
fn name(model: &std::path::Path) -> String {
    model.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
