//! Measuring a loaded model on this machine: what the batcher, the autoscaler and `explain` go by.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::device::Device;
use super::{Batching, EngineError, Model, probe, samples};
use crate::domain::useful_batch::{BatchPoint, useful_batch};

/// Batch sizes that are measured, as far as the caller allows them.
const SIZES: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// Runs timed per size: an odd number has a median, and of five one is hardly ever disturbed.
const RUNS: usize = 5;

/// Time after which no more runs of a size are timed. A run that takes so long is disturbed by little.
const TIMED: Duration = Duration::from_millis(50);

/// A size with so many times the throughput of the one before it is worth the time that the next one takes.
const GAIN: f64 = 1.1;

/// What is measured, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasureOptions {
    /// The largest batch of interest, in rows.
    pub max_batch: usize,
    /// Time for sizes that gain nothing over the one before. What does not gain at four rows will not at eight.
    pub quick: Duration,
    /// Time for all sizes together. A size that would go beyond it is left out.
    pub budget: Duration,
}

impl Default for MeasureOptions {
    fn default() -> Self {
        Self {
            max_batch: 32,
            // A deployment, and every worker that is added or replaced, waits for this.
            quick: Duration::from_millis(250),
            // Where batches pay, they pay for as long as the worker lives.
            budget: Duration::from_secs(2),
        }
    }
}

/// A number of threads inside a run that was tried out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// Threads inside a run.
    pub intra_op_threads: usize,
    /// Throughput at the best batch size.
    pub rows_per_second: f64,
}

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// From bytes to a model that has run once, in milliseconds.
    pub load_ms: f64,
    /// The first runs of every size, planning included, in milliseconds.
    pub warm_up_ms: f64,
    /// Throughput by batch size.
    pub points: Vec<BatchPoint>,
    /// The batch size worth waiting for.
    pub useful_batch: usize,
    /// Resident memory of the process afterwards, in bytes; 0 where the system does not tell.
    pub resident_bytes: u64,
    /// How much of it came with the model: its weights, plans and buffers of all instances.
    pub model_bytes: u64,
    /// The engine that serves the model.
    pub engine: String,
    /// Why that one, and how it was proved.
    pub engine_reason: String,
    /// Where it is computed: `cpu` or `cuda`.
    pub device: String,
    /// Why there.
    pub device_reason: String,
    /// The GPU, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Device>,
    /// Runs at the same time.
    pub pool_threads: usize,
    /// Threads inside each run.
    pub intra_op_threads: usize,
    /// What else was tried, where the number of threads is left to the measurement.
    pub tried: Vec<Tried>,
    /// How the model was planned.
    pub plan: String,
    /// Why requests run alone; empty when they may share a run.
    pub alone: String,
}

/// Warms the model up at every batch size and measures it. Blocking, up to the budget and one run beyond it.
///
/// # Errors
/// When a run fails that worked at load.
pub fn measure(model: &dyn Model, load: Duration, options: MeasureOptions) -> Result<Measurement, EngineError> {
    let started = Instant::now();
    let alone = match model.batching() {
        Batching::Rows => String::new(),
        Batching::Alone { reason } => reason.clone(),
    };
    let free = free_size(model)?;
    let mut warm_up = started.elapsed();
    let mut points = Vec::new();
    for rows in SIZES {
        let wanted = rows == 1 || (alone.is_empty() && rows <= options.max_batch);
        // Each size costs about as much again as all before it; stop before that would not fit.
        let fits = started.elapsed() * 2 < if gains(&points) { options.budget } else { options.quick };
        if !wanted || !(fits || rows == 1) {
            break;
        }
        let (first, point) = measure_size(model, rows, free)?;
        warm_up += first;
        points.push(point);
    }
    Ok(Measurement {
        load_ms: load.as_secs_f64() * 1e3,
        warm_up_ms: warm_up.as_secs_f64() * 1e3,
        useful_batch: useful_batch(&points),
        points,
        resident_bytes: resident_bytes(),
        plan: model.plan(),
        alone,
        ..Measurement::default()
    })
}

/// Whether the last size was clearly faster than the one before it. Of one size nobody knows: the second is always worth its time, or
/// slow models would never be batched.
fn gains(points: &[BatchPoint]) -> bool {
    match points {
        [.., before, last] => last.rows_per_second > before.rows_per_second * GAIN,
        _ => true,
    }
}

