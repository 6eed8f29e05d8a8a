//! What a request gets, and what its worker sees of it.

use super::{
    worker::Manner,
    world::{FIRST, INFER, Setting, World, body},
};
use futures::future::join_all;
use serde_json::{Value, json};
use slipway_runtime::Clock;
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tonic::Code;

#[tokio::test]
async fn a_request_is_answered_by_its_worker_with_all_ids() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let before = Clock::system().now().0;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = world
        .infer(&[
            ("slipway-request-id", "r-1"),
            ("slipway-correlation-id", "c-1"),
            ("slipway-timeout-ms", "4000"),
            ("traceparent", traceparent),
            // None of these means anything from outside.
            ("slipway-principal", "admin"),
            ("slipway-attempt", "7"),
            ("slipway-deadline-ms", "1"),
            ("x-forwarded-for", "10.0.0.1"),
        ])
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.body,
        json!({
            "model_name": "digits", "model_version": "1-1", "id": "r-1",
            "outputs": [{ "name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 2.0] }]
        })
    );
    for (name, value) in [
        ("slipway-request-id", "r-1"),
        ("slipway-correlation-id", "c-1"),
        ("slipway-revision", "1-1"),
        ("traceparent", traceparent),
        ("content-type", "application/json"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let seen = worker.last();
    for (name, value) in [("slipway-request-id", "r-1"), ("slipway-attempt", "1"), ("traceparent", traceparent)] {
        assert_eq!(seen.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!seen.contains_key("slipway-principal") && !seen.contains_key("x-forwarded-for"));
    let deadline: u64 = seen["slipway-deadline-ms"].parse().unwrap();
    assert!((before + 3_000..before + 6_000).contains(&deadline), "{deadline} after {before}");
}

#[tokio::test]
async fn a_request_without_an_id_gets_one_and_the_documents_own_is_used() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let answer = world.infer(&[]).await;
    assert_eq!(answer.header("slipway-request-id").len(), 36);
    assert_eq!(answer.header("slipway-request-id"), answer.header("slipway-correlation-id"));
    let mut document = body();
    document["id"] = json!("mine");
    let answer = world.send(world.post(INFER, &document)).await;
    assert_eq!((answer.header("slipway-request-id"), &answer.body["id"]), ("mine", &json!("mine")));
    // An id of the client's that is none of ours is still its own.
    document["id"] = json!("mine, but with spaces");
    let answer = world.send(world.post(INFER, &document)).await;
    assert_eq!(answer.body["id"], "mine, but with spaces");
    assert_eq!(answer.header("slipway-request-id").len(), 36);
}

#[tokio::test]
async fn the_paths_of_the_protocol_lead_to_the_same_model() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    for path in [
        "/v2/models/digits/infer",
        "/v2/models/digits/versions/1-1/infer",
        "/v2/namespaces/default/models/digits/infer",
        "/v2/namespaces/default/models/digits/versions/1-1/infer",
    ] {
        assert_eq!(world.send(world.post(path, &body())).await.status, 200, "{path}");
    }
    for (path, expected) in [
        ("/v2", json!("slipway")),
        ("/v2/models/digits", json!("digits")),
        ("/v2/models/digits/versions/1-1", json!("digits")),
        ("/v2/models/digits/ready", json!("digits")),
        ("/v2/namespaces/default/models/digits/versions/1-1/ready", json!("digits")),
    ] {
        let answer = world.get(path).await;
        assert_eq!((answer.status, &answer.body["name"]), (200, &expected), "{path}");
    }
    let metadata = world.get("/v2/models/digits").await.body;
    assert_eq!(metadata["inputs"], json!([{ "name": "x", "datatype": "FP32", "shape": [-1, 2] }]));
    assert_eq!((&metadata["versions"], &metadata["platform"]), (&json!(["1-1"]), &json!("slipway")));
    assert_eq!(world.get("/v2/health/live").await.body, json!({ "live": true }));
    assert_eq!(world.get("/v2/health/ready").await.status, 200);
    world.register(&[]);
    let not_ready = world.get("/v2/models/digits/ready").await;
    assert_eq!((not_ready.status, not_ready.code()), (503, "unavailable"));
}

#[tokio::test]
async fn what_is_not_accepted_is_named_with_its_path_and_what_is_allowed() {
    let mut setting = Setting::default();
    setting.history.http = json!({ "maxBody": "1Ki" });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let tensor = |change: fn(&mut Value)| {
        let mut document = body();
        change(&mut document["inputs"][0]);
        document.to_string()
    };
    let large = format!("{{\"inputs\":[],\"x\":\"{}\"}}", "x".repeat(2_000));
    let deep = "[".repeat(1_000);
    for (document, status, code, path) in [
        (tensor(|x| x["name"] = json!("z")), 400, "invalid-argument", "inputs[0].name"),
        (tensor(|x| x["datatype"] = json!("FP64")), 400, "invalid-argument", "inputs[0].datatype"),
        (tensor(|x| x["shape"] = json!([1, 3])), 400, "invalid-argument", "inputs[0].shape"),
        (tensor(|x| x["shape"] = json!([-1, 2])), 400, "invalid-argument", "inputs[0].shape"),
        (tensor(|x| x["data"] = json!([1])), 400, "invalid-argument", "inputs[0].data"),
        (tensor(|x| x["data"] = json!([1, "NaN"])), 400, "invalid-argument", "inputs[0].data[1]"),
        (tensor(|x| x["data"] = json!([1, 1e300])), 400, "invalid-argument", "inputs[0].data[1]"),
        (tensor(|x| x["extra"] = json!(1)), 400, "invalid-argument", "inputs[0].extra"),
        (json!({ "inputs": [] }).to_string(), 400, "invalid-argument", "inputs"),
        (
            json!({ "inputs": [body()["inputs"][0], body()["inputs"][0]] }).to_string(),
            400,
            "invalid-argument",
            "inputs[1].name",
        ),
        ("{".to_owned(), 400, "invalid-argument", "body"),
        (String::new(), 400, "invalid-argument", "body"),
        (deep, 400, "invalid-argument", "body"),
        (large, 413, "payload-too-large", ""),
    ] {
        let answer = world.send(world.http.post(world.url(INFER)).body(document.clone())).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{document:.100}");
        let refusal = &answer.body["refusals"][0];
        assert_eq!(refusal["path"].as_str().unwrap_or_default(), path, "{document:.100}");
        if status == 400 {
            assert!(!refusal["value"].is_null() && !refusal["allowed"].is_null());
        }
    }
    assert_eq!(worker.calls(), 0, "none of it reached the worker");
}

#[tokio::test]
async fn a_connection_that_ends_with_an_answer_says_so_and_no_other() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let large = || vec![b' '; 6 << 20];
    for (request, status, closes) in [
        (world.post(INFER, &body()), 200, false),
        (world.http.post(world.url(INFER)).header("content-type", "application/json").body("{"), 400, false),
        (world.http.get(world.url("/v2/nothing")), 404, false),
        (world.http.post(world.url(INFER)).header("content-type", "application/json").body(large()), 413, true),
        (world.http.post(world.url("/v2/models/other/infer")).body(large()), 404, true),
    ] {
        let answer = world.send(request).await;
        assert_eq!((answer.status, answer.header("connection") == "close"), (status, closes), "{answer:?}");
    }
    // What follows at once finds a connection that is alive.
    for _ in 0..50 {
        let refused = world.http.post(world.url(INFER)).header("content-type", "application/json").body(large());
        assert_eq!(world.send(refused).await.status, 413);
        assert_eq!(world.infer(&[]).await.status, 200);
    }
}

