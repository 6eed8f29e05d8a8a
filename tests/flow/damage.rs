//! A damaged log: told, flagged, and nothing decided on it.

use crate::{
    alone,
    client::Caller,
    documents::{Document, digits},
    facts::Facts,
};
use serde_json::json;
use slipway_bus::Principal;
use slipway_testkit::{Mesh, eventually};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Block files of a stream, the ones with messages.
fn blocks(folder: &Path, stream: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.join("nats")];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "blk")
                && path.to_string_lossy().contains(&format!("/streams/{stream}/"))
            {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_stopped_broker_is_named_fact_by_fact_and_stops_the_deployment() {
    let _alone = alone().await;
    let mut mesh = Mesh::start().await;
    Document::digits("digits", "digits-v1").deploy(mesh.folder()).await.ok();
    let before = Facts::read(mesh.folder(), "digits").await;
    mesh.folder().cli(["log", "verify"]).await.ok();
    let caller = Caller::of(mesh.folder(), "digits");
    assert!(mesh.stop().await.success());

    let blocks = blocks(mesh.folder().path(), "LIFECYCLE");
    assert!(!blocks.is_empty(), "the stream has no block file");
    let block = &blocks[0];
    let mut bytes = fs::read(block).unwrap();
    // In the middle of a fact about the platform, so that facts before it stay readable.
    let at = bytes.windows(17).position(|window| window == b"platform-selected").expect("the fact is in the block");
    bytes[at + 40] ^= 0x10;
    fs::write(block, bytes).unwrap();
    mesh.start_again().await;
    let folder = mesh.folder();

    let ran = folder.cli(["log", "verify", "--output", "json"]).await;
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.stdout, ran.stderr);
    let verdict = &ran.json_lines()[0];
    let named: Vec<String> = verdict["damages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|damage| damage["subject"].as_str().unwrap().to_owned())
        .collect();
    let platform = before.facts.iter().find(|fact| fact.answer.name() == "platform-selected").unwrap().key.to_string();
    assert!(named.iter().any(|subject| subject.ends_with(&platform)), "{platform}: {named:?}");

    let bus = folder.bus(Principal::Operator).await;
    eventually(Duration::from_secs(30), || async {
        let flags = bus.flags().list().await.unwrap();
        if flags.contains_key(&crate::id("digits")) { Ok(()) } else { Err(format!("{flags:?}")) }
    })
    .await;
    // Nothing is decided on it: a demand becomes no plan, no generation moves.
    let second = Document::digits("digits", "digits-v2")
        .with("spec.rollout", json!({ "steps": [100], "hold": "0s", "watch": "5s" }));
    let _ = second.hand_in(folder).await;
    let view = bus.log().follow().await.unwrap();
    let decided = view
        .wait_until(&crate::id("digits"), Duration::from_secs(6), |folded| {
            folded.deployment.facts().any(|fact| fact.key.generation.0 == 2 && fact.answer.name() != "requested")
        })
        .await;
    assert!(decided.is_none(), "something was decided on a damaged log");
    // What was released goes on serving, or is refused in good order: no crash, no wrong answer.
    let response = caller.post(&digits()[0].body).send().await.unwrap();
    assert!(response.status() == 200 || response.status() == 503 || response.status() == 404, "{}", response.status());
    assert!(mesh.program().is_running());
}
