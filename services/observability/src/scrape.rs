//! Asking targets for their metrics.

use crate::{
    config::Config,
    domain::{Sample, parse},
    telemetry::ObservabilityMetrics,
};
use std::time::Duration;

/// A target that takes longer is as good as silent; Prometheus' own default is 10 s.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The largest exposition that is read.
const MAX_BYTES: usize = 16 << 20;

/// Why a target told nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScrapeError {
    #[error("{target} does not answer")]
    Unreachable {
        target: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{target} answers with more than {MAX_BYTES} bytes")]
    TooLarge { target: String },
}

/// Asks targets.
#[derive(Debug)]
pub(crate) struct Scraper {
    client: reqwest::Client,
    ingress: Vec<String>,
    metrics: ObservabilityMetrics,
}

impl Scraper {
    pub(crate) fn new(config: &Config, metrics: ObservabilityMetrics) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build()?;
        Ok(Self { client, ingress: config.ingress_metrics.clone(), metrics })
    }

    /// The samples of one target, `host:port`.
    pub(crate) async fn target(&self, target: &str) -> Result<Vec<Sample>, ScrapeError> {
        let scraped = self.fetch(target).await;
        self.metrics.scraped(scraped.is_ok());
        scraped
    }

    async fn fetch(&self, target: &str) -> Result<Vec<Sample>, ScrapeError> {
        let unreachable = |source| ScrapeError::Unreachable { target: target.to_owned(), source };
        let answer = self.client.get(format!("http://{target}/metrics")).send().await.map_err(unreachable)?;
        let mut answer = answer.error_for_status().map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(ScrapeError::TooLarge { target: target.to_owned() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(parse(&String::from_utf8_lossy(&body)))
    }

    /// The samples of all ingress replicas together.
    pub(crate) async fn ingress(&self) -> Result<Vec<Sample>, ScrapeError> {
        let mut all = Vec::new();
        for target in &self.ingress {
            all.extend(self.target(target).await?);
        }
        Ok(all)
    }
}