#[tokio::test]
async fn what_leads_nowhere_or_the_wrong_way_is_refused_by_name() {
    let world = World::released().await;
    let post = |path: &str| world.post(path, &body());
    for (request, status, code) in [
        (world.http.get(world.url("/")), 404, "not-found"),
        (world.http.get(world.url("/v2/nothing")), 404, "not-found"),
        (post("/v2/models/other/infer"), 404, "not-found"),
        (post("/v2/models/Digits/infer"), 404, "not-found"),
        (post("/v2/models/..%2fdigits/infer"), 404, "not-found"),
        (post("/v2/models/%ff/infer"), 404, "not-found"),
        (post("/v2/namespaces/other/models/digits/infer"), 404, "not-found"),
        (post("/v2/models/digits/versions/9-9/infer"), 404, "not-found"),
        (post("/v2/models/digits/versions/latest/infer"), 400, "invalid-argument"),
        (post(INFER).header("slipway-revision", "9-9"), 404, "not-found"),
        (post(INFER).header("slipway-timeout-ms", "soon"), 400, "invalid-argument"),
        (post(INFER).header("slipway-request-id", "a b"), 400, "invalid-argument"),
        (post(INFER).header("content-type", "text/xml"), 415, "unsupported-media-type"),
        (post(INFER).header("content-encoding", "br"), 415, "unsupported-media-type"),
        (world.http.get(world.url(INFER)), 405, "method-not-allowed"),
        (world.http.delete(world.url(INFER)), 405, "method-not-allowed"),
        (post("/v2/models/digits"), 405, "method-not-allowed"),
        (post("/v2/health/live"), 405, "method-not-allowed"),
    ] {
        let shown = format!("{request:?}");
        let answer = world.send(request).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{shown}: {answer:?}");
        assert!(answer.body["error"].is_string());
    }
    let answer = world.send(world.http.get(world.url(INFER))).await;
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn what_a_worker_says_is_passed_on_in_its_own_words() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    for (word, code, status) in [
        ("invalid-argument", Code::InvalidArgument, 400),
        ("unimplemented", Code::Unimplemented, 501),
        ("internal", Code::Internal, 500),
        ("overloaded", Code::ResourceExhausted, 429),
        ("deadline-exceeded", Code::DeadlineExceeded, 504),
    ] {
        worker.set(Manner::Say(word, code));
        let answer = world.infer(&[]).await;
        assert_eq!((answer.status, answer.code()), (status, word));
        assert_eq!(answer.body["error"], format!("the worker says {word}"));
        assert_eq!(answer.header("retry-after"), if status == 429 { "3" } else { "" });
        assert_eq!(answer.header("slipway-revision"), "1-1");
    }
    worker.set(Manner::Malformed);
    let answer = world.infer(&[]).await;
    assert_eq!((answer.status, answer.code()), (500, "internal"));
}

