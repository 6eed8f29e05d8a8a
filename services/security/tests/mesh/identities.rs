//! The exchange of identities, end to end.

use crate::support::{Others, PATIENCE, Replica, Worker, as_it_should_be, ask, refusal, worker_id};
use slipway_kernel::{RevisionId, Service, Span};
use slipway_runtime::tls::{self, SpiffeId};
use slipway_security::{AuthorityConfig, Loss};
use slipway_testkit::{NatsServer, eventually};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Instant};
use tokio::{io::AsyncReadExt as _, net::TcpListener};

const FIRST: RevisionId = RevisionId::new(1, 1);

fn ingress() -> SpiffeId {
    SpiffeId::Service(Service::Ingress)
}

fn files(data: &Path, ending: &str) -> Vec<String> {
    let names =
        fs::read_dir(data.join("security/ca")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(ending)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_make_one_authority_and_everybody_gets_his_own_identity_and_no_other() {
    let (server, data) = (NatsServer::secured().await, tempfile::tempdir().unwrap());
    let replicas = [Replica::start(&server, data.path()), Replica::start(&server, data.path())];
    let bus = server.bus_as(Service::Ingress).await;
    // Asked before anybody is there to answer: it is answered as soon as somebody is.
    let own = ask(&bus, "ingress-1", &ingress(), &["127.0.0.1", "localhost"]).await.unwrap();
    eventually(PATIENCE, || async { replicas.iter().all(|replica| replica.frame.health.is_ready()) }).await;
    assert_eq!(files(data.path(), ".pem").len(), 1);
    let keys = files(data.path(), ".key");
    assert_eq!(keys.len(), 1);
    let mode = fs::metadata(data.path().join("security/ca").join(&keys[0])).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);

    let began = Instant::now();
    for n in 0..20 {
        ask(&bus, &format!("ingress-{n}"), &ingress(), &[]).await.unwrap();
    }
    println!("an identity takes {:?}", began.elapsed() / 20);

    let validator = SpiffeId::Service(Service::Validator);
    for (id, names, reason) in [
        (validator.clone(), &[][..], "not-entitled"),
        (SpiffeId::Service(Service::InferenceWorker), &[], "not-entitled"),
        (worker_id(FIRST), &[], "not-entitled"),
        (ingress(), &["evil.example"], "wrong-names"),
    ] {
        let refused = refusal(ask(&bus, "ingress-x", &id, names).await);
        assert!(refused.starts_with(reason), "{id}: {refused}");
    }
    let operator = server.bus_as(Service::Provisioner).await;
    let refused = refusal(ask(&operator, "p", &SpiffeId::Service(Service::Provisioner), &[]).await);
    assert!(refused.starts_with("not-entitled"), "{refused}");
    let total = |name: &str| {
        let of = |replica: &Replica| replica.metrics().lines().filter(|line| line.starts_with(name)).count();
        replicas.iter().map(of).sum::<usize>()
    };
    assert!(total("slipway_certificates_issued_total") > 0 && total("slipway_certificates_refused_total") > 0);

    // Two identities of one authority meet.
    let bus = server.bus_as(Service::Validator).await;
    let other = ask(&bus, "validator-1", &validator, &[]).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming =
        tls::incoming(listener, own.server_config(|id| *id == SpiffeId::Service(Service::Validator)).unwrap()).unwrap();
    tls::connect(address, other.client_config(ingress()).unwrap(), PATIENCE).await.unwrap();
    let next = futures::StreamExt::next(&mut incoming);
    let accepted = tokio::time::timeout(PATIENCE, next).await.unwrap();
    assert!(accepted.unwrap().is_ok());
    // The validator has an identity to call with; as a server it is not believed.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _incoming = tls::incoming(listener, other.server_config(|_| true).unwrap()).unwrap();
    let refused = match tls::connect(address, own.client_config(validator).unwrap(), PATIENCE).await {
        Err(_) => true,
        Ok(mut stream) => stream.read_u8().await.is_err(),
    };
    assert!(refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_until_it_is_planned_and_registered_and_is_refused_for_what_is_not_its_own() {
    let (server, data) = (NatsServer::secured().await, tempfile::tempdir().unwrap());
    let _replica = Replica::start(&server, data.path());
    let others = Others::new(&server).await;
    let bus = server.bus_as(Service::InferenceWorker).await;
    let refused = refusal(ask(&bus, "w-1", &worker_id(FIRST), &[]).await);
    assert!(refused.starts_with("no-such-revision"), "{refused}");
    others.requested(serde_json::json!({})).await;
    others.planned(FIRST).await;
    let refused = refusal(ask(&bus, "w-1", &worker_id(FIRST), &[]).await);
    assert!(refused.starts_with("not-registered"), "{refused}");

    let worker = Worker::warm(&server, FIRST, "w-1").await;
    ask(&worker.bus, "w-1", &worker_id(FIRST), &["127.0.0.1"]).await.unwrap();
    let refused = refusal(ask(&worker.bus, "w-2", &worker_id(FIRST), &[]).await);
    assert!(refused.starts_with("not-registered"), "{refused}");
    let refused = refusal(ask(&worker.bus, "w-1", &worker_id(FIRST), &["localhost"]).await);
    assert!(refused.starts_with("wrong-names"), "{refused}");
    let refused = refusal(ask(&worker.bus, "w-1", &ingress(), &[]).await);
    assert!(refused.starts_with("not-entitled"), "{refused}");

    // What comes late is waited for: first the question, then the plan and the registration.
    let second = RevisionId::new(1, 2);
    let (bus, asked) = (worker.bus.clone(), Instant::now());
    let question = tokio::spawn(async move { ask(&bus, "w-3", &worker_id(second), &[]).await });
    let later = Worker::warm(&server, second, "w-3").await;
    others.planned(second).await;
    question.await.unwrap().unwrap();
    println!("granted {:?} after the question", asked.elapsed());
    let refused = refusal(ask(&worker.bus, "w-1", &worker_id(FIRST), &[]).await);
    assert!(refused.starts_with("revision-over"), "{refused}");
    later.serve(as_it_should_be).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_the_key_says_so_and_begins_anew_only_when_told() {
    let server = NatsServer::secured().await;
    let (data, lost) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Replica::start(&server, data.path());
    let bus = server.bus_as(Service::Ingress).await;
    let before = ask(&bus, "ingress-1", &ingress(), &[]).await.unwrap();
    drop(first);

    let waiting = Replica::start(&server, lost.path());
    eventually(PATIENCE, || async {
        waiting
            .frame
            .health
            .not_ready()
            .into_iter()
            .find(|missing| missing.reason.contains("key is not in this folder"))
    })
    .await;
    assert!(files(lost.path(), ".key").is_empty());
    drop(waiting);

    let authority = AuthorityConfig { without_key: Loss::Replace, ..AuthorityConfig::default() };
    let replaced = Replica::start_with(&server, lost.path(), authority);
    eventually(PATIENCE, || async { replaced.frame.health.is_ready() }).await;
    let after = ask(&bus, "ingress-1", &ingress(), &[]).await.unwrap();
    let trust = bus.identities().trust().await.unwrap().get();
    let bundle = trust.as_ref().as_ref().unwrap();
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 2);
    // Nobody is cut off: old and new know each other by the bundle.
    before.set_trust(bundle).unwrap();
    for (server_side, client_side) in [(&before, &after), (&after, &before)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = tls::incoming(listener, server_side.server_config(|_| true).unwrap()).unwrap();
        let client = client_side.client_config(ingress()).unwrap();
        let (connected, accepted) =
            tokio::join!(tls::connect(address, client, PATIENCE), futures::StreamExt::next(&mut incoming));
        assert!(connected.is_ok() && accepted.unwrap().is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_ages_is_followed_by_the_next_without_a_gap() {
    let (server, data) = (NatsServer::secured().await, tempfile::tempdir().unwrap());
    // Two thirds of its life are over in four seconds; the ranges of the settings are for people.
    let authority =
        AuthorityConfig { lifetime: Span::seconds(6), settle: Span::seconds(1), ..AuthorityConfig::default() };
    let _replica = Replica::start_with(&server, data.path(), authority);
    let bus = server.bus_as(Service::Ingress).await;
    ask(&bus, "ingress-1", &ingress(), &[]).await.unwrap();
    let mut trust = bus.identities().trust().await.unwrap();
    let bundles =
        |bundle: &Option<String>| bundle.as_ref().map_or(0, |bundle| bundle.matches("BEGIN CERTIFICATE").count());
    assert_eq!(bundles(&trust.get()), 1);
    let both = trust.wait(PATIENCE, |bundle| bundles(bundle) == 2).await;
    assert!(both.is_some());
    assert_eq!(files(data.path(), ".key").len(), 2);
    ask(&bus, "ingress-1", &ingress(), &[]).await.unwrap();
    let one = trust.wait(PATIENCE, |bundle| bundles(bundle) == 1).await;
    assert!(one.is_some(), "the first has ended");
    ask(&bus, "ingress-1", &ingress(), &[]).await.unwrap();
}
