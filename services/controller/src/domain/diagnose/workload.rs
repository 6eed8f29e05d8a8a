//! Pods that are not made at all, or not in time.

use super::{Trouble, Workload, quoted};
use slipway_kernel::{
    Cause::{Deterministic, Transient},
    FindingKind, Timestamp,
};

/// What is wrong with the Deployment or StatefulSet itself.
pub(super) fn troubles(workload: &Workload, now: Timestamp) -> impl Iterator<Item = Trouble> {
    let held = now.since(workload.since);
    let refused = workload.not_made.as_ref().map(|said| {
        let sentence = quoted(&said.sentence);
        let (kind, cause, what, settles) = refusal(sentence);
        let evidence = format!("kubernetes:{}", said.word);
        Trouble::new(kind, cause, format!("{what}: {sentence}"), settles).with_evidence(evidence).held_for(held)
    });
    let late = workload.is_late.then(|| {
        let message = "the workers made no progress for as long as they may take".to_owned();
        let evidence = "kubernetes:ProgressDeadlineExceeded".to_owned();
        Trouble::new(FindingKind::StartTimeout, Deterministic, message, 0).with_evidence(evidence)
    });
    refused.into_iter().chain(late)
}

/// What a refusal to make a pod is, from the sentence of the API server: it has one reason, `FailedCreate`, for all.
fn refusal(sentence: &str) -> (FindingKind, slipway_kernel::Cause, &'static str, u64) {
    let says = |words: &[&str]| words.iter().any(|word| sentence.contains(word));
    if says(&["exceeded quota"]) {
        // Room may be made by others; a smaller plan makes it for certain.
        return (FindingKind::Unschedulable, Deterministic, "the quota of the namespace has no room for a worker", 20);
    }
    if says(&["violates PodSecurity", "admission webhook", "denied the request", "ValidatingAdmissionPolicy"]) {
        return (FindingKind::PolicyViolation, Deterministic, "the cluster does not admit the worker", 5);
    }
    if says(&["maximum cpu usage", "maximum memory usage", "minimum cpu usage", "minimum memory usage", "LimitRange"]) {
        return (FindingKind::PolicyViolation, Deterministic, "the limits of the namespace do not allow the worker", 5);
    }
    if says(&["no PriorityClass"]) {
        return (FindingKind::Misconfigured, Deterministic, "the priority class of workers is not there", 20);
    }
    if says(&["serviceaccount", "error looking up service account"]) {
        return (FindingKind::Misconfigured, Transient, "the service account of workers is not there", 30);
    }
    if says(&["is being terminated", "because it is being terminated"]) {
        return (FindingKind::Misconfigured, Deterministic, "the namespace is being removed", 5);
    }
    (FindingKind::DependencyUnavailable, Transient, "the cluster makes no pod", 60)
}
