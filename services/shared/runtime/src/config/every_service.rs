//! The section `[common]` that every service has.

use serde::{Deserialize, Serialize};
use slipway_kernel::{Refusal, Span};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// What every process needs: `[common]` in each service's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Common {
    /// The admin endpoints.
    pub admin: AdminConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// Folder for what the service keeps on this machine.
    pub data_dir: PathBuf,
    /// Threads of the async runtime. Unset: one per core, at most four, because a control-plane service waits far more
    /// than it computes; engines bring threads of their own.
    pub worker_threads: Option<usize>,
    /// How long a shutdown may take before what is still running is dropped. 25 s: Kubernetes kills after 30 s unless
    /// told otherwise, and the last traces want a moment too.
    pub drain: Span,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            admin: AdminConfig::default(),
            telemetry: TelemetryConfig::default(),
            data_dir: PathBuf::from(".slipway"),
            worker_threads: None,
            drain: Span::seconds(25),
        }
    }
}

/// The admin endpoints `/livez`, `/readyz`, `/metrics` and `/status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdminConfig {
    /// Where to listen; unset: nowhere. Loopback on a shared machine, because the endpoints ask nobody who they are
    /// (they hold no secrets, but say much); port 0 takes a free one.
    pub listen: Option<SocketAddr>,
}

/// Logs and traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryConfig {
    /// OTLP/gRPC collector, `http://host:port`; unset: traces are carried on but exported nowhere.
    pub otlp_endpoint: Option<String>,
    /// Form of the log on standard error.
    pub log: LogFormat,
    /// What is logged, as `target=level` pairs. Traces do not depend on it.
    pub filter: String,
    /// Share of the requests without a trace of their own that are recorded, 0 to 1, up to 1,000 a second; a trace begun elsewhere
    /// keeps its caller's decision, and those of deployments are always recorded.
    pub sample_ratio: f64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, log: LogFormat::Text, filter: "info".to_owned(), sample_ratio: 1.0 }
    }
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for a person.
    #[default]
    Text,
    /// One JSON object a line, with service, trace and span id.
    Json,
}

/// More runtime threads than any machine we know has cores.
const MAX_WORKER_THREADS: usize = 512;

impl Common {
    /// What the types cannot say, with paths below `common`.
    #[must_use]
    pub fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if let Some(threads) = self.worker_threads
            && !(1..=MAX_WORKER_THREADS).contains(&threads)
        {
            refusals.push(Refusal::new("common.worker_threads", threads, format!("1 to {MAX_WORKER_THREADS}")));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&self.drain.0) {
            refusals.push(Refusal::new("common.drain", self.drain, "1s to 1h"));
        }
        if self.data_dir.as_os_str().is_empty() {
            refusals.push(Refusal::new("common.data_dir", "\"\"", "a folder"));
        }
        let telemetry = &self.telemetry;
        if let Some(endpoint) = &telemetry.otlp_endpoint
            && !is_collector(endpoint)
        {
            // Plain HTTP only: the collector stands beside the process or in its cluster, behind the network's own lock.
            refusals.push(Refusal::new(
                "common.telemetry.otlp_endpoint",
                endpoint,
                "http://host:port of an OTLP/gRPC collector",
            ));
        }
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&telemetry.filter) {
            refusals.push(Refusal::new(
                "common.telemetry.filter",
                &telemetry.filter,
                format!(
                    "a level (error, warn, info, debug, trace, off) or target=level pairs with commas between ({error})"
                ),
            ));
        }
        if !(0.0..=1.0).contains(&telemetry.sample_ratio) {
            refusals.push(Refusal::new("common.telemetry.sample_ratio", telemetry.sample_ratio, "0 to 1"));
        }
        refusals
    }
}

fn is_collector(endpoint: &str) -> bool {
    endpoint
        .parse::<http::Uri>()
        .is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted() {
        assert_eq!(Common::default().check(), Vec::new());
    }

    #[test]
    fn each_value_out_of_range_is_refused_by_its_path() {
        let common = Common {
            data_dir: PathBuf::new(),
            worker_threads: Some(0),
            drain: Span::millis(1),
            telemetry: TelemetryConfig {
                otlp_endpoint: Some("https://collector:4317".to_owned()),
                filter: "slipway=loud".to_owned(),
                sample_ratio: f64::NAN,
                ..TelemetryConfig::default()
            },
            ..Common::default()
        };
        let paths: Vec<String> = common.check().into_iter().map(|refusal| refusal.path).collect();
        assert_eq!(
            paths,
            [
                "common.worker_threads",
                "common.drain",
                "common.data_dir",
                "common.telemetry.otlp_endpoint",
                "common.telemetry.filter",
                "common.telemetry.sample_ratio"
            ]
        );
    }
}
