//! `spec.placement`: what Kubernetes itself would refuse of it, and only when the workers are made.

use super::{
    super::{Gpu, NodeAffinity, NodeOperator, Placement, Spec, Storage, TaintEffect, Toleration, TolerationOperator},
    MAX_LIST, Refusing,
};

/// Longest name of a label, and longest value of one.
const MAX_NAME: usize = 63;
/// Longest DNS name: the prefix of a label, the name of a class.
const MAX_DNS: usize = 253;

const KEY: &str = "a label as Kubernetes writes it: a name of 1 to 63 characters a-z, A-Z, 0-9, -, _ and ., with a letter or digit at each end, alone \
or behind a DNS name and a / (gpu, node.kubernetes.io/instance-type)";
const VALUE: &str = "at most 63 characters a-z, A-Z, 0-9, -, _ and ., with a letter or digit at each end";
const NAME: &str =
    "a DNS name of 1 to 253 characters a-z, 0-9, - and ., with a letter or digit at each end of its parts";
const PROFILE: &str = "a MIG profile as it stands in the name of its resource (1g.5gb, 3g.40gb, 1g.10gb.me)";

pub(super) fn check(refusing: &mut Refusing, spec: &Spec) {
    let Some(placement) = &spec.placement else { return };
    selector(refusing, placement);
    refusing.list("spec.placement.nodeAffinity", &placement.node_affinity);
    for (n, affinity) in placement.node_affinity.iter().enumerate().take(MAX_LIST) {
        self::affinity(refusing, &format!("spec.placement.nodeAffinity[{n}]"), affinity);
    }
    refusing.list("spec.placement.tolerations", &placement.tolerations);
    for (n, toleration) in placement.tolerations.iter().enumerate().take(MAX_LIST) {
        self::toleration(refusing, &format!("spec.placement.tolerations[{n}]"), toleration);
    }
    if let Some(class) = &placement.priority_class {
        refusing.unless(is_dns(class), "spec.placement.priorityClass", class, NAME);
    }
    if let Some(profile) = &placement.gpu_profile {
        refusing.unless(is_profile(profile), "spec.placement.gpuProfile", profile, PROFILE);
        let gpu = spec.infrastructure.gpu;
        let allowed = "none, unless spec.infrastructure.gpu is `required`: who gets a part of a GPU has none beside it";
        refusing.unless(gpu == Gpu::Required, "spec.placement.gpuProfile", profile, allowed);
    }
    if let Some(storage) = &placement.storage {
        self::storage(refusing, storage);
    }
}

fn selector(refusing: &mut Refusing, placement: &Placement) {
    let path = "spec.placement.nodeSelector";
    let labels = &placement.node_selector;
    refusing.unless(labels.len() <= MAX_LIST, path, labels.len(), format!("at most {MAX_LIST} labels"));
    for (key, value) in labels.iter().take(MAX_LIST) {
        refusing.unless(is_key(key), path, key, KEY);
        refusing.unless(is_value(value), &format!("{path}.{key}"), value, VALUE);
    }
}

fn affinity(refusing: &mut Refusing, path: &str, affinity: &NodeAffinity) {
    refusing.unless(is_key(&affinity.key), &format!("{path}.key"), &affinity.key, KEY);
    let values = &affinity.values;
    let place = format!("{path}.values");
    refusing.list(&place, values);
    let shown = || format!("[{}]", values.join(", "));
    match affinity.operator {
        NodeOperator::In | NodeOperator::NotIn => {
            refusing.unless(!values.is_empty(), &place, "[]", "one value or more with In and NotIn");
            for value in values.iter().take(MAX_LIST) {
                refusing.unless(is_value(value), &place, value, VALUE);
            }
        }
        NodeOperator::Exists | NodeOperator::DoesNotExist => {
            refusing.unless(values.is_empty(), &place, shown(), "no value with Exists and DoesNotExist");
        }
        NodeOperator::Gt | NodeOperator::Lt => {
            let number = matches!(values.as_slice(), [one] if one.parse::<i64>().is_ok());
            refusing.unless(number, &place, shown(), "one whole number with Gt and Lt, such as [\"8\"]");
        }
    }
    if let Some(weight) = affinity.weight {
        refusing.within(&format!("{path}.weight"), weight, 1..=100);
    }
}

