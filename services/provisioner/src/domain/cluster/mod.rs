//! Whether a cluster is ready for the workers of a deployment, judged on what its API server says: it answers in a version that will do, the
//! namespace is there, its quotas and nodes have room, and the controller may do what it must.
//!
//! What could not be looked at, for want of a right, is no lack: it is noted, and the scheduler knows.

pub mod access;
pub mod admission;
mod extensions;
mod gpu;
mod namespace;
pub mod node;
pub mod quantity;
mod quota;
mod room;
mod storage;
mod version;

use access::Need;
use admission::{Admission, gpu_resource};
use room::Room;
use serde_json::Value;
use slipway_kernel::{ByteSize, CpuMillis, Finding, GpuFacts, MachineFacts, Proof, spec::Placement};
use std::fmt;

/// Why the API server gave no answer to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// It does not let us look.
    Forbidden(String),
    /// There is no such thing.
    Missing,
    /// It does not know who asks.
    Unauthenticated(String),
    /// It could not be reached, or failed.
    Away(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(said) => write!(f, "no right: {said}"),
            Self::Missing => f.write_str("there is no such thing"),
            Self::Unauthenticated(said) => write!(f, "not known there: {said}"),
            Self::Away(said) => f.write_str(said),
        }
    }
}

/// What was asked of a cluster, and what came.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The namespace that workers are to be in.
    pub namespace_name: String,
    /// Whose rights were looked at, for a person.
    pub who: String,
    /// `/version`.
    pub version: Result<Value, Unanswered>,
    /// The namespace.
    pub namespace: Result<Value, Unanswered>,
    /// All nodes.
    pub nodes: Result<Value, Unanswered>,
    /// All pods, or those of the namespace.
    pub pods: Result<Value, Unanswered>,
    /// Why those of other namespaces are not among them, if they are not.
    pub other_pods: Option<Unanswered>,
    /// The namespace's `ResourceQuota`s.
    pub quotas: Result<Value, Unanswered>,
    /// The namespace's `LimitRange`s.
    pub limit_ranges: Result<Value, Unanswered>,
    /// All storage classes.
    pub storage_classes: Result<Value, Unanswered>,
    /// `/apis`: the groups that it serves.
    pub groups: Result<Value, Unanswered>,
    /// Reviews of what must be allowed; none where nobody said whose rights to look at.
    pub access: Vec<(Need, Result<Value, Unanswered>)>,
}

/// What the operator says of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Keys of taints that do not keep workers away.
    pub tolerated_taints: Vec<String>,
    /// Whether nodes come when pods wait for them.
    pub autoscaler: bool,
    /// The engines that the worker's image has.
    pub engines: Vec<String>,
}

/// What the first workers need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// How many.
    pub workers: u32,
    /// Processor time that each is promised, in thousandths of cores.
    pub cpu_milli: u64,
    /// Memory that each is promised, and not given more of, in bytes.
    pub memory_bytes: u64,
    /// GPUs of each, whole or in the parts that the placement names.
    pub gpus: u32,
    /// On which nodes, and with what.
    pub placement: Placement,
}

/// The part of a worker's memory that its pod has beside it, so that it can end itself before it is killed: an eighth, as the controller plans it.
const MARGIN: u64 = 8;

impl Needs {
    /// The needs of so many workers as a spec has them.
    #[must_use]
    pub fn of(workers: u32, cpu: CpuMillis, memory: ByteSize, gpus: u32) -> Self {
        let memory_bytes = memory.0.saturating_add(memory.0 / MARGIN);
        Self { workers, cpu_milli: u64::from(cpu.0), memory_bytes, gpus, placement: Placement::default() }
    }

    /// Processor time that each may have at most: a core for each of its threads, begun ones whole.
    #[must_use]
    pub const fn cpu_limit_milli(&self) -> u64 {
        let cores = self.cpu_milli.div_ceil(1_000);
        if cores == 0 { 1_000 } else { cores * 1_000 }
    }

    fn describe(&self) -> String {
        let gpus = if self.gpus > 0 { format!(", {} GPU(s)", self.gpus) } else { String::new() };
        format!("{}m, {}{gpus}", self.cpu_milli, ByteSize(self.memory_bytes))
    }
}

