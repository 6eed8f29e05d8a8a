//! Runs beside each other and threads inside a run: what a machine with so many cores gets of a model.

use crate::{median, name};
use slipway_inference_worker::{
    domain::useful_batch::{BatchPoint, useful_batch},
    engine::{
        Batching, LoadOptions, Model, Threads,
        choice::{self, Engines, Wish},
        device::DeviceWanted,
        samples, threads,
    },
};
use std::{
    fs,
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

const ROWS: [usize; 3] = [1, 8, 32];
/// Size of free dimensions other than the batch: what models of text see of a sentence.
const FREE: usize = 32;
const TIME: Duration = Duration::from_secs(1);

/// The table of one model.
pub fn table(path: &Path) -> String {
    let artifact = fs::read(path).expect("the model's file");
    let engines = Engines::found(None, Err("only cores are compared here".to_owned()));
    let mut lines = vec![
        format!("## Threads for `{}`\n", name(path)),
        "Rows a second, and the median run, of the engine alone; `runs x threads` is how many runs go beside each other, and the threads inside each.\n"
            .to_owned(),
        "| runs x threads | engine | 1 row | 8 rows | 32 rows | useful batch |".to_owned(),
        "|---|---|--:|--:|--:|--:|".to_owned(),
    ];
    for threads in layouts(threads::cores()) {
        let options = LoadOptions { threads, ..LoadOptions::default() };
        let chosen = match choice::choose(
            Wish { device: DeviceWanted::Cpu, ..Wish::default() },
            &engines,
            &artifact,
            &options,
            None,
        ) {
            Ok(chosen) => chosen,
            Err(error) => {
                lines.push(format!("| {} x {} | refused: {error} | | | | |", threads.pool, threads.intra_op));
                continue;
            }
        };
        let points: Vec<BatchPoint> =
            ROWS.iter().filter_map(|rows| point(chosen.model.as_ref(), *rows, threads.pool)).collect();
        let cell = |rows: usize| {
            let found = points.iter().find(|point| point.rows == rows);
            found.map_or_else(
                || "alone".to_owned(),
                |p| format!("{:.0} ({:.2} ms)", p.rows_per_second, p.run_p50_us / 1e3),
            )
        };
        let cells: Vec<String> = ROWS.iter().map(|rows| cell(*rows)).collect();
        let layout = format!("{} x {}", threads.pool, threads.intra_op);
        lines.push(format!("| {layout} | {} | {} | {} |", chosen.engine, cells.join(" | "), useful_batch(&points)));
    }
    lines.join("\n") + "\n"
}

/// One thread; all cores for runs beside each other; all cores inside one run.
fn layouts(cores: usize) -> Vec<Threads> {
    let mut layouts = vec![Threads { pool: 1, intra_op: 1 }];
    if cores > 1 {
        layouts.extend([Threads { pool: cores, intra_op: 1 }, Threads { pool: 1, intra_op: cores }]);
    }
    layouts
}

/// Runs of so many rows on as many threads at once as the pool has; none where rows may not share a run.
fn point(model: &dyn Model, rows: usize, pool: usize) -> Option<BatchPoint> {
    if rows > 1 && *model.batching() != Batching::Rows {
        return None;
    }
    let begin = Barrier::new(pool);
    let runs: Vec<f64> = thread::scope(|scope| {
        let running: Vec<_> = (0..pool)
            .map(|_| {
                scope.spawn(|| {
                    let inputs = samples::inputs(model.signature(), rows, FREE, 1).expect("inputs");
                    let _ = model.run(&[&inputs]).expect("a run");
                    begin.wait();
                    let (started, mut times) = (Instant::now(), Vec::new());
                    while times.is_empty() || started.elapsed() < TIME {
                        let run = Instant::now();
                        let _ = model.run(&[&inputs]).expect("a run");
                        times.push(run.elapsed().as_secs_f64());
                    }
                    times
                })
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    });
    let (count, run) = (runs.len(), median(runs));
    let rows_per_second = (rows * pool) as f64 / run;
    Some(BatchPoint { rows, runs: count, run_p50_us: run * 1e6, rows_per_second })
}
