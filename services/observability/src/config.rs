//! Settings.

use serde::{Deserialize, Serialize};
use slipway_bus::BusConfig;
use slipway_kernel::{
    Refusal, Span,
    names::{DNS_LABEL, is_dns_label},
};
use slipway_runtime::{Common, ServiceConfig};
use std::{collections::BTreeMap, path::PathBuf};

/// Settings of observability.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// What every service has.
    pub common: Common,
    /// The broker.
    pub bus: BusConfig,
    /// `host:port` of each ingress replica's metrics. A host name stands for all its addresses, looked up each time: that of a headless
    /// Service is every replica.
    pub ingress_metrics: Vec<String>,
    /// How long the promised series may take to appear.
    pub proof_timeout: Span,
    /// The watch on the objectives.
    pub watch: WatchConfig,
    /// What is shown in a cluster.
    pub kubernetes: KubernetesConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            common: Common::default(),
            bus: BusConfig::default(),
            ingress_metrics: vec!["127.0.0.1:9464".to_owned()],
            proof_timeout: Span::seconds(30),
            watch: WatchConfig::default(),
            kubernetes: KubernetesConfig::default(),
        }
    }
}

/// What is shown in a cluster, to Prometheus' operator and to Grafana.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct KubernetesConfig {
    /// Whether anything is.
    pub enabled: bool,
    /// The cluster, from outside of it; unset: `KUBECONFIG`, else that of the own pod.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the objects; unset: that of the own pod.
    pub namespace: Option<String>,
    /// Name of this installation, on every object it makes: two in one namespace need two.
    pub installation: String,
    /// Whether alert rules become a `PrometheusRule`, where that is served.
    pub rules: bool,
    /// Labels of it, by which a Prometheus chooses its rules.
    pub rule_labels: BTreeMap<String, String>,
    /// Whether dashboards become ConfigMaps.
    pub dashboards: bool,
    /// Labels of those, by which Grafana's sidecar finds them.
    pub dashboard_labels: BTreeMap<String, String>,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            kubeconfig: None,
            namespace: None,
            installation: "slipway".to_owned(),
            rules: true,
            rule_labels: BTreeMap::new(),
            dashboards: true,
            dashboard_labels: BTreeMap::from([("grafana_dashboard".to_owned(), "1".to_owned())]),
        }
    }
}

/// The watch on the objectives.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchConfig {
    /// How often the ingress replicas are asked.
    pub interval: Span,
    /// The short window: a degradation is seen this late at the earliest, a recovery too.
    pub short: Span,
    /// The long window: an objective must be missed in both.
    pub long: Span,
    /// Fewer requests than this in the short window tell nothing.
    pub min_requests: u32,
    /// How many times faster than sustainable the error budget must burn. 14.4 spends a 30-day budget in 50 hours.
    pub burn_rate: f64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            interval: Span::seconds(2),
            short: Span::seconds(10),
            long: Span::seconds(60),
            min_requests: 20,
            burn_rate: 14.4,
        }
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "observability";
    const ABOUT: &'static str = "Makes each deployment visible, proves that it is, and watches its objectives.";

    fn common(&self) -> &Common {
        &self.common
    }

    fn check(&self) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for address in &self.ingress_metrics {
            if address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
                refusals.push(Refusal::new("ingress_metrics", address, "host:port"));
            }
        }
        let watch = &self.watch;
        if watch.interval < Span::millis(100) || watch.interval > watch.short {
            refusals.push(Refusal::new("watch.interval", watch.interval, "100ms to watch.short"));
        }
        if watch.long < watch.short || watch.long > Span::seconds(3_600) {
            refusals.push(Refusal::new("watch.long", watch.long, "watch.short to 1h"));
        }
        if !(1.0..=1_000.0).contains(&watch.burn_rate) {
            refusals.push(Refusal::new("watch.burn_rate", watch.burn_rate, "1 to 1000"));
        }
        let kubernetes = &self.kubernetes;
        let namespace = kubernetes.namespace.as_deref().map(|name| ("kubernetes.namespace", name));
        for (path, name) in namespace.into_iter().chain([("kubernetes.installation", kubernetes.installation.as_str())])
        {
            if !is_dns_label(name) {
                refusals.push(Refusal::new(path, name, DNS_LABEL));
            }
        }
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_the_settings_as_they_are() {
        slipway_runtime::check_readme::<Config>(include_str!("../README.md")).unwrap();
    }
}
