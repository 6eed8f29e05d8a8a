//! What becomes of results: captured after the answer, or recorded before it.

use super::world::{FIRST, Setting, World};
use prost::Message as _;
use serde_json::json;
use slipway_kernel::Digest;
use slipway_proto::slipway::inference::v1::{InferenceResult, inference_result::Outcome};
use std::sync::atomic::Ordering;

async fn recording_before() -> World {
    let mut setting = Setting::default();
    setting.history.record = json!("before-reply");
    setting.history.release(1, 1);
    World::open(setting).await
}

#[tokio::test]
async fn an_answer_does_not_wait_for_its_result_which_says_who_when_and_with_what() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    world.mailbox.away.store(true, Ordering::SeqCst);
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [("slipway-request-id", "r-1"), ("slipway-correlation-id", "c-1"), ("traceparent", traceparent)];
    assert_eq!(world.infer(&headers).await.status, 200, "the broker is away");
    world.mailbox.away.store(false, Ordering::SeqCst);
    let captured = world.captured(1).await;
    let result = &captured[0];
    assert_eq!((result.namespace.as_str(), result.deployment.as_str()), ("default", "digits"));
    assert_eq!((result.revision.as_str(), result.worker.as_str(), result.attempt), ("1-1", "a", 1));
    assert_eq!((result.request_id.as_str(), result.correlation_id.as_str()), ("r-1", "c-1"));
    assert_eq!((result.principal.as_str(), result.probe), ("anonymous", false));
    assert_eq!(result.model_digest, Digest::of(b"model").to_string());
    assert_eq!(result.trace_id, "0af7651916cd43dd8448eb211c80319c");
    assert!(result.accepted_unix_ms > 0 && result.completed_unix_ms >= result.accepted_unix_ms);
    assert!(matches!(&result.outcome, Some(Outcome::Response(response)) if response.id == "r-1"));
    assert_eq!(world.mailbox.captured.lock().unwrap()[0].1[0].traceparent, traceparent);
    assert!(world.mailbox.results.lock().unwrap().is_empty());
}

#[tokio::test]
async fn where_it_is_wanted_nobody_has_an_answer_that_is_not_recorded() {
    let world = recording_before().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let answer = world.infer(&[("slipway-request-id", "r-1")]).await;
    assert_eq!(answer.status, 200);
    let key = (world.history.id.clone(), "r-1".parse().unwrap());
    let recorded = world.mailbox.results.lock().unwrap().get(&key).cloned().unwrap();
    assert_eq!(InferenceResult::decode(recorded).unwrap().worker, "a");
    world.mailbox.away.store(true, Ordering::SeqCst);
    let refused = world.infer(&[("slipway-request-id", "r-2")]).await;
    assert_eq!((refused.status, refused.code()), (503, "unavailable"));
    assert!(refused.body["error"].as_str().unwrap().contains("spec.record"), "{refused:?}");
    assert!(world.mailbox.captured.lock().unwrap().is_empty());
}
