//! From request to release, and back when it fails.

use crate::{
    mesh::{Mesh, id},
    others::{refused, validated},
};
use serde_json::{Value, json};
use slipway_bus::Verb;
use slipway_controller::{domain::invariants::breaches, target::simulated::Simulated};
use slipway_kernel::{Answer, Degraded, Finding, FindingKind, Generation, Phase, RevisionId, RevisionState, Slot};
use slipway_testkit::eventually;

fn slow() -> Vec<Finding> {
    vec![Finding::deterministic(FindingKind::Latency, "slow").with_figures(80.0, 50.0, "ms")]
}

fn wrong() -> Vec<Finding> {
    vec![Finding::deterministic(FindingKind::OutputMismatch, "wrong")]
}

const ONE: RevisionId = RevisionId::new(1, 1);
const TWO: RevisionId = RevisionId::new(2, 1);

#[tokio::test(flavor = "multi_thread")]
async fn a_good_model_is_released() {
    let mesh = Mesh::start().await;
    let answer = mesh.deploy("digits", "1", &json!({})).await;
    assert_eq!(answer.subject.as_deref(), Some("slipway.lifecycle.default.digits.1.0.request.0"));
    let folded = mesh.released("digits", ONE).await;
    let deployment = &folded.deployment;
    assert_eq!((deployment.phase(), deployment.set_aside.len()), (Phase::Released, 0));
    assert_eq!(deployment.revision(ONE).unwrap().shifted(), None, "nobody to share with");
    assert_eq!(mesh.target.revisions(&id("digits")), [ONE]);
    let planned = deployment.revision(ONE).unwrap().planned().unwrap();
    let manifests = mesh.operator.blobs().get(&planned.manifests.as_ref().unwrap().digest).await.unwrap();
    let manifests: Value = serde_json::from_slice(&manifests).unwrap();
    assert_eq!(manifests["processes"][0]["name"], "digits-1-1-0");
    assert_eq!(deployment.newest().unwrap().request().actor, "operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_validation_becomes_a_revised_plan_that_is_released() {
    let mesh = Mesh::start().await;
    mesh.others.judge(|revision, _| if revision == ONE { refused(slow()) } else { validated() });
    mesh.deploy("digits", "1", &json!({})).await;
    let folded = mesh.released("digits", RevisionId::new(1, 2)).await;
    let planned = folded.deployment.revision(RevisionId::new(1, 2)).unwrap().planned().unwrap();
    assert_eq!(planned.revises, Some(ONE));
    let change = &planned.changes[0];
    assert_eq!((change.path.as_str(), change.finding), ("maxDelay", FindingKind::Latency));
    assert!(change.reason.contains("80 ms measured, 50 ms wanted"), "{}", change.reason);
    eventually(crate::mesh::PATIENCE, || async { mesh.target.revisions(&id("digits")) == [RevisionId::new(1, 2)] })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_do_not_come_up_are_revised_until_they_do() {
    let small = |memory: u64| {
        move |_: &slipway_controller::target::Group, plan: &slipway_kernel::Plan| {
            if plan.memory.0 >= memory << 20 {
                return Ok(());
            }
            let finding = Finding::deterministic(FindingKind::OutOfMemory, "killed");
            Err(vec![finding.with_figures(600e6, 512e6, "bytes")])
        }
    };
    let mesh = Mesh::with(Simulated::new(Box::new(small(1_500))), 1).await;
    mesh.deploy("digits", "1", &json!({})).await;
    let folded = mesh.released("digits", RevisionId::new(1, 3)).await;
    let memory: Vec<String> =
        folded.deployment.revisions().map(|revision| revision.planned().unwrap().plan.memory.to_string()).collect();
    assert_eq!(memory, ["512Mi", "1Gi", "2Gi"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nothing_helps_and_nothing_was_good_it_is_abandoned_with_advice() {
    let mesh = Mesh::start().await;
    mesh.others.judge(|_, _| refused(slow()));
    mesh.deploy("digits", "1", &json!({ "validation": { "maxRevisions": 3 } })).await;
    let folded = mesh.until_phase("digits", Phase::Abandoned).await;
    let Some(Answer::Abandoned(abandoned)) = folded.deployment.newest().unwrap().ended() else { panic!() };
    assert!(abandoned.reason.contains("all 3 revisions"), "{}", abandoned.reason);
    assert!(abandoned.advice.contains("slo.latencyP99"), "{}", abandoned.advice);
    eventually(crate::mesh::PATIENCE, || async { mesh.target.revisions(&id("digits")).is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_outputs_go_straight_back_to_the_last_good_one() {
    let mesh = Mesh::start().await;
    mesh.deploy("digits", "1", &json!({})).await;
    mesh.released("digits", ONE).await;
    mesh.others.judge(|_, _| refused(wrong()));
    mesh.deploy("digits", "2", &json!({})).await;
    let folded = mesh.until_phase("digits", Phase::RolledBack).await;
    assert_eq!(folded.deployment.serving(), Some(ONE));
    assert_eq!(folded.deployment.newest().unwrap().revisions.len(), 1, "nothing was tried");
    eventually(crate::mesh::PATIENCE, || async { mesh.target.revisions(&id("digits")) == [ONE] }).await;
    // A third one is none the worse for it.
    mesh.others.judge(|_, _| validated());
    mesh.deploy("digits", "3", &json!({})).await;
    mesh.released("digits", RevisionId::new(3, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_generation_takes_over_in_shares_and_the_first_stays_warm() {
    let mesh = Mesh::start().await;
    mesh.deploy("digits", "1", &json!({})).await;
    mesh.released("digits", ONE).await;
    mesh.deploy("digits", "2", &json!({})).await;
    mesh.until("digits", |folded| {
        let ended = |g| folded.deployment.generations.get(&Generation(g)).is_some_and(|g| g.ended().is_some());
        folded.deployment.serving() == Some(TWO) && ended(1)
    })
    .await;
    let told = mesh.told("digits");
    let at =
        |text: &str| told.iter().position(|line| line.ends_with(text)).unwrap_or_else(|| panic!("{text}: {told:#?}"));
    assert!(at("2.1.shift-10.0 shifted") < at("2.1.shift-50.0 shifted"));
    assert!(at("2.1.shift-50.0 shifted") < at("2.1.release.0 released"));
    assert!(at("2.1.release.0 released") < at("1.0.end.0 superseded"));
    assert_eq!(mesh.target.revisions(&id("digits")), [ONE, TWO], "the first is kept warm while the second is watched");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_degrades_while_it_is_watched_goes_back() {
    let mesh = Mesh::start().await;
    mesh.deploy("digits", "1", &json!({})).await;
    mesh.released("digits", ONE).await;
    mesh.deploy("digits", "2", &json!({})).await;
    mesh.released("digits", TWO).await;
    mesh.put("digits", TWO, Slot::Degradation, Answer::Degraded(Degraded { findings: slow() })).await;
    let folded = mesh.until_phase("digits", Phase::RolledBack).await;
    assert_eq!(folded.deployment.serving(), Some(ONE));
    assert!(folded.deployment.fenced().contains(&TWO));
    assert_eq!(breaches(&folded.deployment), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_takes_a_release_back_and_the_fact_names_the_command() {
    let mesh = Mesh::start().await;
    mesh.deploy("digits", "1", &json!({ "rollout": { "steps": [100], "hold": "0s", "watch": "0s" } })).await;
    mesh.released("digits", ONE).await;
    mesh.deploy("digits", "2", &json!({ "rollout": { "steps": [100], "hold": "0s", "watch": "0s" } })).await;
    mesh.released("digits", TWO).await;
    // Nobody keeps the first one warm: it must be started before it gets the traffic.
    eventually(crate::mesh::PATIENCE, || async { mesh.target.revisions(&id("digits")) == [TWO] }).await;
    mesh.command(Verb::Rollback, json!({ "deployment": "digits", "reason": "it smells" })).await;
    let folded = mesh.released("digits", ONE).await;
    let fact = folded.deployment.revision(TWO).unwrap().fact(Slot::Rollback).unwrap();
    assert_eq!(fact.causation.as_deref(), Some("default.digits.2.0.command-0.0"));
    let Answer::RolledBack(back) = &fact.answer else { panic!() };
    assert_eq!((back.to, back.reason.as_str()), (ONE, "demanded by operator: it smells"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_request_supersedes_an_older_one_that_is_not_released() {
    let mesh = Mesh::start().await;
    mesh.others.judge(|revision, _| if revision.generation.0 == 1 { None } else { validated() });
    mesh.deploy("digits", "1", &json!({})).await;
    mesh.until("digits", |folded| folded.deployment.revision(ONE).is_some_and(RevisionState::is_deployed)).await;
    mesh.deploy("digits", "2", &json!({})).await;
    let folded = mesh.released("digits", TWO).await;
    let first = &folded.deployment.generations[&Generation(1)];
    assert!(matches!(first.ended(), Some(Answer::Superseded(superseded)) if superseded.by == Generation(2)));
    eventually(crate::mesh::PATIENCE, || async { mesh.target.revisions(&id("digits")) == [TWO] }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retired_is_gone_and_can_be_deployed_again() {
    let mesh = Mesh::start().await;
    mesh.deploy("digits", "1", &json!({})).await;
    mesh.released("digits", ONE).await;
    mesh.command(Verb::Retire, json!({ "deployment": "digits" })).await;
    let folded = mesh.until_phase("digits", Phase::Retired).await;
    assert!(!folded.deployment.is_open() && folded.deployment.serving().is_none());
    assert!(mesh.target.revisions(&id("digits")).is_empty());
    let refused = mesh.send(&mesh.operator, Verb::Pause, "late", json!({ "deployment": "digits" })).await;
    assert_eq!(refused.error.as_deref(), Some("retired"));
    mesh.deploy("digits", "2", &json!({})).await;
    mesh.released("digits", TWO).await;
}
