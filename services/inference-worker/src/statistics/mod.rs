//! What the model has done since the worker started: the one source of the statistics that Triton's clients ask for
//! ([`told`]) and of the metrics that its dashboards read ([`exposed`]).
//!
//! Kept by whoever answers a request or ends a run, so it is atomics and nothing else: no lock, no memory taken, no clock
//! read beyond those that were read anyway. Each figure is exact; two figures read at the same moment may be one request apart.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::engine::Parts;

pub mod exposed;
pub mod told;

/// The most rows of a run that share it, which `worker.max_batch` and the pieces of larger requests keep to.
const MAX_ROWS: usize = crate::config::MAX_BATCH;

/// How often something was done, and for how long in all.
#[derive(Debug, Default)]
struct Sum {
    count: AtomicU64,
    ns: AtomicU64,
}

impl Sum {
    fn add(&self, count: u64, time: Duration) {
        self.count.fetch_add(count, Relaxed);
        self.ns.fetch_add(nanos(time), Relaxed);
    }
}

/// Runs of one size. Each has all parts, so they share a count.
#[derive(Debug, Default)]
struct Runs {
    count: AtomicU64,
    input_ns: AtomicU64,
    infer_ns: AtomicU64,
    output_ns: AtomicU64,
}

/// Kept by the threads that answer; on a line of the cache of its own, so that they and the pool do not take it from each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Requests {
    success: Sum,
    fail: Sum,
}

/// Kept by the pool.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Computed {
    requests: AtomicU64,
    rows: AtomicU64,
    queue_ns: AtomicU64,
    input_ns: AtomicU64,
    infer_ns: AtomicU64,
    output_ns: AtomicU64,
    /// When the last run ended, in nanoseconds from `started`, and one more; 0 before the first.
    last: AtomicU64,
}

/// What was done so far.
#[derive(Debug)]
pub struct Statistics {
    started: Instant,
    requests: Requests,
    computed: Computed,
    /// By rows, from 1.
    runs: Box<[Runs]>,
}

/// Requests that a run was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computations {
    /// How many.
    pub requests: usize,
    /// The rows of all of them.
    pub rows: usize,
    /// How long they waited for it, all together.
    pub waited: Duration,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            requests: Requests::default(),
            computed: Computed::default(),
            runs: (0..MAX_ROWS).map(|_| Runs::default()).collect(),
        }
    }
}

impl Statistics {
    /// A request ended, `took` after it was taken in.
    pub fn request(&self, answered: bool, took: Duration) {
        if answered { self.requests.success.add(1, took) } else { self.requests.fail.add(1, took) }
    }

    /// A run of so many rows was done.
    pub fn ran(&self, rows: usize, parts: &Parts) {
        // No run is larger; one that were would be counted among the largest rather than not at all.
        if let Some(runs) = self.runs.get(rows.clamp(1, MAX_ROWS) - 1) {
            runs.count.fetch_add(1, Relaxed);
            runs.input_ns.fetch_add(nanos(parts.input), Relaxed);
            runs.infer_ns.fetch_add(nanos(parts.infer), Relaxed);
            runs.output_ns.fetch_add(nanos(parts.output), Relaxed);
        }
        self.computed.last.fetch_max(nanos(parts.ended.saturating_duration_since(self.started)) + 1, Relaxed);
    }

    /// Requests were computed, in the time of `parts`. Each counts all of it, as each had to wait for it.
    pub fn computed(&self, computations: Computations, parts: &Parts) {
        let Computations { requests, rows, waited } = computations;
        let (requests, computed) = (requests as u64, &self.computed);
        computed.requests.fetch_add(requests, Relaxed);
        computed.rows.fetch_add(rows as u64, Relaxed);
        computed.queue_ns.fetch_add(nanos(waited), Relaxed);
        computed.input_ns.fetch_add(nanos(parts.input) * requests, Relaxed);
        computed.infer_ns.fetch_add(nanos(parts.infer) * requests, Relaxed);
        computed.output_ns.fetch_add(nanos(parts.output) * requests, Relaxed);
    }

    fn executions(&self) -> u64 {
        self.runs.iter().map(|runs| runs.count.load(Relaxed)).sum()
    }
}

fn nanos(time: Duration) -> u64 {
    // Five hundred years.
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
