//! How many at once, how often, and what becomes of the rest.

use super::{
    worker::Manner,
    world::{FIRST, INFER, Setting, World, body, eventually, tight},
};
use futures::future::join_all;
use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};

#[tokio::test]
async fn a_caller_over_its_rate_is_told_when_to_come_back() {
    let mut setting = Setting::default();
    setting.history.access = json!({ "anonymous": true, "rateLimit": "2/h" });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    assert_eq!([world.infer(&[]).await.status, world.infer(&[]).await.status], [200, 200]);
    let answer = world.infer(&[]).await;
    assert_eq!((answer.status, answer.code()), (429, "rate-limited"));
    let after: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1_700..=1_800).contains(&after), "{after}");
    let own = world.ingress.authenticator.probes.own().to_owned();
    assert_eq!(world.infer(&[("slipway-probe", &own)]).await.status, 200, "the mesh is not held to it");
    assert_eq!(worker.calls(), 3);
}

#[tokio::test]
async fn beyond_the_permits_and_their_queue_requests_are_refused_at_once() {
    let mut setting = Setting { limits: tight(2), ..Setting::default() };
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_secs(2)));
    world.register(&[&worker]);
    let answers = join_all((0..8).map(|_| world.infer(&[]))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429, 429, 429, 429, 429, 429]);
    for answer in answers.iter().filter(|answer| answer.status == 429) {
        assert_eq!((answer.code(), answer.header("retry-after")), ("overloaded", "1"));
        assert!(answer.body["error"].as_str().unwrap().contains("limits.in_flight_per_deployment"));
    }
    worker.set(Manner::Answer);
    assert_eq!(world.infer(&[]).await.status, 200, "the permits were given back");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up_at_its_deadline() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_secs(60)));
    world.register(&[&worker]);
    let answer = world.infer(&[("slipway-timeout-ms", "200")]).await;
    assert_eq!((answer.status, answer.code()), (504, "deadline-exceeded"));
    eventually("the worker was told", || worker.shared.cancelled.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn work_ends_when_the_client_goes_away() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_secs(60)));
    world.register(&[&worker]);
    let request = world.post(INFER, &body()).send();
    let asked = tokio::spawn(request);
    eventually("it is under way", || worker.shared.under_way.load(Ordering::SeqCst) == 1).await;
    asked.abort();
    eventually("the worker was told", || worker.shared.cancelled.load(Ordering::SeqCst) == 1).await;
    eventually("it left", || world.ingress.metrics.in_flight.get() == 0).await;
}

#[tokio::test]
async fn what_is_under_way_at_the_shutdown_is_finished() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_millis(300)));
    world.register(&[&worker]);
    let asked = tokio::spawn(world.post(INFER, &body()).send());
    eventually("it is under way", || worker.shared.under_way.load(Ordering::SeqCst) == 1).await;
    world.shutdown.cancel();
    assert_eq!(asked.await.unwrap().unwrap().status().as_u16(), 200);
    world.server.await.unwrap();
    assert!(world.http.get(format!("http://{}/v2", world.address)).send().await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_panic_is_the_failure_of_one_request() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let answer = world.infer(&[("slipway-request-id", "panic"), ("prefer", "respond-async")]).await;
    assert_eq!((answer.status, answer.code()), (500, "internal"));
    assert_eq!(answer.header("slipway-request-id"), "panic");
    assert_eq!(world.infer(&[]).await.status, 200);
    assert_eq!(world.ingress.metrics.in_flight.get(), 0);
}
