//! The closed loop: a plan that misses its target is revised, wrong outputs never get traffic, and clients notice nothing.

use crate::{
    alone,
    client::{Caller, Sender},
    documents::{Document, example},
    facts::Facts,
};
use serde_json::json;
use slipway_kernel::{Answer, FindingKind, Phase, RevisionId};
use slipway_testkit::{Mesh, eventually};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_target_is_healed_and_wrong_outputs_are_taken_back_while_a_client_sees_no_failure() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    Document::digits("digits", "digits-v1").deploy(folder).await.ok();
    let sender = Sender::start(Caller::of(folder, "digits"));

    // Rows wait up to half a second for company that does not come: a target that the first plan misses on any machine.
    let slow = Document::digits("digits", "digits-v2")
        .with("spec.serving", json!({ "batching": { "maxSize": 16, "maxDelay": "500ms", "adaptive": false } }))
        .with("spec.slo.latencyP99", json!("300ms"))
        .with("spec.rollout", json!({ "steps": [25, 50, 100], "hold": "500ms", "watch": "5s" }));
    let ran = slow.deploy(folder).await.ok();
    assert!(ran.stdout.contains("maxDelay: 500ms"), "the progress shows the change:\n{}", ran.stdout);
    let facts = Facts::read(folder, "digits").await;
    facts.hold_together();
    let (missed, healed) = (RevisionId::new(2, 1), RevisionId::new(2, 2));
    let Answer::ValidationFailed(report) = facts.answer(missed, "validation-failed") else { panic!() };
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::Latency), "{:?}", report.findings);
    let Answer::Planned(planned) = facts.answer(healed, "planned") else { panic!() };
    let change = planned.changes.iter().find(|change| change.path == "maxDelay").unwrap();
    assert_eq!((change.from.as_str(), change.finding), ("500ms", FindingKind::Latency));
    assert!(change.reason.contains("300 ms wanted"), "{}", change.reason);
    let serving = facts.deployment.serving().unwrap();
    assert!(serving >= healed, "{serving}");
    for answer in ["shifted", "released"] {
        assert!(facts.has(serving, answer), "{answer}: {:?}", facts.told());
    }
    let told = folder.cli(["diff", "digits", "2-1", "2-2"]).await.ok().stdout;
    assert!(told.contains("maxDelay") && told.contains("latency"), "{told}");

    let ran = folder.cli_in(&example(""), ["deploy", "-f", "digits-v3-wrong.yaml"]).await;
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.stdout, ran.stderr);
    let facts = Facts::read(folder, "digits").await;
    let wrong = RevisionId::new(3, 1);
    let Answer::ValidationFailed(report) = facts.answer(wrong, "validation-failed") else { panic!() };
    assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::OutputMismatch), "{:?}", report.findings);
    let Answer::RolledBack(back) = facts.answer(wrong, "rolled-back") else { panic!() };
    assert_eq!(back.to, serving);
    assert_eq!((facts.deployment.phase(), facts.deployment.serving()), (Phase::RolledBack, Some(serving)));
    assert!(!facts.has(wrong, "shifted") && !facts.has(RevisionId::new(3, 2), "planned"), "{:?}", facts.told());

    let traffic = sender.stop().await;
    assert!(
        traffic.failures.is_empty(),
        "{} of {}: {:?}",
        traffic.failures.len(),
        traffic.answered,
        traffic.failures.first()
    );
    assert_eq!(traffic.wrong, 0, "{traffic:?}");
    assert!(
        traffic.by_revision.contains_key("1-1") && traffic.by_revision.contains_key(&serving.to_string()),
        "{traffic:?}"
    );
    assert!(!traffic.by_revision.contains_key("3-1"), "{traffic:?}");
    eventually(Duration::from_secs(20), || async {
        let ran = folder.cli(["results", "digits", "--output", "json"]).await;
        let total = ran.json_lines().first().map(|answer| answer["total"].clone());
        if total == Some(traffic.answered.into()) { Ok(()) } else { Err(format!("{total:?} of {}", traffic.answered)) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_be_loaded_is_abandoned_with_what_to_do() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    for (file, kind) in [
        ("truncated.onnx", FindingKind::ArtifactInvalid),
        ("not-a-model.onnx", FindingKind::ArtifactInvalid),
        ("empty.onnx", FindingKind::ArtifactInvalid),
        ("pickle.onnx", FindingKind::ArtifactInvalid),
        ("external-weights.onnx", FindingKind::ArtifactInvalid),
        ("unknown-operator.onnx", FindingKind::PlatformUnsuitable),
        ("saved_model.pb", FindingKind::PlatformUnsuitable),
    ] {
        let name = file.split('.').next().unwrap().replace('_', "-");
        let uri = format!("file://{}", slipway_testkit::workspace().join("tests/data").join(file).display());
        // Without golden rows: those of digits would be what is refused first.
        let document = Document::digits(&name, "digits-v1")
            .with("spec.model", json!({ "uri": uri }))
            .with("spec.validation", json!({ "faults": [] }));
        let ran = document.deploy(folder).await;
        assert_eq!(ran.code, Some(1), "{file}: {}\n{}", ran.stdout, ran.stderr);
        let facts = Facts::read(folder, &name).await;
        assert_eq!(facts.deployment.phase(), Phase::Abandoned, "{file}: {:?}", facts.told());
        let found: Vec<FindingKind> =
            facts.facts.iter().flat_map(|fact| fact.answer.findings()).map(|finding| finding.kind).collect();
        assert!(found.contains(&kind), "{file}: {found:?}");
    }
    assert!(folder.workers().is_empty());
}
