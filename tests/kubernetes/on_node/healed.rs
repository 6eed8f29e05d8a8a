//! A promise that the first plan cannot keep, under traffic: the plan is revised, with its reason, until it is kept.

use super::digits;
use crate::{client::Sender, documents::Document, facts::Facts, installed::Installed};
use serde_json::json;
use slipway_kernel::{Answer, FindingKind, RevisionId};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_missed_target_is_healed_in_the_objects_of_the_cluster_and_no_request_fails() {
    let installed = Installed::new().await;
    let folder = &installed.folder;
    let traffic = Sender::start(digits(&installed, "250m", json!({ "min": 1, "max": 1 })).await);

    // Rows wait up to a second for company that does not come: a target that the first plan misses on any node, and the next one keeps.
    let slow = Document::digits("digits", "digits-v2")
        .with("spec.resources", json!({ "cpu": "250m" }))
        .with("spec.scale", json!({ "min": 1, "max": 1 }))
        .with("spec.serving", json!({ "batching": { "maxSize": 16, "maxDelay": "1s", "adaptive": false } }))
        .with("spec.slo.latencyP99", json!("600ms"))
        .with("spec.rollout", json!({ "steps": [25, 50, 100], "hold": "500ms", "watch": "5s" }));
    slow.deploy(folder).await.ok();
    let facts = Facts::read(folder, "digits").await;
    facts.hold_together();
    let (missed, healed) = (RevisionId::new(2, 1), RevisionId::new(2, 2));
    let Answer::ValidationFailed(report) = facts.answer(missed, "validation-failed") else { unreachable!() };
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::Latency), "{:?}", report.findings);
    let Answer::Planned(planned) = facts.answer(healed, "planned") else { unreachable!() };
    let change = planned.changes.iter().find(|change| change.path == "maxDelay").unwrap();
    assert_eq!((change.from.as_str(), change.finding), ("1s", FindingKind::Latency));
    let serving = facts.deployment.serving().unwrap();
    assert!(serving >= healed, "{serving}");

    let traffic = traffic.stop().await;
    assert_eq!((&traffic.failures, traffic.wrong), (&Vec::new(), 0), "{:?}", traffic.by_revision);
    assert!(traffic.by_revision.contains_key(&serving.to_string()), "{:?}", traffic.by_revision);
    println!("{} requests answered, by revision: {:?}", traffic.answered, traffic.by_revision);
}
