//! A name for all workers of a revision. Requests do not go by it (the ingress knows each worker from the registry); what scrapes metrics does,
//! and who looks for them.

use super::{ADMIN_PORT, Order, WORKER_PORT};
use serde_json::{Value, json};

/// The object.
pub(super) fn headless(order: &Order<'_>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": order.metadata(&order.name()),
        "spec": {
            "clusterIP": "None",
            "selector": order.selector(),
            "ports": [
                { "name": "grpc", "port": WORKER_PORT, "targetPort": "grpc", "protocol": "TCP", "appProtocol": "grpc" },
                { "name": "admin", "port": ADMIN_PORT, "targetPort": "admin", "protocol": "TCP", "appProtocol": "http" },
            ],
        },
    })
}
