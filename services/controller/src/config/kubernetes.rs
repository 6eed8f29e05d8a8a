//! The workers in a cluster.

use crate::{
    domain::manifest::kubernetes::{Cluster, Queues},
    target::kubernetes::{OnDrift, SCALED_OBJECT, Setup},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use slipway_bus::{BusConfig, topology::StreamName};
use slipway_cluster::Objects;
use slipway_kernel::{
    Refusal, Span,
    names::{DNS_LABEL, is_dns_label},
};
use slipway_runtime::TelemetryConfig;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// The port of a broker whose address names none.
const BROKER_PORT: u16 = 4222;

/// The pauses before a cluster that does not answer is asked again at the start.
const PAUSES_MS: [u64; 5] = [250, 500, 1000, 2000, 4000];

/// The workers in a cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct KubernetesConfig {
    /// Whether this replica may keep workers in a cluster. Then `local.enabled` is false.
    pub enabled: bool,
    /// The cluster, for a controller outside of it; unset: that of the own pod, else `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the workers; unset: that of the own pod.
    pub namespace: Option<String>,
    /// The namespace of the services, which are let in to workers; unset: that of the workers.
    pub services_namespace: Option<String>,
    /// Name of this installation, on every object it makes: two in one namespace need two.
    pub installation: String,
    /// The worker's image. Required.
    pub image: String,
    /// When it is pulled: `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// Secrets with the credentials of its registry.
    pub image_pull_secrets: Vec<String>,
    /// The service account of workers; it needs no rights.
    pub service_account: String,
    /// The Secret with the workers' key of the broker, under `inference-worker.nk`.
    pub key_secret: String,
    /// The ConfigMap with the authority of the broker's certificate, under `ca.crt`; unset: what systems trust.
    pub ca_configmap: Option<String>,
    /// The broker as workers reach it; unset: `bus.url`.
    pub broker_url: Option<String>,
    /// The Prometheus that scaling by requests asks, where KEDA is; unset: workers are scaled by processor time.
    pub prometheus: Option<String>,
    /// `host:port` of the broker's monitoring, where KEDA reads how many requests wait in queues; unset: it does not.
    pub broker_monitor: Option<String>,
    /// Annotations of every worker's pod.
    pub pod_annotations: BTreeMap<String, String>,
    /// What happens to objects that others changed: `put-right` or `report`.
    pub on_drift: OnDrift,
    /// Namespaces whose ModelDeployments are carried out; `*`: all; empty: none. Workers may be elsewhere.
    pub custom_resources: Vec<String>,
    /// How long the lease on the workers holds without renewal: another replica takes over after this.
    pub lease: Span,
    /// How long a worker that is to end may finish what it has.
    pub drain: Span,
    /// How long a worker may take until it is ready before it is started anew.
    pub start_within: Span,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            kubeconfig: None,
            namespace: None,
            services_namespace: None,
            installation: "slipway".to_owned(),
            image: String::new(),
            image_pull_policy: "IfNotPresent".to_owned(),
            image_pull_secrets: Vec::new(),
            service_account: "slipway-worker".to_owned(),
            key_secret: "slipway-key-inference-worker".to_owned(),
            ca_configmap: None,
            broker_url: None,
            prometheus: None,
            broker_monitor: None,
            pod_annotations: BTreeMap::new(),
            on_drift: OnDrift::default(),
            custom_resources: Vec::new(),
            lease: Span::seconds(10),
            drain: Span::seconds(10),
            start_within: Span::seconds(600),
        }
    }
}

impl KubernetesConfig {
    /// The target's setup, with what was left open filled in.
    ///
    /// # Errors
    /// When no cluster is known, or it does not answer.
    pub async fn setup(&self, bus: &BusConfig, telemetry: &TelemetryConfig) -> anyhow::Result<Setup> {
        let found = slipway_cluster::connect(self.kubeconfig.as_deref(), None).await?;
        let namespace = self.namespace.clone().unwrap_or(found.namespace);
        let objects = Objects::new(found.client.clone(), &namespace, "slipway");
        let mut pauses = PAUSES_MS.into_iter();
        let has_keda = loop {
            match (objects.serves(SCALED_OBJECT).await, pauses.next()) {
                (Err(_), Some(pause)) => tokio::time::sleep(Duration::from_millis(pause)).await,
                (answer, _) => break answer?,
            }
        };
        Ok(Setup {
            cluster: self.cluster(bus, telemetry, namespace, has_keda),
            lease: self.lease.0,
            on_drift: self.on_drift,
            client: found.client,
        })
    }

