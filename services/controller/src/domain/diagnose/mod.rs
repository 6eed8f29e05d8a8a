//! Why pods do not run: the words of Kubernetes as typed findings that [`revise`](super::revise) can act on.
//!
//! Much that looks bad passes by itself: a node is added, a registry answers again, a worker that fell is started anew. So each reason has a
//! time for which it must have held (in seconds) before the try is given up; the finding says whether the same may help again.

mod pod;
mod workload;

use slipway_kernel::{Cause, Finding, FindingKind, Timestamp};
use std::time::Duration;

/// Deaths before a worker is given up: one may be chance, three are not.
pub const MAX_DEATHS: u32 = 3;
/// How much of a container's last words is quoted.
const QUOTED: usize = 600;

/// What is known of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// Its name, which is that of the worker.
    pub name: String,
    /// Since when it is there.
    pub since: Timestamp,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// Why it is in this phase (`Evicted`), in Kubernetes' word and sentence.
    pub reason: Option<Said>,
    /// Why it has no node, if it has none.
    pub unscheduled: Option<Said>,
    /// Its node, where that does not answer.
    pub lost_node: Option<String>,
    /// Why its container waits.
    pub waiting: Option<Said>,
    /// How its container ended last.
    pub ended: Option<Ended>,
    /// How often it was started again.
    pub restarts: u32,
    /// Warnings about it, newest last.
    pub warnings: Vec<Said>,
}

/// What is known of what makes the pods: a Deployment with its ReplicaSets, or a StatefulSet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// Why pods are not made, if they are not (`FailedCreate`).
    pub not_made: Option<Said>,
    /// Since when.
    pub since: Timestamp,
    /// It made no progress for as long as it may take.
    pub is_late: bool,
}

/// A word of Kubernetes and its sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `FailedScheduling`, `ImagePullBackOff`.
    pub word: String,
    /// The sentence.
    pub sentence: String,
}

/// The end of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Whether it was the model server beside the worker, and not that.
    pub is_server: bool,
    /// `OOMKilled`, `Error`, `Completed`.
    pub word: String,
    /// Its exit code.
    pub code: i32,
    /// What it left: its findings, or the end of its log.
    pub message: String,
}

/// What is wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// Typed; the worst first.
    pub findings: Vec<Finding>,
    /// Whether waiting any longer is of no use.
    pub is_settled: bool,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq)]
struct Trouble {
    finding: Finding,
    /// For how long it must have held until nobody waits any longer.
    settles_after: Duration,
    /// For how long it has.
    held: Duration,
}

impl Trouble {
    fn new(kind: FindingKind, cause: Cause, message: String, settles_after: u64) -> Self {
        let finding = match cause {
            Cause::Transient => Finding::transient(kind, message),
            Cause::Deterministic => Finding::deterministic(kind, message),
        };
        Self { finding, settles_after: Duration::from_secs(settles_after), held: Duration::ZERO }
    }

    fn with_evidence(mut self, reference: String) -> Self {
        self.finding = self.finding.with_evidence(reference);
        self
    }

    const fn held_for(mut self, held: Duration) -> Self {
        self.held = held;
        self
    }

    fn is_settled(&self) -> bool {
        self.held >= self.settles_after
    }
}

/// What is wrong with the workers of a revision. Nothing found is no proof that they will start.
#[must_use]
pub fn diagnose(workload: &Workload, pods: &[Pod], now: Timestamp) -> Diagnosis {
    let mut troubles: Vec<Trouble> = workload::troubles(workload, now).collect();
    // A pod that was put out stays to be looked at, and another one is made in its place, for ever.
    let put_out = pods.iter().filter(|pod| pod.reason.as_ref().is_some_and(|said| said.word == "Evicted")).count();
    troubles.extend(pods.iter().flat_map(|pod| pod::troubles(pod, now)));
    // What is certain comes before what may pass, and of equals the one that was told first.
    troubles.sort_by_key(|trouble| (!trouble.is_settled(), trouble.finding.cause == Cause::Transient));
    let is_settled = troubles.iter().any(Trouble::is_settled) || put_out >= MAX_DEATHS as usize;
    let mut findings: Vec<Finding> = Vec::new();
    for trouble in troubles {
        // Workers of one revision fail alike: each reason is said once.
        let same = |known: &&mut Finding| known.kind == trouble.finding.kind && known.cause == trouble.finding.cause;
        match findings.iter_mut().find(same) {
            Some(known) => known.evidence.extend(trouble.finding.evidence),
            None => findings.push(trouble.finding),
        }
    }
    Diagnosis { findings, is_settled }
}

/// The end of a text, on a border of characters.
fn quoted(text: &str) -> &str {
    let mut from = text.len().saturating_sub(QUOTED);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.get(from..).unwrap_or(text).trim()
}

#[cfg(test)]
mod tests;
