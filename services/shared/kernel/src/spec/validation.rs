//! `spec.slo`, `validation` and `rollout`: what it must keep, what is proved, how the traffic moves.

use crate::{quantity::Rate, time::Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What it must keep in production.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Slo {
    /// 99 of 100 requests answer within this.
    #[serde(rename = "latencyP99", skip_serializing_if = "Option::is_none")]
    pub latency_p99: Option<Span>,
    /// Percent of requests answered without error of ours, 0 to 100 (100 excluded).
    pub availability: f64,
    /// Requests it must sustain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throughput: Option<Rate>,
}

impl Default for Slo {
    fn default() -> Self {
        Self { latency_p99: None, availability: 99.9, throughput: None }
    }
}

/// What is proved before production.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Validation {
    /// JSON lines of inputs and expected outputs: `file:///…`, `https://…`, `nats-object://…` or `blob://<sha256>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub golden: Option<String>,
    /// The least share of golden rows whose label must be right, 0 to 1.
    pub min_accuracy: f64,
    /// The most an output number may differ from the golden one.
    pub tolerance: f64,
    /// The load it is tried with.
    pub load: Load,
    /// The faults it is tried with.
    pub faults: Vec<Fault>,
    /// The most revisions of one generation, 1 to 20.
    pub max_revisions: u32,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            golden: None,
            min_accuracy: 0.95,
            tolerance: 1e-3,
            load: Load::default(),
            faults: vec![Fault::WorkerKilled],
            max_revisions: 5,
        }
    }
}

/// The load it is tried with: open loop, so a slow server does not slow its own test down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Load {
    /// Requests sent; `slo.throughput` if absent, else 50/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How long each repeat lasts, 1s to 10m.
    pub duration: Span,
    /// How often it is repeated, 1 to 10; the spread is the noise band.
    pub repeats: u32,
}

impl Default for Load {
    fn default() -> Self {
        Self { rate: None, duration: Span::seconds(3), repeats: 3 }
    }
}

/// A fault it is tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// One worker is killed under load; no request may be lost.
    WorkerKilled,
}

/// How the traffic moves to a validated revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// Shares in percent, rising, the last one 100.
    pub steps: Vec<u32>,
    /// How long each share is watched before the next.
    pub hold: Span,
    /// How long the release is watched while its predecessor is kept warm.
    pub watch: Span,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { steps: vec![5, 25, 50, 100], hold: Span::seconds(30), watch: Span::seconds(600) }
    }
}
