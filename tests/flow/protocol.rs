//! The public client of the protocol (`tritonclient`, in its four forms), without a line of Slipway, against a worker that is asked
//! directly and against the public door.

use crate::{
    alone,
    client::Caller,
    documents::{Document, example},
};
use slipway_testkit::{Mesh, eventually, free_port, slipway_binary, tool, workspace};
use std::{
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};
use tokio::process::{Child, Command};

/// A worker with no mesh.
struct Served {
    child: Child,
    http: String,
    grpc: String,
}

impl Served {
    async fn start(file: &Path, name: &str) -> Self {
        let [http, grpc, admin] = std::array::from_fn(|_| format!("127.0.0.1:{}", free_port()));
        let child = Command::new(slipway_binary())
            .arg("serve")
            .arg(file)
            .args(["--name", name, "--http", &http, "--grpc", &grpc, "--admin", &admin])
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        slipway_runtime::tls::install_provider();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        let ready = format!("http://{http}/v2/models/{name}/ready");
        eventually(Duration::from_secs(30), || async {
            client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        Self { child, http, grpc }
    }

    async fn stop(mut self) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await.expect("it drains").unwrap();
        assert!(ended.success(), "{ended}");
    }
}

/// Runs the client; what it prints names each check.
async fn conforms(http: &str, grpc: &str, model: &str, file: &Path, header: Option<String>) {
    let mut command = Command::new(tool("python-protocol"));
    command.arg(workspace().join("tests/foreign/protocol.py")).args([http, grpc, model]).arg(file);
    if let Some(header) = header {
        command.arg("--header").arg(header);
    }
    let running = command.kill_on_drop(true).output();
    let Output { status, stdout, stderr } =
        tokio::time::timeout(Duration::from_secs(240), running).await.expect("the client ends").unwrap();
    let (told, complaints) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{told}\n{complaints}");
    // Ten checks in each of four forms, one of streams in two and one of WebSockets: fewer would mean that some were not run.
    assert!(told.lines().filter(|line| line.starts_with("ok ")).count() >= 43, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_client_finds_a_worker_that_is_asked_directly_to_be_what_it_knows() {
    let _alone = alone().await;
    for (file, name) in
        [(workspace().join("tests/foreign/identity.onnx"), "identity"), (example("digits-v1.onnx"), "digits")]
    {
        let served = Served::start(&file, name).await;
        conforms(&served.http, &served.grpc, name, &file, None).await;
        served.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_client_finds_the_public_door_to_be_what_it_knows() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    Document::digits("digits", "digits-v1").deploy(folder).await.ok();
    let caller = Caller::of(folder, "digits");
    let address = caller.door.trim_start_matches("http://").to_owned();
    let key = format!("slipway-api-key={}", caller.key);
    conforms(&address, &address, "digits", &example("digits-v1.onnx"), Some(key)).await;
}
