//! The worker as a process of its own.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use slipway_bus::WorkerState;
use slipway_inference_worker::Config;
use slipway_kernel::{RequestId, Service};
use slipway_proto::slipway::inference::v1::{InferenceRequest, InferenceResult};
use slipway_testkit::eventually;
use tokio::process::{Child, Command};

use crate::harness::{INSTANCE, Mesh, PATIENCE, body, deployment, direct, golden, revision};

/// The controller's file for this worker, with a line more below `[worker]`.
fn file(mesh: &Mesh, config: &Config, instance: &str, more: &str) -> String {
    let worker = &config.worker;
    format!(
        r#"
[common]
data_dir = "{data}"
drain = "10s"
[common.admin]
listen = "{admin}"
[bus]
url = "{url}"
nkey_seed_file = "{seed}"
[worker]
deployment = "{deployment}"
revision = "{revision}"
instance = "{instance}"
host = "{host}"
fencing_token = 3
listen = "{listen}"
model_digest = "{digest}"
model_format = "onnx"
max_batch = 4
max_delay = "2ms"
threads = 1
queue_limit = 128
memory = "2Gi"
stop_unwanted_after = "30s"
{more}
"#,
        data = mesh.data.path().display(),
        admin = config.common.admin.listen.unwrap_or(worker.listen),
        listen = worker.listen,
        url = config.bus.url,
        seed = config.bus.nkey_seed_file.as_ref().unwrap().display(),
        deployment = worker.deployment,
        revision = worker.revision.unwrap(),
        host = worker.host,
        digest = worker.model_digest.as_ref().unwrap(),
    )
}

pub fn spawn(mesh: &Mesh, config: &Config, instance: &str) -> Child {
    spawn_with(mesh, config, instance, "", None)
}

/// The same with a line more of configuration, and with this folder of libraries before those of the system.
pub fn spawn_with(mesh: &Mesh, config: &Config, instance: &str, more: &str, libraries: Option<&Path>) -> Child {
    let path = mesh.data.path().join(format!("{instance}.toml"));
    fs::write(&path, file(mesh, config, instance, more)).unwrap();
    let log = fs::File::create(mesh.data.path().join(format!("{instance}.log"))).unwrap();
    Command::new(env!("CARGO_BIN_EXE_slipway-inference-worker"))
        .arg("--config")
        .arg(path)
        .env_clear()
        .envs(libraries.map(|folder| ("LD_LIBRARY_PATH", folder)))
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

pub async fn terminate(child: &mut Child) -> Option<i32> {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap().code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_serves_shows_its_health_and_metrics_and_ends_with_0_on_sigterm() {
    let (mesh, config) = Mesh::start("digits-v2").await;
    let mut child = spawn(&mesh, &config, INSTANCE);
    mesh.grant();
    let record = mesh.until(WorkerState::Ready).await;
    assert_eq!(Some(record.pid), child.id());
    let (rows, _) = golden(3);
    let mut client = mesh.client(Service::Ingress).await.unwrap();
    client.model_infer(direct("p-1", &rows)).await.unwrap();

    let get = |path: &'static str| {
        let admin = record.admin.clone();
        async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut stream = tokio::net::TcpStream::connect(admin).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: worker\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        }
    };
    assert!(get("/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = get("/metrics").await;
    for series in ["slipway_worker_requests_total{", "slipway_worker_batch_size_count{", "slipway_worker_queue_depth{"]
    {
        let line = metrics.lines().find(|line| line.starts_with(series));
        let line = line.unwrap_or_else(|| panic!("{series} in\n{metrics}"));
        for label in ["namespace=\"default\"", "deployment=\"digits\"", "revision=\"1-1\"", "instance=\"w-0\""] {
            assert!(line.contains(label), "{line}");
        }
    }
    assert_eq!(terminate(&mut child).await, Some(0));
    assert!(mesh.worker().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_configuration_ends_with_78() {
    let (mesh, config) = Mesh::start("digits-v1").await;
    let mut child = spawn(&mesh, &config, "UPPER");
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(78));
    let log = fs::read_to_string(mesh.data.path().join("UPPER.log")).unwrap();
    assert!(log.contains("worker.instance"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "waits out the broker's ack_wait of 30 s"]
async fn what_a_killed_worker_had_in_hand_is_answered_by_another() {
    let (mut mesh, config) = Mesh::start("digits-wide").await;
    mesh.want(&[INSTANCE, "w-1"]).await;
    let mut first = spawn(&mesh, &config, INSTANCE);
    mesh.grant();
    mesh.until(WorkerState::Ready).await;
    let (rows, _) = golden(200);
    for (index, row) in rows.iter().enumerate() {
        let id: RequestId = format!("k-{index}").parse().unwrap();
        let envelope = InferenceRequest {
            namespace: "default".into(),
            deployment: "digits".into(),
            request_id: id.to_string(),
            body: Some(body(std::slice::from_ref(row))),
            ..InferenceRequest::default()
        };
        let payload = Bytes::from(envelope.encode_to_vec());
        mesh.ingress.requests().publish(&deployment(), revision(), &id, payload, None).await.unwrap();
    }
    let result = |index: usize| {
        let (results, id) = (mesh.ingress.results(), format!("k-{index}").parse::<RequestId>().unwrap());
        async move { results.get(&deployment(), &id).await.unwrap() }
    };
    eventually(PATIENCE, || result(20)).await;
    first.start_kill().unwrap();
    first.wait().await.unwrap();
    let mut second = spawn(&mesh, &config, "w-1");
    let mut by_second = 0;
    let mut again = 0;
    for index in 0..rows.len() {
        let payload = eventually(Duration::from_secs(60), || result(index)).await;
        let recorded = InferenceResult::decode(payload).unwrap();
        by_second += u32::from(recorded.worker == "w-1");
        again += u32::from(recorded.attempt > 1);
    }
    assert!(by_second > 0);
    println!("{by_second} answered by the second worker, {again} of them delivered before");
    assert_eq!(terminate(&mut second).await, Some(0));
}
