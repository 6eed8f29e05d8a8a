//! Leases: one holder, a growing token, takeover, loss.

use super::support::{LONG, deployment};
use futures::future::join_all;
use serde_json::json;
use slipway_bus::{LeaseError, LeaseKey};
use slipway_kernel::Service;
use slipway_testkit::{NatsServer, eventually};
use std::time::Duration;
use tokio::time::Instant;

const TTL: Duration = Duration::from_secs(2);

fn key(work: &str) -> LeaseKey {
    LeaseKey::new(&deployment("digits"), Service::Controller, work)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_want_a_lease_one_has_it() {
    let server = NatsServer::ready().await;
    let buses = join_all((0..8).map(|_| server.bus_as(Service::Controller))).await;
    let mut last = 0;
    for round in 0..10 {
        let key = key("rollout");
        let taken = join_all(buses.iter().map(|bus| {
            let (leases, key) = (bus.leases(), key.clone());
            async move { leases.acquire(&key, TTL).await.unwrap() }
        }))
        .await;
        let mut held: Vec<_> = taken.into_iter().flatten().collect();
        assert_eq!(held.len(), 1, "round {round}");
        let lease = held.pop().unwrap();
        assert!(lease.token() > last);
        last = lease.token();
        lease.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_lease_outlives_its_time_and_ends_with_its_holder() {
    let server = NatsServer::ready().await;
    let (one, two) = (server.bus_as(Service::Controller).await, server.bus_as(Service::Controller).await);
    let lease = one.leases().acquire(&key("rollout"), TTL).await.unwrap().unwrap();
    let info = two.leases().read(&key("rollout")).await.unwrap().unwrap();
    assert_eq!(info.token, lease.token());
    assert!(info.holder.starts_with(one.instance()));
    let until = Instant::now() + TTL * 2;
    while Instant::now() < until {
        assert!(two.leases().acquire(&key("rollout"), TTL).await.unwrap().is_none());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(lease.is_held());
    let token = lease.token();
    drop(lease);
    let next = eventually(LONG, || async { two.leases().acquire(&key("rollout"), TTL).await.unwrap() }).await;
    assert!(next.token() > token);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_process_that_vanished_is_taken_over_and_its_late_renewal_refused() {
    let server = NatsServer::ready().await;
    let (one, two) = (server.bus_as(Service::Controller).await, server.bus_as(Service::Controller).await);
    let lease = one.leases().acquire(&key("rollout"), TTL).await.unwrap().unwrap();
    // Nothing is sent any more, as when a process is stopped.
    one.close().await;
    let started = Instant::now();
    let next = eventually(LONG, || async { two.leases().acquire(&key("rollout"), TTL).await.unwrap() }).await;
    assert!(started.elapsed() < TTL * 4, "{:?}", started.elapsed());
    assert!(next.token() > lease.token());
    // Revived, it finds itself fenced.
    assert!(lease.set_value(&json!({})).await.is_err());
    assert!(next.is_held());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_another_took_is_lost() {
    let server = NatsServer::ready().await;
    let bus = server.bus_as(Service::Controller).await;
    let lease = bus.leases().acquire(&key("rollout"), TTL).await.unwrap().unwrap();
    let thief = async_nats::connect(server.url()).await.unwrap();
    let subject = format!("$KV.slipway-leases.{}", key("rollout"));
    let stolen = json!({ "holder": "thief", "token": "0" }).to_string();
    thief.publish(subject, stolen.into()).await.unwrap();
    tokio::time::timeout(LONG, lease.lost()).await.unwrap();
    assert!(!lease.is_held());
    assert!(matches!(lease.set_value(&json!(1)).await, Err(LeaseError::Lost { .. })));
    drop(lease);
    // Whoever lost it does not release it for the other.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(bus.leases().read(&key("rollout")).await.unwrap().unwrap().holder, "thief");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_survives_a_short_absence_of_the_broker_and_is_lost_in_a_long_one() {
    let mut server = NatsServer::ready().await;
    let bus = server.bus_as(Service::Controller).await;
    let long = bus.leases().acquire(&key("long"), Duration::from_secs(20)).await.unwrap().unwrap();
    let short = bus.leases().acquire(&key("short"), TTL).await.unwrap().unwrap();
    server.stop().await;
    tokio::time::timeout(LONG, short.lost()).await.unwrap();
    server.restart().await;
    eventually(LONG, || async { long.set_value(&json!({ "n": 1 })).await.is_ok() }).await;
    assert!(long.is_held() && !short.is_held());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_holder_says_is_heard_by_those_who_follow() {
    let server = NatsServer::ready().await;
    let (one, two) = (server.bus_as(Service::Controller).await, server.bus_as(Service::InferenceWorker).await);
    let host = LeaseKey::host("box.example", Service::Controller, "workers");
    let mut heard = two.leases().follow(&host).await.unwrap();
    assert!(heard.get().is_none());
    let lease = one.leases().acquire(&host, TTL).await.unwrap().unwrap();
    lease.set_value(&json!({ "workers": ["w1"] })).await.unwrap();
    let info = heard.wait(LONG, |info| info.as_ref().is_some_and(|info| !info.value.is_null())).await.unwrap();
    assert_eq!(info.as_ref().as_ref().unwrap().value, json!({ "workers": ["w1"] }));
    assert_eq!(info.as_ref().as_ref().unwrap().token, lease.token());
    lease.release().await.unwrap();
    assert!(heard.wait(LONG, Option::is_none).await.is_some());
}
