//! A pod that does not run, or does not stay.

use super::{Ended, MAX_DEATHS, Pod, Said, Trouble, quoted};
use slipway_kernel::{
    Cause::{self, Deterministic, Transient},
    Finding, FindingKind, Timestamp,
};
use std::time::Duration;

/// Reasons why a container waits: what each is, whether the same can help again, how it is told, and after how many seconds nobody waits any
/// longer. A registry is tried for a minute, in which the kubelet pulls four times.
const WAITING: [(&str, FindingKind, Cause, &str, u64); 8] = [
    ("InvalidImageName", FindingKind::ImageUnavailable, Deterministic, "the name of the image is none", 0),
    (
        "ErrImageNeverPull",
        FindingKind::ImageUnavailable,
        Deterministic,
        "the image is not on the node and may not be pulled",
        0,
    ),
    ("ErrImagePull", FindingKind::ImageUnavailable, Transient, "the image cannot be pulled", 60),
    ("ImagePullBackOff", FindingKind::ImageUnavailable, Transient, "the image cannot be pulled", 60),
    ("ImageInspectError", FindingKind::ImageUnavailable, Deterministic, "the image cannot be read", 20),
    ("CreateContainerConfigError", FindingKind::Misconfigured, Transient, "the container cannot be configured", 20),
    ("CreateContainerError", FindingKind::Misconfigured, Deterministic, "the container cannot be made", 20),
    ("RunContainerError", FindingKind::Misconfigured, Deterministic, "the container cannot be started", 20),
];

/// Seconds a pod may wait for a node: autoscalers of clusters add one within a minute or two, and say so.
const FOR_A_NODE: u64 = 60;
/// The same where an autoscaler of the cluster has promised one.
const FOR_A_NEW_NODE: u64 = 300;
/// Seconds it may wait for its volumes.
const FOR_VOLUMES: u64 = 120;

/// What is wrong with a pod.
pub(super) fn troubles(pod: &Pod, now: Timestamp) -> Vec<Trouble> {
    let held = now.since(pod.since);
    let mut troubles: Vec<Trouble> = Vec::new();
    troubles.extend(pod.unscheduled.as_ref().map(|said| unscheduled(said, pod)));
    troubles.extend(pod.reason.as_ref().and_then(|said| (said.word == "Evicted").then(|| evicted(said))));
    if let Some(node) = &pod.lost_node {
        let message =
            format!("the node `{node}` does not answer; the worker is started elsewhere when the cluster gives it up");
        troubles.push(Trouble::new(FindingKind::DependencyUnavailable, Transient, message, 600));
    }
    match (&pod.waiting, &pod.ended) {
        (Some(said), _) if said.word == "ContainerCreating" || said.word == "PodInitializing" => {
            troubles.extend(unmade(pod));
        }
        (waiting, Some(ended)) if waiting.as_ref().is_none_or(|said| said.word == "CrashLoopBackOff") => {
            return troubles
                .into_iter()
                .map(|t| t.held_for(held))
                .chain(died(ended, pod))
                .map(|t| of(pod, t))
                .collect();
        }
        (Some(said), _) => troubles.extend(waiting(said)),
        (None, _) => troubles.extend(probed(pod)),
    }
    troubles.into_iter().map(|trouble| of(pod, trouble.held_for(held))).collect()
}

fn of(pod: &Pod, trouble: Trouble) -> Trouble {
    trouble.with_evidence(format!("pod:{}", pod.name))
}

fn waiting(said: &Said) -> Option<Trouble> {
    let (_, kind, cause, what, settles) = WAITING.iter().find(|(word, ..)| *word == said.word)?;
    let sentence = quoted(&said.sentence);
    // Who has no right today has none in a minute, and what a registry does not know it will not know either.
    let for_good = ["not found", "manifest unknown", "unauthorized", "denied", "authentication required"];
    let refused = *kind == FindingKind::ImageUnavailable && for_good.iter().any(|word| sentence.contains(word));
    let missing = said.word == "CreateContainerConfigError" && sentence.contains("secret");
    let (kind, cause) = match (missing, refused) {
        (true, _) => (FindingKind::SecretMissing, Deterministic),
        (false, true) => (*kind, Deterministic),
        (false, false) => (*kind, *cause),
    };
    Some(Trouble::new(kind, cause, told(what, sentence), *settles).with_evidence(format!("kubernetes:{}", said.word)))
}

/// Why no node takes it: the scheduler says of how many nodes what, and each is a constraint that a plan or a person can loosen.
fn unscheduled(said: &Said, pod: &Pod) -> Trouble {
    let sentence = quoted(&said.sentence);
    let promised = pod.warnings.iter().any(|warning| warning.word == "TriggeredScaleUp");
    let settles = if promised { FOR_A_NEW_NODE } else { FOR_A_NODE };
    let message = format!("no node takes the worker ({}): {sentence}", constraint(sentence));
    let volume = names_a_volume(sentence);
    let kind = if volume { FindingKind::DependencyUnavailable } else { FindingKind::Unschedulable };
    let cause = if volume { Transient } else { Deterministic };
    Trouble::new(kind, cause, message, if volume { FOR_VOLUMES } else { settles })
        .with_evidence("kubernetes:FailedScheduling".to_owned())
}

