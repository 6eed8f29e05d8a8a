//! `spec.placement`: which nodes of a cluster workers run on, and what they have there.

use crate::quantity::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which nodes of a cluster workers run on, and what they have there. The fields have the names and the meaning of those of a pod. No revision
/// changes them. On a single machine (`local`) there are no nodes to choose among: the same document is served there, and this has no effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Placement {
    /// Labels that a node must have, each with its value; at most 32.
    pub node_selector: BTreeMap<String, String>,
    /// What else the labels of a node must say, or had better say; at most 32.
    pub node_affinity: Vec<NodeAffinity>,
    /// Taints that do not keep workers away; at most 32.
    pub tolerations: Vec<Toleration>,
    /// What workers of a revision are spread over. Where there is no room elsewhere they still share.
    pub spread: Spread,
    /// The PriorityClass of workers; the cluster's default if none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class: Option<String>,
    /// The part of a GPU that each worker gets instead of a whole one, as NVIDIA names MIG profiles in resources: `1g.5gb` asks for
    /// `nvidia.com/mig-1g.5gb`. Only with `infrastructure.gpu: required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_profile: Option<String>,
    /// A volume for each worker that keeps the files of the model when its pod is started anew, also on another node. They are fetched
    /// by each pod unless this is given. Volumes go with their revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
}

/// What a label of a node must say, or with a weight, had better say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeAffinity {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: NodeOperator,
    /// With what: one or more values for `In` and `NotIn`, one whole number for `Gt` and `Lt`, none for the others.
    #[serde(default)]
    pub values: Vec<String>,
    /// How much it counts, 1 to 100, among nodes that will do; without it no other node will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// How a label of a node is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeOperator {
    /// It has one of the values.
    In,
    /// It has none of the values, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
    /// It is a number greater than the value.
    Gt,
    /// It is a number less than the value.
    Lt,
}

/// A taint that does not keep workers away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// The taint's key; absent with `operator: Exists`: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How its value is compared.
    pub operator: TolerationOperator,
    /// Its value, with `operator: Equal`; absent: the empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its effect; absent: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// How long a worker stays on a node that gets the taint, with `effect: NoExecute`; absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<u32>,
}

/// How the value of a taint is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// It is the same.
    #[default]
    Equal,
    /// It may be any.
    Exists,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// No new pods come.
    NoSchedule,
    /// New pods had better go elsewhere.
    PreferNoSchedule,
    /// No new pods come, and those that are there go.
    NoExecute,
}

/// What workers are spread over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// Zones, and within each of them nodes.
    Zone,
    /// Nodes.
    #[default]
    Node,
    /// Nothing: the scheduler puts them where it likes.
    None,
}

/// A volume for the files of the model, for each worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Its size, 64Mi to 16Ti: that of the model and an eighth for the file system.
    pub size: ByteSize,
    /// Its StorageClass; the cluster's default if none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Who may mount it at once.
    #[serde(default)]
    pub mode: AccessMode,
}

/// Who may mount a volume at once. No worker shares its volume; a class of storage may offer only one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    /// The pods of one node.
    #[default]
    ReadWriteOnce,
    /// One pod.
    ReadWriteOncePod,
    /// The pods of all nodes.
    ReadWriteMany,
}

impl super::Spec {
    /// The placement, with what serves where the document has none.
    #[must_use]
    pub fn placement(&self) -> Placement {
        self.placement.clone().unwrap_or_default()
    }
}