/// The size of free dimensions at which a row runs: the first that the model takes of those that it was tried out with at load.
fn free_size(model: &dyn Model) -> Result<usize, EngineError> {
    let signature = model.signature();
    let mut refusal = EngineError::Run("no size of the free dimensions was tried".to_owned());
    for &free in probe::free_sizes(signature) {
        match samples::inputs(signature, 1, free, 1).and_then(|inputs| model.run(&[&inputs])) {
            Ok(_) => return Ok(free),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

fn measure_size(model: &dyn Model, rows: usize, free: usize) -> Result<(Duration, BatchPoint), EngineError> {
    let inputs = samples::inputs(model.signature(), rows, free, 1)?;
    let first = Instant::now();
    model.run(&[&inputs])?;
    let first = first.elapsed();
    let mut times = Vec::with_capacity(RUNS);
    let timed = Instant::now();
    while times.len() < RUNS && (times.is_empty() || timed.elapsed() < TIMED) {
        let run = Instant::now();
        model.run(&[&inputs])?;
        times.push(run.elapsed());
    }
    times.sort_unstable();
    let sorted = |at: usize| times.get(at).copied().unwrap_or(first).max(Duration::from_nanos(1));
    let (fastest, median) = (sorted(0), sorted(times.len() / 2));
    Ok((
        first,
        BatchPoint {
            rows,
            runs: times.len(),
            run_p50_us: median.as_secs_f64() * 1e6,
            rows_per_second: rows as f64 / fastest.as_secs_f64(),
        },
    ))
}

/// Resident memory of this process in bytes; 0 where `/proc` does not tell.
#[must_use]
pub fn resident_bytes() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
            Some(kibibytes * 1024)
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::double::Double;
    use crate::engine::tract::{TractEngine, fixtures};
    use crate::engine::{Engine as _, LoadOptions};

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_small_model_is_measured_at_every_size_within_the_limit() {
        let model = TractEngine.load(&fixtures::bytes(&fixtures::scale()), &LoadOptions::default()).unwrap();
        let options = MeasureOptions { max_batch: 8, ..MeasureOptions::default() };
        let measured = measure(model.as_ref(), Duration::from_millis(3), options).unwrap();
        let sizes: Vec<_> = measured.points.iter().map(|point| point.rows).collect();
        assert_eq!(sizes, [1, 2, 4, 8]);
        assert!(measured.points.iter().all(|point| point.rows_per_second > 0.0));
        assert!((1..=8).contains(&measured.useful_batch));
        assert!(measured.resident_bytes > 1 << 20);
        assert_eq!(measured.alone, "");
    }

    #[test]
    fn a_model_is_measured_at_a_length_that_it_takes() {
        // As a model of sounds that wants to hear more than the first length tried.
        let long = Double::of(&[1, -1], |inputs| match inputs[0].shape()[1] {
            ..=32 => Err(EngineError::Run("too short".to_owned())),
            _ => Ok(inputs.to_vec()),
        });
        let measured = measure(&long, Duration::ZERO, MeasureOptions::default()).unwrap();
        assert!(measured.points[0].rows_per_second > 0.0);
    }

    #[test]
    fn larger_batches_are_measured_for_as_long_as_they_gain() {
        let measured = |even: bool| {
            let slow = Double::of(&[-1, 1], move |inputs| {
                let rows = inputs[0].shape()[0] as u32;
                std::thread::sleep(Duration::from_millis(100) * if even { rows } else { 1 });
                Ok(inputs.to_vec())
            });
            let options = MeasureOptions { quick: Duration::from_millis(250), budget: LONG, max_batch: 32 };
            let points = measure(&slow, Duration::ZERO, options).unwrap().points;
            points.iter().map(|point| point.rows).max().unwrap()
        };
        assert_eq!(measured(false), 32);
        assert!((2..32).contains(&measured(true)), "nothing is gained");
    }

    #[test]
    fn without_a_budget_only_single_rows_are_measured() {
        let model = TractEngine.load(&fixtures::bytes(&fixtures::scale()), &LoadOptions::default()).unwrap();
        let options = MeasureOptions { quick: Duration::ZERO, budget: Duration::ZERO, ..MeasureOptions::default() };
        let measured = measure(model.as_ref(), Duration::ZERO, options).unwrap();
        assert_eq!(measured.points.len(), 1);
        assert_eq!(measured.useful_batch, 1);
    }
}
