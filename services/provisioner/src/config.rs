//! What can be configured.

use crate::{domain::prices::Prices, stack::StackConfig};
use serde::{Deserialize, Serialize};
use slipway_bus::BusConfig;
use slipway_kernel::{
    ByteSize, Refusal, Span,
    names::{DNS_LABEL, is_dns_label},
};
use slipway_runtime::{Common, ServiceConfig};
use std::path::{Path, PathBuf};

/// The configuration of the provisioner.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What every service has.
    pub common: Common,
    /// The broker.
    pub bus: BusConfig,
    /// This machine.
    pub local: LocalConfig,
    /// The cluster that is there.
    pub kubernetes: KubernetesConfig,
    /// Machines that could be set up.
    pub bare_metal: BareMetalConfig,
    /// The clouds.
    pub cloud: CloudConfig,
    /// What is made in a cloud.
    pub stack: StackConfig,
    /// What things cost.
    pub prices: PricesConfig,
}

/// This machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalConfig {
    /// Whether workers are kept on this machine. In a pod they are not.
    pub enabled: bool,
    /// Where it is, in the words of `spec.infrastructure.residency`.
    pub regions: Vec<String>,
    /// What it complies with, in the words of `spec.infrastructure.compliance`.
    pub compliance: Vec<String>,
    /// Whether it is run by those who run this installation; a machine rented of a vendor is not.
    pub own: bool,
    /// What the network between it and the clients costs. 1 ms: the same building.
    pub latency: Span,
    /// How many times over its cores may be promised to workers. Two: workers seldom compute all at once, and who comes
    /// second is slower, not dead.
    pub cpu_overcommit: f64,
    /// Free disk below which nothing is deployed. 256Mi: logs, results and the broker's journal of a busy hour.
    pub min_disk: ByteSize,
    /// Memory that must stay free beside the workers. 64Mi: what the services of this installation take themselves.
    pub spare_memory: ByteSize,
    /// The command that starts an inference worker; empty = found beside this program.
    pub worker: Vec<String>,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            regions: vec!["this-machine".to_owned(), "on-prem".to_owned()],
            compliance: vec!["air-gapped".to_owned()],
            own: true,
            latency: Span::millis(1),
            cpu_overcommit: 2.0,
            min_disk: ByteSize::mebibytes(256),
            spare_memory: ByteSize::mebibytes(64),
            worker: Vec::new(),
        }
    }
}

/// The cluster that is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct KubernetesConfig {
    /// Whether workers are kept in it.
    pub enabled: bool,
    /// The cluster, for a provisioner outside of it; unset: that of `KUBECONFIG`, else of the own pod.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the workers; unset: that of the own pod, or of the kubeconfig.
    pub namespace: Option<String>,
    /// The user that the controller is there, such as `system:serviceaccount:slipway:slipway-controller`: its rights are looked at. Unset: those
    /// of the kubeconfig, which both use; in a pod, nobody's.
    pub controller: Option<String>,
    /// Keys of taints that do not keep workers away, because the cluster lets them be tolerated on admission.
    pub tolerated_taints: Vec<String>,
    /// Whether nodes come when pods wait for them; then what there is now is no bound.
    pub autoscaler: bool,
    /// Engines in the worker's image beside those that are part of every worker.
    pub engines: Vec<String>,
    /// Where it is.
    pub regions: Vec<String>,
    /// What it complies with.
    pub compliance: Vec<String>,
    /// Whether its machines and itself are run by those who run this installation, and by no vendor.
    pub own: bool,
    /// What the network between it and the clients costs. 2 ms: the same site, through an ingress.
    pub latency: Span,
    /// Whether it has nodes with GPUs, where nodes cannot be looked at or come when they are needed.
    pub gpus: bool,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            kubeconfig: None,
            namespace: None,
            controller: None,
            tolerated_taints: Vec::new(),
            autoscaler: false,
            engines: Vec::new(),
            regions: Vec::new(),
            compliance: Vec::new(),
            own: false,
            latency: Span::millis(2),
            gpus: false,
        }
    }
}

/// Machines that could be set up.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct BareMetalConfig {
    /// Where they would be.
    pub regions: Vec<String>,
    /// What they would comply with.
    pub compliance: Vec<String>,
    /// Whether they would be run by those who run this installation.
    pub own: bool,
    /// What the network between them and the clients would cost.
    pub latency: Span,
}

impl Default for BareMetalConfig {
    fn default() -> Self {
        Self {
            regions: vec!["on-prem".to_owned()],
            compliance: vec!["air-gapped".to_owned()],
            own: true,
            latency: Span::millis(1),
        }
    }
}

