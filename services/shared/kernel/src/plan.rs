//! The plan of one revision: what the manifests are rendered from, and what a remedy changes.

use crate::{
    blob::Digest,
    finding::FindingKind,
    quantity::{ByteSize, CpuMillis},
    time::Span,
};
use serde::{Deserialize, Serialize};

/// What one revision consists of. Equal plans have equal digests, so a plan that failed is known again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Where it runs: `local`, `kubernetes`, or a cloud, which is the cluster there.
    pub target: String,
    /// What serves it: `slipway`, `triton`…
    pub platform: String,
    /// The artifact.
    pub model_digest: Digest,
    /// How many workers.
    pub replicas: u32,
    /// Processor time of one worker.
    pub cpu: CpuMillis,
    /// Memory limit of one worker.
    pub memory: ByteSize,
    /// Kernel threads of one worker.
    pub threads: u32,
    /// The most rows run at once.
    pub max_batch: u32,
    /// How long the first row of a batch waits for others at most.
    pub max_delay: Span,
    /// How many requests may wait in one worker before it refuses.
    pub queue_limit: u32,
    /// Whether every batch waits `max_delay` for `max_batch` rows, whatever the traffic is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed_batching: bool,
    /// In what time requests are to be answered, as far as batching goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_target: Option<Span>,
}

impl Plan {
    /// Fields of the plan that a revision may change, each with the path under `spec` where it starts; a path listed under
    /// `spec.fixed` is never changed.
    pub const SPEC_PATHS: [(&'static str, &'static str); 5] = [
        ("replicas", "scale.min"),
        ("cpu", "resources.cpu"),
        ("memory", "resources.memory"),
        ("maxBatch", "serving.batching.maxSize"),
        ("maxDelay", "serving.batching.maxDelay"),
    ];

    /// Whether its workers are pods: everywhere but on this machine.
    #[must_use]
    pub fn is_in_cluster(&self) -> bool {
        self.target != "local"
    }

    /// SHA-256 over the plan's JSON, whose field order is fixed by the type.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // A struct of numbers and strings has no JSON that fails to be written.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// One difference between two plans, and why it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Path in the plan (`maxBatch`).
    pub path: String,
    /// Value before.
    pub from: String,
    /// Value after.
    pub to: String,
    /// The finding it answers.
    pub finding: FindingKind,
    /// The reason in a sentence, with the figures.
    pub reason: String,
}
