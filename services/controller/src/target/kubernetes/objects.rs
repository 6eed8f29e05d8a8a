//! Objects as data, and the kinds that the target makes.

use crate::domain::manifest::kubernetes::{ATTEMPT, TOKEN};
use serde_json::{Value, json};
use slipway_cluster::{Kind, text};
use slipway_kernel::Digest;

/// The field manager: what it applied is its own, and whoever changes that is seen.
pub(super) const MANAGER: &str = "slipway";
/// Who says with how many workers a scaler begins. Another manager than that of the rest: the scaler takes the number over.
pub(super) const STARTER: &str = "slipway-start";

/// Kinds that the target makes, owns and removes, workloads first: who removes them in this order ends pods before what they use is gone.
pub(super) const KINDS: [Kind; 9] = [
    Kind { api_version: "apps/v1", kind: "Deployment", plural: "deployments", is_optional: false },
    Kind { api_version: "apps/v1", kind: STATEFUL_SET, plural: "statefulsets", is_optional: false },
    Kind {
        api_version: "autoscaling/v2",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
        is_optional: false,
    },
    SCALED_OBJECT,
    Kind { api_version: "policy/v1", kind: "PodDisruptionBudget", plural: "poddisruptionbudgets", is_optional: false },
    Kind { api_version: "v1", kind: "Service", plural: "services", is_optional: false },
    Kind { api_version: "networking.k8s.io/v1", kind: "NetworkPolicy", plural: "networkpolicies", is_optional: false },
    Kind { api_version: "v1", kind: CLAIM, plural: "persistentvolumeclaims", is_optional: false },
    Kind::CONFIG_MAP,
];
/// Workers that have volumes.
pub(super) const STATEFUL_SET: &str = "StatefulSet";
/// On a volume. A StatefulSet makes it of its template, with the labels of the revision.
pub(super) const CLAIM: &str = "PersistentVolumeClaim";
/// KEDA's, which scales by requests.
pub const SCALED_OBJECT: Kind =
    Kind { api_version: "keda.sh/v1alpha1", kind: "ScaledObject", plural: "scaledobjects", is_optional: true };
/// Read only.
pub(super) const POD: Kind = Kind { api_version: "v1", kind: "Pod", plural: "pods", is_optional: false };
/// Read only.
pub(super) const EVENT: Kind = Kind { api_version: "v1", kind: "Event", plural: "events", is_optional: false };

/// The kind of an object, if it is one of these.
pub(super) fn kind_of(object: &Value) -> Option<Kind> {
    KINDS.into_iter().find(|kind| kind.is_of(object))
}

/// Whether pods are made of objects of this kind.
pub(super) fn is_workload(kind: &str) -> bool {
    ["Deployment", STATEFUL_SET].contains(&kind)
}

/// What names an object within the namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) kind: &'static str,
    pub(super) name: String,
}

/// What somebody may have changed of an object: another fingerprint than after it was applied means drift. What others may rightly set (status,
/// annotations of controllers, the number of workers under a scaler) is no part of it.
pub(super) fn fingerprint(object: &Value, with_replicas: bool) -> Digest {
    let mut spec = object["spec"].clone();
    if !with_replicas && let Value::Object(spec) = &mut spec {
        spec.remove("replicas");
    }
    let metadata = &object["metadata"];
    let seen = json!([metadata["uid"], metadata["labels"], metadata["ownerReferences"], spec, object["data"]]);
    Digest::of(seen.to_string().as_bytes())
}

/// An object of the blob as it is applied: owned by its anchor, and in the pods of workers the try they belong to and the fencing token under
/// which they were started.
pub(super) fn applied(object: &Value, anchor: &Value, attempt: u32, token: u64) -> Value {
    let mut object = object.clone();
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": anchor["metadata"]["name"],
        "uid": anchor["metadata"]["uid"],
        "blockOwnerDeletion": false,
        "controller": false,
    }]);
    if is_workload(text(&object, "/kind")) {
        object["metadata"]["labels"][ATTEMPT] = attempt.to_string().into();
        let template = &mut object["spec"]["template"]["metadata"];
        template["labels"][ATTEMPT] = attempt.to_string().into();
        // Indexing makes what is not there.
        template["annotations"][TOKEN] = token.to_string().into();
    }
    object
}
