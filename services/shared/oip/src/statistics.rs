//! Statistics of a model: those of several workers in one, and as a document.

use serde::Serialize;
use slipway_proto::inference::{
    InferBatchStatistics, InferStatistics, ModelStatistics, ModelStatisticsResponse, StatisticDuration,
};
use std::collections::BTreeMap;

/// What several workers have done with the same version of a model, as one: every figure the sum, the last inference the latest.
/// `None` of none.
#[must_use]
pub fn sum(parts: impl IntoIterator<Item = ModelStatistics>) -> Option<ModelStatistics> {
    let mut parts = parts.into_iter();
    let mut all = parts.next()?;
    let mut batches: BTreeMap<u64, InferBatchStatistics> = BTreeMap::new();
    let merge = |batches: &mut BTreeMap<u64, InferBatchStatistics>, more: Vec<InferBatchStatistics>| {
        for batch in more {
            let found = batches.entry(batch.batch_size).or_insert_with(|| InferBatchStatistics {
                batch_size: batch.batch_size,
                ..InferBatchStatistics::default()
            });
            add(&mut found.compute_input, batch.compute_input);
            add(&mut found.compute_infer, batch.compute_infer);
            add(&mut found.compute_output, batch.compute_output);
        }
    };
    merge(&mut batches, std::mem::take(&mut all.batch_stats));
    for part in parts {
        all.last_inference = all.last_inference.max(part.last_inference);
        all.inference_count = all.inference_count.saturating_add(part.inference_count);
        all.execution_count = all.execution_count.saturating_add(part.execution_count);
        let (stats, more) = (
            all.inference_stats.get_or_insert_with(InferStatistics::default),
            part.inference_stats.unwrap_or_default(),
        );
        add(&mut stats.success, more.success);
        add(&mut stats.fail, more.fail);
        add(&mut stats.queue, more.queue);
        add(&mut stats.compute_input, more.compute_input);
        add(&mut stats.compute_infer, more.compute_infer);
        add(&mut stats.compute_output, more.compute_output);
        add(&mut stats.cache_hit, more.cache_hit);
        add(&mut stats.cache_miss, more.cache_miss);
        merge(&mut batches, part.batch_stats);
    }
    all.batch_stats = batches.into_values().collect();
    Some(all)
}

fn add(to: &mut Option<StatisticDuration>, more: Option<StatisticDuration>) {
    let (sum, more) = (to.get_or_insert_with(StatisticDuration::default), more.unwrap_or_default());
    sum.count = sum.count.saturating_add(more.count);
    sum.ns = sum.ns.saturating_add(more.ns);
}

/// Statistics as a document.
#[derive(Debug, Serialize)]
pub struct Document {
    model_stats: Vec<Model>,
}

#[derive(Debug, Serialize)]
struct Model {
    name: String,
    version: String,
    last_inference: u64,
    inference_count: u64,
    execution_count: u64,
    inference_stats: Requests,
    batch_stats: Vec<Batch>,
}

#[derive(Debug, Serialize)]
struct Requests {
    success: Times,
    fail: Times,
    queue: Times,
    compute_input: Times,
    compute_infer: Times,
    compute_output: Times,
    cache_hit: Times,
    cache_miss: Times,
}

#[derive(Debug, Serialize)]
struct Batch {
    batch_size: u64,
    compute_input: Times,
    compute_infer: Times,
    compute_output: Times,
}

#[derive(Debug, Serialize)]
struct Times {
    count: u64,
    ns: u64,
}

impl From<Option<StatisticDuration>> for Times {
    fn from(duration: Option<StatisticDuration>) -> Self {
        let StatisticDuration { count, ns } = duration.unwrap_or_default();
        Self { count, ns }
    }
}

impl From<ModelStatistics> for Model {
    fn from(told: ModelStatistics) -> Self {
        let stats = told.inference_stats.unwrap_or_default();
        let batch = |batch: InferBatchStatistics| Batch {
            batch_size: batch.batch_size,
            compute_input: batch.compute_input.into(),
            compute_infer: batch.compute_infer.into(),
            compute_output: batch.compute_output.into(),
        };
        Self {
            name: told.name,
            version: told.version,
            last_inference: told.last_inference,
            inference_count: told.inference_count,
            execution_count: told.execution_count,
            inference_stats: Requests {
                success: stats.success.into(),
                fail: stats.fail.into(),
                queue: stats.queue.into(),
                compute_input: stats.compute_input.into(),
                compute_infer: stats.compute_infer.into(),
                compute_output: stats.compute_output.into(),
                cache_hit: stats.cache_hit.into(),
                cache_miss: stats.cache_miss.into(),
            },
            batch_stats: told.batch_stats.into_iter().map(batch).collect(),
        }
    }
}

impl From<ModelStatisticsResponse> for Document {
    fn from(told: ModelStatisticsResponse) -> Self {
        Self { model_stats: told.model_stats.into_iter().map(Model::from).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn duration(count: u64, ns: u64) -> Option<StatisticDuration> {
        Some(StatisticDuration { count, ns })
    }

    fn worker(last: u64, count: u64, sizes: &[u64]) -> ModelStatistics {
        let batch = |size: &u64| InferBatchStatistics {
            batch_size: *size,
            compute_infer: duration(count, 10 * count),
            ..InferBatchStatistics::default()
        };
        ModelStatistics {
            name: "digits".into(),
            version: "2-1".into(),
            last_inference: last,
            inference_count: 2 * count,
            execution_count: count,
            inference_stats: Some(InferStatistics {
                success: duration(count, 100),
                queue: duration(count, 7),
                ..InferStatistics::default()
            }),
            batch_stats: sizes.iter().map(batch).collect(),
        }
    }

    #[test]
    fn what_several_workers_did_is_the_sum_of_it_and_the_latest_is_the_last() {
        assert_eq!(sum([]), None);
        let all = sum([worker(50, 3, &[1, 4]), worker(90, 5, &[4, 8]), worker(0, 0, &[])]).unwrap();
        assert_eq!((all.last_inference, all.inference_count, all.execution_count), (90, 16, 8));
        let stats = all.inference_stats.unwrap();
        assert_eq!((stats.success, stats.queue), (duration(8, 300), duration(8, 21)));
        let sizes: Vec<_> = all.batch_stats.iter().map(|batch| (batch.batch_size, batch.compute_infer)).collect();
        assert_eq!(sizes, [(1, duration(3, 30)), (4, duration(8, 80)), (8, duration(5, 50))]);
    }

    #[test]
    fn a_document_has_the_names_that_clients_of_http_know() {
        let told = ModelStatisticsResponse { model_stats: vec![worker(50, 3, &[4])] };
        let document = serde_json::to_value(Document::from(told)).unwrap();
        let nothing = json!({ "count": 0, "ns": 0 });
        assert_eq!(
            document,
            json!({ "model_stats": [{
                "name": "digits", "version": "2-1", "last_inference": 50, "inference_count": 6, "execution_count": 3,
                "inference_stats": {
                    "success": { "count": 3, "ns": 100 }, "fail": nothing, "queue": { "count": 3, "ns": 7 },
                    "compute_input": nothing, "compute_infer": nothing, "compute_output": nothing,
                    "cache_hit": nothing, "cache_miss": nothing
                },
                "batch_stats": [{
                    "batch_size": 4, "compute_input": nothing, "compute_infer": { "count": 3, "ns": 30 },
                    "compute_output": nothing
                }]
            }] })
        );
    }
}
