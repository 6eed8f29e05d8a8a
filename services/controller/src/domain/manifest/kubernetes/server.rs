//! The model server beside a worker, where one computes in the worker's place. It has what the plan gives to computing; the worker has
//! what it takes to pass requests on.

use super::{Order, pod};
use crate::domain::manifest::{Server, outer_memory_limit};
use serde_json::{Value, json};

/// The name of its container.
pub const SERVER: &str = "server";
/// The folder that both see: the worker puts the model there, the server reads it.
const REPOSITORY: &str = "/models";
/// Name of the model in it.
const MODEL: &str = "model";
/// Where it is asked, by the worker alone.
const PORT: u16 = 8001;
/// Where its metrics are, which tell the kubelet that it lives.
const METRICS_PORT: u16 = 8002;
/// Memory of a worker that does not compute: the program, requests that wait (64 MiB at most), and their answers.
const PASSES_ON: u64 = 256 << 20;
/// Processor time that such a worker is promised.
const PASSES_ON_CPU: &str = "100m";

/// What the worker is told of it.
pub(super) fn settings(server: &Server, worker: &mut Value) {
    worker["server"] = json!({
        "kind": server.platform,
        "address": format!("127.0.0.1:{PORT}"),
        "model": MODEL,
        "repository": REPOSITORY,
    });
    worker["memory"] = slipway_kernel::ByteSize(memory(server)).to_string().into();
}

/// Memory of the worker beside it, in bytes. At the start it holds the model's file once, to hand it over.
const fn memory(server: &Server) -> u64 {
    PASSES_ON.saturating_add(server.model_bytes)
}

/// What the worker beside it may take.
pub(super) fn resources_of_worker(order: &Order<'_>, server: &Server) -> Value {
    let memory = outer_memory_limit(memory(server)).to_string();
    json!({
        "requests": { "cpu": PASSES_ON_CPU, "memory": memory },
        "limits": { "cpu": order.plan.threads.to_string(), "memory": memory },
    })
}

/// The volumes that it needs.
pub(super) fn volumes() -> [Value; 2] {
    [json!({ "name": "models", "emptyDir": {} }), json!({ "name": "scratch", "emptyDir": {} })]
}

/// Where the worker finds the folder.
pub(super) fn mount() -> Value {
    json!({ "name": "models", "mountPath": REPOSITORY })
}

/// The container: Triton, the only one that a worker can have beside it. It listens to the worker alone; who starts anew finds the model where
/// it lay, and on the first start has none to find, which is no error.
pub(super) fn container(order: &Order<'_>, server: &Server) -> Value {
    json!({
        "name": SERVER,
        "image": server.image,
        "imagePullPolicy": order.cluster.image_pull_policy,
        "command": ["tritonserver"],
        "args": [
            format!("--model-repository={REPOSITORY}"),
            "--model-control-mode=explicit",
            format!("--load-model={MODEL}"),
            "--exit-on-error=false",
            // The worker makes batches; else Triton would choose a bound of its own.
            "--backend-config=default-max-batch-size=0",
            "--allow-http=false",
            "--grpc-address=127.0.0.1",
            format!("--grpc-port={PORT}"),
            "--metrics-address=0.0.0.0",
            format!("--metrics-port={METRICS_PORT}"),
        ],
        "ports": [{ "name": "server-metrics", "containerPort": METRICS_PORT }],
        "resources": pod::resources(order),
        // Half a minute, as for the worker; while a model loads it answers.
        "livenessProbe": {
            "httpGet": { "path": "/metrics", "port": "server-metrics" },
            "initialDelaySeconds": 10,
            "periodSeconds": 5,
            "failureThreshold": 6,
            "timeoutSeconds": 2,
        },
        "securityContext": pod::confined(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            { "name": "models", "mountPath": REPOSITORY, "readOnly": true },
            { "name": "scratch", "mountPath": "/tmp" },
        ],
    })
}
