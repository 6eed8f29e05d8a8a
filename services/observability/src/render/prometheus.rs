//! Scrape configuration: one for the mesh, one list of targets per deployment.

use serde_json::{Value, json};
use slipway_kernel::DeploymentId;

/// `prometheus.yml`: the ingress replicas, and whatever lists of targets and rules lie beside it. JSON is YAML.
#[must_use]
pub fn prometheus(ingress: &[String]) -> Value {
    json!({
        "global": { "scrape_interval": "5s", "evaluation_interval": "5s" },
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [
            { "job_name": "slipway", "static_configs": [{ "targets": ingress }] },
            { "job_name": "slipway-workers", "file_sd_configs": [{ "files": ["targets/*.json"], "refresh_interval": "5s" }] }
        ]
    })
}

/// The workers of a deployment as a list for `file_sd_configs`; each is (address, revision, instance).
#[must_use]
pub fn targets(id: &DeploymentId, workers: &[(String, String, String)]) -> Value {
    workers
        .iter()
        .map(|(address, revision, instance)| {
            json!({
                "targets": [address],
                "labels": {
                    "namespace": id.namespace.as_str(), "deployment": id.name.as_str(),
                    "revision": revision, "worker": instance
                }
            })
        })
        .collect()
}
