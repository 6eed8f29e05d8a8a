//! A StatefulSet: workers that find their volume again, on whichever node they come back.

use super::{Order, claim};
use serde_json::{Value, json};
use slipway_kernel::spec::Storage;

/// What is its own.
pub(super) fn spec(order: &Order<'_>, storage: &Storage) -> Value {
    json!({
        "serviceName": order.name(),
        // No worker waits for another one.
        "podManagementPolicy": "Parallel",
        "updateStrategy": { "type": "RollingUpdate" },
        // Who comes back when there is more to do finds its files; with the revision they go.
        "persistentVolumeClaimRetentionPolicy": { "whenScaled": "Retain", "whenDeleted": "Delete" },
        "volumeClaimTemplates": [claim::template(order, storage)],
    })
}
