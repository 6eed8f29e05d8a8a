//! What is there: lists of the API server, as the words of the domain.

use crate::domain::{
    diagnose::{Ended, Pod, Said, Workload},
    manifest::kubernetes::{ATTEMPT, CONTAINER, SERVER, TOKEN},
};
use serde_json::Value;
use slipway_cluster::{annotation, is_leaving, label, text};
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
    /// Its address, once it has one.
    pub(super) ip: String,
    pub(super) pod: Pod,
}

impl SeenPod {
    /// Whether what answers at an address such as `10.0.0.7:8443` is this pod.
    pub(super) fn answers_at(&self, address: &str) -> bool {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        host.trim_matches(['[', ']']) == self.ip
    }
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
    let container = |name: &str| {
        let mut all = status["containerStatuses"].as_array().into_iter().flatten();
        all.find(|one| one["name"] == name).unwrap_or(&Value::Null)
    };
    // A model server in trouble is the worker's, unless that has something to say itself.
    let (worker, server) = (container(CONTAINER), container(SERVER));
    let is_server = is_in_trouble(server) && !is_in_trouble(worker);
    let container = if is_server { server } else { worker };
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
        lost_node: is_out_of_sight(status).then(|| text(object, "/spec/nodeName").to_owned()),
        waiting: said("/state/waiting"),
        ended: ended.map(|ended| Ended {
            is_server,
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
        ip: text(status, "/podIP").to_owned(),
        pod,
    }
}

/// Whether a container does not run as it should, or did not.
fn is_in_trouble(container: &Value) -> bool {
    let waits = text(container, "/state/waiting/reason");
    let ended = ["/state/terminated", "/lastState/terminated"].iter().any(|at| container.pointer(at).is_some());
    ended || !matches!(waits, "" | "ContainerCreating" | "PodInitializing")
}

/// The kubelet of its node does not answer: the node's controller calls the pod not ready, without a reason, and leaves what the kubelet said last
/// of its containers.
fn is_out_of_sight(status: &Value) -> bool {
    let ready = condition(status, "Ready");
    let by_the_controller = ready.as_ref().is_some_and(|(is, said)| *is == "False" && said.word.is_empty())
        && condition(status, "ContainersReady").is_some_and(|(is, _)| is == "True");
    by_the_controller || text(status, "/phase") == "Unknown" || ready.is_some_and(|(is, _)| is == "Unknown")
}

/// A Deployment.
pub(super) fn deployment(object: &Value, now: Timestamp) -> Workload {
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

/// A StatefulSet: why it makes no pod, or no claim of one, it says in events alone. They stay for an hour, so they count only while pods are
/// missing.
pub(super) fn stateful_set(object: &Value, events: &[Value], now: Timestamp) -> Workload {
    let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
    if object["status"]["replicas"].as_u64().unwrap_or(0) >= wanted {
        return Workload::default();
    }
    let uid = text(object, "/metadata/uid");
    let of_it = events
        .iter()
        .filter(|event| text(event, "/involvedObject/uid") == uid && text(event, "/reason") == "FailedCreate");
    let Some(last) = of_it.max_by_key(|event| happened(event)) else { return Workload::default() };
    let first = text(last, "/firstTimestamp");
    Workload {
        since: if first.is_empty() { now } else { time(first) },
        not_made: Some(Said { word: "FailedCreate".to_owned(), sentence: text(last, "/message").to_owned() }),
        is_late: false,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_stateful_set_tells_in_events_why_a_pod_is_missing_and_only_while_one_is() {
        let set = |made: u32| {
            json!({
                "metadata": { "uid": "u" }, "spec": { "replicas": 2 }, "status": { "replicas": made },
            })
        };
        let event = |uid: &str, last: &str, message: &str| {
            json!({
                "involvedObject": { "kind": "StatefulSet", "uid": uid }, "reason": "FailedCreate", "message": message,
                "firstTimestamp": "1970-01-01T00:00:05Z", "lastTimestamp": last,
            })
        };
        let events = [
            event("u", "1970-01-01T00:00:09Z", "exceeded quota: pods"),
            event("u", "1970-01-01T00:00:07Z", "earlier"),
            event("other", "1970-01-01T00:00:10Z", "of another one"),
        ];
        let now = Timestamp(20_000);
        let short = stateful_set(&set(1), &events, now);
        assert_eq!(short.not_made.unwrap().sentence, "exceeded quota: pods");
        assert_eq!(short.since, Timestamp(5_000));
        assert_eq!(stateful_set(&set(2), &events, now), Workload::default());
        assert_eq!(stateful_set(&set(1), &events[2..], now), Workload::default());
    }

    #[test]
    fn a_node_that_does_not_answer_is_told_from_a_worker_that_is_not_ready() {
        let lost = |ready: &Value, containers: &str| {
            let containers = json!({ "type": "ContainersReady", "status": containers });
            pod(&json!({ "status": { "conditions": [ready, containers] } }), &BTreeMap::new()).pod.lost_node.is_some()
        };
        let by_the_controller = json!({ "type": "Ready", "status": "False" });
        let by_the_kubelet = json!({ "type": "Ready", "status": "False", "reason": "ContainersNotReady" });
        let by_a_gate = json!({ "type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady" });
        assert!(lost(&by_the_controller, "True"));
        assert!(lost(&json!({ "type": "Ready", "status": "Unknown" }), "False"));
        assert!(!lost(&by_the_controller, "False"));
        assert!(!lost(&by_the_kubelet, "False"));
        assert!(!lost(&by_a_gate, "True"));
        assert!(!lost(&json!({ "type": "Ready", "status": "True" }), "True"));
    }

    #[test]
    fn a_model_server_in_trouble_is_the_workers_unless_that_says_something_itself() {
        let running = json!({ "running": {} });
        let pulled = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } });
        let seen = |worker: &Value, server: &Value| {
            let containers = json!([
                { "name": "server", "state": server, "restartCount": 2 },
                { "name": "worker", "state": worker, "restartCount": 0 },
            ]);
            pod(&json!({ "status": { "containerStatuses": containers } }), &BTreeMap::new()).pod
        };
        let waits = |pod: &Pod| pod.waiting.as_ref().map(|said| said.word.clone());
        let server = seen(&running, &pulled);
        assert_eq!((waits(&server).as_deref(), server.restarts), (Some("ImagePullBackOff"), 2));
        let killed = json!({ "terminated": { "reason": "OOMKilled", "exitCode": 137 } });
        assert_eq!(seen(&running, &killed).ended.unwrap().word, "OOMKilled");
        let findings = json!({ "terminated": { "reason": "Error", "exitCode": 1, "message": "[findings]" } });
        assert_eq!(seen(&findings, &killed).ended.unwrap().message, "[findings]");
        let being_made = json!({ "waiting": { "reason": "ContainerCreating" } });
        assert_eq!(waits(&seen(&running, &being_made)), None, "it is only on its way");
    }

    #[test]
    fn a_registration_under_the_name_of_a_pod_is_its_own_only_at_its_address() {
        let at = |ip: &str| pod(&json!({ "status": { "podIP": ip } }), &BTreeMap::new());
        assert!(at("10.0.0.7").answers_at("10.0.0.7:8443"));
        assert!(at("fd00::7").answers_at("[fd00::7]:8443"));
        assert!(!at("10.0.0.7").answers_at("10.0.0.71:8443"));
        assert!(!at("").answers_at("10.0.0.7:8443"));
    }
}
