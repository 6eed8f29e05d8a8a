//! What can be configured.

use crate::domain::choose::Images;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use slipway_bus::BusConfig;
use slipway_kernel::{
    ByteSize, Refusal, Span,
    image::{PINNED, is_pinned},
};
use slipway_runtime::{Common, ServiceConfig};
use std::path::PathBuf;

/// The configuration of the platform-selector.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What every service has.
    pub common: Common,
    /// The broker.
    pub bus: BusConfig,
    /// What may be fetched at all.
    pub fetch: FetchConfig,
    /// What may be fetched over HTTPS.
    pub https: HttpsConfig,
    /// Model servers that workers may have beside them on Kubernetes.
    pub platforms: PlatformsConfig,
}

/// Model servers that workers may have beside them on Kubernetes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlatformsConfig {
    /// NVIDIA Triton Inference Server.
    pub triton: PlatformConfig,
    /// TensorFlow Serving.
    pub tensorflow_serving: PlatformConfig,
}

/// One of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlatformConfig {
    /// Its image; unset: it is not offered.
    pub image: Option<String>,
}

impl PlatformsConfig {
    /// Their images.
    #[must_use]
    pub fn images(&self) -> Images {
        Images { triton: self.triton.image.clone(), tensorflow_serving: self.tensorflow_serving.image.clone() }
    }
}

/// What may be fetched at all.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct FetchConfig {
    /// Folders that `file:` artifacts must lie in, links followed. Empty: any file this user may read, which suits a
    /// laptop; whoever lets others write specs names folders.
    pub artifact_roots: Vec<PathBuf>,
    /// The largest artifact. 2Gi: protobuf's own limit, which ONNX files cannot pass.
    pub max_model: ByteSize,
    /// The largest golden file. 64Mi: a hundred thousand rows of some hundred numbers.
    pub max_golden: ByteSize,
    /// The most golden rows. Each is sent through the model at every validation.
    pub max_golden_rows: u64,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            artifact_roots: Vec::new(),
            max_model: ByteSize(2 << 30),
            max_golden: ByteSize::mebibytes(64),
            max_golden_rows: 100_000,
        }
    }
}

/// What may be fetched over HTTPS.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpsConfig {
    /// Hosts that are asked: a name, `*.example.com` for all below it, `*` for all.
    pub hosts: Vec<String>,
    /// Ports that are asked.
    pub ports: Vec<u16>,
    /// Networks that are asked though they are not public (CIDR).
    pub allow_networks: Vec<IpNet>,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a connection may take to be made.
    pub connect_timeout: Span,
    /// How long a server may send nothing.
    pub stall_timeout: Span,
    /// How long the whole may take. 30m: two gibibytes at a megabyte a second.
    pub timeout: Span,
}

impl Default for HttpsConfig {
    fn default() -> Self {
        Self {
            hosts: vec!["*".to_owned()],
            ports: vec![443],
            allow_networks: Vec::new(),
            ca_file: None,
            connect_timeout: Span::seconds(10),
            stall_timeout: Span::seconds(30),
            timeout: Span::seconds(1_800),
        }
    }
}

/// The largest artifact the blob store takes.
const MOST_MODEL: ByteSize = ByteSize(8 << 30);

impl ServiceConfig for Config {
    const SERVICE: &'static str = "platform-selector";
    const ABOUT: &'static str = "Fetches the model, reads what it is, and decides what serves it.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut unless = |holds: bool, path: &str, value: String, allowed: &str| {
            if !holds {
                refusals.push(Refusal::new(path, value, allowed));
            }
        };
        for root in &self.fetch.artifact_roots {
            unless(root.is_absolute(), "fetch.artifact_roots", root.display().to_string(), "absolute paths");
        }
        let model = self.fetch.max_model;
        unless((1..=MOST_MODEL.0).contains(&model.0), "fetch.max_model", model.to_string(), "1 to 8Gi");
        let golden = self.fetch.max_golden;
        unless((1..=1 << 30).contains(&golden.0), "fetch.max_golden", golden.to_string(), "1 to 1Gi");
        let rows = self.fetch.max_golden_rows;
        unless((1..=10_000_000).contains(&rows), "fetch.max_golden_rows", rows.to_string(), "1 to 10000000");
        for host in &self.https.hosts {
            let name = host.strip_prefix("*.").unwrap_or(host);
            let valid = host == "*" || (!name.is_empty() && !name.contains(['*', '/', ':', '@']));
            unless(valid, "https.hosts", host.clone(), "`*`, a host name, or `*.` and a host name");
        }
        for (path, platform) in [
            ("platforms.triton.image", &self.platforms.triton),
            ("platforms.tensorflow_serving.image", &self.platforms.tensorflow_serving),
        ] {
            // Security lets no other through.
            let image = platform.image.clone().unwrap_or_default();
            unless(platform.image.is_none() || is_pinned(&image), path, image, PINNED);
        }
        for (path, span) in [
            ("https.connect_timeout", self.https.connect_timeout),
            ("https.stall_timeout", self.https.stall_timeout),
            ("https.timeout", self.https.timeout),
        ] {
            unless(!span.0.is_zero(), path, span.to_string(), "more than 0");
        }
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_every_key_with_its_default() {
        slipway_runtime::config::check_readme::<Config>(include_str!("../README.md")).unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused_all_at_once() {
        let mut config = Config::default();
        assert!(config.check().is_empty());
        config.fetch.artifact_roots = vec!["models".into()];
        config.fetch.max_model = ByteSize(0);
        config.https.hosts = vec!["https://example.com".into(), "*.example.com".into(), "a*b".into()];
        config.https.timeout = Span::millis(0);
        config.platforms.triton.image = Some("nvcr.io/nvidia/tritonserver:26.10".into());
        config.platforms.tensorflow_serving.image = Some("tensorflow/serving".into());
        let paths: Vec<String> = config.check().into_iter().map(|refusal| refusal.path).collect();
        let expected = [
            "fetch.artifact_roots",
            "fetch.max_model",
            "https.hosts",
            "https.hosts",
            "platforms.triton.image",
            "platforms.tensorflow_serving.image",
            "https.timeout",
        ];
        assert_eq!(paths, expected);
    }
}
