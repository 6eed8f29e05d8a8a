//! Nodes, and whether one has room for a worker.

use super::{
    Needs,
    admission::{Admission, gpu_resource},
    quantity::{thousandths, units},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The resource that a whole GPU is.
pub(super) const GPU: &str = "nvidia.com/gpu";

/// Amounts of what workers need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of cores.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Pods.
    pub pods: u64,
    /// GPUs, whole or in the parts that are asked for.
    pub gpus: u64,
}

impl Amounts {
    /// Those in a list of resources, with GPUs by the name of their resource; what it does not name is none.
    #[must_use]
    pub fn of(resources: &Value, gpu: &str) -> Self {
        // The API server gives amounts as texts, however they were written.
        let text = |name: &str| resources[name].as_str();
        Self {
            cpu_milli: text("cpu").and_then(thousandths).unwrap_or(0),
            memory_bytes: text("memory").and_then(units).unwrap_or(0),
            pods: text("pods").and_then(units).unwrap_or(0),
            gpus: text(gpu).and_then(units).unwrap_or(0),
        }
    }

    /// The sums.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_add(more.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_add(more.memory_bytes),
            pods: self.pods.saturating_add(more.pods),
            gpus: self.gpus.saturating_add(more.gpus),
        }
    }

    /// What is left without `less`; never below nothing.
    #[must_use]
    pub const fn minus(self, less: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.saturating_sub(less.cpu_milli),
            memory_bytes: self.memory_bytes.saturating_sub(less.memory_bytes),
            pods: self.pods.saturating_sub(less.pods),
            gpus: self.gpus.saturating_sub(less.gpus),
        }
    }

    fn at_least(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli.max(other.cpu_milli),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            pods: self.pods.max(other.pods),
            gpus: self.gpus.max(other.gpus),
        }
    }

    /// How many workers fit in.
    #[must_use]
    pub fn workers(&self, needs: &Needs) -> u64 {
        let of = |there: u64, each: u64| there.checked_div(each).unwrap_or(u64::MAX);
        [
            of(self.cpu_milli, needs.cpu_milli),
            of(self.memory_bytes, needs.memory_bytes),
            self.pods,
            of(self.gpus, u64::from(needs.gpus)),
        ]
        .into_iter()
        .min()
        .unwrap_or(0)
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Why no worker may come, if none may.
    pub closed: Option<Closed>,
    /// What its pods may have in all.
    pub allocatable: Amounts,
    /// What they have asked for.
    pub requested: Amounts,
    /// Its processor, as Slipway names it.
    pub architecture: String,
}

/// Why a node takes no worker, whatever it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closed {
    /// Its kubelet does not say that it is well.
    NotReady,
    /// An operator keeps new pods away.
    Cordoned,
    /// It has taints that workers do not tolerate.
    Tainted(Vec<String>),
    /// Its labels are not those that the document asks for.
    Unselected,
    /// Workers are programs for Linux.
    Foreign(String),
}

/// What a node lacks for one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// GPUs.
    Gpus,
    /// Room for one more pod.
    Pods,
}

impl Node {
    /// A node of the API server's list, without its pods.
    #[must_use]
    pub fn read(node: &Value, admission: Admission<'_>) -> Self {
        let text = |path: &str| node.pointer(path).and_then(Value::as_str).unwrap_or_default();
        Self {
            name: text("/metadata/name").to_owned(),
            closed: closed(node, admission),
            allocatable: Amounts::of(&node["status"]["allocatable"], &gpu_resource(admission.placement)),
            requested: Amounts::default(),
            architecture: architecture(text("/status/nodeInfo/architecture")).to_owned(),
        }
    }

    /// What nobody has asked for.
    #[must_use]
    pub const fn free(&self) -> Amounts {
        self.allocatable.minus(self.requested)
    }

    /// What is lacking of these amounts for one worker.
    #[must_use]
    pub fn lacks(there: Amounts, needs: &Needs) -> Vec<Lack> {
        [
            (Lack::Cpu, there.cpu_milli < needs.cpu_milli),
            (Lack::Memory, there.memory_bytes < needs.memory_bytes),
            (Lack::Gpus, there.gpus < u64::from(needs.gpus)),
            (Lack::Pods, there.pods == 0),
        ]
        .into_iter()
        .filter_map(|(lack, lacking)| lacking.then_some(lack))
        .collect()
    }
}

fn closed(node: &Value, admission: Admission<'_>) -> Option<Closed> {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let ready = conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    if !ready {
        return Some(Closed::NotReady);
    }
    if node.pointer("/spec/unschedulable").and_then(Value::as_bool) == Some(true) {
        return Some(Closed::Cordoned);
    }
    let system = node.pointer("/status/nodeInfo/operatingSystem").and_then(Value::as_str).unwrap_or("linux");
    if system != "linux" {
        return Some(Closed::Foreign(system.to_owned()));
    }
    let taints = node.pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten();
    let keys: Vec<String> = taints
        .filter(|taint| admission.is_kept_away_by(taint))
        .filter_map(|taint| taint["key"].as_str().map(str::to_owned))
        .collect();
    if !keys.is_empty() {
        return Some(Closed::Tainted(keys));
    }
    (!admission.selects(&node["metadata"]["labels"])).then_some(Closed::Unselected)
}

