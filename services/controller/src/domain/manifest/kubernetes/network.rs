//! Who may talk to workers: the ingress and the validator ask them, security knocks to prove that strangers stay out, what scrapes reads their
//! metrics; they themselves need the broker and names.

use super::{ADMIN_PORT, Order, WORKER_PORT};
use serde_json::{Value, json};

/// The object.
pub(super) fn policy(order: &Order<'_>) -> Value {
    let cluster = order.cluster;
    let services = |components: &[&str]| {
        json!({
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": cluster.services_namespace } },
            "podSelector": {
                "matchLabels": { "app.kubernetes.io/instance": cluster.installation },
                "matchExpressions":
                    [{ "key": "app.kubernetes.io/component", "operator": "In", "values": components }],
            },
        })
    };
    let port = |port: u16, protocol: &str| json!({ "port": port, "protocol": protocol });
    let outside: Vec<Value> = cluster.egress_ports.iter().map(|number| port(*number, "TCP")).collect();
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": order.metadata(&order.name()),
        "spec": {
            "podSelector": { "matchLabels": order.selector() },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                { "from": [services(&["ingress", "validator", "security"])], "ports": [port(WORKER_PORT, "TCP")] },
                // Metrics hold no payload, and who scrapes them is not ours to know.
                { "ports": [port(ADMIN_PORT, "TCP")] },
            ],
            "egress": [
                { "ports": [port(53, "UDP"), port(53, "TCP")] },
                { "ports": outside },
            ],
        },
    })
}
