//! The pods of workers: alike but for what the kubelet knows of each.

use super::{
    ADMIN_PORT, CONTAINER, Order, TOKEN, WORKER_PORT, claim, placement, server,
    settings::{ARTIFACTS, AUTHORITY, DATA, FILE, FOLDER, KEYS},
};
use crate::domain::manifest::outer_memory_limit;
use serde_json::{Value, json};

/// The user of workers: that of distroless images, without an entry anywhere.
const USER: u32 = 65_532;
/// How much longer than its own drain a worker may take to end: it first leaves the registry and waits until nobody asks it any more.
const BEYOND_DRAIN_S: u64 = 20;

/// What they are made of.
pub(super) fn template(order: &Order<'_>, settings: &str) -> Value {
    let mut annotations = json!(order.cluster.pod_annotations);
    annotations["kubectl.kubernetes.io/default-container"] = CONTAINER.into();
    json!({
        "metadata": { "labels": order.metadata("")["labels"], "annotations": annotations },
        "spec": pod(order, settings),
    })
}

fn pod(order: &Order<'_>, settings: &str) -> Value {
    let cluster = order.cluster;
    let mut volumes = vec![
        json!({ "name": "settings", "configMap": { "name": settings } }),
        json!({ "name": "key", "secret": { "secretName": cluster.key_secret, "defaultMode": 0o440 } }),
        json!({ "name": "data", "emptyDir": {} }),
    ];
    if let Some(authority) = &cluster.ca_config_map {
        volumes.push(json!({ "name": "broker", "configMap": { "name": authority } }));
    }
    let mut containers = vec![container(order)];
    if let Some(beside) = &order.model.server {
        containers.push(server::container(order, beside));
        volumes.extend(server::volumes());
    }
    let secrets: Vec<Value> = cluster.image_pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    let mut pod = json!({
        "serviceAccountName": cluster.service_account,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "imagePullSecrets": secrets,
        "terminationGracePeriodSeconds": cluster.drain.0.as_secs() + BEYOND_DRAIN_S,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": containers,
        "volumes": volumes,
    });
    if order.placement.storage.is_some() {
        // A large volume that has the right owner already is not walked through at each start.
        pod["securityContext"]["fsGroupChangePolicy"] = "OnRootMismatch".into();
    }
    for (name, value) in placement::fields(order) {
        pod[name] = value;
    }
    pod
}

fn container(order: &Order<'_>) -> Value {
    let cluster = order.cluster;
    let mut mounts = vec![
        json!({ "name": "settings", "mountPath": FOLDER, "readOnly": true }),
        json!({ "name": "key", "mountPath": KEYS, "readOnly": true }),
        json!({ "name": "data", "mountPath": DATA }),
    ];
    if cluster.ca_config_map.is_some() {
        mounts.push(json!({ "name": "broker", "mountPath": AUTHORITY, "readOnly": true }));
    }
    if order.placement.storage.is_some() {
        mounts.push(json!({ "name": claim::NAME, "mountPath": ARTIFACTS }));
    }
    if order.model.server.is_some() {
        mounts.push(server::mount());
    }
    json!({
        "name": CONTAINER,
        "image": cluster.image,
        "imagePullPolicy": cluster.image_pull_policy,
        "args": ["service", "inference-worker", "--config", format!("{FOLDER}/{FILE}")],
        "env": environment(),
        "ports": [
            { "name": "grpc", "containerPort": WORKER_PORT },
            { "name": "admin", "containerPort": ADMIN_PORT },
        ],
        "resources": match &order.model.server {
            Some(beside) => server::resources_of_worker(order, beside),
            None => resources(order),
        },
        "startupProbe": probe("/readyz", 1, u64::max(cluster.start_within.0.as_secs(), 1)),
        "readinessProbe": probe("/readyz", 2, 3),
        // Half a minute: who is only slow is not killed for it.
        "livenessProbe": probe("/livez", 5, 6),
        "securityContext": confined(),
        // The worker leaves its findings there; of one that could not, the end of its log is kept.
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    })
}

/// What each pod knows of itself.
fn environment() -> Value {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let worker = |key: &str| format!("SLIPWAY_INFERENCE_WORKER_WORKER__{key}");
    json!([
        field("POD_IP", "status.podIP"),
        field(&worker("INSTANCE"), "metadata.name"),
        field(&worker("HOST"), "spec.nodeName"),
        field(&worker("FENCING_TOKEN"), &format!("metadata.annotations['{TOKEN}']")),
        json!({ "name": worker("ADVERTISED"), "value": format!("$(POD_IP):{WORKER_PORT}") }),
    ])
}

/// No container needs more.
pub(super) fn confined() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}

/// What the container may take that computes.
pub(super) fn resources(order: &Order<'_>) -> Value {
    let plan = order.plan;
    let mut limits = json!({
        // As many cores as it has threads: what it was planned for is promised, and a core that is idle may be used.
        "cpu": plan.threads.to_string(),
        "memory": outer_memory_limit(plan.memory.0).to_string(),
    });
    if let Some(resource) = placement::gpu(order) {
        limits[resource] = "1".into();
    }
    json!({
        "requests": { "cpu": plan.cpu.to_string(), "memory": outer_memory_limit(plan.memory.0).to_string() },
        "limits": limits,
    })
}

fn probe(path: &str, period_s: u64, failures: u64) -> Value {
    json!({
        "httpGet": { "path": path, "port": "admin" },
        "periodSeconds": period_s,
        "failureThreshold": failures,
        "timeoutSeconds": 2,
    })
}