/// The clouds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct CloudConfig {
    /// What the network between the clients and the nearest region costs. 25 ms: a region of the same continent.
    pub latency: Span,
}

impl Default for CloudConfig {
    fn default() -> Self {
        Self { latency: Span::millis(25) }
    }
}

/// What things cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PricesConfig {
    /// A price table to use instead of the built-in one of list prices.
    pub file: Option<PathBuf>,
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "provisioner";
    const ABOUT: &'static str = "Decides where a model shall run, and makes that place ready.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let overcommit = self.local.cpu_overcommit;
        // Beyond 64 workers to a core nothing answers in time.
        if !(1.0..=64.0).contains(&overcommit) {
            refusals.push(Refusal::new("local.cpu_overcommit", overcommit, "1 to 64"));
        }
        if let Some(namespace) = self.kubernetes.namespace.as_ref().filter(|name| !is_dns_label(name)) {
            refusals.push(Refusal::new("kubernetes.namespace", namespace, DNS_LABEL));
        }
        if self.local.worker.first().is_some_and(String::is_empty) {
            refusals.push(Refusal::new("local.worker", "an empty program", "a program and its arguments, or []"));
        }
        refusals.extend(self.stack.check(self.kubernetes.enabled));
        refusals
    }
}

/// The table that is built in.
const LIST_PRICES: &str = include_str!("../prices.toml");

/// Why a price table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PriceTableError {
    /// It cannot be read.
    #[error("cannot read the price table {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no price table.
    #[error("the price table {origin} is not understood")]
    Malformed {
        /// The file, or `built in`.
        origin: String,
        /// Why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// Some of it makes no sense.
    #[error("the price table {origin} holds what makes no sense (prices are amounts between 0 and 100000 an hour, factors 0.01 to 100, names are there once and mean something): {}", .parts.join(", "))]
    Insane {
        /// The file, or `built in`.
        origin: String,
        /// Where, by path.
        parts: Vec<String>,
    },
}

impl PricesConfig {
    /// The price table.
    ///
    /// # Errors
    /// [`PriceTableError`].
    pub fn load(&self) -> Result<Prices, PriceTableError> {
        match &self.file {
            None => parse("built in", LIST_PRICES),
            Some(path) => {
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|source| PriceTableError::Read { path: path.clone(), source })?;
                parse(&named(path), &text)
            }
        }
    }
}

fn named(path: &Path) -> String {
    path.display().to_string()
}

fn parse(origin: &str, text: &str) -> Result<Prices, PriceTableError> {
    let malformed = |source| PriceTableError::Malformed { origin: origin.to_owned(), source: Box::new(source) };
    let prices: Prices = toml::from_str(text).map_err(malformed)?;
    let parts = prices.insane();
    if parts.is_empty() { Ok(prices) } else { Err(PriceTableError::Insane { origin: origin.to_owned(), parts }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_is_dated_and_sane() {
        let prices = PricesConfig::default().load().unwrap();
        assert_eq!(prices.as_of.len(), "2025-10-01".len());
        assert!(prices.aws.core > 0.0 && prices.local.core == 0.0);
        assert!([&prices.aws, &prices.azure, &prices.gcp].iter().all(|cloud| cloud.regions.len() == 6));
    }

    #[test]
    fn a_table_of_ones_own_takes_its_place_and_a_bad_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prices.toml");
        let config = PricesConfig { file: Some(file.clone()) };
        assert!(matches!(config.load(), Err(PriceTableError::Read { .. })));
        std::fs::write(&file, LIST_PRICES.replace("core = 0.0336", "core = 0.02")).unwrap();
        assert!((config.load().unwrap().aws.core - 0.02).abs() < f64::EPSILON);
        std::fs::write(&file, LIST_PRICES.replace("core = 0.0336", "core = -1.0")).unwrap();
        let error = config.load().unwrap_err().to_string();
        assert!(error.ends_with(": aws.core"), "{error}");
        std::fs::write(&file, LIST_PRICES.replace("[gcp]", "[gpc]")).unwrap();
        assert!(matches!(config.load(), Err(PriceTableError::Malformed { .. })));
    }

    #[test]
    fn the_readme_lists_every_key_with_its_default() {
        slipway_runtime::config::check_readme::<Config>(include_str!("../README.md")).unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused_all_at_once() {
        let mut config = Config::default();
        assert!(config.check().is_empty());
        config.local.cpu_overcommit = 0.0;
        config.kubernetes.namespace = Some("Models".to_owned());
        config.local.worker = vec![String::new()];
        let paths: Vec<String> = config.check().into_iter().map(|refusal| refusal.path).collect();
        assert_eq!(paths, ["local.cpu_overcommit", "kubernetes.namespace", "local.worker"]);
    }
}