/// The constraint in a word.
fn constraint(sentence: &str) -> &'static str {
    const CONSTRAINTS: [(&str, &str); 9] = [
        ("Insufficient memory", "memory"),
        ("Insufficient cpu", "processor time"),
        ("Insufficient nvidia.com", "GPU"),
        ("Insufficient ephemeral-storage", "disk"),
        ("Too many pods", "number of pods"),
        ("untolerated taint", "taint"),
        ("node affinity/selector", "node selector or affinity"),
        ("topology spread", "topology spread"),
        ("no nodes available", "there is no node"),
    ];
    let other = if names_a_volume(sentence) { "volume" } else { "other" };
    CONSTRAINTS.iter().find(|(words, _)| sentence.contains(words)).map_or(other, |(_, constraint)| constraint)
}

/// Whether it is for a claim or a volume: each plugin of the scheduler has words of its own.
fn names_a_volume(sentence: &str) -> bool {
    const WORDS: [&str; 5] = ["persistentvolume", "persistent volume", "free storage", "pvc(s)", "volume zone"];
    let sentence = sentence.to_lowercase();
    WORDS.iter().any(|word| sentence.contains(word))
}

/// A node that runs short puts out who came last; who takes more than he may is put out wherever he is.
fn evicted(said: &Said) -> Trouble {
    let sentence = quoted(&said.sentence);
    let (kind, cause, what, settles) = if sentence.contains("exceeds") {
        (FindingKind::Misconfigured, Deterministic, "the worker takes more of the node's disk than it may", 0)
    } else {
        (FindingKind::Unschedulable, Transient, "the node put the worker out", 600)
    };
    Trouble::new(kind, cause, told(what, sentence), settles).with_evidence("kubernetes:Evicted".to_owned())
}

/// What keeps a container from being made: its volumes, or the sandbox that holds it.
fn unmade(pod: &Pod) -> Option<Trouble> {
    let said =
        pod.warnings.iter().rev().find(|said| {
            ["FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"].contains(&said.word.as_str())
        })?;
    let sentence = quoted(&said.sentence);
    let evidence = format!("kubernetes:{}", said.word);
    let (kind, cause, settles) = match sentence {
        text if text.contains("secret") && text.contains("not found") => {
            (FindingKind::SecretMissing, Deterministic, 20)
        }
        text if text.contains("configmap") && text.contains("not found") => (FindingKind::Misconfigured, Transient, 30),
        // So little that not even the first process fits.
        text if text.contains("OOM-killed") => (FindingKind::OutOfMemory, Deterministic, 0),
        _ => (FindingKind::DependencyUnavailable, Transient, FOR_VOLUMES),
    };
    let what = if said.word == "FailedCreatePodSandBox" { "the pod cannot be made" } else { "a volume is not there" };
    Some(Trouble::new(kind, cause, told(what, sentence), settles).with_evidence(evidence))
}

/// It runs, but the kubelet had to kill it for not answering.
fn probed(pod: &Pod) -> Option<Trouble> {
    let killed = pod.warnings.iter().rev().find(|said| said.word == "Unhealthy" && said.sentence.contains("tartup"))?;
    (pod.restarts > 0).then(|| {
        let message = told("the worker was not ready in time and was started anew", quoted(&killed.sentence));
        Trouble::new(FindingKind::StartTimeout, Deterministic, message, 0)
            .with_evidence("kubernetes:Unhealthy".to_owned())
    })
}

/// How it ended: by its own findings, which it leaves in its last message, or by what the kernel and the kubelet say of it.
fn died(ended: &Ended, pod: &Pod) -> Vec<Trouble> {
    let often = pod.restarts >= MAX_DEATHS;
    let settled = |finding: Finding, at_once: bool| {
        let settles_after = if often || at_once { Duration::ZERO } else { Duration::MAX };
        Trouble { finding, settles_after, held: Duration::ZERO }
    };
    let own: Vec<Finding> = serde_json::from_str(ended.message.trim()).unwrap_or_default();
    if !own.is_empty() {
        // A crash may be chance once; what a worker says of its model or its settings is as true the next time.
        let for_good = |finding: &Finding| finding.cause == Deterministic && finding.kind != FindingKind::Crashed;
        return own
            .into_iter()
            .map(|finding| {
                let now = for_good(&finding);
                settled(finding, now)
            })
            .collect();
    }
    let who = if ended.is_server { "the model server beside the worker" } else { "the worker" };
    if ended.word == "OOMKilled" {
        let message = format!("{who} was killed: it had more memory than planned");
        let finding = Finding::deterministic(FindingKind::OutOfMemory, message).with_evidence("kubernetes:OOMKilled");
        return vec![settled(finding, true)];
    }
    // Who is only starting does not answer either; who was ended for it says so by his exit code: that of an orderly end, or of a signal.
    let was_ended = matches!(ended.code, 0 | 137 | 143);
    let unanswered = pod.warnings.iter().rev().find(|said| was_ended && said.word == "Unhealthy");
    let (kind, what) = match unanswered {
        Some(said) if said.sentence.contains("tartup") => (FindingKind::StartTimeout, "was not ready in time"),
        Some(said) if said.sentence.contains("iveness") => (FindingKind::Crashed, "did not answer any more"),
        _ => (FindingKind::Crashed, "ended by itself"),
    };
    let said = quoted(&ended.message);
    let message = told(&format!("{who} {what} ({}, exit code {})", ended.word, ended.code), said);
    let finding = Finding::deterministic(kind, message).with_evidence(format!("kubernetes:{}", ended.word));
    vec![settled(finding, false)]
}

fn told(what: &str, sentence: &str) -> String {
    if sentence.is_empty() { what.to_owned() } else { format!("{what}: {sentence}") }
}
