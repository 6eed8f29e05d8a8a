//! The definition of the custom resource at a real API server.

use crate::{
    kubectl::{Namespace, kubectl},
    resources::{define, document},
};
use serde_json::{Value, json};
use slipway_kernel::spec::ModelDeployment;
use slipway_tests::samples;

/// What the API server says of a resource that is not made.
fn tried(namespace: &Namespace, document: &Value) -> Result<String, String> {
    namespace.given(&["apply", "--server-side", "--dry-run=server", "-f", "-"], &document.to_string())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn it_is_structural_and_shows_what_a_person_looks_for() {
    define().await;
    let definition = kubectl(&["get", "crd", "modeldeployments.slipway.dev", "--output", "json"]).unwrap();
    let definition: Value = serde_json::from_str(&definition).unwrap();
    let conditions = definition["status"]["conditions"].as_array().unwrap();
    let wrong = conditions.iter().find(|condition| condition["type"] == "NonStructuralSchema");
    assert!(wrong.is_none_or(|condition| condition["status"] == "False"), "{wrong:?}");
    let namespace = Namespace::new(&[]).await;
    namespace.apply(&document(&namespace.name, "digits", &json!({})));
    for kind in ["mdep", "slipway"] {
        let table = namespace.run(&["get", kind]).unwrap();
        let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(head, ["NAME", "PHASE", "REVISION", "READY", "AGE"], "{kind}");
    }
    // What `kubectl explain` knows, the API server puts together in its own time.
    let explained = || namespace.run(&["explain", "modeldeployment.spec.rollout.steps"]).unwrap_or_default();
    namespace.until("its fields are explained", || explained().contains("Shares in percent")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_the_reader_takes_the_cluster_takes_and_changes_nothing_of_it() {
    define().await;
    let namespace = Namespace::new(&[]).await;
    let mut whole = serde_json::to_value(samples::document().unwrap()).unwrap();
    whole["metadata"]["namespace"] = namespace.name.as_str().into();
    for document in [whole, document(&namespace.name, "small", &json!({}))] {
        namespace.apply(&document);
        let name = document["metadata"]["name"].as_str().unwrap();
        let stored = namespace.get("modeldeployment", name).unwrap();
        assert_eq!(sorted(&stored["spec"]), sorted(&document["spec"]), "nothing is filled in or dropped");
    }
}

/// With the keys of each object in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(elements) => elements.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// What is refused: what stands in the spec, where, and a word of what is allowed.
fn refused() -> Vec<(Value, &'static str, &'static str)> {
    vec![
        (json!({ "model": {} }), "spec.model.uri", "Required"),
        (json!({ "model": { "uri": "gopher://x" } }), "spec.model.uri", "https://"),
        (json!({ "model": { "uri": "file:///a/../etc/passwd" } }), "spec.model.uri", "without `..`"),
        (json!({ "model": { "uri": "file:///a/%2e%2e/b" } }), "spec.model.uri", "without `..`"),
        (json!({ "model": { "uri": "file:///a\\b" } }), "spec.model.uri", "backslashes"),
        (json!({ "model": { "uri": "https://user:pw@host/x" } }), "spec.model.uri", "without user or password"),
        (json!({ "model": { "uri": "blob://abc" } }), "spec.model.uri", "64 lower-case"),
        (json!({ "model": { "uri": "file:///m", "sha256": "abc" } }), "spec.model.sha256", "64 lower-case"),
        (json!({ "model": { "uri": "file:///m", "format": "pickle" } }), "spec.model.format", "saved-model"),
        (json!({ "infrastructure": { "target": "moon" } }), "spec.infrastructure.target", "bare-metal"),
        (json!({ "infrastructure": { "residency": ["mars"] } }), "spec.infrastructure.residency[0]", "on-prem"),
        (json!({ "serving": { "batching": { "maxSize": 257 } } }), "spec.serving.batching.maxSize", "256"),
        (
            json!({ "serving": { "batching": { "maxDelay": "2 ms" } } }),
            "spec.serving.batching.maxDelay",
            "(us|ms|s|m|h)",
        ),
        (json!({ "serving": { "batching": { "maxDelay": "2s" } } }), "spec.serving.batching.maxDelay", "0s to 1s"),
        (json!({ "serving": { "cache": { "maxBytes": "2Gi" } } }), "spec.serving.cache.maxBytes", "1Mi to 1Gi"),
        (json!({ "serving": { "hedging": { "after": "0s" } } }), "spec.serving.hedging.after", "1ms to 60s"),
        (json!({ "resources": { "cpu": "20m" } }), "spec.resources.cpu", "50m to 256"),
        (json!({ "resources": { "memory": "63Mi" } }), "spec.resources.memory", "64Mi to 4Ti"),
        (json!({ "scale": { "min": 0 } }), "spec.scale.min", "greater than or equal to 1"),
        (json!({ "scale": { "min": 5, "max": 2 } }), "spec.scale", "less than min"),
        (json!({ "scale": { "min": 5 } }), "spec.scale", "less than min"),
        (json!({ "inputs": [] }), "spec.inputs", "at least 1"),
        (json!({ "inputs": [{}] }), "spec.inputs[0]", "exactly one of http, nats"),
        (json!({ "inputs": [{ "nats": {} }, { "nats": {} }] }), "spec.inputs", "once"),
        (json!({ "inputs": [{ "http": { "timeout": "6m" } }] }), "spec.inputs[0].http.timeout", "300s"),
        (json!({ "access": { "apiKeys": false } }), "spec.access", "nobody may come in"),
        (json!({ "access": { "allowFrom": ["10.0.0.0"] } }), "spec.access.allowFrom[0]", "CIDR"),
        (json!({ "access": { "rateLimit": "0/s" } }), "spec.access.rateLimit", "at least 1"),
        (
            json!({ "inputs": [{ "nats": {} }], "access": { "allowFrom": ["10.0.0.0/8"] } }),
            "spec",
            "none beside the input nats",
        ),
        (json!({ "outputs": [{ "sqlite": { "table": "a; drop" } }] }), "spec.outputs[0].sqlite.table", "a-z"),
        (
            json!({ "outputs": [{ "postgres": { "url": "postgres://u:hunter2@h/d" } }] }),
            "spec.outputs[0].postgres.url",
            "env:",
        ),
        (json!({ "outputs": [{ "s3": { "bucket": "A_b" } }] }), "spec.outputs[0].s3.bucket", "3 to 63"),
        (json!({ "outputs": [{ "s3": { "bucket": "a..b" } }] }), "spec.outputs[0].s3.bucket", "single dots"),
        (
            json!({ "outputs": [{ "s3": { "bucket": "abc", "accessKey": "env:K" } }] }),
            "spec.outputs[0].s3",
            "or neither",
        ),
        (json!({ "outputs": [{ "s3": { "bucket": "abc", "compression": "gzip" } }] }), "spec.outputs[0].s3", "snappy"),
        (
            json!({ "outputs": [{ "files": { "uri": "file:///f", "compression": "none" } }] }),
            "spec.outputs[0].files",
            "json",
        ),
        (json!({ "slo": { "availability": 100.0 } }), "spec.slo.availability", "less than 100"),
        (json!({ "slo": { "latencyP99": "0s" } }), "spec.slo.latencyP99", "1us to 300s"),
        (json!({ "validation": { "minAccuracy": 1.5 } }), "spec.validation.minAccuracy", "1"),
        (json!({ "validation": { "load": { "repeats": 11 } } }), "spec.validation.load.repeats", "10"),
        (json!({ "rollout": { "steps": [5, 5, 100] } }), "spec.rollout.steps", "rising"),
        (json!({ "rollout": { "steps": [5, 25] } }), "spec.rollout.steps", "ending with 100"),
        (json!({ "rollout": { "steps": [50, 5, 100] } }), "spec.rollout.steps", "rising"),
        (json!({ "rollout": { "watch": "721h" } }), "spec.rollout.watch", "720h"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_the_reader_refuses_the_cluster_refuses_by_path_with_what_is_allowed() {
    define().await;
    let namespace = Namespace::new(&[]).await;
    for (part, path, word) in refused() {
        let document = document(&namespace.name, "digits", &part);
        assert!(ModelDeployment::read(&document).is_err(), "the reader takes {part}");
        let complaint = tried(&namespace, &document).expect_err(&format!("the cluster takes {part}"));
        assert!(complaint.contains(&format!("{path}: ")), "{part}: {complaint}");
        assert!(complaint.contains(word), "{part}: {complaint}");
    }
    let long = document(&namespace.name, &"a".repeat(64), &json!({}));
    let complaint = tried(&namespace, &long).unwrap_err();
    assert!(complaint.contains("1 to 63 characters"), "{complaint}");
    let unknown = document(&namespace.name, "digits", &json!({ "servng": {} }));
    assert!(tried(&namespace, &unknown).unwrap_err().contains("servng"));
}
