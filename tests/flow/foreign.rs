//! A stranger's client: Python with nats-py and nkeys, compiled from `proto/`, without a line of Slipway.

use crate::{
    alone,
    documents::Document,
    facts::{Facts, wait_until},
    id,
};
use serde_json::{Value, json};
use slipway_bus::Principal;
use slipway_kernel::Phase;
use slipway_testkit::{DataFolder, Mesh, eventually, tool, workspace};
use std::{process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// Runs the client with a list of messages and gives its list of answers.
async fn publish(folder: &DataFolder, principal: Principal, messages: &Value) -> Vec<Value> {
    let mut command = Command::new(tool("python"));
    command.arg(workspace().join("tests/foreign/client.py"));
    command.args([folder.nats_url().as_str(), folder.seed_file(principal).to_str().unwrap()]);
    command.arg(workspace().join("proto"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(messages.to_string().as_bytes()).await.unwrap();
    drop(input);
    let output = tokio::time::timeout(Duration::from_secs(120), child.wait_with_output())
        .await
        .expect("the client ends")
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {complaint}"))
}

fn deploy(mode: &str, format: &str, document: &Document) -> Value {
    let name = document.0["metadata"]["name"].as_str().unwrap();
    json!({
        "subject": "slipway.intake.default.deploy",
        "mode": mode,
        "format": format,
        "source": "urn:stranger",
        "id": format!("{name}-1"),
        "type": "dev.slipway.deploy.v1",
        "message": "slipway.v1.ModelDeployment",
        "data": document.0,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_client_deploys_in_every_mode_and_form_and_is_answered_with_the_subject_written() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    let forms = [("binary", "json"), ("binary", "protobuf"), ("structured", "json"), ("structured", "protobuf")];
    let names: Vec<String> = forms.iter().map(|(mode, format)| format!("{mode}-{format}")).collect();
    let messages: Vec<Value> = forms
        .iter()
        .zip(&names)
        .map(|((mode, format), name)| deploy(mode, format, &Document::digits(name, "digits-v1")))
        .collect();
    let answers = publish(folder, Principal::Client, &Value::Array(messages.clone())).await;
    for (name, answer) in names.iter().zip(&answers) {
        assert_eq!(answer["accepted"], true, "{name}: {answer}");
        assert_eq!(answer["subject"], format!("slipway.lifecycle.default.{name}.1.0.request.0"), "{answer}");
    }
    let bus = folder.bus(Principal::Operator).await;
    for name in &names {
        wait_until(&bus, name, 150, |d| d.phase() == Phase::Released).await;
    }
    // Once more, word for word: the same answers, and nothing new in the log.
    let before: Vec<Vec<String>> = told(folder, &names).await;
    assert_eq!(publish(folder, Principal::Client, &Value::Array(messages)).await, answers);
    assert_eq!(told(folder, &names).await, before);
    let requested = Facts::read(folder, &names[0]).await.lines[0].clone();
    assert_eq!((requested.actor.as_str(), &requested.data["intake"]["source"]), ("client", &json!("urn:stranger")));
}

async fn told(folder: &DataFolder, names: &[String]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for name in names {
        all.push(Facts::read(folder, name).await.told());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_foreign_message_is_answered_by_name_and_without_the_right_nothing_reaches_the_log() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    let good = Document::digits("stranger", "digits-v1");
    let with = |change: Value| {
        let mut message = deploy("binary", "json", &good);
        for (name, value) in change.as_object().unwrap() {
            message[name] = value.clone();
        }
        message
    };
    let unknown = good.clone().with("spec.servng", json!({}));
    let messages = json!([
        with(json!({ "id": "a", "data": unknown.0 })),
        with(json!({ "id": "b", "mode": "raw", "raw": "not an event" })),
        with(json!({ "id": "c", "subject": "slipway.intake.default.fly" })),
        with(json!({ "id": "d", "type": "dev.slipway.fly.v1" })),
        with(json!({ "id": "e", "sign": "none" })),
        with(json!({ "id": "f", "sign": "wrong" })),
        with(json!({ "id": "g", "format": "protobuf", "mode": "binary", "raw": "\u{ff}\u{ff}" })),
        with(json!({ "id": "h", "subject": "slipway.intake.default.approve", "type": "dev.slipway.approve.v1", "data": { "deployment": "stranger" } })),
        with(json!({ "id": "i", "mode": "structured", "raw": "{\"specversion\":\"1.0\",\"id\":\"i\"" })),
        // Past the gate, straight into the log, the ledger's queue and the keys: the broker itself refuses.
        { "subject": "slipway.lifecycle.default.stranger.1.0.request.0", "mode": "raw", "raw": "{}" },
        { "subject": "slipway.results.default.stranger.x", "mode": "raw", "raw": "{}" },
        { "subject": "$KV.slipway-api-keys.default.stranger.x", "mode": "raw", "raw": "{}" },
    ]);
    let answers = publish(folder, Principal::Client, &messages).await;
    let errors: Vec<&str> = answers.iter().map(|answer| answer["error"].as_str().unwrap_or("none")).collect();
    assert_eq!(errors[0], "invalid-spec", "{}", answers[0]);
    assert_eq!(answers[0]["refusals"][0]["path"], "spec.servng", "{}", answers[0]);
    assert_eq!(errors[1], "malformed-event", "{}", answers[1]);
    assert_eq!(errors[2], "unknown-verb", "{}", answers[2]);
    assert_ne!(errors[3], "none", "{}", answers[3]);
    assert_eq!((errors[4], errors[5]), ("unauthenticated", "unauthenticated"), "{} {}", answers[4], answers[5]);
    assert_eq!(errors[6], "malformed-data", "{}", answers[6]);
    assert_eq!(errors[7], "permission-denied", "{}", answers[7]);
    assert_eq!(errors[8], "malformed-event", "{}", answers[8]);
    for n in 9..12 {
        assert_eq!(errors[n], "permissions-violation", "{}", answers[n]);
    }
    for answer in &answers {
        assert_ne!(answer["accepted"], true, "{answer}");
    }
    let bus = folder.bus(Principal::Operator).await;
    assert!(bus.log().read(&id("stranger")).await.unwrap().is_empty(), "something was written");
    // What nobody could read is kept with its reason, once the stream's copy of it was looked at as well.
    let letters = eventually(Duration::from_secs(40), || async {
        let dead = folder.cli(["dead", "list", "--output", "json"]).await.json_lines();
        let letters = dead.first().and_then(Value::as_array).cloned().unwrap_or_default();
        let of =
            |word: &str| letters.iter().any(|letter| letter["reason"].as_str().unwrap_or_default().starts_with(word));
        let all = of("malformed-event") && of("unknown-verb") && of("malformed-data");
        if all { Ok(letters) } else { Err(letters) }
    })
    .await;
    let shown = folder.cli(["dead", "show", &letters[0]["id"].to_string()]).await.ok().stdout;
    assert!(shown.contains("reason:"), "{shown}");
}
