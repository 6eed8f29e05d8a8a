//! The claim of each worker on a volume for the files of its model.

use super::Order;
use serde_json::{Value, json};
use slipway_kernel::spec::Storage;

/// Its name in a pod; that of the object has the name of the pod behind it.
pub(super) const NAME: &str = "models";

/// What the claims are made of.
pub(super) fn template(order: &Order<'_>, storage: &Storage) -> Value {
    let mut spec = json!({
        "accessModes": [storage.mode],
        "resources": { "requests": { "storage": storage.size } },
    });
    if let Some(class) = &storage.class {
        spec["storageClassName"] = class.as_str().into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": NAME, "labels": order.metadata("")["labels"] },
        "spec": spec,
    })
}
