//! A model asked over NATS by a stranger's program: nats-py, a key that `slipway nats-client` made while the mesh ran, nothing else.

use crate::{
    alone,
    client::{Answered, Caller},
    documents::{Document, digits, label},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use slipway_testkit::{Mesh, tool, workspace};
use std::{process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// Runs a program of a stranger as a client that `slipway nats-client` told of.
pub(crate) async fn run(program: &str, url: &str, client: &Value, questions: &Value) -> Value {
    let text = |field: &str| client[field].as_str().unwrap_or_else(|| panic!("no {field} in {client}"));
    let mut command = Command::new(tool("python"));
    command.arg(workspace().join("tests/foreign").join(program));
    command.args([url, text("seed_file"), text("inbox_prefix")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(questions.to_string().as_bytes()).await.unwrap();
    drop(input);
    let ended = tokio::time::timeout(Duration::from_secs(120), child.wait_with_output()).await;
    let output = ended.expect("the program ends").unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {complaint}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_program_asks_a_model_over_nats_and_leaves_requests_with_it() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    let document = Document::digits("digits", "digits-v1").with("spec.inputs", json!([{ "nats": {} }]));
    document.deploy(folder).await.ok();
    let caller = Caller::of(folder, "digits");
    // Made while the broker runs, which learns of it without losing anybody.
    let client = folder.cli(["nats-client", "shop", "--output", "json"]).await.ok().json_lines().remove(0);
    assert_eq!((&client["client"], &client["known"]), (&json!("default.shop"), &json!(true)), "{client}");

    let digit = &digits()[0];
    let questions = json!({
        "subject": "slipway.inference.default.digits",
        "key": caller.key,
        "body": digit.body.to_string(),
    });
    let answers = run("models.py", &folder.nats_url(), &client, &questions).await;
    for way in ["asked", "left", "again"] {
        assert_eq!(label(&answers[way]["body"]), Some(digit.label), "{way}: {answers}");
    }
    assert_eq!(answers["stranger"]["headers"]["nats-service-error-code"], "401", "{answers}");
    assert_eq!(answers["stranger"]["body"]["code"], "unauthenticated", "{answers}");
    assert_eq!(answers["kept"]["stream"], "INBOUND");
    assert_eq!(answers["left"]["headers"]["slipway-request-id"], "stranger-1");
    let violations = answers["violations"].as_array().unwrap();
    assert!(violations.iter().all(|told| told.as_str().unwrap().contains("permissions violation")), "{violations:?}");

    // The same result is there over HTTP, for who left the request, and the door is as open as ever.
    let place = format!("{}/v2/requests/default.digits.stranger-1", caller.door);
    let polled = Answered::read(caller.client.get(&place).bearer_auth(&caller.key).send().await.unwrap()).await;
    assert_eq!((polled.status, label(&polled.json())), (StatusCode::OK, Some(digit.label)), "{}", polled.text);
    caller.ask(digit).await;
}