#[tokio::test]
async fn a_large_document_is_answered_like_a_small_one_and_shares_no_stream() {
    let mut setting = Setting::default();
    setting.history.http = json!({ "maxBody": "8Mi" });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let data: Vec<f32> = (0_u16..60_000).flat_map(|n| [f32::from(n), f32::from(n) / 7.0]).collect();
    let document = json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [60_000, 2], "data": data }] });
    let answer = world.send(world.post(INFER, &document)).await;
    assert_eq!(answer.status, 200);
    let outputs: Vec<f32> = serde_json::from_value(answer.body["outputs"][0]["data"].clone()).unwrap();
    assert_eq!(outputs, data);
    assert_eq!(worker.shared.streamed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn small_requests_share_one_stream_for_each_thread() {
    let mut setting = Setting::default();
    setting.http.threads = Some(2);
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_millis(50)));
    world.register(&[&worker]);
    let answers = join_all((0..40).map(|_| world.infer(&[]))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let of = |counter: &AtomicU32| counter.load(Ordering::SeqCst);
    assert_eq!((of(&worker.shared.streamed), of(&worker.shared.streams)), (40, 2));
}

#[tokio::test]
async fn an_answer_is_one_event_where_that_is_wanted_also_when_it_is_given_again() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let mut events = Vec::new();
    for _ in 0..2 {
        let request =
            world.post(INFER, &body()).header("accept", "text/event-stream").header("idempotency-key", "once");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        events.push(answer.text().await.unwrap());
    }
    assert_eq!(worker.calls(), 1);
    for event in events {
        let document = event.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        assert_eq!(document["outputs"][0]["data"], json!([0.5, 2.0]));
    }
}
