//! The anchor: owns everything of a deployment, so that whatever is forgotten goes with it.

use super::{Cluster, TOKEN, add_common};
use serde_json::{Value, json};
use slipway_kernel::{DeploymentId, names};

/// The object, as the holder of a fencing token makes it.
#[must_use]
pub fn anchor(deployment: &DeploymentId, cluster: &Cluster, token: u64) -> Value {
    let mut labels = json!({
        "slipway.dev/installation": cluster.installation,
        "slipway.dev/deployment": names::label(deployment),
        "slipway.dev/anchor": "true",
    });
    add_common(&mut labels);
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names::deployment(deployment),
            "namespace": cluster.namespace,
            "labels": labels,
            "annotations": {
                "slipway.dev/about": "Owns every object of this deployment. Made by Slipway; `slipway retire` removes it.",
                TOKEN: token.to_string(),
            },
        },
        "data": { "deployment": deployment.to_string() },
    })
}
