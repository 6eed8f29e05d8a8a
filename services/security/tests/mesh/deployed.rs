//! What happens on `deployed` and on `retire-requested`.

use crate::support::{MODEL, Others, Replica, Worker, as_it_should_be, ask, id, refusal, worker_id};
use slipway_bus::{Bus, Principal};
use slipway_kernel::{
    Answer, Cause, CommandReason, Digest, FindingKind, IntakeReference, Ready, RevisionId, Service, Slot,
};
use slipway_runtime::Frame;
use slipway_security::{Config, Simulated};
use slipway_testkit::NatsServer;
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

const FIRST: RevisionId = RevisionId::new(1, 1);
const SECOND: RevisionId = RevisionId::new(1, 2);
const THIRD: RevisionId = RevisionId::new(1, 3);

fn ready(answer: Answer) -> Ready {
    match answer {
        Answer::SecurityReady(ready) => ready,
        other => panic!("{other:?}"),
    }
}

async fn secured(others: &Others, server: &NatsServer, revision: RevisionId, instance: &str) -> (Worker, Ready) {
    others.planned(revision).await;
    let worker = Worker::serving(server, revision, instance, as_it_should_be).await;
    others.deployed(revision).await;
    let ready = ready(others.answer(revision, Slot::Security, 0).await);
    (worker, ready)
}

fn key(data: &Path) -> String {
    let text = fs::read_to_string(data.join("security/keys/default.digits.key")).unwrap();
    text.trim_end().to_owned()
}

async fn digests(bus: &Bus) -> Vec<String> {
    bus.api_keys().list(&id()).await.unwrap().into_iter().map(|record| record.hash).collect()
}

