//! Bytes to a measured model, on a thread of its own.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use slipway_kernel::ByteSize;
use tokio::sync::oneshot;

use crate::config::{IntraOpThreads, WorkerConfig};
use crate::engine::choice::{self, Chosen, Engines, Wanted, Wish};
use crate::engine::device::{self, DeviceWanted};
use crate::engine::golden::Golden;
use crate::engine::measure::{MeasureOptions, Measurement, Tried, measure, resident_bytes};
use crate::engine::server::ServerEngine;
use crate::engine::{LoadOptions, Model, Threads, onnxruntime, threads};
use crate::error::WorkerError;

/// Stack of the loading thread. Optimisers recurse over the graph; a deep one overflows the 2 MiB of a default thread, and an
/// overflow cannot be caught.
const STACK_BYTES: usize = 64 << 20;

/// A model ready to be served.
#[derive(Debug)]
pub struct Loaded {
    /// The model.
    pub model: Arc<dyn Model>,
    /// What was measured.
    pub measurement: Measurement,
    /// Most rows of a run: what is configured, or less where less does as well.
    pub max_rows: usize,
    /// Threads that run it: what is configured, or less where there are fewer cores, or a GPU has room for fewer instances.
    pub threads: usize,
}

/// What is to be loaded.
#[derive(Debug)]
pub struct Order {
    /// The model's bytes.
    pub artifact: Vec<u8>,
    /// Requests with the answers that it must give.
    pub golden: Option<Golden>,
}

/// Loads, proves, warms up and measures.
///
/// # Errors
/// When no engine takes the model, its answers are wrong, or it needs more memory than the worker may have.
pub async fn load(order: Order, config: &WorkerConfig) -> Result<Loaded, WorkerError> {
    if let Some(server) = ServerEngine::of(&config.server, config.model_format, config.device) {
        return on_its_thread(config, order, || Engines::of_server(Arc::new(server))).await;
    }
    let library = config.onnxruntime_library.clone();
    let device = device::find(config.device).await;
    on_its_thread(config, order, move || Engines::found(library.as_deref(), device)).await
}

async fn on_its_thread(
    config: &WorkerConfig,
    order: Order,
    engines: impl FnOnce() -> Engines + Send + 'static,
) -> Result<Loaded, WorkerError> {
    let (sender, receiver) = oneshot::channel();
    let wanted = Wants {
        wish: Wish { engine: config.engine, device: config.device },
        max_batch: config.max_batch,
        fixed: config.fixed_batch,
        pool: config.threads,
        intra_op: config.intra_op_threads,
        memory: config.memory,
    };
    thread::Builder::new()
        .name("load".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // Nobody may wait any more when the worker is ending.
            let _ = sender.send(load_here(&engines(), order, wanted));
        })
        .map_err(WorkerError::Thread)?;
    receiver.await.map_err(|_| WorkerError::LostThread)?
}

#[derive(Clone, Copy)]
struct Wants {
    wish: Wish,
    max_batch: usize,
    fixed: bool,
    pool: usize,
    intra_op: IntraOpThreads,
    memory: Option<ByteSize>,
}

impl Wants {
    /// The threads to begin with.
    const fn threads(&self) -> Threads {
        let intra_op = match self.intra_op {
            IntraOpThreads::Auto => 1,
            IntraOpThreads::Count(count) => count,
        };
        Threads { pool: self.pool, intra_op }
    }

    /// The same, lowered to the cores there are.
    fn fitting(&self, cores: usize) -> Threads {
        let (threads, lowered) = threads::fitting(self.threads(), cores);
        if let Some(reason) = lowered {
            tracing::warn!(reason, "fewer threads than configured are started");
        }
        threads
    }
}

/// A model with what was measured of it.
struct Candidate {
    chosen: Chosen,
    measurement: Measurement,
    threads: Threads,
}

