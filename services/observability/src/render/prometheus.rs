//! Scrape configuration: one for the mesh, one list of targets per deployment.

use serde_json::{Value, json};
use slipway_bus::WorkerRecord;
use slipway_kernel::DeploymentId;
use std::net::IpAddr;

/// `prometheus.yml`: the ingress replicas, and whatever lists of targets and rules lie beside it. JSON is YAML.
#[must_use]
pub fn prometheus(ingress: &[String]) -> Value {
    let host_and_port =
        |target: &&String| target.rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned()));
    let is_name = |target: &&String| {
        host_and_port(target).is_some_and(|(host, _)| host.trim_matches(['[', ']']).parse::<IpAddr>().is_err())
    };
    let (names, addresses): (Vec<&String>, Vec<&String>) = ingress.iter().partition(is_name);
    // A name stands for all its addresses, each a replica.
    let named: Vec<Value> = names
        .iter()
        .filter_map(host_and_port)
        .map(|(host, port)| json!({ "names": [host], "type": "A", "port": port.parse::<u16>().unwrap_or(0) }))
        .collect();
    json!({
        "global": { "scrape_interval": "5s", "evaluation_interval": "5s" },
        "rule_files": ["rules/*.yml"],
        "scrape_configs": [
            { "job_name": "slipway", "static_configs": [{ "targets": addresses }], "dns_sd_configs": named },
            { "job_name": "slipway-workers", "file_sd_configs": [{ "files": ["targets/*.json"], "refresh_interval": "5s" }] }
        ]
    })
}

/// The workers of a deployment, of all that there are, as a list for `file_sd_configs`.
#[must_use]
pub fn targets(id: &DeploymentId, workers: &[WorkerRecord]) -> Value {
    let own = workers.iter().filter(|worker| worker.deployment == *id);
    own.map(|worker| {
        json!({
            "targets": [worker.admin],
            "labels": {
                "namespace": id.namespace.as_str(), "deployment": id.name.as_str(),
                "revision": worker.revision.to_string(), "worker": worker.instance
            }
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_target_and_a_name_is_looked_up() {
        let targets = ["127.0.0.1:9464", "[::1]:9464", "ingress.slipway.svc:9464"].map(str::to_owned);
        let job = &prometheus(&targets)["scrape_configs"][0];
        assert_eq!(job["static_configs"][0]["targets"], json!(["127.0.0.1:9464", "[::1]:9464"]));
        assert_eq!(job["dns_sd_configs"], json!([{ "names": ["ingress.slipway.svc"], "type": "A", "port": 9464 }]));
    }
}
