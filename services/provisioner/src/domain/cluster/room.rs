//! Whether nodes have room for the first workers, and what the cluster has in all.

use super::{
    Looked, Needs, Settings, Unanswered,
    admission::{Admission, gpu_resource},
    gpu,
    node::{Amounts, Closed, Lack, Node, requested},
    proof,
};
use serde_json::Value;
use slipway_kernel::{ByteSize, Finding, FindingKind, MachineFacts, Proof};
use std::collections::BTreeMap;

/// What was found of nodes.
pub(super) struct Room<'a> {
    nodes: Result<Vec<Node>, &'a Unanswered>,
    /// Those that workers may be on, as the API server has them.
    open: Vec<&'a Value>,
    /// Why it is not known what others have asked for.
    unseen_pods: Option<&'a Unanswered>,
}

impl<'a> Room<'a> {
    pub(super) fn of(looked: &'a Looked, needs: &Needs, settings: &Settings) -> Self {
        let list = match &looked.nodes {
            Ok(list) => list["items"].as_array().map_or(&[][..], Vec::as_slice),
            Err(why) => return Self { nodes: Err(why), open: Vec::new(), unseen_pods: None },
        };
        let resource = gpu_resource(&needs.placement);
        let admission = Admission { tolerated: &settings.tolerated_taints, placement: &needs.placement };
        let asked = looked.pods.as_ref().map(|pods| requested(pods, &resource));
        let read = |node: &Value| {
            let read = Node::read(node, admission);
            let requested = asked.as_ref().ok().and_then(|asked| asked.get(&read.name)).copied().unwrap_or_default();
            Node { requested, ..read }
        };
        let nodes: Vec<Node> = list.iter().map(read).collect();
        let open = list.iter().zip(&nodes).filter(|(_, node)| node.closed.is_none()).map(|(value, _)| value).collect();
        let unseen_pods = looked.pods.as_ref().err().or(looked.other_pods.as_ref());
        Self { nodes: Ok(nodes), open, unseen_pods }
    }

    /// Whether the first workers have room.
    pub(super) fn judge(&self, needs: &Needs, settings: &Settings) -> Result<Proof, Finding> {
        let nodes = match &self.nodes {
            Ok(nodes) => nodes,
            // Not to see is not to lack: the scheduler knows.
            Err(why) => return Ok(proof("nodes", format!("nodes cannot be looked at: {why}; the scheduler decides"))),
        };
        let open: Vec<&Node> = nodes.iter().filter(|node| node.closed.is_none()).collect();
        let workers: u64 = open.iter().map(|node| node.free().workers(needs)).sum();
        let note =
            self.unseen_pods.map_or_else(String::new, |why| format!("; what pods of others have is not known: {why}"));
        if workers >= u64::from(needs.workers) {
            let of = format!("{} of {} node(s) may take workers", open.len(), nodes.len());
            return Ok(proof("nodes", format!("{of}, and have room for {workers}{note}")));
        }
        if settings.autoscaler {
            let detail =
                format!("room for {workers} of {} worker(s); the cluster's autoscaler adds nodes{note}", needs.workers);
            return Ok(proof("nodes", detail));
        }
        Err(self.lacking(nodes, &open, workers, needs))
    }

    fn lacking(&self, nodes: &[Node], open: &[&Node], workers: u64, needs: &Needs) -> Finding {
        let each = needs.describe();
        let room = if workers == 0 {
            format!("no node has room for a worker ({each})")
        } else {
            format!("there is room for {workers} of {} workers ({each} each)", needs.workers)
        };
        let reasons = reasons(nodes, needs);
        let reasons = if reasons.is_empty() { "there is no node".to_owned() } else { reasons.join(", ") };
        let mut message = format!("{room}: {reasons}; lower spec.resources or spec.scale.min, or add nodes");
        let parts = gpu::parts(&self.open);
        if needs.gpus > 0 && !parts.is_empty() {
            let asked = gpu_resource(&needs.placement);
            message.push_str(&format!("; workers ask for {asked}, of parts there are {}", parts.join(", ")));
        }
        // Even if all others left, it would not fit; or somebody is in the way.
        let empty: u64 = open.iter().map(|node| node.allocatable.workers(needs)).sum();
        let closed = nodes.len() > open.len();
        let lasting = empty < u64::from(needs.workers) && !closed;
        let finding = if lasting {
            Finding::deterministic(FindingKind::Unschedulable, message)
        } else {
            Finding::transient(FindingKind::Unschedulable, message)
        };
        #[expect(clippy::cast_precision_loss, reason = "a number of workers")]
        finding.with_figures(workers as f64, f64::from(needs.workers), "count")
    }

