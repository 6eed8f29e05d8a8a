//! What is told of the model: what it is, how it is served, what it has done.

use slipway_oip::configuration::{self, Sharing};
use slipway_oip::documents;
use slipway_oip::repository::Served;
use slipway_proto::inference::{ModelConfigResponse, ModelStatisticsResponse};

use super::{Inference, Phase};
use crate::engine::Batching;

impl Inference {
    /// What is said about the model.
    #[must_use]
    pub fn document(&self) -> documents::Model<'_> {
        let (platform, signature) = (self.model.platform(), self.model.signature());
        documents::Model::new(self.name(), self.version.clone(), platform, signature)
    }

    /// How it is served.
    #[must_use]
    pub fn configuration(&self) -> ModelConfigResponse {
        let (options, name) = (self.batcher.options(), self.name());
        let sharing = (*self.model.batching() == Batching::Rows).then(|| Sharing {
            max_rows: options.max_rows,
            max_delay_us: u64::try_from(options.max_delay.as_micros()).unwrap_or(u64::MAX),
        });
        let (platform, signature) = (self.model.platform(), self.model.signature());
        let config = configuration::message(name, platform, signature, options.threads, sharing);
        ModelConfigResponse { config: Some(config) }
    }

    /// What it has done since the worker started.
    #[must_use]
    pub fn statistics(&self) -> ModelStatisticsResponse {
        let (statistics, name) = (&self.telemetry.batcher.statistics, self.name());
        ModelStatisticsResponse { model_stats: vec![statistics.told(name, &self.version, self.clock.now())] }
    }

    /// What is served here: this model.
    #[must_use]
    pub fn index(&self) -> Vec<Served> {
        let unavailable = match self.phase() {
            Phase::Serving => None,
            Phase::Warm => Some("the worker has no identity yet"),
            Phase::Draining => Some("the worker is ending"),
        };
        vec![Served::new(self.name(), self.version.as_str(), unavailable)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{message, serving};
    use super::*;
    use crate::telemetry::Path;
    use slipway_proto::inference::StatisticDuration;
    use slipway_runtime::Clock;

    #[tokio::test]
    async fn every_request_is_counted_once_in_each_figure_it_belongs_to_and_its_time_adds_up() {
        let inference = serving(Clock::system());
        for rows in [1, 3, 20] {
            inference.compute(Path::Direct, inference.read(None, 1, &message(rows))).await.unwrap();
        }
        let mut wrong = message(1);
        wrong.inputs.clear();
        inference.compute(Path::Direct, inference.read(None, 1, &wrong)).await.unwrap_err();
        let told = inference.statistics().model_stats.remove(0);
        // Twenty rows are two runs of eight and one of four.
        assert_eq!((told.inference_count, told.execution_count), (24, 5));
        let sizes: Vec<_> =
            told.batch_stats.iter().map(|batch| (batch.batch_size, batch.compute_infer.unwrap().count)).collect();
        assert_eq!(sizes, [(1, 1), (3, 1), (4, 1), (8, 2)]);
        let stats = told.inference_stats.unwrap();
        let count = |duration: Option<StatisticDuration>| duration.unwrap().count;
        assert_eq!((count(stats.success), count(stats.fail), count(stats.queue)), (3, 1, 3));
        let parts = [stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output];
        assert!(parts.iter().all(|part| count(*part) == 3));
        let ns = |duration: Option<StatisticDuration>| duration.unwrap().ns;
        assert!(ns(stats.compute_input) > 0 && ns(stats.compute_infer) > 0 && ns(stats.compute_output) > 0);
        // What the parts do not cover is what goes between threads, so they are less than the whole, by all requests together.
        let of_parts: u64 = parts.into_iter().map(ns).sum();
        assert!(of_parts <= ns(stats.success), "{of_parts} {stats:?}");
        let by_size: u64 = told.batch_stats.iter().map(|batch| ns(batch.compute_infer)).sum();
        assert_eq!(by_size, ns(stats.compute_infer), "each run was for one request");
    }

    #[test]
    fn the_index_and_the_configuration_are_those_of_this_model() {
        let inference = serving(Clock::system());
        assert_eq!(inference.index(), [Served::new("digits", "2-1", None)]);
        let config = inference.configuration().config.unwrap();
        assert_eq!((config.max_batch_size, &config.input[0].dims[..]), (8, &[4][..]));
        inference.enter(Phase::Draining);
        assert_eq!(inference.index(), [Served::new("digits", "2-1", Some("the worker is ending"))]);
    }
}