fn toleration(refusing: &mut Refusing, path: &str, toleration: &Toleration) {
    let exists = toleration.operator == TolerationOperator::Exists;
    match &toleration.key {
        Some(key) => refusing.unless(is_key(key), &format!("{path}.key"), key, KEY),
        None => {
            let allowed = "a taint's key, or operator: Exists for any";
            refusing.unless(exists, &format!("{path}.key"), "(absent)", allowed);
        }
    }
    if let Some(value) = &toleration.value {
        let place = format!("{path}.value");
        refusing.unless(is_value(value), &place, value, VALUE);
        refusing.unless(!exists || value.is_empty(), &place, value, "none with operator: Exists, which takes any");
    }
    if let Some(seconds) = toleration.toleration_seconds {
        let evicts = toleration.effect == Some(TaintEffect::NoExecute);
        let allowed = "none, unless effect is NoExecute: no other taint sends away who is there";
        refusing.unless(evicts, &format!("{path}.tolerationSeconds"), seconds, allowed);
    }
}

fn storage(refusing: &mut Refusing, storage: &Storage) {
    let fits = (64 << 20..=16 << 40).contains(&storage.size.0);
    refusing.unless(fits, "spec.placement.storage.size", storage.size, "64Mi to 16Ti");
    if let Some(class) = &storage.class {
        refusing.unless(is_dns(class), "spec.placement.storage.class", class, NAME);
    }
}

/// A name within a label: also what a value may be, which may be empty as well.
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=MAX_NAME).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && [bytes.first(), bytes.last()].into_iter().flatten().all(u8::is_ascii_alphanumeric)
}

fn is_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns(prefix) && is_name(name),
        None => is_name(text),
    }
}

fn is_dns(text: &str) -> bool {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.iter().all(|b| lower(*b) || *b == b'-')
            && bytes.first().is_some_and(|b| lower(*b))
            && bytes.last().is_some_and(|b| lower(*b))
    };
    text.len() <= MAX_DNS && text.split('.').all(part)
}