    /// What the cluster has, as the facts of a machine; 0 where that is not known or bounds nothing.
    pub(super) fn facts(&self, settings: &Settings) -> MachineFacts {
        let engines = settings.engines.clone();
        let engine_note = if engines.is_empty() { UNKNOWN_ENGINES.to_owned() } else { String::new() };
        let facts =
            MachineFacts { engines, engine_note, operating_system: "linux".to_owned(), ..MachineFacts::default() };
        let Ok(nodes) = &self.nodes else {
            return MachineFacts { gpu_note: "nodes cannot be looked at".to_owned(), ..facts };
        };
        let open = || nodes.iter().filter(|node| node.closed.is_none());
        let sum = |of: fn(&Node) -> Amounts| open().map(of).fold(Amounts::default(), Amounts::plus);
        let (all, free) = (sum(|node| node.allocatable), sum(Node::free));
        let gpus = gpu::of(self.open.iter().copied());
        let gpu_note =
            if gpus.is_empty() { "no node that workers may be on has a GPU".to_owned() } else { String::new() };
        // With nodes that come when they are needed, what there is now is no bound.
        let bound = |amount: u64| if settings.autoscaler { 0 } else { amount };
        MachineFacts {
            cores: u32::try_from(bound(all.cpu_milli / 1_000)).unwrap_or(u32::MAX),
            memory_bytes: bound(all.memory_bytes),
            memory_available_bytes: bound(free.memory_bytes),
            gpus,
            gpu_note,
            architecture: open().next().map(|node| node.architecture.clone()).unwrap_or_default(),
            ..facts
        }
    }
}

/// Why nothing but what is part of every worker is counted on.
const UNKNOWN_ENGINES: &str = "kubernetes.engines does not say what the worker's image has";

/// Why nodes take no worker, each reason with how many, as the scheduler tells it.
fn reasons(nodes: &[Node], needs: &Needs) -> Vec<String> {
    let mut counted: BTreeMap<String, u32> = BTreeMap::new();
    for node in nodes {
        let why = match &node.closed {
            Some(Closed::NotReady) => vec!["not ready".to_owned()],
            Some(Closed::Cordoned) => vec!["cordoned".to_owned()],
            Some(Closed::Unselected) => vec!["not what spec.placement asks for".to_owned()],
            Some(Closed::Tainted(keys)) => vec![format!("tainted ({})", keys.join(", "))],
            Some(Closed::Foreign(system)) => vec![format!("running {system}")],
            None => Node::lacks(node.free(), needs).into_iter().map(|lack| word(lack).to_owned()).collect(),
        };
        for why in why {
            *counted.entry(why).or_default() += 1;
        }
    }
    let most =
        |of: fn(&Amounts) -> u64| nodes.iter().filter(|n| n.closed.is_none()).map(|n| of(&n.free())).max().unwrap_or(0);
    counted
        .into_iter()
        .map(|(why, count)| {
            let most = match why.as_str() {
                "too little memory" => {
                    format!(" (at most {} free)", ByteSize(most(|free| free.memory_bytes) >> 20 << 20))
                }
                "too little processor time" => format!(" (at most {}m free)", most(|free| free.cpu_milli)),
                _ => String::new(),
            };
            format!("{count} of {} {why}{most}", nodes.len())
        })
        .collect()
}

