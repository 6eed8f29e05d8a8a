//! What keeps the workers of a revision: a Deployment, or a StatefulSet where each of them has a volume of its own.

use super::{Order, autoscaler, deployment, pod, stateful_set};
use serde_json::{Value, json};

/// Its kind.
pub(super) const fn kind(order: &Order<'_>) -> &'static str {
    if order.placement.storage.is_some() { "StatefulSet" } else { "Deployment" }
}

/// The object.
pub(super) fn workload(order: &Order<'_>, settings: &str) -> Value {
    let mut spec = match &order.placement.storage {
        None => deployment::spec(order),
        Some(storage) => stateful_set::spec(order, storage),
    };
    spec["selector"] = json!({ "matchLabels": order.selector() });
    spec["revisionHistoryLimit"] = 1.into();
    spec["template"] = pod::template(order, settings);
    if !autoscaler::is_wanted(order) {
        spec["replicas"] = order.plan.replicas.into();
    }
    json!({ "apiVersion": "apps/v1", "kind": kind(order), "metadata": order.metadata(&order.name()), "spec": spec })
}
