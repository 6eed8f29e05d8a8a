//! Requests that are answered later, and requests that come again.

use super::world::{FIRST, INFER, Setting, World, body};
use prost::Message as _;
use serde_json::json;
use slipway_kernel::RequestId;
use slipway_proto::{
    failure::FailureCode,
    inference::ModelInferRequest,
    oip::{Tensor, raw_response},
    slipway::inference::v1::{InferenceRequest, InferenceResult, inference_result::Outcome},
};
use std::sync::atomic::Ordering;

const ASYNC: (&str, &str) = ("prefer", "respond-async");

fn record(world: &World, id: &str, outcome: Outcome) {
    let result = InferenceResult {
        revision: "1-1".to_owned(),
        request_id: id.to_owned(),
        correlation_id: "c".to_owned(),
        outcome: Some(outcome),
        ..InferenceResult::default()
    };
    let key = (world.history.id.clone(), id.parse::<RequestId>().unwrap());
    world.mailbox.results.lock().unwrap().insert(key, result.encode_to_vec().into());
}

fn answer() -> Outcome {
    Outcome::Response(raw_response("digits", "1-1", "r", [Tensor::from_f32("y", vec![1], &[7.0]).unwrap()]))
}

#[tokio::test]
async fn a_request_is_left_in_the_queue_of_its_revision_and_its_result_fetched() {
    let world = World::released().await;
    let accepted = world.infer(&[ASYNC, ("slipway-request-id", "r"), ("slipway-correlation-id", "c")]).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(accepted.body["status"], "pending");
    assert_eq!(accepted.header("preference-applied"), "respond-async");
    let location = accepted.header("location");
    assert_eq!(location, "/v2/requests/default.digits.r");
    let (revision, payload) = world.mailbox.queued.lock().unwrap()[0].clone();
    let queued = InferenceRequest::decode(payload).unwrap();
    assert_eq!((revision, queued.revision.as_str()), (FIRST, "1-1"));
    assert_eq!((queued.request_id.as_str(), queued.correlation_id.as_str()), ("r", "c"));
    assert_eq!((queued.principal.as_str(), queued.probe), ("anonymous", false));
    assert_eq!(queued.deadline_unix_ms - queued.accepted_unix_ms, 600_000);
    assert_eq!(queued.body.unwrap().model_version, "1-1");

    let pending = world.get(location).await;
    assert_eq!((pending.status, pending.header("retry-after")), (202, "1"));
    record(&world, "r", answer());
    let done = world.get(location).await;
    assert_eq!((done.status, &done.body["outputs"][0]["data"]), (200, &json!([7.0])));
    assert_eq!((done.header("slipway-revision"), done.header("slipway-correlation-id")), ("1-1", "c"));
    record(&world, "r", Outcome::Failure(FailureCode::DeadlineExceeded.with("too late")));
    let failed = world.get(location).await;
    assert_eq!((failed.status, failed.code()), (504, "deadline-exceeded"));
}

#[tokio::test]
async fn tensors_too_large_for_a_message_are_left_beside_it() {
    let mut setting = Setting::default();
    setting.history.http = json!({ "maxBody": "32Mi" });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let left = async |rows: usize, space: usize| {
        let input = json!({ "name": "x", "datatype": "FP32", "shape": [rows, 2], "data": vec![1; 2 * rows] });
        let text = format!("{}{}", json!({ "inputs": [input] }), " ".repeat(space));
        let request =
            world.http.post(world.url(INFER)).header(ASYNC.0, ASYNC.1).header("content-type", "application/json");
        assert_eq!(world.send(request.body(text)).await.status, 202);
        let (_, payload) = world.mailbox.queued.lock().unwrap().pop().unwrap();
        (InferenceRequest::decode(payload).unwrap(), world.mailbox.data.lock().unwrap().pop())
    };
    // Its text may be large if its tensors are not.
    let (small, beside) = left(1, 8 << 20).await;
    assert!(small.body.is_some() && beside.is_none());
    let (envelope, beside) = left(1 << 20, 0).await;
    assert!(envelope.body.is_none() && envelope.encoded_len() < 1_000, "{envelope:?}");
    let message = ModelInferRequest::decode(beside.unwrap()).unwrap();
    assert_eq!((message.inputs[0].shape.as_slice(), message.raw_input_contents[0].len()), (&[1 << 20, 2][..], 8 << 20));
}

#[tokio::test]
async fn a_request_without_an_id_gets_one_that_its_sender_is_known_by_and_nothing_else_is_kept() {
    let world = World::released().await;
    let accepted = world.infer(&[ASYNC]).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert!(world.mailbox.accepted.lock().unwrap().is_empty());
    let (location, id) = (accepted.header("location"), accepted.body["id"].as_str().unwrap().to_owned());
    assert_eq!(location, format!("/v2/requests/default.digits.{id}"));
    assert_eq!(world.get(location).await.status, 202);
    record(&world, &id, answer());
    assert_eq!(world.get(location).await.status, 200);
    // One digit of the proof changed, it is an id that nobody gave.
    let last = if location.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{last}", &location[..location.len() - 1]);
    assert_eq!(world.get(&forged).await.status, 404);
}