/// Processors as Slipway names them.
fn architecture(kubernetes: &str) -> &str {
    match kubernetes {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

/// The part of a node or pod that is looked at: the rest of it, images and histories, is most of it.
#[must_use]
pub fn essence(object: &Value) -> Value {
    const LOOKED_AT: [[&str; 2]; 11] = [
        ["metadata", "name"],
        ["metadata", "labels"],
        ["spec", "unschedulable"],
        ["spec", "taints"],
        ["spec", "nodeName"],
        ["spec", "overhead"],
        ["spec", "resources"],
        ["status", "phase"],
        ["status", "conditions"],
        ["status", "allocatable"],
        ["status", "nodeInfo"],
    ];
    let mut kept = Value::Null;
    for [part, name] in LOOKED_AT {
        if let Some(value) = object.get(part).and_then(|part| part.get(name)) {
            kept[part][name] = value.clone();
        }
    }
    for kind in ["containers", "initContainers"] {
        let Some(containers) = object["spec"][kind].as_array() else { continue };
        let asks = |container: &Value| {
            let requests = &container["resources"]["requests"];
            json!({ "resources": { "requests": requests }, "restartPolicy": container["restartPolicy"] })
        };
        kept["spec"][kind] = containers.iter().map(asks).collect();
    }
    kept
}

/// What the pods of each node have asked for, by the node's name. Pods that have ended ask for nothing.
#[must_use]
pub fn requested(pods: &Value, gpu: &str) -> BTreeMap<String, Amounts> {
    let mut nodes: BTreeMap<String, Amounts> = BTreeMap::new();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let ended = matches!(pod.pointer("/status/phase").and_then(Value::as_str), Some("Succeeded" | "Failed"));
        if let Some(node) = pod.pointer("/spec/nodeName").and_then(Value::as_str).filter(|_| !ended) {
            let sum = nodes.entry(node.to_owned()).or_default();
            *sum = sum.plus(of_pod(pod, gpu));
        }
    }
    nodes
}

/// What a pod asks for (KEP-753): its containers and those that run beside them together, or the largest of those that run before, whatever is
/// more, unless the pod as a whole asks (KEP-2837); and what the runtime takes.
fn of_pod(pod: &Value, gpu: &str) -> Amounts {
    let containers = |kind: &str| pod["spec"][kind].as_array().cloned().unwrap_or_default();
    let asks = |container: &Value| Amounts::of(&container["resources"]["requests"], gpu);
    let (mut beside, mut before) = (Amounts::default(), Amounts::default());
    for container in containers("initContainers") {
        if container["restartPolicy"] == "Always" {
            beside = beside.plus(asks(&container));
        } else {
            before = before.at_least(asks(&container).plus(beside));
        }
    }
    let running = containers("containers").iter().map(asks).fold(beside, Amounts::plus);
    let one = Amounts { pods: 1, ..Amounts::default() };
    let sum = running.at_least(before);
    let whole = &pod["spec"]["resources"]["requests"];
    let of_whole = Amounts::of(whole, gpu);
    let asked = Amounts {
        cpu_milli: if whole["cpu"].is_null() { sum.cpu_milli } else { of_whole.cpu_milli },
        memory_bytes: if whole["memory"].is_null() { sum.memory_bytes } else { of_whole.memory_bytes },
        ..sum
    };
    asked.plus(Amounts::of(&pod["spec"]["overhead"], gpu)).plus(one)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use slipway_kernel::spec::Placement;

    pub(crate) fn node(name: &str, cpu: &str, memory: &str) -> Value {
        json!({
            "metadata": { "name": name },
            "spec": {},
            "status": {
                "conditions": [{ "type": "MemoryPressure", "status": "False" }, { "type": "Ready", "status": "True" }],
                "allocatable": { "cpu": cpu, "memory": memory, "pods": "110" },
                "nodeInfo": { "architecture": "amd64", "operatingSystem": "linux" },
            },
        })
    }

    pub(crate) fn pod(node: &str, cpu: &str, memory: &str) -> Value {
        json!({
            "spec": { "nodeName": node, "containers": [{ "resources": { "requests": { "cpu": cpu, "memory": memory } } }] },
            "status": { "phase": "Running" },
        })
    }

    /// Not on spot machines.
    fn placement() -> Placement {
        serde_json::from_value(json!({ "nodeAffinity": [{ "key": "spot", "operator": "DoesNotExist" }] })).unwrap()
    }

    fn closed_with(change: impl FnOnce(&mut Value)) -> Option<Closed> {
        let mut node = node("n", "2", "4Gi");
        change(&mut node);
        let (tolerated, placement) = (["gpu-only".to_owned()], placement());
        Node::read(&node, Admission { tolerated: &tolerated, placement: &placement }).closed
    }

    #[test]
    fn a_node_is_closed_by_what_the_scheduler_would_pass_over() {
        assert_eq!(closed_with(|_| ()), None);
        assert_eq!(
            closed_with(|node| node["status"]["conditions"][1]["status"] = "Unknown".into()),
            Some(Closed::NotReady)
        );
        assert_eq!(closed_with(|node| node["spec"]["unschedulable"] = true.into()), Some(Closed::Cordoned));
        let taint = |key: &str, effect: &str| json!([{ "key": key, "effect": effect }]);
        assert_eq!(closed_with(|node| node["spec"]["taints"] = taint("gpu-only", "NoSchedule")), None);
        assert_eq!(closed_with(|node| node["spec"]["taints"] = taint("x", "PreferNoSchedule")), None);
        assert_eq!(
            closed_with(|node| node["spec"]["taints"] = taint("x", "NoExecute")),
            Some(Closed::Tainted(vec!["x".to_owned()]))
        );
        assert_eq!(
            closed_with(|node| node["status"]["nodeInfo"]["operatingSystem"] = "windows".into()),
            Some(Closed::Foreign("windows".to_owned()))
        );
        assert_eq!(
            closed_with(|node| node["metadata"]["labels"] = json!({ "spot": "true" })),
            Some(Closed::Unselected)
        );
    }

    #[test]
    fn a_pod_asks_for_its_containers_or_the_largest_that_runs_before_them() {
        let request = |cpu: &str| json!({ "resources": { "requests": { "cpu": cpu } } });
        let mut sidecar = request("100m");
        sidecar["restartPolicy"] = "Always".into();
        let pod = |first: &str| {
            json!({ "spec": {
                "initContainers": [sidecar, request(first)],
                "containers": [request("200m"), request("300m")],
                "overhead": { "cpu": "50m" },
            } })
        };
        assert_eq!(of_pod(&pod("400m"), GPU).cpu_milli, 650);
        assert_eq!(of_pod(&pod("2"), GPU).cpu_milli, 2_150);
        let mut whole = pod("2");
        whole["spec"]["resources"] = json!({ "requests": { "cpu": "1" } });
        assert_eq!(of_pod(&whole, GPU).cpu_milli, 1_050);
    }

    #[test]
    fn the_essence_says_what_the_whole_says() {
        let mut node = node("n", "2", "4Gi");
        node["spec"]["taints"] = json!([{ "key": "x", "effect": "NoSchedule" }]);
        node["status"]["images"] = json!([{ "names": ["a"], "sizeBytes": 1 }]);
        let slim = essence(&node);
        let placement = placement();
        let admission = Admission { tolerated: &[], placement: &placement };
        assert_eq!(Node::read(&slim, admission), Node::read(&node, admission));
        assert!(slim["status"]["images"].is_null() && slim.to_string().len() < node.to_string().len());
        let mut pod = pod("n", "500m", "1Gi");
        pod["spec"]["initContainers"] =
            json!([{ "image": "a", "restartPolicy": "Always", "resources": { "requests": { "cpu": "1" } } }]);
        pod["spec"]["overhead"] = json!({ "cpu": "10m" });
        let list = |pod: &Value| requested(&json!({ "items": [pod] }), GPU);
        assert_eq!(list(&essence(&pod)), list(&pod));
        assert_eq!(list(&pod)["n"].cpu_milli, 1_510);
    }

    #[test]
    fn what_ended_or_has_no_node_asks_for_nothing() {
        let mut ended = pod("n", "1", "1Gi");
        ended["status"]["phase"] = "Succeeded".into();
        let mut pending = pod("n", "1", "1Gi");
        pending["spec"]["nodeName"] = Value::Null;
        let list = json!({ "items": [pod("n", "500m", "1Gi"), pod("m", "1", "2Gi"), pod("n", "250m", "1Gi"), ended, pending] });
        let nodes = requested(&list, GPU);
        assert_eq!(nodes.len(), 2);
        assert_eq!(nodes["n"], Amounts { cpu_milli: 750, memory_bytes: 2 << 30, pods: 2, gpus: 0 });
    }

    #[test]
    fn workers_are_counted_by_what_is_scarcest() {
        let needs = Needs { cpu_milli: 500, memory_bytes: 1 << 30, gpus: 1, ..Needs::default() };
        let there =
            |cpu_milli, gigabytes: u64, pods, gpus| Amounts { cpu_milli, memory_bytes: gigabytes << 30, pods, gpus };
        for (there, workers) in [
            (there(4_000, 8, 100, 4), 4),
            (there(999, 8, 100, 4), 1),
            (there(4_000, 2, 100, 4), 2),
            (there(4_000, 8, 3, 4), 3),
            (there(4_000, 8, 100, 0), 0),
        ] {
            assert_eq!(there.workers(&needs), workers, "{there:?}");
        }
        assert_eq!(Node::lacks(there(100, 0, 0, 0), &needs), [Lack::Cpu, Lack::Memory, Lack::Gpus, Lack::Pods]);
    }
}