    /// What all workers have in common, in this namespace.
    #[must_use]
    pub fn cluster(&self, bus: &BusConfig, telemetry: &TelemetryConfig, namespace: String, has_keda: bool) -> Cluster {
        let broker_url = self.broker_url.clone().unwrap_or_else(|| bus.url.clone());
        let ports = [Some(port(&broker_url).unwrap_or(BROKER_PORT)), telemetry.otlp_endpoint.as_deref().and_then(port)];
        let log = json!({
            "otlp_endpoint": telemetry.otlp_endpoint,
            "log": telemetry.log,
            "filter": telemetry.filter,
            "sample_ratio": telemetry.sample_ratio,
        });
        Cluster {
            installation: self.installation.clone(),
            services_namespace: self.services_namespace.clone().unwrap_or_else(|| namespace.clone()),
            namespace,
            image: self.image.clone(),
            image_pull_policy: self.image_pull_policy.clone(),
            image_pull_secrets: self.image_pull_secrets.clone(),
            service_account: self.service_account.clone(),
            key_secret: self.key_secret.clone(),
            ca_config_map: self.ca_configmap.clone(),
            egress_ports: ports.into_iter().flatten().collect(),
            broker_url,
            telemetry: without_nulls(log),
            drain: self.drain,
            start_within: self.start_within,
            prometheus: self.prometheus.clone(),
            queues: self
                .broker_monitor
                .clone()
                .map(|monitor| Queues { monitor, stream: StreamName::Requests.as_str().to_owned() }),
            pod_annotations: self.pod_annotations.clone(),
            has_keda,
        }
    }

    pub(super) fn check(&self, refusals: &mut Vec<Refusal>) {
        let mut refuse = |key: &str, value: &str, allowed: &str| {
            refusals.push(Refusal::new(format!("kubernetes.{key}"), value, allowed));
        };
        if !is_dns_label(&self.installation) {
            refuse("installation", &self.installation, DNS_LABEL);
        }
        for (key, name) in [("namespace", &self.namespace), ("services_namespace", &self.services_namespace)] {
            if let Some(name) = name.as_ref().filter(|name| !is_dns_label(name)) {
                refuse(key, name, DNS_LABEL);
            }
        }
        for namespace in self.custom_resources.iter().filter(|namespace| *namespace != "*" && !is_dns_label(namespace))
        {
            refuse("custom_resources", namespace, "names of namespaces, or * for all");
        }
        if !["Always", "IfNotPresent", "Never"].contains(&self.image_pull_policy.as_str()) {
            refuse("image_pull_policy", &self.image_pull_policy, "Always, IfNotPresent or Never");
        }
        if self.enabled && self.image.is_empty() {
            refuse("image", "", "the worker's image, such as `registry.example/slipway-worker:0.1.0`");
        }
    }
}

/// The port in an address such as `tls://host:4222`.
fn port(url: &str) -> Option<u16> {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    host.split(['/', ',']).next()?.rsplit_once(':')?.1.parse().ok()
}

fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(fields) => {
            serde_json::Value::Object(fields.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let config = KubernetesConfig {
            enabled: true,
            namespace: Some("A".into()),
            image_pull_policy: "sometimes".into(),
            installation: String::new(),
            custom_resources: vec!["*".into(), "team-b".into(), "Team".into()],
            ..KubernetesConfig::default()
        };
        let mut refusals = Vec::new();
        config.check(&mut refusals);
        let paths: Vec<_> = refusals.into_iter().map(|refusal| refusal.path).collect();
        let expected = ["installation", "namespace", "custom_resources", "image_pull_policy", "image"];
        assert_eq!(paths, expected.map(|key| format!("kubernetes.{key}")));
    }

    #[test]
    fn the_port_of_an_address_is_found() {
        assert_eq!(port("tls://nats.slipway:4333"), Some(4333));
        assert_eq!(port("nats://a:1,nats://b:2"), Some(1));
        assert_eq!(port("http://collector:4317/v1"), Some(4317));
        assert_eq!(port("nats://nats"), None);
    }
}
