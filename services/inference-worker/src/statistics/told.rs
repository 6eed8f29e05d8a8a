//! The statistics as a message.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use slipway_kernel::Timestamp;
use slipway_proto::inference::{InferBatchStatistics, InferStatistics, ModelStatistics, StatisticDuration};

use super::{Runs, Statistics, Sum};

impl Statistics {
    /// What is told at `now` of a model of this name and version.
    #[must_use]
    pub fn told(&self, name: &str, version: &str, now: Timestamp) -> ModelStatistics {
        let computed = &self.computed;
        let requests = computed.requests.load(Relaxed);
        let of = |ns: &std::sync::atomic::AtomicU64| Some(duration(requests, ns.load(Relaxed)));
        ModelStatistics {
            name: name.to_owned(),
            version: version.to_owned(),
            last_inference: self.last_inference(now),
            inference_count: computed.rows.load(Relaxed),
            execution_count: self.executions(),
            inference_stats: Some(InferStatistics {
                success: Some(sum(&self.requests.success)),
                fail: Some(sum(&self.requests.fail)),
                queue: of(&computed.queue_ns),
                compute_input: of(&computed.input_ns),
                compute_infer: of(&computed.infer_ns),
                compute_output: of(&computed.output_ns),
                cache_hit: Some(StatisticDuration::default()),
                cache_miss: Some(StatisticDuration::default()),
            }),
            batch_stats: self.runs.iter().zip(1..).filter_map(|(runs, size)| batch(runs, size)).collect(),
        }
    }

    /// When the last run ended, by the wall clock of now: a clock that was set since does not make it another moment.
    fn last_inference(&self, now: Timestamp) -> u64 {
        match self.computed.last.load(Relaxed) {
            0 => 0,
            last => {
                let running = super::nanos(Instant::now().saturating_duration_since(self.started));
                now.0.saturating_sub(running.saturating_sub(last - 1) / 1_000_000)
            }
        }
    }
}

const fn duration(count: u64, ns: u64) -> StatisticDuration {
    StatisticDuration { count, ns }
}

fn sum(sum: &Sum) -> StatisticDuration {
    duration(sum.count.load(Relaxed), sum.ns.load(Relaxed))
}

fn batch(runs: &Runs, batch_size: u64) -> Option<InferBatchStatistics> {
    let count = runs.count.load(Relaxed);
    let of = |ns: &std::sync::atomic::AtomicU64| Some(duration(count, ns.load(Relaxed)));
    (count > 0).then(|| InferBatchStatistics {
        batch_size,
        compute_input: of(&runs.input_ns),
        compute_infer: of(&runs.infer_ns),
        compute_output: of(&runs.output_ns),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Marks;
    use crate::statistics::Computations;
    use std::time::Duration;

    #[test]
    fn each_figure_is_what_was_counted() {
        let statistics = Statistics::default();
        let nothing = statistics.told("digits", "2-1", Timestamp(50_000));
        assert_eq!((nothing.last_inference, nothing.batch_stats.len()), (0, 0));
        let ms = Duration::from_millis;
        let mut parts = Marks::default().parts(statistics.started, statistics.started);
        (parts.input, parts.infer, parts.output) = (ms(1), ms(20), ms(3));
        // Three requests in a run of four rows, and one in two runs of eight and of one.
        statistics.ran(4, &parts);
        statistics.computed(Computations { requests: 3, rows: 4, waited: ms(30) }, &parts);
        statistics.ran(8, &parts);
        statistics.ran(1, &parts);
        statistics.computed(Computations { requests: 1, rows: 9, waited: ms(5) }, &parts.and(&parts));
        (0..4).for_each(|_| statistics.request(true, ms(40)));
        statistics.request(false, ms(7));

        let told = statistics.told("digits", "2-1", Timestamp(50_000));
        assert_eq!((told.name.as_str(), told.version.as_str()), ("digits", "2-1"));
        assert_eq!((told.inference_count, told.execution_count), (13, 3));
        assert!(told.last_inference > 0 && told.last_inference <= 50_000, "{}", told.last_inference);
        let stats = told.inference_stats.unwrap();
        let figures = |duration: Option<StatisticDuration>| {
            let duration = duration.unwrap();
            (duration.count, duration.ns / 1_000_000)
        };
        assert_eq!((figures(stats.success), figures(stats.fail)), ((4, 160), (1, 7)));
        assert_eq!(figures(stats.queue), (4, 35));
        assert_eq!(figures(stats.compute_input), (4, 3 + 2));
        assert_eq!(figures(stats.compute_infer), (4, 60 + 40));
        assert_eq!(figures(stats.compute_output), (4, 9 + 6));
        let batches: Vec<_> = told
            .batch_stats
            .into_iter()
            .map(|batch| (batch.batch_size, figures(batch.compute_infer), figures(batch.compute_output)))
            .collect();
        assert_eq!(batches, [(1, (1, 20), (1, 3)), (4, (1, 20), (1, 3)), (8, (1, 20), (1, 3))]);
    }
}
