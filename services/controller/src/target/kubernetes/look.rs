//! What is there: lists of the API server, as the words of the domain.

use super::objects::{annotation, is_leaving, label, text};
use crate::domain::{
    diagnose::{Ended, Pod, Said, Workload},
    manifest::kubernetes::{ATTEMPT, CONTAINER, TOKEN},
};
use serde_json::Value;
use slipway_kernel::Timestamp;
use std::collections::BTreeMap;

/// How many warnings of a pod are kept: the newest say why.
const WARNINGS: usize = 20;

/// A pod and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SeenPod {
    /// The value of the label of its deployment.
    pub(super) deployment: String,
    pub(super) revision: String,
    pub(super) attempt: u32,
    pub(super) token: u64,
    pub(super) is_leaving: bool,
    pub(super) pod: Pod,
}

/// What is said about pods in events, by the name of the pod.
pub(super) fn warnings(events: &[Value]) -> BTreeMap<String, Vec<Said>> {
    let mut events: Vec<&Value> = events.iter().filter(|event| text(event, "/involvedObject/kind") == "Pod").collect();
    events.sort_by_key(|event| happened(event).to_owned());
    let mut by_pod: BTreeMap<String, Vec<Said>> = BTreeMap::new();
    for event in events {
        let said = Said { word: text(event, "/reason").to_owned(), sentence: text(event, "/message").to_owned() };
        let warnings = by_pod.entry(text(event, "/involvedObject/name").to_owned()).or_default();
        warnings.push(said);
        if warnings.len() > WARNINGS {
            warnings.remove(0);
        }
    }
    by_pod
}

/// When, in the form of the API server, which sorts as text.
fn happened(event: &Value) -> &str {
    ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
        .into_iter()
        .map(|pointer| text(event, pointer))
        .find(|time| !time.is_empty())
        .unwrap_or_default()
}

/// A pod of ours.
pub(super) fn pod(object: &Value, warnings: &BTreeMap<String, Vec<Said>>) -> SeenPod {
    let name = text(object, "/metadata/name").to_owned();
    let status = &object["status"];
    let container = status["containerStatuses"].as_array().into_iter().flatten().find(|one| one["name"] == CONTAINER);
    let null = Value::Null;
    let container = container.unwrap_or(&null);
    let said = |pointer: &str| {
        let value = container.pointer(pointer)?;
        Some(Said { word: text(value, "/reason").to_owned(), sentence: text(value, "/message").to_owned() })
    };
    let ended = container.pointer("/state/terminated").or_else(|| container.pointer("/lastState/terminated"));
    let reason = text(status, "/reason");
    let pod = Pod {
        since: time(text(object, "/metadata/creationTimestamp")),
        phase: text(status, "/phase").to_owned(),
        reason: (!reason.is_empty())
            .then(|| Said { word: reason.to_owned(), sentence: text(status, "/message").to_owned() }),
        unscheduled: condition(status, "PodScheduled").filter(|(is, _)| *is == "False").map(|(_, said)| said),
        is_node_lost: text(status, "/phase") == "Unknown"
            || condition(status, "Ready").is_some_and(|(is, _)| is == "Unknown")
            || tainted(object),
        waiting: said("/state/waiting"),
        ended: ended.map(|ended| Ended {
            word: text(ended, "/reason").to_owned(),
            code: ended["exitCode"].as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or(-1),
            message: text(ended, "/message").to_owned(),
        }),
        restarts: container["restartCount"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0),
        warnings: warnings.get(&name).cloned().unwrap_or_default(),
        name,
    };
    SeenPod {
        deployment: label(object, "slipway.dev/deployment").to_owned(),
        revision: label(object, "slipway.dev/revision").to_owned(),
        attempt: label(object, ATTEMPT).parse().unwrap_or(0),
        token: annotation(object, TOKEN).parse().unwrap_or(0),
        is_leaving: is_leaving(object),
        pod,
    }
}

/// The kubelet of its node does not answer: the node's controller says so by a condition of the pod.
fn tainted(object: &Value) -> bool {
    condition(&object["status"], "Ready").is_some_and(|(is, said)| is == "False" && said.word == "NodeLost")
        || condition(&object["status"], "DisruptionTarget")
            .is_some_and(|(is, said)| is == "True" && said.word == "DeletionByTaintManager")
}

/// A Deployment.
pub(super) fn workload(object: &Value, now: Timestamp) -> Workload {
    let status = &object["status"];
    let since = |kind: &str| {
        let all = status["conditions"].as_array().into_iter().flatten();
        let found = all.into_iter().find(|condition| condition["type"] == kind);
        found.map_or(now, |condition| time(text(condition, "/lastTransitionTime")))
    };
    let not_made = condition(status, "ReplicaFailure").filter(|(is, _)| *is == "True").map(|(_, said)| said);
    Workload {
        since: since("ReplicaFailure"),
        not_made,
        is_late: condition(status, "Progressing")
            .is_some_and(|(is, said)| is == "False" && said.word == "ProgressDeadlineExceeded"),
    }
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<(&'a str, Said)> {
    let found = status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)?;
    let said = Said { word: text(found, "/reason").to_owned(), sentence: text(found, "/message").to_owned() };
    Some((text(found, "/status"), said))
}

/// A time of the API server, to the second.
fn time(text: &str) -> Timestamp {
    text.parse::<k8s_openapi::jiff::Timestamp>()
        .ok()
        .and_then(|time| u64::try_from(time.as_millisecond()).ok())
        .map_or(Timestamp(0), Timestamp)
}