fn digest(key: &str) -> String {
    Digest::of(key.as_bytes()).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_secure_a_deployment_once_keep_its_key_and_remove_it() {
    let (server, data) = (NatsServer::secured().await, tempfile::tempdir().unwrap());
    let _replicas = [Replica::start(&server, data.path()), Replica::start(&server, data.path())];
    let (others, ingress) = (Others::new(&server).await, server.bus_as(Service::Ingress).await);
    let security = server.bus_as(Service::Security).await;
    others.requested(serde_json::json!({})).await;
    let (worker, first) = secured(&others, &server, FIRST, "w-1").await;
    for proof in &first.proofs {
        println!("{}: {}", proof.name, proof.detail);
    }
    let names: Vec<&str> = first.proofs.iter().map(|proof| proof.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "policy",
            "artifact-digest",
            "worker-refuses-plaintext",
            "worker-refuses-no-certificate",
            "worker-refuses-foreign-authority",
            "worker-refuses-other-service",
            "worker-serves-ingress",
            "door-not-proved",
        ]
    );
    let made = key(data.path());
    assert!(made.starts_with("slw_") && made.len() == 47);
    let file = data.path().join("security/keys/default.digits.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(digests(&ingress).await, [digest(&made)]);
    assert!(!format!("{first:?}").contains(&made), "a key never stands in a fact");

    // The next revision has the same key; a lost digest comes back from the file; a file that was taken away stays away.
    let (_second, _) = secured(&others, &server, SECOND, "w-2").await;
    assert_eq!((key(data.path()), digests(&ingress).await), (made.clone(), vec![digest(&made)]));
    security.api_keys().remove_all(&id()).await.unwrap();
    let (third, _) = secured(&others, &server, THIRD, "w-3").await;
    assert_eq!((key(data.path()), digests(&ingress).await), (made.clone(), vec![digest(&made)]));
    fs::remove_file(&file).unwrap();
    let (_fourth, fourth) = secured(&others, &server, RevisionId::new(1, 4), "w-4").await;
    assert!(fourth.configured[0].value.contains("taken away"), "{fourth:?}");
    assert_eq!((file.exists(), digests(&ingress).await), (false, vec![digest(&made)]));

    // Retirement: nothing is left, and nobody speaks for it any more.
    let intake = IntakeReference { source: "test".to_owned(), id: "2".to_owned() };
    let retire = Answer::RetireRequested(CommandReason { reason: String::new(), intake });
    let start = RevisionId::new(1, 0);
    others.write(start, Slot::Command(0), retire).await;
    let Answer::Removed(removed) = others.answer(start, Slot::Removal(Service::Security), 0).await else { panic!() };
    let items: Vec<String> = removed.items.iter().map(|item| format!("{}: {}", item.name, item.value)).collect();
    assert_eq!(items, ["api-keys: 1 removed", "identities: 4 withdrawn, no more are issued"]);
    assert!(digests(&ingress).await.is_empty());
    let refused = refusal(ask(&third.bus, "w-3", &worker_id(THIRD), &[]).await);
    assert!(refused.starts_with("revision-over"), "{refused}");
    drop(worker);
    assert_eq!(fs::read_dir(data.path().join("security/scratch")).unwrap().count(), 0, "no copy of a model is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lets_a_stranger_in_is_an_auth_hole() {
    let (server, data) = (NatsServer::secured().await, tempfile::tempdir().unwrap());
    let _replica = Replica::start(&server, data.path());
    let others = Others::new(&server).await;
    others.requested(serde_json::json!({})).await;
    others.planned(FIRST).await;
    let _worker = Worker::serving(&server, FIRST, "w-1", |_| true).await;
    others.deployed(FIRST).await;
    let Answer::SecurityFailed(failed) = others.answer(FIRST, Slot::Security, 0).await else { panic!() };
    assert_eq!(failed.findings.len(), 1);
    assert_eq!((failed.findings[0].kind, failed.findings[0].cause), (FindingKind::AuthHole, Cause::Deterministic));
    assert_eq!(failed.findings[0].evidence, ["worker:w-1", "worker-refuses-other-service"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_get_their_identities_late_are_tried_again() {
    let (server, data) = (NatsServer::secured().await, tempfile::tempdir().unwrap());
    let _replica = Replica::start(&server, data.path());
    let others = Others::new(&server).await;
    others.requested(serde_json::json!({})).await;
    others.planned(FIRST).await;
    let worker = Worker::warm(&server, FIRST, "w-1").await;
    others.deployed(FIRST).await;
    let Answer::SecurityFailed(failed) = others.answer(FIRST, Slot::Security, 0).await else { panic!() };
    assert_eq!((failed.findings[0].kind, failed.findings[0].cause), (FindingKind::Timeout, Cause::Transient));
    worker.serve(as_it_should_be).await;
    assert_eq!(ready(others.answer(FIRST, Slot::Security, 1).await).proofs.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_policy_gets_no_key_and_every_violation_is_named() {
    let (server, data) = (NatsServer::secured().await, tempfile::tempdir().unwrap());
    let _replica = Replica::start(&server, data.path());
    let others = Others::new(&server).await;
    others.requested(serde_json::json!({ "access": { "anonymous": true } })).await;
    others.planned(FIRST).await;
    others.deployed(FIRST).await;
    let Answer::SecurityFailed(failed) = others.answer(FIRST, Slot::Security, 0).await else { panic!() };
    assert_eq!((failed.findings.len(), failed.findings[0].kind), (1, FindingKind::PolicyViolation));
    assert!(failed.findings[0].message.starts_with("anonymous-access: spec.access.anonymous is true; allowed: false"));
    assert!(!data.path().join("security/keys").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_not_in_the_store_is_found_out() {
    let (server, data) = (NatsServer::secured().await, tempfile::tempdir().unwrap());
    let _replica = Replica::start(&server, data.path());
    let others = Others::new(&server).await;
    others.requested_without_artifact(serde_json::json!({})).await;
    others.planned(FIRST).await;
    others.deployed(FIRST).await;
    let Answer::SecurityFailed(failed) = others.answer(FIRST, Slot::Security, 0).await else { panic!() };
    assert_eq!((failed.findings.len(), failed.findings[0].kind), (1, FindingKind::ArtifactInvalid));
    assert!(failed.findings[0].message.contains(Digest::of(MODEL).as_str()), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_simulated_world_the_answers_are_written_all_the_same() {
    let server = NatsServer::secured().await;
    let frame = Frame::for_test("security");
    let config = Config { bus: server.config(Principal::Service(Service::Security)), ..Config::default() };
    frame.tasks.spawn("run", slipway_security::run_with(config, frame.clone(), Simulated));
    let others = Others::new(&server).await;
    others.requested(serde_json::json!({})).await;
    others.planned(FIRST).await;
    others.deployed(FIRST).await;
    let answered = tokio::time::timeout(Duration::from_secs(5), others.answer(FIRST, Slot::Security, 0)).await.unwrap();
    assert_eq!(ready(answered).proofs.len(), 4);
    frame.shutdown.cancel();
}
