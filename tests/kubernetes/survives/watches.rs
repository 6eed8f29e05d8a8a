//! Watches that end, are told that they come too late, or say nothing: what others change is noticed by the regular look, and the API server is
//! not asked in a hurry.

use super::{PATIENCE, made, until_made, world};
use crate::{
    faulty::{Fault, Verb},
    id,
    kubectl::until,
};
use slipway_controller::domain::manifest::kubernetes::names;
use std::time::{Duration, Instant};

/// Kinds that are watched.
const KINDS: u64 = 9;

/// Under this fault of all watches what others change is put right, with few requests for watches.
async fn others_are_noticed(fault: Fault) {
    let (world, faulty) = world().await;
    faulty.fails(move |call| (call.verb == Verb::Watch).then_some(fault));
    let id = id("digits");
    let began = Instant::now();
    let (_keeper, desired) = made(&world, &id).await;
    let name = names::revision(&id, desired.wanted.revision);
    for _ in 0..2 {
        world.namespace.run(&["delete", "service", &name]).unwrap();
        let back = || world.namespace.get("service", &name).is_some();
        until("the service is back", Duration::from_secs(20), back).await;
        let replicas = || world.namespace.get("poddisruptionbudget", &name).unwrap()["spec"]["maxUnavailable"].clone();
        let patch = r#"{"spec":{"maxUnavailable":2}}"#;
        world.namespace.run(&["patch", "poddisruptionbudget", &name, "--type=merge", "--patch", patch]).unwrap();
        until("the budget is the planned one", Duration::from_secs(20), || replicas() == 1).await;
    }
    until_made(&world, &id, &desired).await;
    let (watches, elapsed) = (faulty.count(|call, _| call.verb == Verb::Watch), began.elapsed());
    // Each pause is twice the one before.
    let bearable = KINDS * (u64::from(elapsed.as_secs().max(1).ilog2()) + 3);
    println!("{fault:?}: {watches} watches in {elapsed:?}");
    assert!(u64::try_from(watches).unwrap() <= bearable, "{watches} watches within {elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn watches_that_are_closed_at_once() {
    others_are_noticed(Fault::Close).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn watches_that_are_told_to_come_too_late() {
    others_are_noticed(Fault::Expire).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn watches_that_say_nothing() {
    others_are_noticed(Fault::Silence).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_watch_that_has_been_silent_for_long_is_begun_anew() {
    let (world, faulty) = world().await;
    faulty.fails(|call| (call.verb == Verb::Watch).then_some(Fault::Silence));
    let (_keeper, _) = made(&world, &id("digits")).await;
    faulty.heal();
    let anew =
        || faulty.count(|call, fault| call.verb == Verb::Watch && fault.is_none()) >= usize::try_from(KINDS).unwrap();
    until("all watches are begun anew", PATIENCE, anew).await;
}