fn load_here(engines: &Engines, order: Order, wanted: Wants) -> Result<Loaded, WorkerError> {
    let before = resident_bytes();
    let cores = threads::cores();
    // Threads that wait for a server need no cores, and what it computes on is its own.
    let threads = if engines.server.is_some() { wanted.threads() } else { wanted.fitting(cores) };
    let first = candidate(engines, &order, wanted, wanted.wish, threads)?;
    let mut best = if wanted.intra_op == IntraOpThreads::Auto && first.chosen.engine == onnxruntime::NAME {
        tuned(engines, &order, wanted, first, cores)?
    } else {
        first
    };
    // The engine keeps what it needs; the file in memory would count twice in what is measured next.
    drop(order);
    let resident = resident_bytes();
    if let Some(limit) = wanted.memory {
        let used = ByteSize(resident);
        if used > limit {
            return Err(WorkerError::OutOfMemory { used, limit, when: "after loading the model" });
        }
    }
    best.measurement.resident_bytes = resident;
    best.measurement.model_bytes = resident.saturating_sub(before);
    let useful = best.measurement.useful_batch;
    let max_rows = if wanted.fixed { wanted.max_batch } else { wanted.max_batch.min(useful) };
    Ok(Loaded {
        model: best.chosen.model.into(),
        measurement: best.measurement,
        max_rows: max_rows.max(1),
        threads: best.threads.pool,
    })
}

/// Loads and measures with so many threads.
fn candidate(
    engines: &Engines,
    order: &Order,
    wanted: Wants,
    wish: Wish,
    threads: Threads,
) -> Result<Candidate, WorkerError> {
    let started = Instant::now();
    let options = LoadOptions { max_batch: wanted.max_batch, threads, ..LoadOptions::default() };
    let chosen =
        choice::choose(wish, engines, &order.artifact, &options, order.golden.as_ref()).map_err(WorkerError::Model)?;
    let load = started.elapsed();
    let options = MeasureOptions { max_batch: wanted.max_batch, ..MeasureOptions::default() };
    let mut measurement = crate::engine::guarded("being measured", || measure(chosen.model.as_ref(), load, options))
        .map_err(WorkerError::Measure)?;
    measurement.engine = chosen.engine.to_owned();
    measurement.engine_reason.clone_from(&chosen.reason);
    measurement.device = match (&engines.server, &chosen.gpu) {
        (Some(_), _) => "server",
        (None, Some(_)) => "cuda",
        (None, None) => "cpu",
    }
    .to_owned();
    measurement.device_reason.clone_from(&chosen.device_reason);
    measurement.gpu = chosen.gpu.clone();
    // A GPU may have room for fewer instances than there were to be threads.
    let threads = chosen.threads;
    measurement.pool_threads = threads.pool;
    measurement.intra_op_threads = threads.intra_op;
    Ok(Candidate { chosen, measurement, threads })
}

