//! How many requests a second the second act promises: more than this machine carries one row at a time, less than it carries in batches. A figure
//! in a file would be too much for one machine and too little for another.

use crate::failure::{Failure, chain};
use slipway_inference_worker::{
    config::WorkerConfig,
    domain::useful_batch::BatchPoint,
    load::{Order, load},
};
use slipway_kernel::{Rate, spec::ModelDeployment};
use std::path::Path;

/// The largest batch that is measured; the plan may go as far.
const LARGEST: usize = 8;
/// Which part of what batches gain is promised: a small one, since client, door and broker share the cores with the model.
const PART: f64 = 0.15;
/// Batches must gain so many times as much; else the promise of the file stands.
const LEAST_GAIN: f64 = 1.5;

/// Measures the model of a document on this machine and promises in its target what the document's own plan cannot carry. The machine's rates of
/// rows, one by one and at best.
///
/// # Errors
/// When the model cannot be read or loaded.
pub(super) async fn fit(document: &mut ModelDeployment) -> Result<(f64, f64), Failure> {
    let path = Path::new(document.spec.model.uri.trim_start_matches("file://"));
    let artifact = std::fs::read(path).map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
    let config = WorkerConfig { max_batch: LARGEST, threads: 1, ..WorkerConfig::default() };
    let loaded = load(Order { artifact, golden: None }, &config).await;
    let loaded = loaded.map_err(|error| Failure::local(format!("{}: {}", path.display(), chain(&error))))?;
    let (single, best) = rates(&loaded.measurement.points);
    if let Some(promised) = promised(single, best) {
        document.spec.slo.throughput = Some(Rate { count: promised, seconds: 1 });
    }
    Ok((single, best))
}

fn rates(points: &[BatchPoint]) -> (f64, f64) {
    let single = points.iter().find(|point| point.rows == 1).map_or(0.0, |point| point.rows_per_second);
    (single, points.iter().map(|point| point.rows_per_second).fold(single, f64::max))
}

/// The promise, where batches gain enough for one.
fn promised(single: f64, best: f64) -> Option<u32> {
    if single <= 0.0 || best < single * LEAST_GAIN {
        return None;
    }
    let promised = (single + PART * (best - single)).round();
    (1..=1_000_000).find(|count| f64::from(*count) >= promised)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_promise_lies_between_single_rows_and_batches_on_any_machine() {
        for (single, best) in [(508.0, 1_770.0), (170.0, 640.0), (5_000.0, 30_000.0)] {
            let promised = f64::from(promised(single, best).unwrap());
            assert!(promised > single * 1.2 && promised < best * 0.6, "{promised} between {single} and {best}");
        }
        assert_eq!(promised(500.0, 600.0), None, "batches gain too little");
    }
}