#[tokio::test]
async fn a_request_is_taken_back_by_its_sender_unless_it_has_been_answered() {
    let world = World::released().await;
    let left = async || world.infer(&[ASYNC]).await.header("location").to_owned();
    let location = left().await;
    let delete = async |location: &str| world.send(world.http.delete(world.url(location))).await;
    for _ in 0..2 {
        let cancelled = delete(&location).await;
        assert_eq!((cancelled.status, &cancelled.body["status"]), (200, &json!("cancelled")), "{cancelled:?}");
    }
    let polled = world.get(&location).await;
    assert_eq!((polled.status, polled.code()), (499, "cancelled"));
    let (_, recorded) =
        world.mailbox.results.lock().unwrap().iter().next().map(|(k, v)| (k.clone(), v.clone())).unwrap();
    let row = InferenceResult::decode(recorded).unwrap();
    assert_eq!((row.revision.as_str(), row.principal.as_str()), ("1-1", "anonymous"));

    let location = left().await;
    record(&world, location.rsplit('.').next().unwrap(), answer());
    let late = delete(&location).await;
    assert_eq!((late.status, late.code()), (409, "already-answered"));
    assert_eq!(world.get(&location).await.status, 200, "its result stands");
    assert_eq!(delete("/v2/requests/default.digits.nobodys").await.status, 404);
    let put = world.send(world.http.put(world.url(&location))).await;
    assert_eq!((put.status, put.header("allow")), (405, "GET, DELETE"));
}

#[tokio::test]
async fn what_nobody_sent_or_somebody_else_is_unknown_alike() {
    let mut setting = Setting::default();
    setting.history.access = json!({ "anonymous": true, "apiKeys": true });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    world.infer(&[ASYNC, ("slipway-request-id", "r")]).await;
    record(&world, "r", answer());
    let own = world.ingress.authenticator.probes.own().to_owned();
    let place = world.url("/v2/requests/default.digits.r");
    let foreign = world.send(world.http.get(&place).header("slipway-probe", own)).await;
    let mut answers = vec![foreign];
    for path in ["default.digits.s", "default.other.r", "r", "default.digits.", "default.digits.%2a", "*.*.>", "%ff"] {
        answers.push(world.get(&format!("/v2/requests/{path}")).await);
    }
    for answer in &answers {
        assert_eq!((answer.status, answer.code()), (404, "not-found"), "{answer:?}");
        assert_eq!(answer.body, answers[0].body);
    }
    assert_eq!(world.get("/v2/requests/default.digits.r").await.status, 200);
}

#[tokio::test]
async fn a_full_queue_is_429_and_leaves_nothing_behind_and_one_that_is_away_is_503() {
    let world = World::released().await;
    world.mailbox.full.store(true, Ordering::SeqCst);
    let full = world.infer(&[ASYNC, ("slipway-request-id", "r")]).await;
    assert_eq!((full.status, full.code(), full.header("retry-after")), (429, "overloaded", "1"));
    assert!(world.mailbox.accepted.lock().unwrap().is_empty());
    world.mailbox.full.store(false, Ordering::SeqCst);
    world.mailbox.away.store(true, Ordering::SeqCst);
    let away = world.infer(&[ASYNC, ("slipway-request-id", "r")]).await;
    assert_eq!((away.status, away.code(), away.header("retry-after")), (503, "unavailable", "1"));
}

#[tokio::test]
async fn the_same_request_is_left_again_and_another_under_its_id_is_refused() {
    let world = World::released().await;
    let headers = [ASYNC, ("slipway-request-id", "r")];
    assert_eq!(world.infer(&headers).await.status, 202);
    assert_eq!(world.infer(&headers).await.status, 202);
    assert_eq!(world.mailbox.accepted.lock().unwrap().len(), 1);
    let mut other = body();
    other["inputs"][0]["data"] = json!([1, 1]);
    let request = world.post(INFER, &other).header("prefer", "respond-async").header("slipway-request-id", "r");
    let conflict = world.send(request).await;
    assert_eq!((conflict.status, conflict.code()), (422, "idempotency-conflict"));
}

#[tokio::test]
async fn a_request_under_an_idempotency_key_is_answered_once() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let key = ("idempotency-key", "order 7");
    let first = world.infer(&[key]).await;
    assert_eq!((first.status, first.header("slipway-replayed")), (200, ""));
    let id = first.header("slipway-request-id").to_owned();
    assert!(id.starts_with("ik-"), "{id}");
    // Recorded before it was answered, so that the repetition finds it.
    let again = world.infer(&[key]).await;
    assert_eq!((again.status, again.header("slipway-replayed")), (200, "true"));
    assert_eq!(again.body["outputs"], first.body["outputs"]);
    assert_eq!(worker.calls(), 1);
    // Not recorded, as after a failure: sent again under the same id.
    world.mailbox.results.lock().unwrap().clear();
    assert_eq!(world.infer(&[key]).await.header("slipway-request-id"), id);
    assert_eq!(worker.calls(), 2);
    let mut other = body();
    other["inputs"][0]["data"] = json!([1, 1]);
    let conflict = world.send(world.post(INFER, &other).header(key.0, key.1)).await;
    assert_eq!((conflict.status, conflict.code()), (422, "idempotency-conflict"));
}