/// Tries the other numbers of threads too, and keeps the best.
fn tuned(
    engines: &Engines,
    order: &Order,
    wanted: Wants,
    first: Candidate,
    cores: usize,
) -> Result<Candidate, WorkerError> {
    let tried = |candidate: &Candidate| Tried {
        intra_op_threads: candidate.threads.intra_op,
        rows_per_second: candidate.measurement.points.iter().map(|point| point.rows_per_second).fold(0.0, f64::max),
    };
    let mut all = vec![tried(&first)];
    let mut best = first;
    for intra_op in threads::candidates(best.threads.pool, cores).into_iter().skip(1) {
        let threads = Threads { intra_op, ..best.threads };
        let wish = Wish { engine: Wanted::Onnxruntime, device: DeviceWanted::Cpu };
        let next = candidate(engines, order, wanted, wish, threads)?;
        all.push(tried(&next));
        if threads::best(&all) == intra_op {
            // Why this engine and this device were chosen is what the first choice says.
            let before = std::mem::take(&mut best.measurement);
            best = next;
            best.measurement.engine_reason = before.engine_reason;
            best.measurement.device_reason = before.device_reason;
        }
    }
    best.measurement.tried = all;
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineError;
    use crate::engine::tract::{TractEngine, fixtures};

    fn order() -> Order {
        Order { artifact: fixtures::bytes(&fixtures::classifier()), golden: None }
    }

    async fn load(order: Order, config: &WorkerConfig) -> Result<Loaded, WorkerError> {
        on_its_thread(config, order, || Engines {
            onnxruntime: Err(EngineError::Unavailable("not in this test".to_owned())),
            tract: Arc::new(TractEngine),
            gpu: Err("not in this test".to_owned()),
            server: None,
        })
        .await
    }

    #[tokio::test]
    async fn a_model_is_loaded_measured_and_its_batch_is_at_most_the_configured_one() {
        let mut config = WorkerConfig { max_batch: 4, ..WorkerConfig::default() };
        let loaded = load(order(), &config).await.unwrap();
        assert!((1..=4).contains(&loaded.max_rows));
        assert!(loaded.measurement.load_ms > 0.0);
        config.fixed_batch = true;
        let loaded = load(order(), &config).await.unwrap();
        assert_eq!(loaded.max_rows, 4);
    }

    #[tokio::test]
    async fn a_model_that_needs_more_memory_than_allowed_is_refused_with_both_figures() {
        let config = WorkerConfig { memory: Some(ByteSize(1 << 20)), ..WorkerConfig::default() };
        let error = load(order(), &config).await.unwrap_err();
        assert!(matches!(error, WorkerError::OutOfMemory { limit: ByteSize(1_048_576), .. }), "{error}");
    }

    #[tokio::test]
    async fn more_threads_than_cores_are_not_started() {
        let config = WorkerConfig { threads: 256, ..WorkerConfig::default() };
        let loaded = load(order(), &config).await.unwrap();
        assert_eq!(loaded.threads, threads::cores());
        assert_eq!((loaded.measurement.pool_threads, loaded.measurement.intra_op_threads), (threads::cores(), 1));
        assert_eq!(loaded.measurement.engine, "tract");
        assert!(loaded.measurement.engine_reason.contains("not in this test"));
    }

    #[tokio::test]
    async fn onnx_runtime_serves_where_it_is_and_the_measurement_says_on_how_many_threads() {
        let config = WorkerConfig { intra_op_threads: IntraOpThreads::Auto, ..WorkerConfig::default() };
        let measured = super::load(order(), &config).await.unwrap().measurement;
        assert_eq!(
            (measured.engine.as_str(), measured.engine_reason.as_str()),
            ("onnxruntime", "its library is there")
        );
        let tried: Vec<usize> = measured.tried.iter().map(|tried| tried.intra_op_threads).collect();
        assert_eq!(tried, threads::candidates(1, threads::cores()));
        assert!(tried.contains(&measured.intra_op_threads));
        assert!(measured.tried.iter().all(|tried| tried.rows_per_second > 0.0));
    }

    #[tokio::test]
    async fn wrong_answers_are_not_served() {
        let line = r#"{"request":{"inputs":[{"name":"X","datatype":"FP32","shape":[1,4],"data":[0,9,0,0]}]},
            "response":{"outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[2]}]}}"#;
        let golden = Golden::read(line.replace('\n', " ").as_bytes()).unwrap();
        let wrong = Order { golden: Some(golden), ..order() };
        let error = super::load(wrong, &WorkerConfig::default()).await.unwrap_err();
        let found = crate::findings::finding(&error);
        assert_eq!(found.kind, slipway_kernel::FindingKind::OutputMismatch);
        assert!(found.message.contains("onnxruntime: ") && found.message.contains("tract: "), "{}", found.message);
        assert!(found.message.contains("`label` element 0: 1 where 2 is expected"), "{}", found.message);
    }

    #[tokio::test]
    async fn a_file_that_is_no_model_is_refused() {
        let error =
            load(Order { artifact: b"nothing".to_vec(), golden: None }, &WorkerConfig::default()).await.unwrap_err();
        assert!(matches!(error, WorkerError::Model(_)), "{error}");
    }
}
