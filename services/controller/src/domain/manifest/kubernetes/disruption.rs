//! What a drained node must leave: all but one.

use super::Order;
use serde_json::{Value, json};

/// The object, where there is more than one worker: one alone could never be moved.
pub(super) fn budget(order: &Order<'_>) -> Option<Value> {
    (order.plan.replicas > 1).then(|| {
        json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": order.metadata(&order.name()),
            "spec": {
                "maxUnavailable": 1,
                // One that is not ready serves nobody, and must not hold up a node.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": { "matchLabels": order.selector() },
            },
        })
    })
}
