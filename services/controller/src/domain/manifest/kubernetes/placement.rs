//! Which nodes the pods of workers may be on, and over what they are spread.

use super::Order;
use serde_json::{Map, Value, json};
use slipway_kernel::spec::{Gpu, NodeAffinity, NodeOperator, Spread};

const ZONE: &str = "topology.kubernetes.io/zone";
const NODE: &str = "kubernetes.io/hostname";
/// What a node that the cluster lost is tainted with.
const LOST: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
/// For how many seconds a worker waits for such a node before another one is started elsewhere. Kubernetes' own five minutes are for pods that
/// are hard to move; a worker holds nothing, and what still answers of the old one is asked until it ends.
const WAITS_FOR_A_NODE: u32 = 30;

/// The fields of a pod that say it; those that say nothing are left out. Names and words are those of the document.
pub(super) fn fields(order: &Order<'_>) -> Map<String, Value> {
    let placement = order.placement;
    let fields = [
        ("nodeSelector", (!placement.node_selector.is_empty()).then(|| json!(placement.node_selector))),
        ("affinity", affinity(&placement.node_affinity)),
        ("tolerations", listed(tolerations(order))),
        ("topologySpreadConstraints", listed(spread(order).into_iter())),
        ("priorityClassName", placement.priority_class.as_deref().map(Value::from)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The resource that stands for the GPU of a worker, or for its part of one.
pub(super) fn gpu(order: &Order<'_>) -> Option<String> {
    let whole = || "nvidia.com/gpu".to_owned();
    let part = |profile: &String| format!("nvidia.com/mig-{profile}");
    (order.model.gpu == Gpu::Required).then(|| order.placement.gpu_profile.as_ref().map_or_else(whole, part))
}

/// Those of the document, and how long a lost node is waited for where the document does not say it.
fn tolerations<'a>(order: &Order<'a>) -> impl Iterator<Item = Value> + use<'a> {
    let own = &order.placement.tolerations;
    let says = |key: &str| own.iter().any(|toleration| toleration.key.as_deref().is_none_or(|own| own == key));
    let lost = LOST.into_iter().filter(move |key| !says(key)).map(
        |key| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": WAITS_FOR_A_NODE }),
    );
    own.iter().map(|toleration| json!(toleration)).chain(lost)
}

fn listed(all: impl Iterator<Item = Value>) -> Option<Value> {
    let all: Vec<Value> = all.collect();
    (!all.is_empty()).then(|| all.into())
}

/// What must hold of a node is one term; each thing that had better hold counts by itself.
fn affinity(all: &[NodeAffinity]) -> Option<Value> {
    let required = listed(all.iter().filter(|one| one.weight.is_none()).map(expression));
    let preferred = listed(all.iter().filter_map(|one| {
        Some(json!({ "weight": one.weight?, "preference": { "matchExpressions": [expression(one)] } }))
    }));
    let mut node = Map::new();
    if let Some(expressions) = required {
        let term = json!({ "nodeSelectorTerms": [{ "matchExpressions": expressions }] });
        node.insert("requiredDuringSchedulingIgnoredDuringExecution".to_owned(), term);
    }
    if let Some(preferred) = preferred {
        node.insert("preferredDuringSchedulingIgnoredDuringExecution".to_owned(), preferred);
    }
    (!node.is_empty()).then(|| json!({ "nodeAffinity": node }))
}

fn expression(affinity: &NodeAffinity) -> Value {
    let mut expression = json!({ "key": affinity.key, "operator": affinity.operator });
    if !matches!(affinity.operator, NodeOperator::Exists | NodeOperator::DoesNotExist) {
        expression["values"] = json!(affinity.values);
    }
    expression
}

fn spread(order: &Order<'_>) -> Vec<Value> {
    let keys: &[&str] = match order.placement.spread {
        Spread::Zone => &[ZONE, NODE],
        Spread::Node => &[NODE],
        Spread::None => &[],
    };
    let constraint = |key: &&str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            // A worker that shares a node serves; one that waits for another node does not.
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": order.selector() },
        })
    };
    keys.iter().map(constraint).collect()
}
