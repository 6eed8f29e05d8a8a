//! Small shared tables: workers, routes, identities, keys, flags.

use super::support::{LONG, deployment};
use serde_json::Value;
use slipway_bus::{ApiKeyRecord, Granted, IdentityError, RouteError, WorkerRecord, WorkerState};
use slipway_kernel::{RevisionId, Service, Timestamp};
use slipway_testkit::{NatsServer, eventually};
use std::time::Duration;

fn worker(instance: &str) -> WorkerRecord {
    WorkerRecord {
        deployment: deployment("digits"),
        revision: RevisionId::new(1, 1),
        instance: instance.to_owned(),
        host: "box".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        admin: "127.0.0.1:2".to_owned(),
        pid: 7,
        fencing_token: 9,
        state: WorkerState::Starting,
        measurements: Vec::new(),
        detail: Value::Null,
        since: Timestamp(1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_seen_changes_and_goes() {
    let server = NatsServer::ready().await;
    let (worker_bus, ingress) = (server.bus_as(Service::InferenceWorker).await, server.bus_as(Service::Ingress).await);
    let mut seen = ingress.workers().follow().await.unwrap();
    assert!(seen.get().is_empty());
    let registration = worker_bus.workers().register(worker("w1")).await.unwrap();
    assert!(seen.wait(LONG, |workers| workers.len() == 1).await.is_some());
    registration.update(|worker| worker.state = WorkerState::Ready).await.unwrap();
    assert!(seen.wait(LONG, |workers| workers.iter().any(|w| w.state == WorkerState::Ready)).await.is_some());
    assert_eq!(ingress.workers().list().await.unwrap().len(), 1);
    registration.deregister().await.unwrap();
    assert!(seen.wait(LONG, Vec::is_empty).await.is_some());
    let bad = WorkerRecord { instance: "a.b".to_owned(), ..worker("x") };
    assert!(worker_bus.workers().register(bad).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_says_nothing_is_gone_after_its_time() {
    let server = NatsServer::ready().await;
    let (worker_bus, ingress) = (server.bus_as(Service::InferenceWorker).await, server.bus_as(Service::Ingress).await);
    let _registration = worker_bus.workers().register(worker("w1")).await.unwrap();
    let mut seen = ingress.workers().follow().await.unwrap();
    assert_eq!(seen.get().len(), 1);
    worker_bus.close().await;
    assert!(seen.wait(LONG, Vec::is_empty).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_stay_known_while_the_broker_is_away_longer_than_their_time() {
    let mut server = NatsServer::ready().await;
    let (worker_bus, ingress) = (server.bus_as(Service::InferenceWorker).await, server.bus_as(Service::Ingress).await);
    let _registration = worker_bus.workers().register(worker("w1")).await.unwrap();
    let seen = ingress.workers().follow().await.unwrap();
    server.stop().await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(seen.get().len(), 1);
    server.restart().await;
    // Through the whole return, at no moment an empty table.
    let until = tokio::time::Instant::now() + Duration::from_secs(12);
    while tokio::time::Instant::now() < until {
        assert_eq!(seen.get().len(), 1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ingress.workers().list().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_waits_for_every_live_replica() {
    let server = NatsServer::ready().await;
    let (one, two) = (server.bus_as(Service::Ingress).await, server.bus_as(Service::Ingress).await);
    let controller = server.bus_as(Service::Controller).await;
    assert_eq!(controller.routes().wait_all(5, LONG).await.unwrap(), 0);
    one.routes().report(5).await.unwrap();
    two.routes().report(4).await.unwrap();
    let behind = controller.routes().wait_all(5, Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(behind, RouteError::Behind { instances } if instances == [two.instance()]));
    let waiting = {
        let routes = controller.routes();
        tokio::spawn(async move { routes.wait_all(5, LONG).await })
    };
    two.routes().report(6).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
    two.routes().withdraw().await.unwrap();
    eventually(LONG, || async { controller.routes().replicas().await.unwrap().len() == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_asked_for_granted_or_refused() {
    let server = NatsServer::ready().await;
    let (worker, security) = (server.bus_as(Service::InferenceWorker).await, server.bus_as(Service::Security).await);
    security.identities().set_trust("the bundle").await.unwrap();
    let mut trust = worker.identities().trust().await.unwrap();
    assert!(trust.wait(LONG, |trust| trust.as_deref() == Some("the bundle")).await.is_some());
    let mut open = security.identities().requests().await.unwrap();
    let asking = |subject: &'static str| {
        let identities = worker.identities();
        tokio::spawn(async move { identities.request("w1", subject, "a csr", &["127.0.0.1".to_owned()], LONG).await })
    };
    let granted =
        Granted { chain_pem: "a chain".to_owned(), ca_bundle_pem: "the bundle".to_owned(), not_after: Timestamp(9) };
    let first = asking("spiffe://slipway/x");
    let requests = open.wait(LONG, |open| open.len() == 1).await.unwrap();
    assert_eq!(requests[0].requester, Service::InferenceWorker.into());
    assert_eq!((requests[0].instance.as_str(), requests[0].csr_pem.as_str()), ("w1", "a csr"));
    security.identities().answer(&requests[0], Ok(granted.clone())).await.unwrap();
    assert_eq!(first.await.unwrap().unwrap(), granted);
    assert!(open.wait(LONG, Vec::is_empty).await.is_some());
    // Asked again it is another request, which the first answer does not answer.
    let second = asking("spiffe://slipway/y");
    let requests = open.wait(LONG, |open| open.len() == 1).await.unwrap();
    security.identities().answer(&requests[0], Err("not yours".to_owned())).await.unwrap();
    assert!(matches!(second.await.unwrap(), Err(IdentityError::Refused(reason)) if reason == "not yours"));
    let late = worker.identities().request("w1", "z", "csr", &[], Duration::from_millis(200)).await;
    assert!(matches!(late, Err(IdentityError::Timeout(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_kept_per_deployment() {
    let server = NatsServer::ready().await;
    let (security, ingress) = (server.bus_as(Service::Security).await, server.bus_as(Service::Ingress).await);
    let mut keys = ingress.api_keys().follow().await.unwrap();
    let record = |key_id: &str| ApiKeyRecord {
        key_id: key_id.to_owned(),
        hash: "00".repeat(32),
        principal: "p".to_owned(),
        created: Timestamp(1),
        expires: None,
    };
    for (name, key_id) in [("digits", "k1"), ("digits", "k2"), ("other", "k1")] {
        security.api_keys().put(&deployment(name), &record(key_id)).await.unwrap();
    }
    let both =
        |keys: &std::collections::BTreeMap<_, Vec<ApiKeyRecord>>| keys.values().map(Vec::len).sum::<usize>() == 3;
    assert!(keys.wait(LONG, both).await.is_some());
    security.api_keys().remove(&deployment("digits"), "k1").await.unwrap();
    assert_eq!(security.api_keys().list(&deployment("digits")).await.unwrap(), [record("k2")]);
    assert_eq!(security.api_keys().remove_all(&deployment("digits")).await.unwrap(), 1);
    assert!(keys.wait(LONG, |keys| !keys.contains_key(&deployment("digits"))).await.is_some());
    assert!(security.api_keys().put(&deployment("digits"), &record("not a label")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_reason_of_a_flag_stays_until_it_is_cleared() {
    let server = NatsServer::ready().await;
    let bus = server.bus_as(Service::SinkWriter).await;
    let id = deployment("digits");
    let mut flags = bus.flags().follow().await.unwrap();
    bus.flags().raise(&id, "first").await.unwrap();
    bus.flags().raise(&id, "second").await.unwrap();
    let raised = flags.wait(LONG, |flags| !flags.is_empty()).await.unwrap();
    assert_eq!(raised[&id].reason, "first");
    bus.flags().clear(&id).await.unwrap();
    assert!(flags.wait(LONG, std::collections::BTreeMap::is_empty).await.is_some());
    bus.flags().raise(&id, "third").await.unwrap();
    assert_eq!(bus.flags().list().await.unwrap()[&id].reason, "third");
}
