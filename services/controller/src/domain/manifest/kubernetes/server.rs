//! The model server beside a worker, where one computes in the worker's place. It has what the plan gives to computing; the worker has
//! what it takes to pass requests on.

use super::{Order, pod};
use crate::domain::manifest::{CONTAINER, Server, outer_memory_limit};
use serde_json::{Value, json};

/// The name of its container.
pub const SERVER: &str = "server";
/// The folder that both see: the worker puts the model there, the server reads it.
const REPOSITORY: &str = "/models";
/// The platform that speaks a protocol of its own.
const TENSORFLOW_SERVING: &str = "tensorflow-serving";
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

/// Where a container of one's own finds the model, and the variable that says so.
const FILE: &str = "/models/model";
const FILE_VARIABLE: &str = "SLIPWAY_MODEL_FILE";

/// What the worker is told of it.
pub(super) fn settings(server: &Server, worker: &mut Value) {
    let address = format!("127.0.0.1:{PORT}");
    let mut settings = if is_own(server) {
        json!({ "kind": "open-inference", "address": address, "model": MODEL, "file": FILE })
    } else {
        json!({ "kind": server.platform, "address": address, "model": MODEL, "repository": REPOSITORY })
    };
    if let Some(signature) = &server.signature {
        settings["inputs"] = json!(signature.inputs);
        settings["outputs"] = json!(signature.outputs);
    }
    worker["server"] = settings;
    worker["memory"] = slipway_kernel::ByteSize(memory(server)).to_string().into();
}

/// A container of one's own starts itself.
fn is_own(server: &Server) -> bool {
    server.platform == CONTAINER
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

/// The container. It listens to the worker alone; who starts anew finds the model where it lay, and on the first start has none to find, which is no
/// error.
pub(super) fn container(order: &Order<'_>, server: &Server) -> Value {
    let mut container = json!({
        "name": SERVER,
        "image": server.image,
        "imagePullPolicy": order.cluster.image_pull_policy,
        "resources": pod::resources(order),
        "securityContext": pod::confined(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            { "name": "models", "mountPath": REPOSITORY, "readOnly": true },
            { "name": "scratch", "mountPath": "/tmp" },
        ],
    });
    match server.platform.as_str() {
        // It is asked by the worker alone, which the kubelet asks.
        CONTAINER => container["env"] = json!([{ "name": FILE_VARIABLE, "value": FILE }]),
        TENSORFLOW_SERVING => start_tensorflow(&mut container, order.plan.threads),
        _ => start_triton(&mut container),
    }
    container
}

/// It answers once it has a model, which may be long after it has started; and at any address, of which the pod's policy lets nobody to this port.
fn start_tensorflow(container: &mut Value, threads: u32) {
    container["command"] = json!(["tensorflow_model_server"]);
    container["args"] = json!([
        format!("--port={PORT}"),
        format!("--rest_api_port={METRICS_PORT}"),
        format!("--model_name={MODEL}"),
        format!("--model_base_path={REPOSITORY}/{MODEL}"),
        "--file_system_poll_wait_seconds=1",
        format!("--tensorflow_intra_op_parallelism={threads}"),
        "--tensorflow_inter_op_parallelism=1",
    ]);
    container["ports"] = json!([{ "name": "server-rest", "containerPort": METRICS_PORT }]);
    let model = json!({ "path": format!("/v1/models/{MODEL}"), "port": "server-rest" });
    // As long as the worker waits for it.
    container["startupProbe"] =
        json!({ "httpGet": model, "periodSeconds": 5, "failureThreshold": 120, "timeoutSeconds": 2 });
    container["livenessProbe"] =
        json!({ "httpGet": model, "periodSeconds": 5, "failureThreshold": 6, "timeoutSeconds": 2 });
}

fn start_triton(container: &mut Value) {
    container["command"] = json!(["tritonserver"]);
    container["args"] = json!([
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
    ]);
    container["ports"] = json!([{ "name": "server-metrics", "containerPort": METRICS_PORT }]);
    // Half a minute, as for the worker; while a model loads it answers.
    container["livenessProbe"] = json!({
        "httpGet": { "path": "/metrics", "port": "server-metrics" },
        "initialDelaySeconds": 10,
        "periodSeconds": 5,
        "failureThreshold": 6,
        "timeoutSeconds": 2,
    });
}
