//! Asking targets for their metrics.

use crate::{
    config::Config,
    domain::{Sample, parse},
    telemetry::ObservabilityMetrics,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::task::JoinSet;

/// A target that takes longer is as good as silent; Prometheus' own default is 10 s.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The largest exposition that is read.
const MAX_BYTES: usize = 16 << 20;

/// Replicas of the ingress that are asked. More than any cluster of ours has; what else a name stands for is not ours.
const MAX_REPLICAS: usize = 256;

/// What one ingress replica told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Its address.
    pub(crate) replica: String,
    /// Its samples.
    pub(crate) samples: Vec<Sample>,
}

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
    #[error("{target} has no address")]
    Nameless {
        target: String,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no ingress replica to ask")]
    Nobody,
}

/// Asks targets. Cheap to clone.
#[derive(Clone, Debug)]
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

    /// What each ingress replica tells that answers. A replica that is on its way in or out is passed over: it must not blind the watch
    /// on the others.
    ///
    /// # Errors
    /// When none answers: why the last one did not.
    pub(crate) async fn ingress(&self) -> Result<Vec<Told>, ScrapeError> {
        let (mut told, mut silent) = (Vec::new(), ScrapeError::Nobody);
        let mut asking = JoinSet::new();
        for replica in self.replicas(&mut silent).await {
            let scraper = self.clone();
            asking.spawn(async move { (scraper.target(&replica).await, replica) });
        }
        while let Some(asked) = asking.join_next().await {
            match asked {
                Ok((Ok(samples), replica)) => told.push(Told { replica, samples }),
                Ok((Err(error), replica)) => {
                    tracing::debug!(
                        replica,
                        error = &error as &dyn std::error::Error,
                        "an ingress replica is passed over"
                    );
                    silent = error;
                }
                Err(error) => tracing::error!(%error, "asking a replica ended before its time"),
            }
        }
        if told.is_empty() { Err(silent) } else { Ok(told) }
    }

    /// The addresses of all replicas: a host name stands for all that it has at this moment.
    async fn replicas(&self, silent: &mut ScrapeError) -> BTreeSet<String> {
        let mut replicas = BTreeSet::new();
        for target in &self.ingress {
            match tokio::net::lookup_host(target).await {
                Ok(addresses) => replicas.extend(addresses.map(|address| address.to_string())),
                Err(source) => {
                    let error = ScrapeError::Nameless { target: target.clone(), source };
                    tracing::debug!(error = &error as &dyn std::error::Error, "a name of the ingress is passed over");
                    *silent = error;
                }
            }
        }
        replicas.into_iter().take(MAX_REPLICAS).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_runtime::{Frame, tls};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    /// A replica that tells its one figure.
    async fn replica(figure: u32) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let body = format!("figure {figure}\n");
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                // Who asks sends one small packet, and waits.
                let _ = stream.read(&mut [0; 1_024]).await;
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        address
    }

    fn scraper(ingress: &[String]) -> Scraper {
        tls::install_provider();
        let metrics = ObservabilityMetrics::register(&Frame::for_test("observability").metrics);
        Scraper::new(&Config { ingress_metrics: ingress.to_vec(), ..Config::default() }, metrics).unwrap()
    }

    #[tokio::test]
    async fn each_replica_that_answers_is_told_apart_and_silent_ones_are_passed_over() {
        let (one, two) = (replica(1).await, replica(2).await);
        // Nobody listens there any more.
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let told = scraper(&[one.clone(), gone.clone(), two.clone()]).ingress().await.unwrap();
        let mut told: Vec<_> = told.into_iter().map(|told| (told.replica, told.samples[0].value)).collect();
        told.sort_by(|a, b| a.1.total_cmp(&b.1));
        assert_eq!(told, [(one, 1.0), (two, 2.0)]);
        let error = scraper(std::slice::from_ref(&gone)).ingress().await.unwrap_err();
        assert!(error.to_string().contains(&gone), "{error}");
    }

    #[tokio::test]
    async fn a_name_stands_for_its_addresses() {
        let port = replica(7).await.rsplit_once(':').unwrap().1.to_owned();
        let told = scraper(&[format!("localhost:{port}")]).ingress().await.unwrap();
        assert_eq!(told[0].replica, format!("127.0.0.1:{port}"));
    }
}
