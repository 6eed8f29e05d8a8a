//! Compares the engines on models: `cargo run --release -p slipway-inference-worker --example engines -- MODEL.onnx...`
//!
//! For each engine: time to load, throughput at 1, 8 and 32 rows, memory of a process that has only this engine, and how far
//! the answers lie apart. The engines take turns (A B A B), medians are told.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use slipway_inference_worker::engine::choice::Engines;
use slipway_inference_worker::engine::measure::resident_bytes;
use slipway_inference_worker::engine::onnxruntime::{self, OnnxRuntime};
use slipway_inference_worker::engine::tract::TractEngine;
use slipway_inference_worker::engine::{Batching, Engine, LoadOptions, Model, Threads, compare, samples};

const ROWS: [usize; 3] = [1, 8, 32];
const ROUNDS: usize = 4;
/// Time for one size in one round: thousands of runs of a small model, a few of a large one.
const TIME: Duration = Duration::from_millis(300);
/// Asks a child of this program for the memory with one engine alone.
const MEMORY: &str = "--memory";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, engine, pool, model] = arguments.as_slice()
        && flag == MEMORY
    {
        return tell_memory(engine, pool.parse()?, Path::new(model));
    }
    let mut out = io::stdout().lock();
    if arguments.is_empty() {
        writeln!(out, "usage: engines MODEL.onnx...")?;
    }
    for model in &arguments {
        compare_on(&mut out, Path::new(model)).with_context(|| model.clone())?;
    }
    Ok(())
}

fn engines() -> Vec<Arc<dyn Engine>> {
    let engines = Engines::found(None, Err("not compared here".to_owned()));
    std::iter::once(engines.tract).chain(engines.onnxruntime).collect()
}

struct Contestant {
    engine: Arc<dyn Engine>,
    model: Box<dyn Model>,
    loads: Vec<f64>,
    /// Rows a second, by size and round.
    speeds: [Vec<f64>; ROWS.len()],
}

fn compare_on(out: &mut impl io::Write, path: &Path) -> anyhow::Result<()> {
    let artifact = std::fs::read(path)?;
    writeln!(out, "{} ({} KiB)", path.display(), artifact.len() / 1024)?;
    let mut all = Vec::new();
    for engine in engines() {
        match engine.load(&artifact, &LoadOptions::default()) {
            Ok(model) => {
                all.push(Contestant { engine, model, loads: Vec::new(), speeds: Default::default() });
            }
            Err(error) => writeln!(out, "  {:<12} refuses it: {error}", engine.name())?,
        }
    }
    for _ in 0..ROUNDS {
        for contestant in &mut all {
            let started = Instant::now();
            contestant.model = contestant.engine.load(&artifact, &LoadOptions::default())?;
            contestant.loads.push(started.elapsed().as_secs_f64() * 1e3);
        }
        for (size, rows) in ROWS.into_iter().enumerate() {
            for contestant in &mut all {
                if let Some(speed) = speed(contestant.model.as_ref(), rows)? {
                    contestant.speeds[size].push(speed);
                }
            }
        }
    }
    writeln!(
        out,
        "  {:<12} {:>9} {:>12} {:>12} {:>12} {:>8} {:>8}",
        "engine", "load ms", "rows/s b1", "b8", "b32", "RSS MiB", "for two"
    )?;
    for contestant in &mut all {
        let name = contestant.engine.name();
        let speeds = contestant.speeds.each_mut().map(|speeds| match speeds.as_slice() {
            [] => "alone".to_owned(),
            _ => format!("{:.0}", median(speeds)),
        });
        let [memory, two] = [memory_of(name, 1, path)?, memory_of(name, 2, path)?];
        let load = median(&mut contestant.loads);
        writeln!(
            out,
            "  {name:<12} {load:>9.1} {:>12} {:>12} {:>12} {memory:>8.1} {two:>8.1}  {}{}",
            speeds[0],
            speeds[1],
            speeds[2],
            contestant.model.plan(),
            match contestant.model.batching() {
                Batching::Rows => String::new(),
                Batching::Alone { reason } => format!("; alone: {reason}"),
            }
        )?;
    }
    if let [one, other] = all.as_slice() {
        writeln!(out, "  max abs difference {:.2e}", difference(one.model.as_ref(), other.model.as_ref())?)?;
    }
    Ok(())
}

/// Rows a second at the median run; `None` where rows may not share a run.
fn speed(model: &dyn Model, rows: usize) -> anyhow::Result<Option<f64>> {
    if rows > 1 && *model.batching() != Batching::Rows {
        return Ok(None);
    }
    let inputs = samples::inputs(model.signature(), rows, FREE, 1)?;
    model.run(&[&inputs])?;
    let (started, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || started.elapsed() < TIME {
        let run = Instant::now();
        model.run(&[&inputs])?;
        times.push(run.elapsed().as_secs_f64());
    }
    Ok(Some(rows as f64 / median(&mut times)))
}

/// Size of free dimensions other than the batch, as the worker's measurement has it.
const FREE: usize = 32;

fn difference(one: &dyn Model, other: &dyn Model) -> anyhow::Result<f64> {
    let mut largest = 0.0_f64;
    for variant in 1..=8 {
        let inputs = samples::inputs(one.signature(), 1, FREE, variant)?;
        for (a, b) in one.run(&[&inputs])?.iter().zip(&other.run(&[&inputs])?) {
            // Labels and the like must be equal; how far apart they are says nothing.
            anyhow::ensure!(a.data_type().is_float() || a.bytes() == b.bytes(), "`{}` differs", a.name());
            largest = largest.max(compare::distance(a, b).unwrap_or_default());
        }
    }
    Ok(largest)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Memory in MiB of a process that has run the model on so many threads at once.
fn memory_of(engine: &str, pool: usize, path: &Path) -> anyhow::Result<f64> {
    let mut child = Command::new(std::env::current_exe()?);
    let child = child.args([MEMORY, engine, &pool.to_string()]).arg(path).output()?;
    anyhow::ensure!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    let bytes: f64 = String::from_utf8_lossy(&child.stdout).trim().parse()?;
    Ok(bytes / f64::from(1 << 20))
}

fn tell_memory(engine: &str, pool: usize, path: &Path) -> anyhow::Result<()> {
    // Not both: the other's library would count.
    let engine: Box<dyn Engine> =
        if engine == onnxruntime::NAME { Box::new(OnnxRuntime::open(None)?) } else { Box::new(TractEngine) };
    let options = LoadOptions { threads: Threads { pool, intra_op: 1 }, ..LoadOptions::default() };
    let model = engine.load(&std::fs::read(path)?, &options)?;
    let inputs = samples::inputs(model.signature(), 1, FREE, 1)?;
    std::thread::scope(|scope| {
        let runs = || (0..100).try_for_each(|_| model.run(&[&inputs]).map(drop));
        let threads: Vec<_> = (0..pool).map(|_| scope.spawn(runs)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?.context("a run failed")
        })
    })?;
    writeln!(io::stdout(), "{}", resident_bytes())?;
    Ok(())
}
