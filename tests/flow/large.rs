//! Requests that are too large for a message of the broker, by every way that leads to one.

use crate::{
    alone,
    client::{Answered, Caller},
    documents::Document,
    over_nats,
};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use slipway_testkit::{Mesh, eventually, workspace};
use std::{fs, path::Path, time::Duration};

/// Numbers in a row of `mean.onnx`.
const ROW: usize = 65_536;

/// A document with so many rows behind it, and how long it is. Row `n` is all `n`. Asks for the means, or for all there is.
fn body(rows: usize, outputs: &Value) -> (usize, Vec<u8>) {
    let input = json!({ "name": "numbers", "datatype": "FP32", "shape": [rows, ROW], "parameters": { "binary_data_size": 4 * rows * ROW } });
    let document = json!({ "inputs": [input], "outputs": outputs }).to_string();
    let (length, mut body) = (document.len(), document.into_bytes());
    for row in 0..u16::try_from(rows).unwrap() {
        body.extend(f32::from(row).to_le_bytes().repeat(ROW));
    }
    (length, body)
}

/// Whether an answer has the mean of each row.
fn is_right(answer: &Value, rows: usize) -> bool {
    let means = answer["outputs"][0]["data"].as_array();
    means.is_some_and(|means| {
        means.len() == rows && means.iter().zip(0..).all(|(mean, row)| mean.as_f64() == Some(f64::from(row)))
    })
}

fn document(folder: &Path) -> Document {
    let golden = folder.join("mean.golden.jsonl");
    let row = |value: f32| {
        let expected = json!({ "mean": [value], "beyond": vec![0; ROW] });
        json!({ "inputs": { "numbers": vec![value; ROW] }, "expected": expected })
    };
    fs::write(&golden, format!("{}\n{}\n", row(0.0), row(2.0))).unwrap();
    let uri = |file: &Path| json!(format!("file://{}", file.display()));
    Document::digits("mean", "digits-v1")
        .with("spec.model.uri", uri(&workspace().join("tests/foreign/mean.onnx")))
        .with("spec.validation.golden", uri(&golden))
        .with("spec.inputs", json!([{ "http": { "maxBody": "64Mi", "timeout": "60s" } }, { "nats": {} }]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_too_large_for_a_message_is_answered_by_every_way() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    document(folder.path()).deploy(folder).await.ok();
    let caller = Caller::of(folder, "mean");
    let post = |(length, body): (usize, Vec<u8>)| -> RequestBuilder {
        let url = format!("{}/v2/models/mean/infer", caller.door);
        let request = caller.client.post(url).bearer_auth(&caller.key).timeout(Duration::from_secs(60));
        request.header("inference-header-content-length", length).body(body)
    };

    let means = json!([{ "name": "mean" }]);
    // Waited for: nearly the largest body there may be, and one beyond it.
    let direct = Answered::read(post(body(250, &means)).send().await.unwrap()).await;
    assert!(direct.status == StatusCode::OK && is_right(&direct.json(), 250), "{:.2000}", direct.text);
    let refused = Answered::read(post(body(256, &means)).send().await.unwrap()).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", refused.text);

    // Left over HTTP, with an answer as large.
    let left = Answered::read(post(body(40, &json!([]))).header("prefer", "respond-async").send().await.unwrap()).await;
    assert_eq!(left.status, StatusCode::ACCEPTED, "{}", left.text);
    let place = format!("{}{}", caller.door, left.header("location"));
    let done = eventually(Duration::from_secs(60), || async {
        let answered = Answered::read(caller.client.get(&place).bearer_auth(&caller.key).send().await.unwrap()).await;
        (answered.status != StatusCode::ACCEPTED).then_some(answered)
    })
    .await;
    let answer = done.json();
    assert!(done.status == StatusCode::OK && is_right(&answer, 40), "{:.2000}", done.text);
    let beyond = answer["outputs"][1]["data"].as_array().unwrap();
    assert!(beyond.len() == 40 * ROW && beyond.iter().all(|number| number == 0.0));

    // Over NATS, by both doors.
    let client = folder.cli(["nats-client", "shop", "--output", "json"]).await.ok().json_lines().remove(0);
    let ((length, body), file) = (body(40, &means), folder.path().join("body"));
    fs::write(&file, body).unwrap();
    let questions = json!({
        "subject": "slipway.inference.default.mean",
        "key": caller.key,
        "bucket": client["bucket"],
        "file": file,
        "documentBytes": length,
    });
    let answers = over_nats::run("large.py", &folder.nats_url(), &client, &questions).await;
    for way in ["asked", "left"] {
        assert!(is_right(&answers[way]["body"], 40), "{way}: {answers}");
    }
    assert_eq!(answers["gone"]["headers"]["slipway-failure"], "invalid-argument", "{answers}");

    // Each has its row.
    eventually(Duration::from_secs(30), || async {
        let ran = folder.cli(["results", "mean", "--output", "json"]).await;
        let total = ran.json_lines().first().map(|answer| answer["total"].clone());
        if total == Some(4.into()) { Ok(()) } else { Err(total) }
    })
    .await;
}
