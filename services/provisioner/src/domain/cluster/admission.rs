//! Which nodes workers may be on: by what their document says of placement, and by the taints that the cluster lets them tolerate.

use super::node::GPU;
use serde_json::Value;
use slipway_kernel::spec::{NodeAffinity, NodeOperator, Placement, TaintEffect, Toleration, TolerationOperator};

/// The rules.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// Keys of taints that are tolerated for all workers.
    pub tolerated: &'a [String],
    /// What the document says.
    pub placement: &'a Placement,
}

impl Admission<'_> {
    /// Whether a taint keeps workers away.
    pub(super) fn is_kept_away_by(&self, taint: &Value) -> bool {
        let key = taint["key"].as_str().unwrap_or_default();
        taint["effect"] != "PreferNoSchedule"
            && !self.tolerated.iter().any(|known| known == key)
            && !self.placement.tolerations.iter().any(|toleration| tolerates(toleration, taint, key))
    }

    /// Whether the labels of a node are those that the document asks for.
    pub(super) fn selects(&self, labels: &Value) -> bool {
        let has = |(key, value): (&String, &String)| labels[key.as_str()].as_str() == Some(value.as_str());
        let required = self.placement.node_affinity.iter().filter(|affinity| affinity.weight.is_none());
        self.placement.node_selector.iter().all(has) && required.into_iter().all(|affinity| holds(affinity, labels))
    }
}

/// The resource that a worker's GPU is, if it gets one.
pub(super) fn gpu_resource(placement: &Placement) -> String {
    placement.gpu_profile.as_ref().map_or_else(|| GPU.to_owned(), |profile| format!("nvidia.com/mig-{profile}"))
}

fn tolerates(toleration: &Toleration, taint: &Value, key: &str) -> bool {
    let effect = match toleration.effect {
        None => true,
        Some(TaintEffect::NoSchedule) => taint["effect"] == "NoSchedule",
        Some(TaintEffect::PreferNoSchedule) => taint["effect"] == "PreferNoSchedule",
        Some(TaintEffect::NoExecute) => taint["effect"] == "NoExecute",
    };
    let value = match toleration.operator {
        TolerationOperator::Exists => true,
        TolerationOperator::Equal => {
            toleration.value.as_deref().unwrap_or_default() == taint["value"].as_str().unwrap_or_default()
        }
    };
    effect && value && toleration.key.as_ref().is_none_or(|own| own == key)
}

fn holds(affinity: &NodeAffinity, labels: &Value) -> bool {
    let label = labels[affinity.key.as_str()].as_str();
    let listed = || label.is_some_and(|label| affinity.values.iter().any(|value| value == label));
    let number = |text: &str| text.parse::<i64>().ok();
    let numbers = || label.and_then(number).zip(affinity.values.first().and_then(|value| number(value)));
    match affinity.operator {
        NodeOperator::In => listed(),
        NodeOperator::NotIn => !listed(),
        NodeOperator::Exists => label.is_some(),
        NodeOperator::DoesNotExist => label.is_none(),
        NodeOperator::Gt => numbers().is_some_and(|(there, bound)| there > bound),
        NodeOperator::Lt => numbers().is_some_and(|(there, bound)| there < bound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn placement(placement: Value) -> Placement {
        serde_json::from_value(placement).unwrap()
    }

    #[test]
    fn a_node_is_selected_by_its_labels_as_the_scheduler_does() {
        let labels = json!({ "zone": "a", "cores": "8" });
        for (document, selected) in [
            (json!({}), true),
            (json!({ "nodeSelector": { "zone": "a" } }), true),
            (json!({ "nodeSelector": { "zone": "b" } }), false),
            (json!({ "nodeSelector": { "rack": "" } }), false),
            (json!({ "nodeAffinity": [{ "key": "zone", "operator": "In", "values": ["b", "a"] }] }), true),
            (json!({ "nodeAffinity": [{ "key": "zone", "operator": "NotIn", "values": ["a"] }] }), false),
            (json!({ "nodeAffinity": [{ "key": "rack", "operator": "NotIn", "values": ["a"] }] }), true),
            (json!({ "nodeAffinity": [{ "key": "rack", "operator": "Exists" }] }), false),
            (json!({ "nodeAffinity": [{ "key": "rack", "operator": "DoesNotExist" }] }), true),
            (json!({ "nodeAffinity": [{ "key": "cores", "operator": "Gt", "values": ["7"] }] }), true),
            (json!({ "nodeAffinity": [{ "key": "cores", "operator": "Lt", "values": ["8"] }] }), false),
            (json!({ "nodeAffinity": [{ "key": "zone", "operator": "Gt", "values": ["0"] }] }), false),
            (json!({ "nodeAffinity": [{ "key": "rack", "operator": "Exists", "weight": 1 }] }), true),
        ] {
            let placement = placement(document.clone());
            let admission = Admission { tolerated: &[], placement: &placement };
            assert_eq!(admission.selects(&labels), selected, "{document}");
        }
    }

    #[test]
    fn a_taint_is_tolerated_as_the_scheduler_does() {
        let taint = json!({ "key": "gpu", "value": "a100", "effect": "NoSchedule" });
        for (toleration, away) in [
            (json!({ "operator": "Exists" }), false),
            (json!({ "key": "gpu", "operator": "Exists" }), false),
            (json!({ "key": "gpu", "operator": "Exists", "effect": "NoExecute" }), true),
            (json!({ "key": "gpu", "value": "a100", "effect": "NoSchedule" }), false),
            (json!({ "key": "gpu", "value": "h100" }), true),
            (json!({ "key": "gpu" }), true),
            (json!({ "key": "other", "operator": "Exists" }), true),
        ] {
            let placement = placement(json!({ "tolerations": [toleration] }));
            let admission = Admission { tolerated: &[], placement: &placement };
            assert_eq!(admission.is_kept_away_by(&taint), away, "{toleration}");
        }
        let (none, known) = (Placement::default(), ["gpu".to_owned()]);
        assert!(!Admission { tolerated: &known, placement: &none }.is_kept_away_by(&taint));
        assert!(Admission { tolerated: &[], placement: &none }.is_kept_away_by(&taint));
    }
}
