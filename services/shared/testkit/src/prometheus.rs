//! A real Prometheus, and its checker.

use crate::{Program, free_port, tools::tool};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};
use tempfile::TempDir;

const START: Duration = Duration::from_secs(30);

/// A Prometheus on a free port of the loopback.
#[derive(Debug)]
pub struct Prometheus {
    _program: Program,
    folder: TempDir,
    port: u16,
    client: reqwest::Client,
}

/// One series with its newest value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels, name included.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Prometheus {
    /// Starts with this configuration; relative paths in it are read from [`folder`](Self::folder).
    ///
    /// # Panics
    /// When it is not installed, or refuses the configuration.
    pub async fn start(config: &str) -> Self {
        slipway_runtime::tls::install_provider();
        let folder = tempfile::Builder::new().prefix("slipway-prometheus-").tempdir().expect("a temporary folder");
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).expect("a file");
        let port = free_port();
        let mut command = Command::new(tool("prometheus"));
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().expect("a client");
        let mut program = Program::start("prometheus", command, &folder.path().join("prometheus.log"));
        let ready = format!("http://127.0.0.1:{port}/-/ready");
        program
            .wait_ready(START, || async {
                client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        Self { _program: program, folder, port, client }
    }

    /// The folder with its configuration.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An instant query.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn query(&self, query: &str) -> Vec<Sample> {
        let answer = self.get(&["api", "v1", "query"], &[("query", query)]).await;
        let result = answer["data"]["result"].as_array().expect("a vector");
        result.iter().map(sample).collect()
    }

    /// Every target as Prometheus sees it: job, address, health, last error.
    pub async fn targets(&self) -> Vec<Value> {
        let answer = self.get(&["api", "v1", "targets"], &[]).await;
        answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default()
    }

    /// The rules it has loaded, group by group.
    pub async fn rules(&self) -> Vec<Value> {
        let answer = self.get(&["api", "v1", "rules"], &[]).await;
        answer["data"]["groups"].as_array().cloned().unwrap_or_default()
    }

    async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Value {
        let base = format!("http://127.0.0.1:{}/{}", self.port, path.join("/"));
        let url = reqwest::Url::parse_with_params(&base, query).expect("a URL");
        let text = self.client.get(url).send().await.expect("an answer").text().await.expect("a body");
        let answer: Value = serde_json::from_str(&text).expect("Prometheus answers JSON");
        assert_eq!(answer["status"], "success", "{base} {query:?}: {text}");
        answer
    }
}

fn sample(one: &Value) -> Sample {
    let labels = one["metric"].as_object().into_iter().flatten();
    let text = one["value"][1].as_str().unwrap_or_default();
    Sample {
        labels: labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect(),
        value: text.parse().unwrap_or(f64::NAN),
    }
}

/// Runs `promtool` in a folder.
///
/// # Panics
/// When it is not installed.
pub fn promtool<S: AsRef<OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> Output {
    let mut command = Command::new(tool("promtool"));
    command.current_dir(folder).args(arguments);
    command.output().expect("promtool can be started")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually;

    #[tokio::test]
    async fn it_scrapes_itself_and_answers_queries() {
        let port = free_port();
        // Scraping a port where nobody listens is a target that is down, and says so.
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs: [{{ job_name: none, static_configs: [{{ targets: ['127.0.0.1:{port}'] }}] }}]\n"
        );
        let prometheus = Prometheus::start(&config).await;
        let up = eventually(Duration::from_secs(20), || async { prometheus.query("up").await.first().cloned() }).await;
        assert_eq!((up.labels["job"].as_str(), up.value), ("none", 0.0));
        assert_eq!(prometheus.targets().await.len(), 1);
    }
}
