//! What a person decides: approval, pause, rollback, retirement.

use crate::{
    alone,
    client::Caller,
    documents::{Document, digits, example},
    facts::{Facts, wait_until},
};
use serde_json::json;
use slipway_bus::Principal;
use slipway_kernel::{Phase, RevisionId};
use slipway_testkit::{Mesh, MeshOptions, eventually};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_provisioned_before_a_person_approves() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    folder.cli_in(&example(""), ["deploy", "-f", "breast-cancer.yaml", "--no-wait"]).await.ok();
    let bus = folder.bus(Principal::Operator).await;
    wait_until(&bus, "breast-cancer", 30, |d| d.phase() == Phase::AwaitingApproval).await;
    let facts = Facts::read(folder, "breast-cancer").await;
    assert!(!facts.has(RevisionId::new(1, 0), "infrastructure-ready"), "{:?}", facts.told());
    folder.cli(["approve", "breast-cancer", "--reason", "the budget allows it"]).await.ok();
    wait_until(&bus, "breast-cancer", 120, |d| d.phase() == Phase::Released).await;
    let facts = Facts::read(folder, "breast-cancer").await;
    let approved = facts.lines.iter().find(|line| line.kind == "dev.slipway.approved.v1").unwrap();
    assert_eq!((approved.actor.as_str(), approved.data["reason"].as_str()), ("operator", Some("the budget allows it")));

    // A second approval has nothing to approve, and says so.
    let again = folder.cli(["approve", "breast-cancer"]).await;
    assert_eq!(again.code, Some(3), "{}", again.stderr);
    assert!(again.stderr.contains("no-pending-approval"), "{}", again.stderr);

    // Declined: nothing to go back to, so it ends, with advice.
    let document =
        Document::digits("declined", "digits-v1").with("spec.infrastructure", json!({ "approval": "manual" }));
    document.hand_in(folder).await.ok();
    wait_until(&bus, "declined", 30, |d| d.phase() == Phase::AwaitingApproval).await;
    folder.cli(["decline", "declined", "--reason", "too dear"]).await.ok();
    wait_until(&bus, "declined", 30, |d| d.phase() == Phase::Abandoned).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_rollout_waits_goes_on_is_taken_back_and_retires_without_leaving_anything() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    let bus = folder.bus(Principal::Operator).await;
    Document::digits("digits", "digits-v1").deploy(folder).await.ok();

    // Long enough a hold to pause in.
    let second = Document::digits("digits", "digits-v2")
        .with("spec.rollout", json!({ "steps": [20, 60, 100], "hold": "4s", "watch": "60s" }));
    second.hand_in(folder).await.ok();
    wait_until(&bus, "digits", 120, |d| matches!(d.phase(), Phase::Shifting(20))).await;
    folder.cli(["pause", "digits", "--reason", "let me look"]).await.ok();
    let twice = folder.cli(["pause", "digits"]).await;
    assert_eq!(twice.code, Some(3), "{}", twice.stderr);
    let view = bus.log().follow().await.unwrap();
    let moved = view
        .wait_until(&crate::id("digits"), Duration::from_secs(7), |f| {
            !matches!(f.deployment.phase(), Phase::Shifting(20))
        })
        .await;
    assert!(moved.is_none(), "a held rollout moved on: {}", moved.unwrap().deployment.phase());
    let caller = Caller::of(folder, "digits");
    let mut by_revision = std::collections::BTreeMap::<String, u32>::new();
    for digit in &digits()[..100] {
        *by_revision.entry(caller.ask(digit).await.header("slipway-revision").to_owned()).or_default() += 1;
    }
    let share = by_revision.get("2-1").copied().unwrap_or(0);
    // 100 requests at 20 %: fewer than 5 or more than 45 happen less than once in a hundred thousand runs.
    assert!((5..=45).contains(&share), "{by_revision:?}");
    folder.cli(["resume", "digits"]).await.ok();
    wait_until(&bus, "digits", 60, |d| d.phase() == Phase::Released).await;
    assert_eq!(caller.ask(&digits()[0]).await.header("slipway-revision"), "2-1");

    // Within the watch the predecessor is warm, and a person may want it back.
    folder.cli(["rollback", "digits", "--reason", "customers complain"]).await.ok();
    wait_until(&bus, "digits", 60, |d| d.serving() == Some(RevisionId::new(1, 1))).await;
    eventually(Duration::from_secs(10), || async {
        caller.ask(&digits()[0]).await.header("slipway-revision") == "1-1"
    })
    .await;

    assert!(!folder.workers().is_empty());
    folder.cli(["retire", "digits", "--reason", "replaced"]).await.ok();
    wait_until(&bus, "digits", 90, |d| d.phase() == Phase::Retired).await;
    eventually(Duration::from_secs(30), || async { folder.workers().is_empty() }).await;
    let facts = Facts::read(folder, "digits").await;
    facts.hold_together();
    let removed = facts.facts.iter().filter(|fact| fact.answer.name() == "removed").count();
    assert_eq!(removed, 5, "{:?}", facts.told());
    let gone = caller.post(&digits()[0].body).send().await.unwrap();
    assert_eq!(gone.status(), 404);
    for file in ["rules", "targets", "dashboards"] {
        let left = std::fs::read_dir(folder.path().join("observability").join(file)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "observability/{file} is not empty");
    }

    // A command for what is retired is refused by name; a new document opens the next generation.
    let late = folder.cli(["pause", "digits"]).await;
    assert_eq!(late.code, Some(3), "{}", late.stderr);
    assert!(late.stderr.contains("retired"), "{}", late.stderr);
    Document::digits("digits", "digits-v1").deploy(folder).await.ok();
    let facts = Facts::read(folder, "digits").await;
    assert_eq!(facts.deployment.serving(), Some(RevisionId::new(3, 1)), "generations are never used again");
}

/// A pool that somebody makes takes minutes: whoever asks is told how far it is.
#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_stack_is_stands_in_its_status() {
    let _alone = alone().await;
    let cloud = tempfile::tempdir().unwrap();
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../services/provisioner/tests/stack/own-program");
    let set = [
        "kubernetes.enabled=true".to_owned(),
        // It is looked at when there is a pool.
        "kubernetes.kubeconfig=/nowhere/kubeconfig".to_owned(),
        "stack.cloud=aws".to_owned(),
        "stack.engine=command".to_owned(),
        format!("stack.program=[\"{program}\"]"),
        format!("stack.module={}", cloud.path().display()),
    ];
    let set = set.map(|setting| format!("provisioner.{setting}")).to_vec();
    let mesh = Mesh::start_with(MeshOptions { set, ..MeshOptions::default() }).await;
    let folder = mesh.folder();
    let document = Document::digits("pooled", "digits-v1").with("spec.infrastructure", json!({ "target": "aws" }));
    document.hand_in(folder).await.ok();
    let told = || async { folder.cli(["status"]).await.ok().stdout };
    eventually(Duration::from_secs(30), || async {
        told().await.contains("default.pooled: 0 of 1 resources done; script.pool is being made for")
    })
    .await;
    let status = folder.cli(["status", "--output", "json"]).await.ok().stdout;
    assert!(status.contains(r#""planned": 1"#) || status.contains(r#""planned":1"#), "{status}");

    std::fs::write(cloud.path().join("open"), "").unwrap();
    let bus = folder.bus(Principal::Operator).await;
    wait_until(&bus, "pooled", 60, |d| d.phase() == Phase::Abandoned).await;
    assert!(!told().await.contains("resources done"));
}
