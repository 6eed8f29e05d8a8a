//! Shares, as the ingress and persons hold them up.

use crate::mesh::{Mesh, PATIENCE, id};
use serde_json::json;
use slipway_bus::{RevisionStats, Verb};
use slipway_kernel::{Answer, FindingKind, Phase, RevisionId, Service, Slot};
use slipway_testkit::eventually;
use std::time::Duration;

const ONE: RevisionId = RevisionId::new(1, 1);
const TWO: RevisionId = RevisionId::new(2, 1);

async fn beside_the_first(part: &serde_json::Value) -> Mesh {
    let mesh = Mesh::start().await;
    mesh.deploy("digits", "1", &json!({})).await;
    mesh.released("digits", ONE).await;
    mesh.deploy("digits", "2", part).await;
    mesh
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_waits_until_every_live_ingress_replica_routes_by_the_one_before() {
    let mesh = Mesh::start().await;
    let ingress = mesh.server.bus_as(Service::Ingress).await;
    // This replica never gets any further.
    ingress.routes().report(1).await.unwrap();
    mesh.deploy("digits", "1", &json!({})).await;
    mesh.until_phase("digits", Phase::Validated).await;
    let early = mesh.view.wait_until(&id("digits"), Duration::from_secs(2), |f| f.deployment.serving().is_some()).await;
    assert!(early.is_none(), "released although the ingress does not know: {:#?}", mesh.told("digits"));
    ingress.routes().report(mesh.view.applied()).await.unwrap();
    mesh.released("digits", ONE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_whose_requests_fail_is_taken_back() {
    let mesh = beside_the_first(
        &json!({ "rollout": { "steps": [10, 100], "hold": "60s" }, "validation": { "maxRevisions": 1 } }),
    )
    .await;
    mesh.until_phase("digits", Phase::Shifting(10)).await;
    let ingress = mesh.server.bus_as(Service::Ingress).await;
    let stats =
        RevisionStats { deployment: "default.digits".into(), revision: TWO, requests: 200, failures: 50, p99_ms: 3.0 };
    ingress.routes().report_with(mesh.view.applied(), vec![stats]).await.unwrap();
    let folded = mesh.until_phase("digits", Phase::RolledBack).await;
    let Some(Answer::RolledBack(back)) = folded.deployment.revision(TWO).unwrap().answer(Slot::Rollback) else {
        panic!()
    };
    assert_eq!((back.to, back.findings[0].kind), (ONE, FindingKind::ErrorRate));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_too_slow_becomes_another_revision() {
    let mesh = beside_the_first(&json!({ "rollout": { "steps": [10, 100], "hold": "60s" } })).await;
    mesh.until_phase("digits", Phase::Shifting(10)).await;
    let ingress = mesh.server.bus_as(Service::Ingress).await;
    let stats =
        RevisionStats { deployment: "default.digits".into(), revision: TWO, requests: 200, failures: 0, p99_ms: 90.0 };
    ingress.routes().report_with(mesh.view.applied(), vec![stats]).await.unwrap();
    let next = RevisionId::new(2, 2);
    let folded = mesh.until("digits", move |folded| folded.deployment.revision(next).is_some()).await;
    let planned = folded.deployment.revision(next).unwrap().planned().unwrap();
    assert_eq!(planned.changes[0].finding, FindingKind::Latency);
    assert_eq!(folded.deployment.routes().shares.len(), 1, "the traffic is back on the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_the_rollout_until_it_is_resumed() {
    let mesh = beside_the_first(&json!({ "rollout": { "steps": [10, 100], "hold": "3s" } })).await;
    mesh.until_phase("digits", Phase::Shifting(10)).await;
    mesh.command(Verb::Pause, json!({ "deployment": "digits", "reason": "let me look" })).await;
    let went_on =
        mesh.view.wait_until(&id("digits"), Duration::from_secs(5), |f| f.deployment.serving() == Some(TWO)).await;
    assert!(went_on.is_none(), "{:#?}", mesh.told("digits"));
    mesh.command(Verb::Resume, json!({ "deployment": "digits" })).await;
    mesh.released("digits", TWO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_a_replaced_revision_stay_until_the_ingress_routes_past_them() {
    let mesh = Mesh::start().await;
    let ingress = mesh.server.bus_as(Service::Ingress).await;
    let quick = json!({ "rollout": { "steps": [100], "hold": "0s", "watch": "0s" } });
    mesh.deploy("digits", "1", &quick).await;
    mesh.released("digits", ONE).await;
    mesh.others.judge(|_, _| None);
    mesh.deploy("digits", "2", &quick).await;
    mesh.until("digits", |folded| {
        let four = |slot| folded.deployment.revision(TWO).is_some_and(|revision| revision.fact(slot).is_some());
        Slot::PARALLEL.into_iter().all(four)
    })
    .await;
    // This replica hears of the validation, and of nothing after it.
    ingress.routes().report(mesh.view.applied() + 1).await.unwrap();
    mesh.put("digits", TWO, Slot::Validation, crate::others::validated().unwrap()).await;
    mesh.released("digits", TWO).await;
    let left = tokio::time::timeout(Duration::from_secs(2), async {
        while mesh.target.revisions(&id("digits")) == [ONE, TWO] {
            tokio::task::yield_now().await;
        }
    });
    assert!(left.await.is_err(), "requests may still be routed to the first");
    ingress.routes().report(mesh.view.applied()).await.unwrap();
    eventually(PATIENCE, || async { mesh.target.revisions(&id("digits")) == [TWO] }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_revision_that_is_taken_back_goes_to_the_good_one() {
    let mesh = Mesh::start().await;
    let ingress = mesh.server.bus_as(Service::Ingress).await;
    mesh.deploy("digits", "1", &json!({})).await;
    mesh.released("digits", ONE).await;
    mesh.deploy("digits", "2", &json!({ "rollout": { "steps": [10, 100], "hold": "60s" } })).await;
    mesh.until_phase("digits", Phase::Shifting(10)).await;
    for n in 0..3 {
        let request = format!("request-{n}").parse().unwrap();
        ingress.requests().publish(&id("digits"), TWO, &request, "x".into(), None).await.unwrap();
    }
    mesh.command(Verb::Rollback, json!({ "deployment": "digits" })).await;
    mesh.until_phase("digits", Phase::RolledBack).await;
    let depth = async |revision| ingress.requests().depth(&id("digits"), revision).await.unwrap();
    eventually(PATIENCE, || async { depth(ONE).await == 3 && depth(TWO).await == 0 }).await;
}