const fn word(lack: Lack) -> &'static str {
    match lack {
        Lack::Cpu => "too little processor time",
        Lack::Memory => "too little memory",
        Lack::Gpus => "too few GPUs",
        Lack::Pods => "full of pods",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        node::tests::{node, pod},
        tests::{looked, needs},
    };
    use super::*;
    use serde_json::json;
    use slipway_kernel::Cause;

    fn judged(nodes: &Value, pods: &Value, settings: &Settings) -> Result<Proof, Finding> {
        let looked = Looked { nodes: Ok(nodes.clone()), pods: Ok(pods.clone()), ..looked() };
        Room::of(&looked, &needs(), settings).judge(&needs(), settings)
    }

    fn two_small_nodes() -> Value {
        let mut cordoned = node("c", "8", "64Gi");
        cordoned["spec"]["unschedulable"] = true.into();
        json!({ "items": [node("a", "2", "2Gi"), node("b", "4", "1Gi"), cordoned] })
    }

    #[test]
    fn workers_have_room_beside_what_others_asked_for() {
        let pods = json!({ "items": [pod("a", "500m", "1Gi")] });
        let proof = judged(&two_small_nodes(), &pods, &Settings::default()).unwrap();
        assert_eq!(proof.detail, "2 of 3 node(s) may take workers, and have room for 2");
    }

    #[test]
    fn why_no_node_takes_a_worker_is_counted_as_the_scheduler_does() {
        let pods = json!({ "items": [pod("a", "1500m", "1Gi"), pod("b", "0", "700Mi")] });
        let finding = judged(&two_small_nodes(), &pods, &Settings::default()).unwrap_err();
        assert_eq!((finding.kind, finding.cause), (FindingKind::Unschedulable, Cause::Transient));
        assert_eq!(
            finding.message,
            "no node has room for a worker (1000m, 576Mi): 1 of 3 cordoned, 1 of 3 too little memory (at most 1Gi free), \
             1 of 3 too little processor time (at most 4000m free); lower spec.resources or spec.scale.min, or add nodes"
        );
        let few = json!({ "items": [node("a", "1", "1Gi")] });
        let finding = judged(&few, &json!({}), &Settings::default()).unwrap_err();
        assert_eq!(finding.cause, Cause::Deterministic, "two want to run, and one could if all others left");
        assert!(finding.message.starts_with("there is room for 1 of 2 workers"), "{}", finding.message);
        let none = judged(&json!({ "items": [] }), &json!({}), &Settings::default()).unwrap_err();
        assert!(none.message.contains("there is no node"), "{}", none.message);
    }

    #[test]
    fn an_autoscaler_makes_room_and_bounds_nothing() {
        let settings = Settings { autoscaler: true, ..Settings::default() };
        let few = json!({ "items": [node("a", "1", "1Gi")] });
        assert!(judged(&few, &json!({}), &settings).unwrap().detail.contains("adds nodes"));
        let looked = Looked { nodes: Ok(few), ..looked() };
        let facts = Room::of(&looked, &needs(), &settings).facts(&settings);
        assert_eq!((facts.cores, facts.memory_bytes), (0, 0));
    }

    #[test]
    fn what_cannot_be_seen_is_unknown_and_not_lacking() {
        let unseen = || Err(Unanswered::Forbidden("nodes is forbidden".into()));
        let settings = Settings::default();
        let blind = Looked { nodes: unseen(), pods: unseen(), ..looked() };
        let room = Room::of(&blind, &needs(), &settings);
        assert!(room.judge(&needs(), &settings).unwrap().detail.contains("the scheduler decides"));
        assert_eq!((room.facts(&settings).cores, room.facts(&settings).memory_bytes), (0, 0));
        let half = Looked { nodes: Ok(two_small_nodes()), pods: unseen(), ..looked() };
        let proof = Room::of(&half, &needs(), &settings).judge(&needs(), &settings).unwrap();
        assert!(proof.detail.contains("what pods of others have is not known"), "{}", proof.detail);
    }

    #[test]
    fn a_gpu_is_wanted_whole_and_parts_are_named() {
        let mut cut = node("a", "8", "64Gi");
        cut["status"]["allocatable"]["nvidia.com/mig-1g.10gb"] = "2".into();
        let mut looked = Looked { nodes: Ok(json!({ "items": [cut] })), pods: Ok(json!({})), ..looked() };
        let (settings, needs) = (Settings::default(), Needs { gpus: 1, ..needs() });
        let finding = Room::of(&looked, &needs, &settings).judge(&needs, &settings).unwrap_err();
        assert!(finding.message.contains("1 of 1 too few GPUs"), "{}", finding.message);
        assert!(
            finding.message.ends_with("ask for nvidia.com/gpu, of parts there are nvidia.com/mig-1g.10gb"),
            "{}",
            finding.message
        );
        if let Ok(nodes) = &mut looked.nodes {
            nodes["items"][0]["status"]["allocatable"]["nvidia.com/gpu"] = "2".into();
        }
        let room = Room::of(&looked, &needs, &settings);
        assert!(room.judge(&needs, &settings).is_ok());
        let facts = room.facts(&settings);
        assert_eq!((facts.cores, facts.memory_bytes, facts.gpus.len()), (8, 64 << 30, 4));
        assert_eq!(facts.architecture, "x86_64");
    }

    #[test]
    fn a_part_of_a_gpu_is_wanted_where_the_document_says_so_and_nodes_are_those_that_it_asks_for() {
        let mut cut = node("a", "8", "64Gi");
        cut["status"]["allocatable"]["nvidia.com/mig-1g.10gb"] = "2".into();
        cut["spec"]["taints"] = json!([{ "key": "nvidia.com/gpu", "effect": "NoSchedule" }]);
        let looked = Looked { nodes: Ok(json!({ "items": [cut] })), pods: Ok(json!({})), ..looked() };
        let settings = Settings::default();
        let judged = |placement: Value| {
            let placement = serde_json::from_value(placement).unwrap();
            let needs = Needs { gpus: 1, placement, ..needs() };
            Room::of(&looked, &needs, &settings).judge(&needs, &settings).map_err(|finding| finding.message)
        };
        let tolerations = json!([{ "key": "nvidia.com/gpu", "operator": "Exists" }]);
        assert!(judged(json!({ "gpuProfile": "1g.10gb", "tolerations": tolerations })).is_ok());
        let tainted = judged(json!({ "gpuProfile": "1g.10gb" })).unwrap_err();
        assert!(tainted.contains("1 of 1 tainted (nvidia.com/gpu)"), "{tainted}");
        let elsewhere = json!({ "tolerations": tolerations, "nodeSelector": { "zone": "a" } });
        let elsewhere = judged(elsewhere).unwrap_err();
        assert!(elsewhere.contains("1 of 1 not what spec.placement asks for"), "{elsewhere}");
    }
}
