//! Bytes to a measured model, on a thread of its own.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use slipway_kernel::ByteSize;
use tokio::sync::oneshot;

use crate::config::WorkerConfig;
use crate::engine::measure::{MeasureOptions, Measurement, measure};
use crate::engine::{Engine, LoadOptions, Model};
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
}

/// Loads, warms up and measures.
///
/// # Errors
/// When the engine refuses the model, or it needs more memory than the worker may have.
pub async fn load(engine: Arc<dyn Engine>, artifact: Vec<u8>, config: &WorkerConfig) -> Result<Loaded, WorkerError> {
    let (sender, receiver) = oneshot::channel();
    let wanted = Wanted { max_batch: config.max_batch, fixed: config.fixed_batch, memory: config.memory };
    thread::Builder::new()
        .name("load".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            // Nobody may wait any more when the worker is ending.
            let _ = sender.send(load_here(engine.as_ref(), artifact, wanted));
        })
        .map_err(WorkerError::Thread)?;
    receiver.await.map_err(|_| WorkerError::LostThread)?
}

#[derive(Clone, Copy)]
struct Wanted {
    max_batch: usize,
    fixed: bool,
    memory: Option<ByteSize>,
}

fn load_here(engine: &dyn Engine, artifact: Vec<u8>, wanted: Wanted) -> Result<Loaded, WorkerError> {
    let started = Instant::now();
    let options = LoadOptions { max_batch: wanted.max_batch, ..LoadOptions::default() };
    let model: Arc<dyn Model> = engine.load(&artifact, &options).map_err(WorkerError::Model)?.into();
    // The engine keeps what it needs; the file in memory would count twice in what is measured next.
    drop(artifact);
    let load = started.elapsed();
    let options = MeasureOptions { max_batch: wanted.max_batch, ..MeasureOptions::default() };
    let measurement = crate::engine::guarded("being measured", || measure(model.as_ref(), load, options))
        .map_err(WorkerError::Measure)?;
    if let Some(limit) = wanted.memory {
        let used = ByteSize(measurement.resident_bytes);
        if used > limit {
            return Err(WorkerError::OutOfMemory { used, limit, when: "after loading the model" });
        }
    }
    let max_rows = if wanted.fixed { wanted.max_batch } else { wanted.max_batch.min(measurement.useful_batch) };
    Ok(Loaded { model, measurement, max_rows: max_rows.max(1) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tract::{TractEngine, fixtures};

    fn artifact() -> Vec<u8> {
        fixtures::bytes(&fixtures::classifier())
    }

    #[tokio::test]
    async fn a_model_is_loaded_measured_and_its_batch_is_at_most_the_configured_one() {
        let mut config = WorkerConfig { max_batch: 4, ..WorkerConfig::default() };
        let loaded = load(Arc::new(TractEngine), artifact(), &config).await.unwrap();
        assert!((1..=4).contains(&loaded.max_rows));
        assert!(loaded.measurement.load_ms > 0.0);
        config.fixed_batch = true;
        let loaded = load(Arc::new(TractEngine), artifact(), &config).await.unwrap();
        assert_eq!(loaded.max_rows, 4);
    }

    #[tokio::test]
    async fn a_model_that_needs_more_memory_than_allowed_is_refused_with_both_figures() {
        let config = WorkerConfig { memory: Some(ByteSize(1 << 20)), ..WorkerConfig::default() };
        let error = load(Arc::new(TractEngine), artifact(), &config).await.unwrap_err();
        assert!(matches!(error, WorkerError::OutOfMemory { limit: ByteSize(1_048_576), .. }), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_model_is_refused() {
        let error = load(Arc::new(TractEngine), b"nothing".to_vec(), &WorkerConfig::default()).await.unwrap_err();
        assert!(matches!(error, WorkerError::Model(_)), "{error}");
    }
}
