//! The gate on a real broker.

use crate::mesh::{Mesh, PATIENCE, document};
use serde_json::{Value, json};
use slipway_bus::{Bus, BusConfig, Command, IntakeAnswer, Principal, Verb};
use slipway_controller::target::simulated::Simulated;
use slipway_kernel::{Answer, Phase, RevisionId};
use slipway_testkit::eventually;

async fn error(mesh: &Mesh, bus: &Bus, verb: Verb, id: &str, data: Value) -> String {
    let answer = mesh.send(bus, verb, id, data).await;
    answer.error.unwrap_or_else(|| answer.subject.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_demand_is_answered_with_its_name_and_writes_nothing() {
    let mesh = Mesh::start().await;
    mesh.deploy("digits", "first", &json!({})).await;
    mesh.released("digits", RevisionId::new(1, 1)).await;
    let facts = mesh.told("digits").len();
    let digits = || json!({ "deployment": "digits" });
    let operator = &mesh.operator;
    for (n, (bus, verb, data, expected)) in [
        (operator, Verb::Pause, json!({ "deployment": "nobody" }), "unknown-deployment"),
        (operator, Verb::Pause, digits(), "no-rollout"),
        (operator, Verb::Resume, digits(), "not-paused"),
        (operator, Verb::Approve, digits(), "no-pending-approval"),
        (operator, Verb::Rollback, digits(), "nothing-to-go-back-to"),
        (operator, Verb::Rollback, json!({ "deployment": "digits", "to": "7-1" }), "unknown-revision"),
        (operator, Verb::Pause, json!({ "deployment": "digits", "generation": 4 }), "not-newest-generation"),
        (operator, Verb::Pause, json!({ "deployment": "digits", "who": "me" }), "invalid-command"),
        (
            operator,
            Verb::Annul,
            json!({ "deployment": "digits", "fact": "default.digits.9.0.choice.0", "reason": "no" }),
            "unknown-fact",
        ),
        (operator, Verb::Deploy, document("digits", &json!({ "scale": { "min": 0 } })), "invalid-spec"),
        (operator, Verb::Deploy, document("digits", &json!({ "typo": 1 })), "invalid-spec"),
        (operator, Verb::Deploy, json!("digits"), "invalid-spec"),
        (&mesh.client, Verb::Retire, digits(), "permission-denied"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(error(&mesh, bus, verb, &format!("wrong-{n}"), data.clone()).await, expected, "{verb} {data}");
    }
    let mut foreign = document("digits", &json!({}));
    foreign["metadata"]["namespace"] = json!("team-b");
    assert_eq!(error(&mesh, operator, Verb::Deploy, "foreign", foreign).await, "namespace-mismatch");
    assert_eq!(mesh.told("digits").len(), facts, "{:#?}", mesh.told("digits"));
    let answer = mesh
        .send(operator, Verb::Deploy, "paths", document("digits", &json!({ "typo": 1, "scale": { "min": 0 } })))
        .await;
    let paths: Vec<_> = answer.refusals.iter().map(|refusal| refusal.path.as_str()).collect();
    assert_eq!(paths, ["spec.typo", "spec.scale.min"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_demand_again_changes_nothing_and_is_answered_the_same() {
    let mesh = Mesh::with(Simulated::default(), 2).await;
    let first = mesh.deploy("digits", "same", &json!({})).await;
    let again = mesh.deploy("digits", "same", &json!({})).await;
    assert_eq!(again.subject, first.subject);
    mesh.released("digits", RevisionId::new(1, 1)).await;
    let later = mesh.deploy("digits", "same", &json!({})).await;
    assert_eq!(later.subject, first.subject);
    assert_eq!(error(&mesh, &mesh.operator, Verb::Deploy, "same", document("other", &json!({}))).await, "id-reused");
    assert_eq!(mesh.view.ids().len(), 1);
    assert_eq!(mesh.view.get(&crate::mesh::id("digits")).unwrap().deployment.generations.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_demands_at_once_at_two_gates_are_numbered_without_a_gap() {
    let mesh = Mesh::with(Simulated::default(), 2).await;
    mesh.others.judge(|_, _| None);
    let sending = (0..12).map(|n| mesh.deploy_owned(format!("at-once-{n}")));
    let answers: Vec<IntakeAnswer> = futures::future::join_all(sending).await;
    let mut subjects: Vec<String> = answers.into_iter().filter_map(|answer| answer.subject).collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), 12, "each got a generation of its own");
    let folded = mesh.until("digits", |folded| folded.deployment.generations.len() == 12).await;
    let numbers: Vec<u32> = folded.deployment.generations.keys().map(|generation| generation.0).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_the_rights_it_was_given() {
    let mesh = Mesh::start().await;
    let answer = mesh.send(&mesh.client, Verb::Deploy, "mine", document("digits", &json!({}))).await;
    assert!(answer.accepted, "{answer:?}");
    let folded = mesh.released("digits", RevisionId::new(1, 1)).await;
    assert_eq!(folded.deployment.newest().unwrap().request().actor, "client");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_is_refused_and_squats_no_id() {
    // A broker without permissions lets anybody speak; the gate does not.
    let server = slipway_testkit::NatsServer::ready().await;
    let frame = slipway_runtime::Frame::for_test("controller");
    let config = slipway_controller::Config {
        bus: BusConfig { url: server.url(), ..BusConfig::default() },
        ..slipway_controller::Config::default()
    };
    let running =
        tokio::spawn(slipway_controller::run_with(config, frame.clone(), std::sync::Arc::new(Simulated::default())));
    let bus = server.bus(Principal::Operator).await;
    let command = Command {
        namespace: "default".parse().unwrap(),
        verb: Verb::Deploy,
        source: "stranger".into(),
        id: "1".into(),
        data: document("digits", &json!({})),
    };
    let answer = eventually(PATIENCE, || async {
        bus.intake().send(&command, PATIENCE).await.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(answer.error.as_deref(), Some("unauthenticated"));
    let recorded = bus.intake().answer(&command.namespace, "stranger", "1").await.unwrap();
    assert_eq!(recorded, None);
    frame.shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_approves_or_declines() {
    let mesh = Mesh::start().await;
    mesh.others.needs_approval.store(true, std::sync::atomic::Ordering::Relaxed);
    for name in ["wanted", "unwanted"] {
        mesh.deploy(name, name, &json!({})).await;
        mesh.until_phase(name, Phase::AwaitingApproval).await;
    }
    let answer = mesh.command(Verb::Approve, json!({ "deployment": "wanted" })).await;
    assert_eq!(answer.subject.as_deref(), Some("slipway.lifecycle.default.wanted.1.0.approval.0"));
    mesh.released("wanted", RevisionId::new(1, 1)).await;
    mesh.command(Verb::Decline, json!({ "deployment": "unwanted", "reason": "too dear" })).await;
    let folded = mesh.until_phase("unwanted", Phase::Abandoned).await;
    let Some(Answer::Abandoned(abandoned)) = folded.deployment.newest().unwrap().ended() else { panic!() };
    assert!(abandoned.reason.contains("a person declined: too dear"), "{}", abandoned.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_that_a_person_annuls_counts_no_more() {
    let mesh = Mesh::start().await;
    mesh.others.judge(|_, _| None);
    mesh.deploy("digits", "1", &json!({})).await;
    mesh.until_phase("digits", Phase::Validating).await;
    let fact = "default.digits.1.1.security.0";
    let data = json!({ "deployment": "digits", "fact": format!("slipway.lifecycle.{fact}"), "reason": "a test" });
    mesh.command(Verb::Annul, data).await;
    let folded = mesh.until("digits", |folded| !folded.deployment.set_aside.is_empty()).await;
    assert_eq!(folded.deployment.set_aside[0].subject, fact);
}

impl Mesh {
    async fn deploy_owned(&self, id: String) -> IntakeAnswer {
        self.deploy("digits", &id, &json!({})).await
    }
}
