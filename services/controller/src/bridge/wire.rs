//! Resources, their status and events as the cluster writes them.

use super::objects::FINALIZER;
use crate::domain::bridge::{Condition, ConditionKind, Resource, Status, Truth, milestones::Milestone, status::ADOPT};
use k8s_openapi::jiff;
use serde_json::{Map, Value, json};
use slipway_kernel::{DeploymentId, Generation, Timestamp};

/// What resources are called, there and in the document.
pub(super) const KIND: &str = slipway_kernel::spec::KIND;
/// Group and version.
pub(super) const API_VERSION: &str = slipway_kernel::spec::API_VERSION;
/// Who reports events.
const REPORTER: &str = "slipway.dev/controller";

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// A resource; nothing where its name is none of a deployment. The definition lets no such resource in.
pub(super) fn resource(object: &Value) -> Option<Resource> {
    let metadata = &object["metadata"];
    let finalizers = metadata["finalizers"].as_array();
    Some(Resource {
        id: DeploymentId {
            namespace: text(object, "/metadata/namespace")?.parse().ok()?,
            name: text(object, "/metadata/name")?.parse().ok()?,
        },
        uid: text(object, "/metadata/uid")?.to_owned(),
        generation: metadata["generation"].as_u64()?,
        is_leaving: metadata["deletionTimestamp"].is_string(),
        is_held: finalizers.is_some_and(|finalizers| finalizers.iter().any(|finalizer| finalizer == FINALIZER)),
        adopts: metadata["annotations"][ADOPT] == "true",
        status: object["status"].is_object().then(|| read(&object["status"])),
    })
}

/// The document that the gate is to read.
pub(super) fn document(object: &Value) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": { "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"] },
        "spec": object["spec"],
    })
}

fn read(status: &Value) -> Status {
    let own = |key: &str| status[key].as_str().map(str::to_owned);
    let conditions = status["conditions"].as_array().into_iter().flatten();
    Status {
        observed_generation: status["observedGeneration"].as_u64().unwrap_or_default(),
        generation: status["generation"].as_u64().and_then(|number| u32::try_from(number).ok()).map(Generation),
        demand: own("demand"),
        phase: own("phase").unwrap_or_default(),
        serving: status["servingRevision"].as_str().and_then(|revision| revision.parse().ok()),
        message: own("message").unwrap_or_default(),
        url: own("url"),
        last_change: status["lastChange"].as_str().and_then(time),
        conditions: conditions.filter_map(condition).collect(),
    }
}

fn condition(condition: &Value) -> Option<Condition> {
    let own = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    Some(Condition {
        kind: ConditionKind::ALL.into_iter().find(|kind| condition["type"] == kind.as_str())?,
        status: [Truth::True, Truth::False, Truth::Unknown]
            .into_iter()
            .find(|truth| condition["status"] == truth.as_str())?,
        observed_generation: condition["observedGeneration"].as_u64().unwrap_or_default(),
        since: condition["lastTransitionTime"].as_str().and_then(time)?,
        reason: own("reason"),
        message: own("message"),
    })
}

/// The status as it is written.
pub(super) fn status(status: &Status) -> Value {
    let conditions: Vec<Value> = status.conditions.iter().map(condition_as_written).collect();
    let mut fields = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(key.to_owned(), value);
        }
    };
    put("observedGeneration", Some(status.observed_generation.into()));
    put("generation", status.generation.map(|generation| generation.0.into()));
    put("demand", status.demand.clone().map(Value::from));
    put("phase", Some(status.phase.clone().into()));
    put("servingRevision", status.serving.map(|revision| revision.to_string().into()));
    put("message", Some(status.message.clone().into()));
    put("url", status.url.clone().map(Value::from));
    put("lastChange", status.last_change.map(|at| format!("{:.3}", instant(at)).into()));
    put("conditions", Some(conditions.into()));
    Value::Object(fields)
}

fn condition_as_written(condition: &Condition) -> Value {
    json!({
        "type": condition.kind.as_str(),
        "status": condition.status.as_str(),
        "observedGeneration": condition.observed_generation,
        "lastTransitionTime": format!("{:.0}", instant(condition.since)),
        "reason": condition.reason,
        "message": condition.message,
    })
}

/// An event about a resource.
pub(super) fn event(object: &Value, milestone: &Milestone, instance: &str, now: Timestamp) -> Value {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": { "name": format!("{name}.{}", milestone.token), "namespace": metadata["namespace"] },
        "eventTime": format!("{:.6}", instant(now)),
        "reportingController": REPORTER,
        "reportingInstance": instance,
        "action": milestone.action,
        "reason": milestone.reason,
        "note": milestone.note,
        "type": if milestone.is_warning { "Warning" } else { "Normal" },
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": name,
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
    })
}

fn time(text: &str) -> Option<Timestamp> {
    let parsed: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(parsed.as_millisecond()).ok().map(Timestamp)
}

/// Times beyond the year 9999 do not come out of a clock.
fn instant(at: Timestamp) -> jiff::Timestamp {
    i64::try_from(at.0).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok()).unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Status {
        Status {
            observed_generation: 3,
            generation: Some(Generation(2)),
            demand: Some("u.3".into()),
            phase: "released".into(),
            serving: Some("2-1".parse().unwrap()),
            message: "2-1 is released".into(),
            url: Some("http://door/v2".into()),
            last_change: Some(Timestamp(1_795_428_000_123)),
            conditions: vec![Condition {
                kind: ConditionKind::Ready,
                status: Truth::True,
                observed_generation: 3,
                since: Timestamp(1_795_428_000_000),
                reason: "Released".into(),
                message: "2-1 has the traffic".into(),
            }],
        }
    }

    #[test]
    fn a_status_reads_back_as_it_was_written() {
        assert_eq!(read(&status(&told())), told());
        assert_eq!(read(&status(&Status::default())), Status::default());
    }

    #[test]
    fn times_are_written_as_finely_as_the_cluster_takes_them() {
        let written = status(&told());
        assert_eq!(written["lastChange"], "2026-11-23T10:00:00.123Z");
        assert_eq!(written["conditions"][0]["lastTransitionTime"], "2026-11-23T10:00:00Z");
        let milestone = Milestone {
            token: "0a".into(),
            reason: "Released",
            action: "Rollout",
            note: "2-1 is released".into(),
            is_warning: false,
        };
        let object = json!({ "metadata": { "name": "digits", "namespace": "default", "uid": "u" } });
        let event = event(&object, &milestone, "replica", Timestamp(1_795_428_000_000));
        assert_eq!(event["eventTime"], "2026-11-23T10:00:00.000000Z");
        assert_eq!(event["metadata"]["name"], "digits.0a");
    }

    #[test]
    fn what_cannot_be_read_of_a_resource_counts_as_not_there() {
        let object = json!({
            "metadata": {
                "name": "digits", "namespace": "default", "uid": "u", "generation": 2, "deletionTimestamp": "2026-11-23T10:00:00Z",
                "finalizers": ["x/y", FINALIZER], "annotations": { ADOPT: "true" },
            },
            "status": { "phase": 7, "conditions": [{ "type": "Ready" }, 3] },
        });
        let read = resource(&object).unwrap();
        assert!(read.is_leaving && read.is_held && read.adopts);
        assert_eq!(read.status, Some(Status::default()));
        assert_eq!(resource(&json!({ "metadata": { "name": "a.b", "namespace": "default" } })), None);
    }
}
