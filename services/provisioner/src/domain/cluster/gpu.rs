//! The GPUs of nodes, by their resources and by what NVIDIA's feature discovery says of them in labels.

use super::{node::GPU, quantity::units};
use serde_json::Value;
use slipway_kernel::GpuFacts;

/// How the resources of parts of GPUs begin; the profile (`1g.10gb`) follows.
const MIG: &str = "nvidia.com/mig-";
/// The most that are listed of one cluster; a fact is small.
const LISTED: usize = 64;

/// The GPUs of nodes that workers may be on, whole ones first.
pub(super) fn of<'a>(nodes: impl Iterator<Item = &'a Value>) -> Vec<GpuFacts> {
    let mut found: Vec<GpuFacts> = nodes.flat_map(of_node).map(|(_, gpu)| gpu).collect();
    found.sort_by_key(|gpu| gpu.mig);
    found.truncate(LISTED);
    found
}

/// Those of them that a worker can be given: it asks for this resource.
pub(super) fn given<'a>(nodes: impl Iterator<Item = &'a Value>, asked: &str) -> Vec<GpuFacts> {
    nodes.flat_map(of_node).filter(|(resource, _)| resource == asked).map(|(_, gpu)| gpu).take(LISTED).collect()
}

/// The GPUs of a node, each with its resource.
fn of_node(node: &Value) -> Vec<(String, GpuFacts)> {
    let label = |name: &str| node["metadata"]["labels"][name].as_str();
    let mebibytes = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).map(|count| count << 20);
    let mut found = Vec::new();
    for (resource, count) in node.pointer("/status/allocatable").and_then(Value::as_object).into_iter().flatten() {
        let count = count.as_str().and_then(units).unwrap_or(0).min(LISTED as u64);
        let profile = resource.strip_prefix(MIG);
        if count == 0 || (resource != GPU && profile.is_none()) {
            continue;
        }
        let product = label("nvidia.com/gpu.product").unwrap_or("NVIDIA GPU");
        let gpu = match profile {
            None => GpuFacts {
                name: product.to_owned(),
                memory_bytes: mebibytes(label("nvidia.com/gpu.memory")).unwrap_or(0),
                // With one profile for all, parts are handed out as if they were whole.
                mig: product.contains("-MIG-"),
                compute_capability: capability(
                    label("nvidia.com/gpu.compute.major"),
                    label("nvidia.com/gpu.compute.minor"),
                ),
                ..GpuFacts::default()
            },
            Some(profile) => GpuFacts {
                name: format!("{product} {profile}"),
                memory_bytes: mebibytes(label(&format!("{resource}.memory")))
                    .or_else(|| of_profile(profile))
                    .unwrap_or(0),
                mig: true,
                compute_capability: capability(
                    label("nvidia.com/gpu.compute.major"),
                    label("nvidia.com/gpu.compute.minor"),
                ),
                ..GpuFacts::default()
            },
        };
        found.extend((0..count).map(|_| (resource.clone(), gpu.clone())));
    }
    found
}

fn capability(major: Option<&str>, minor: Option<&str>) -> String {
    major.zip(minor).map(|(major, minor)| format!("{major}.{minor}")).unwrap_or_default()
}

/// `1g.10gb`: ten gigabytes, as its maker counts them.
fn of_profile(profile: &str) -> Option<u64> {
    let (_, memory) = profile.split_once('.')?;
    let digits: String = memory.chars().take_while(char::is_ascii_digit).collect();
    Some(digits.parse::<u64>().ok()? << 30)
}

/// The resources of parts of GPUs that are there, for a person.
pub(super) fn parts(nodes: &[&Value]) -> Vec<String> {
    let mut parts: Vec<String> = nodes
        .iter()
        .filter_map(|node| node.pointer("/status/allocatable").and_then(Value::as_object))
        .flatten()
        .filter(|(resource, count)| resource.starts_with(MIG) && count.as_str().and_then(units).unwrap_or(0) > 0)
        .map(|(resource, _)| resource.clone())
        .collect();
    parts.sort();
    parts.dedup();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cluster::node::tests::node;
    use serde_json::json;

    #[test]
    fn gpus_are_counted_by_their_resources_and_named_by_their_labels() {
        let mut whole = node("a", "8", "64Gi");
        whole["status"]["allocatable"][GPU] = "2".into();
        whole["metadata"]["labels"] = json!({
            "nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.memory": "23034",
            "nvidia.com/gpu.compute.major": "8", "nvidia.com/gpu.compute.minor": "9",
        });
        let mut cut = node("b", "8", "64Gi");
        cut["status"]["allocatable"]["nvidia.com/mig-1g.10gb"] = "3".into();
        cut["status"]["allocatable"]["nvidia.com/mig-3g.40gb"] = "0".into();
        cut["metadata"]["labels"] = json!({ "nvidia.com/gpu.product": "NVIDIA-H100" });
        let plain = node("c", "8", "64Gi");
        let found = of([&cut, &whole, &plain].into_iter());
        assert_eq!(found.len(), 5);
        assert_eq!((found[0].name.as_str(), found[0].memory_bytes, found[0].mig), ("NVIDIA-L4", 23_034 << 20, false));
        assert_eq!(found[0].compute_capability, "8.9");
        assert_eq!(
            (found[4].name.as_str(), found[4].memory_bytes, found[4].mig),
            ("NVIDIA-H100 1g.10gb", 10 << 30, true)
        );
        assert_eq!(parts(&[&cut, &whole]), ["nvidia.com/mig-1g.10gb"]);
        assert_eq!(given([&cut, &whole].into_iter(), GPU).len(), 2);
        assert_eq!(given([&cut, &whole].into_iter(), "nvidia.com/mig-1g.10gb").len(), 3);
    }

    #[test]
    fn a_gpu_that_says_nothing_of_itself_has_a_name_and_unknown_memory() {
        let mut silent = node("a", "8", "64Gi");
        silent["status"]["allocatable"][GPU] = "1".into();
        let found = of(std::iter::once(&silent));
        assert_eq!((found[0].name.as_str(), found[0].memory_bytes), ("NVIDIA GPU", 0));
    }
}
