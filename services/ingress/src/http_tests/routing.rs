//! Which revision a request meets.

use super::world::{FIRST, World, eventually};
use slipway_kernel::RevisionId;
use std::{sync::Arc, time::Duration};

const SECOND: RevisionId = RevisionId::new(2, 1);

#[tokio::test]
async fn requests_are_shared_as_the_log_says_and_counted_for_the_controller() {
    let mut world = World::released().await;
    world.history.deploy(2, 1);
    world.history.shift(2, 1, 25);
    world.apply();
    let (first, second) = (world.worker(FIRST, "first"), world.worker(SECOND, "second"));
    world.register(&[&first, &second]);
    for n in 0..400 {
        let id = format!("request-{n}");
        let answer = world.infer(&[("slipway-request-id", &id)]).await;
        assert_eq!(answer.status, 200);
        let met = answer.header("slipway-revision").to_owned();
        let again = world.infer(&[("slipway-request-id", &id)]).await;
        assert_eq!(again.header("slipway-revision"), met, "the same id meets the same revision");
    }
    let share = f64::from(second.calls()) / f64::from(first.calls() + second.calls());
    assert!((0.18..0.32).contains(&share), "{share}");
    let own = world.ingress.authenticator.probes.own().to_owned();
    world.infer(&[("slipway-probe", &own)]).await;
    let door = Arc::clone(world.ingress.routing.load().door(&world.history.id).unwrap());
    let counted: u64 = door.counts.values().map(|counts| counts.summary().requests).sum();
    assert_eq!(counted, 800, "marked traffic does not count");
    assert!(door.counts.values().all(|counts| counts.summary().p99_ms > 0.0));
}

#[tokio::test]
async fn a_request_that_waits_for_a_worker_goes_where_the_route_moves() {
    let mut world = World::released().await;
    world.history.release(2, 1);
    world.apply();
    let first = world.worker(FIRST, "first");
    world.register(&[&first]);
    // Nobody serves the second revision: the request waits.
    let asked = tokio::spawn(world.post(super::world::INFER, &super::world::body()).send());
    let door = Arc::clone(world.ingress.routing.load().door(&world.history.id).unwrap());
    eventually("it waits", || door.state.permits.free() < world.ingress.limits.in_flight_per_deployment).await;
    world.history.roll_back(SECOND, FIRST);
    world.apply();
    let response = tokio::time::timeout(Duration::from_secs(2), asked).await.unwrap().unwrap().unwrap();
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["slipway-revision"], "1-1");
}

#[tokio::test]
async fn before_the_first_release_nothing_serves() {
    let mut setting = super::world::Setting::default();
    setting.history.deploy(1, 1);
    let world = World::open(setting).await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let answer = world.infer(&[]).await;
    assert_eq!((answer.status, answer.code(), answer.header("retry-after")), (503, "unavailable", "1"));
    assert_eq!(world.get("/v2/models/digits").await.status, 503);
}

#[tokio::test]
async fn a_retired_deployment_is_unknown() {
    let mut world = World::released().await;
    world.history.retire(1);
    world.apply();
    assert_eq!(world.infer(&[]).await.status, 404);
}
