//! The public client of the protocol (`tritonclient`, in its four forms), without a line of Slipway, against a worker that is asked
//! directly and against the public door.

use crate::{
    alone,
    client::Caller,
    documents::{Document, example},
};
use slipway_testkit::{Mesh, ServedModel, tool, workspace};
use std::{path::Path, process::Output, time::Duration};
use tokio::process::Command;

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
        let mut served = ServedModel::start(&file, &["--name", name]).await;
        conforms(&served.http, &served.grpc, name, &file, None).await;
        assert!(served.program.stop().await.success(), "{}", served.program.last_words());
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
