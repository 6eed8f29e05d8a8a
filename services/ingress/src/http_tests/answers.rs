//! Answers that are kept for equal requests.

use super::{
    worker::Manner,
    world::{FIRST, INFER, Setting, World, body, eventually},
};
use serde_json::{Value, json};
use slipway_kernel::{ByteSize, RevisionId};
use tonic::Code;

/// One released revision that keeps answers.
async fn keeping() -> World {
    let mut setting = Setting::default();
    setting.history.serving = json!({ "cache": {} });
    setting.history.release(1, 1);
    World::open(setting).await
}

fn with(values: [f64; 2]) -> Value {
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": values }] })
}

#[tokio::test]
async fn nothing_is_kept_unless_the_deployment_asks_for_it() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    for _ in 0..2 {
        let answer = world.infer(&[]).await;
        assert_eq!((answer.status, answer.header("slipway-cache")), (200, ""));
    }
    assert_eq!(worker.calls(), 2);
}

#[tokio::test]
async fn an_equal_request_gets_the_kept_answer_under_its_own_id_and_has_a_row() {
    let world = keeping().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    for (id, cache, calls) in [("r-1", "miss", 1), ("r-2", "hit", 1), ("r-3", "hit", 1)] {
        let answer = world.infer(&[("slipway-request-id", id)]).await;
        assert_eq!((answer.status, answer.header("slipway-cache")), (200, cache), "{answer:?}");
        assert_eq!((answer.body["id"].as_str(), worker.calls()), (Some(id), calls));
        assert_eq!(answer.body["outputs"][0]["data"], json!([0.5, 2.0]));
    }
    let other = world.send(world.post(INFER, &with([0.5, 3.0]))).await;
    assert_eq!((other.header("slipway-cache"), &other.body["outputs"][0]["data"]), ("miss", &json!([0.5, 3.0])));
    let rows = world.captured(4).await;
    let told: Vec<_> = rows.iter().map(|row| (row.request_id.as_str(), row.worker.as_str(), row.attempt)).collect();
    for row in [("r-1", "a", 1), ("r-2", "a", 0), ("r-3", "a", 0)] {
        assert!(told.contains(&row), "{told:?}");
    }
    // What serves is not needed for it.
    world.register(&[]);
    assert_eq!(world.infer(&[]).await.header("slipway-cache"), "hit");
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let world = keeping().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    worker.set(Manner::Say("internal", Code::Internal));
    assert_eq!(world.infer(&[]).await.status, 500);
    worker.set(Manner::Answer);
    let answer = world.infer(&[]).await;
    assert_eq!((answer.status, answer.header("slipway-cache")), (200, "miss"));
}

#[tokio::test]
async fn another_revision_answers_for_itself_also_when_the_first_is_back() {
    let mut world = keeping().await;
    let worker = world.worker(FIRST, "a");
    let second = world.worker(RevisionId::new(2, 1), "b");
    world.register(&[&worker, &second]);
    assert_eq!(world.infer(&[]).await.header("slipway-cache"), "miss");
    world.history.release(2, 1);
    world.apply();
    let answer = world.infer(&[]).await;
    assert_eq!((answer.header("slipway-revision"), answer.header("slipway-cache")), ("2-1", "miss"));
    assert_eq!(second.calls(), 1);
    world.history.roll_back(RevisionId::new(2, 1), FIRST);
    world.apply();
    let answer = world.infer(&[]).await;
    assert_eq!((answer.header("slipway-revision"), answer.header("slipway-cache")), ("1-1", "hit"));
}

#[tokio::test]
async fn the_meshs_own_requests_are_always_computed() {
    let world = keeping().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    assert_eq!(world.infer(&[]).await.header("slipway-cache"), "miss");
    let own = world.ingress.authenticator.probes.own().to_owned();
    let answer = world.infer(&[("slipway-probe", &own)]).await;
    assert_eq!((answer.status, answer.header("slipway-cache"), worker.calls()), (200, "", 2));
}

#[tokio::test]
async fn a_generation_that_keeps_none_gives_the_memory_back() {
    let mut world = keeping().await;
    let worker = world.worker(FIRST, "a");
    let second = world.worker(RevisionId::new(2, 1), "b");
    world.register(&[&worker, &second]);
    let left = |world: &World| world.ingress.admission.answers.answers(ByteSize(u64::MAX)).granted();
    let all = ByteSize::mebibytes(256).0;
    assert_eq!(left(&world), all - ByteSize::mebibytes(64).0);
    world.history.serving = json!({});
    world.history.release(2, 1);
    world.apply();
    eventually("it is given back", || left(&world) == all).await;
    let answer = world.send(world.post(INFER, &body())).await;
    assert_eq!((answer.status, answer.header("slipway-cache")), (200, ""));
}
