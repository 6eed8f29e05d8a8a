//! A Deployment: workers that bring nothing along.

use super::Order;
use serde_json::{Value, json};

/// What is its own.
pub(super) fn spec(order: &Order<'_>) -> Value {
    json!({
        // One more comes before one goes; those that do not start are the first to go.
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
        "progressDeadlineSeconds": order.cluster.start_within.0.as_secs(),
    })
}