/// `1g.5gb`: slices of the processor and of the memory, and what the part has beside them (`me`: the media engines).
fn is_profile(text: &str) -> bool {
    let mut parts = text.split('.');
    let slices = |text: &str| text.strip_suffix('g').is_some_and(|n| matches!(n.as_bytes(), [b'1'..=b'7']));
    let memory = |text: &str| {
        let digits = text.strip_suffix("gb").unwrap_or_default();
        (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
    };
    let extra = |text: &str| (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase());
    parts.next().is_some_and(slices)
        && parts.next().is_some_and(memory)
        && parts.clone().count() <= 2
        && parts.all(extra)
}

#[cfg(test)]
mod tests {
    use super::super::tests::refused;
    use serde_json::{Value, json};

    fn paths(placement: &Value) -> Vec<String> {
        refused(&json!({ "infrastructure": { "gpu": "required" }, "placement": placement }))
    }

    #[test]
    fn what_kubernetes_takes_is_taken() {
        for placement in [
            json!({}),
            json!({ "nodeSelector": { "gpu": "a100", "node.kubernetes.io/instance-type": "g5.xlarge", "empty": "" } }),
            json!({ "nodeAffinity": [{ "key": "cores", "operator": "Gt", "values": ["7"], "weight": 100 }] }),
            json!({ "nodeAffinity": [{ "key": "spot", "operator": "DoesNotExist" }] }),
            json!({ "tolerations": [{ "operator": "Exists" }, { "key": "nvidia.com/gpu", "effect": "NoSchedule" }] }),
            json!({ "tolerations": [{ "key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 0 }] }),
            json!({ "spread": "zone", "priorityClass": "models.high", "gpuProfile": "1g.10gb.me" }),
            json!({ "storage": { "size": "10Gi", "class": "fast-ssd", "mode": "ReadWriteOncePod" } }),
        ] {
            assert_eq!(paths(&placement), [""; 0], "{placement}");
        }
    }

    #[test]
    fn what_kubernetes_would_refuse_later_is_refused_at_the_gate() {
        let long = "x".repeat(64);
        for (placement, path) in [
            (json!({ "nodeSelector": { "a/b/c": "" } }), "nodeSelector"),
            (json!({ "nodeSelector": { "Upper.io/a": "" } }), "nodeSelector"),
            (json!({ "nodeSelector": { long.as_str(): "" } }), "nodeSelector"),
            (json!({ "nodeSelector": { "zone": "-a" } }), "nodeSelector.zone"),
            (json!({ "nodeSelector": { "zone": "a b" } }), "nodeSelector.zone"),
            (json!({ "nodeAffinity": [{ "key": "", "operator": "Exists" }] }), "nodeAffinity[0].key"),
            (json!({ "nodeAffinity": [{ "key": "a", "operator": "In" }] }), "nodeAffinity[0].values"),
            (json!({ "nodeAffinity": [{ "key": "a", "operator": "In", "values": ["é"] }] }), "nodeAffinity[0].values"),
            (
                json!({ "nodeAffinity": [{ "key": "a", "operator": "Exists", "values": ["b"] }] }),
                "nodeAffinity[0].values",
            ),
            (
                json!({ "nodeAffinity": [{ "key": "a", "operator": "Lt", "values": ["few"] }] }),
                "nodeAffinity[0].values",
            ),
            (json!({ "nodeAffinity": [{ "key": "a", "operator": "Exists", "weight": 0 }] }), "nodeAffinity[0].weight"),
            (json!({ "tolerations": [{}] }), "tolerations[0].key"),
            (json!({ "tolerations": [{ "key": "a b" }] }), "tolerations[0].key"),
            (json!({ "tolerations": [{ "key": "a", "operator": "Exists", "value": "b" }] }), "tolerations[0].value"),
            (
                json!({ "tolerations": [{ "key": "a", "effect": "NoSchedule", "tolerationSeconds": 3 }] }),
                "tolerations[0].tolerationSeconds",
            ),
            (json!({ "priorityClass": "High" }), "priorityClass"),
            (json!({ "priorityClass": "" }), "priorityClass"),
            (json!({ "gpuProfile": "8g.5gb" }), "gpuProfile"),
            (json!({ "gpuProfile": "mig-1g.5gb" }), "gpuProfile"),
            (json!({ "gpuProfile": "1g.05gb" }), "gpuProfile"),
            (json!({ "gpuProfile": "1g.5gb." }), "gpuProfile"),
            (json!({ "storage": { "size": "1Mi" } }), "storage.size"),
            (json!({ "storage": { "size": "1Gi", "class": "a..b" } }), "storage.class"),
        ] {
            assert_eq!(paths(&placement), [format!("spec.placement.{path}")], "{placement}");
        }
    }

    #[test]
    fn lists_are_as_long_as_a_person_writes_them() {
        let labels: serde_json::Map<String, Value> = (0..33).map(|n| (format!("l{n}"), json!(""))).collect();
        let one = json!({ "operator": "Exists" });
        for (placement, path) in [
            (json!({ "nodeSelector": labels }), "nodeSelector"),
            (json!({ "tolerations": vec![one; 33] }), "tolerations"),
            (json!({ "nodeAffinity": vec![json!({ "key": "a", "operator": "Exists" }); 33] }), "nodeAffinity"),
        ] {
            assert_eq!(paths(&placement), [format!("spec.placement.{path}")]);
        }
    }

    #[test]
    fn a_part_of_a_gpu_is_for_who_needs_one() {
        let part = json!({ "gpuProfile": "1g.5gb" });
        for gpu in ["none", "optional"] {
            let document = json!({ "infrastructure": { "gpu": gpu }, "placement": part });
            assert_eq!(refused(&document), ["spec.placement.gpuProfile"], "{gpu}");
        }
    }
}