/// Whether the cluster is ready, with what it has and a proof for each part; else every finding at once.
///
/// # Errors
/// The findings; never empty.
pub fn judge(looked: &Looked, needs: &Needs, settings: &Settings) -> Result<(MachineFacts, Vec<Proof>), Vec<Finding>> {
    // Without an answer of the server nothing else can be told.
    let answers = version::judge(&looked.version).map_err(|finding| vec![finding])?;
    let room = Room::of(looked, needs, settings);
    let one = |judged: Result<Proof, Finding>| judged.map_err(|finding| vec![finding]);
    let judged = [
        Ok(answers),
        one(namespace::judge(&looked.namespace_name, &looked.namespace)),
        one(access::judge(&looked.namespace_name, &looked.who, &looked.access)),
        quota::judge(&looked.quotas, needs),
        quota::judge_ranges(&looked.limit_ranges, needs),
        one(storage::judge(&looked.storage_classes, needs.placement.storage.as_ref())),
        one(room.judge(needs, settings)),
        Ok(extensions::prove(&looked.groups)),
    ];
    let (mut proofs, mut findings) = (Vec::new(), Vec::new());
    for judged in judged {
        match judged {
            Ok(proof) => proofs.push(proof),
            Err(found) => findings.extend(found),
        }
    }
    if findings.is_empty() { Ok((room.facts(settings), proofs)) } else { Err(findings) }
}

/// The GPUs that a worker can be given, on those of all `nodes` that it may be on.
#[must_use]
pub fn gpus(nodes: &Value, placement: &Placement, settings: &Settings) -> Vec<GpuFacts> {
    let admission = Admission { tolerated: &settings.tolerated_taints, placement };
    let nodes = nodes["items"].as_array().map_or(&[][..], Vec::as_slice);
    let open = nodes.iter().filter(|node| node::Node::read(node, admission).closed.is_none());
    gpu::given(open, &gpu_resource(placement))
}

fn proof(name: &str, detail: impl Into<String>) -> Proof {
    Proof { name: name.to_owned(), detail: detail.into() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use node::tests::node;
    use serde_json::json;
    use slipway_kernel::{Cause, FindingKind};

    /// A cluster in which all is well.
    pub(crate) fn looked() -> Looked {
        let none = || Ok(json!({ "items": [] }));
        let allowed = || Ok(json!({ "status": { "allowed": true } }));
        Looked {
            namespace_name: "ml".to_owned(),
            who: "the controller".to_owned(),
            version: Ok(json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.1" })),
            namespace: Ok(json!({ "status": { "phase": "Active" } })),
            nodes: Ok(json!({ "items": [node("a", "4", "8Gi")] })),
            pods: none(),
            other_pods: None,
            quotas: none(),
            limit_ranges: none(),
            storage_classes: none(),
            groups: Ok(json!({ "groups": [] })),
            access: access::needs().into_iter().map(|need| (need, allowed())).collect(),
        }
    }

    /// Two workers of a core and 512 MiB.
    pub(crate) fn needs() -> Needs {
        Needs::of(2, CpuMillis(1_000), ByteSize::mebibytes(512), 0)
    }

    #[test]
    fn a_cluster_in_which_all_is_well_has_a_proof_for_each_part() {
        let settings = Settings { engines: vec!["tract".to_owned()], ..Settings::default() };
        let (facts, proofs) = judge(&looked(), &needs(), &settings).unwrap();
        let names: Vec<&str> = proofs.iter().map(|proof| proof.name.as_str()).collect();
        assert_eq!(
            names,
            ["api-server", "namespace", "permissions", "quota", "limit-range", "storage", "nodes", "extensions"]
        );
        assert_eq!((facts.cores, facts.memory_bytes, facts.engines), (4, 8 << 30, vec!["tract".to_owned()]));
        assert_eq!(facts.operating_system, "linux");
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let mut looked = looked();
        looked.namespace = Err(Unanswered::Missing);
        looked.access[0].1 = Ok(json!({ "status": { "allowed": false } }));
        looked.nodes = Ok(json!({ "items": [] }));
        let findings = judge(&looked, &needs(), &Settings::default()).unwrap_err();
        let kinds: Vec<FindingKind> = findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::Misconfigured, FindingKind::Misconfigured, FindingKind::Unschedulable]);
    }

    #[test]
    fn a_server_that_does_not_answer_is_the_only_finding() {
        let looked = Looked { version: Err(Unanswered::Away("timed out".into())), ..looked() };
        let findings = judge(&looked, &needs(), &Settings::default()).unwrap_err();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].cause, Cause::Transient);
    }

    #[test]
    fn a_pod_has_an_eighth_more_memory_than_its_worker_and_whole_cores() {
        let needs = Needs::of(1, CpuMillis(1_200), ByteSize::mebibytes(512), 0);
        assert_eq!((needs.memory_bytes >> 20, needs.cpu_limit_milli()), (576, 2_000));
        assert_eq!(Needs::of(1, CpuMillis(500), ByteSize(0), 0).cpu_limit_milli(), 1_000);
    }
}
