//! A whole course on Kubernetes: released, healed, taken back and retired, under traffic.

use crate::{
    client::{Caller, Sender},
    documents::{Document, digits, example_uri},
    facts::Facts,
    id,
    installed::{Installed, RELEASE},
    kubectl::until,
};
use serde_json::json;
use slipway_kernel::{Answer, FindingKind, RevisionId};
use std::time::Duration;

/// The rows of the database, by the request that they answer.
const ROWS: &str = "SELECT request_id FROM predictions WHERE deployment = 'digits'";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_model_is_released_a_better_one_healed_and_a_wrong_one_taken_back_under_traffic() {
    let installed = Installed::new().await;
    println!("from helm install to every pod ready: {:.1} s", installed.ready_in.as_secs_f64());
    installed.namespace.helm(&["test", RELEASE, "--timeout", "2m"]).unwrap();

    let folder = &installed.folder;
    let outputs = json!([{ "postgres": { "url": "env:DATABASE_URL", "table": "predictions" } }]);
    // Two revisions and the services share the node.
    let small = json!({ "cpu": "250m" });
    let first = Document::digits("digits", "digits-v1").with("spec.outputs", outputs).with("spec.resources", small);
    first.deploy(folder).await.ok();
    say_how_long(&Facts::read(folder, "digits").await);
    for kind in ["ingress", "prometheusrule"] {
        assert_eq!(installed.namespace.ours(kind).len(), 1, "{kind}");
    }
    folder.cli(["api-key", "digits"]).await.ok();
    let caller = Caller::of(folder, "digits");
    for digit in &digits()[..20] {
        caller.ask(digit).await;
    }
    let traffic = Sender::start(caller);

    // Not enough memory for the engine: the node's kernel kills it, and the plan gets what it lacked.
    let poor = Document(first.0.clone())
        .with("spec.model", json!({ "uri": example_uri("digits-wide.onnx") }))
        .with("spec.validation.golden", json!(example_uri("digits-wide.golden.jsonl")))
        .with("spec.resources", json!({ "cpu": "250m", "memory": "64Mi" }));
    poor.deploy(folder).await.ok();
    let facts = Facts::read(folder, "digits").await;
    facts.hold_together();
    let Answer::DeployFailed(killed) = facts.answer(RevisionId::new(2, 1), "deploy-failed") else { unreachable!() };
    assert!(killed.findings.iter().any(|finding| finding.kind == FindingKind::OutOfMemory), "{killed:?}");
    assert!(facts.has(RevisionId::new(2, 2), "planned"), "{:?}", facts.told());

    let wrong = Document(first.0)
        .with("spec.model", json!({ "uri": example_uri("digits-v3.onnx") }))
        .with("spec.validation.golden", json!(example_uri("digits-v3.golden.jsonl")));
    let ran = wrong.deploy(folder).await;
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.stdout, ran.stderr);
    let facts = Facts::read(folder, "digits").await;
    assert!(facts.has(RevisionId::new(3, 1), "rolled-back"), "{:?}", facts.told());

    let traffic = traffic.stop().await;
    assert_eq!((&traffic.failures, traffic.wrong), (&Vec::new(), 0), "{:?}", traffic.by_revision);
    println!("{} requests answered, by revision: {:?}", traffic.answered, traffic.by_revision);
    let sent = usize::try_from(traffic.answered).unwrap() + 20;
    let rows = || async { installed.postgres.rows(ROWS).await.len() };
    slipway_testkit::eventually(Duration::from_secs(60), || async {
        let found = rows().await;
        if found >= sent { Ok(()) } else { Err(format!("{found} of {sent} rows")) }
    })
    .await;
    assert_eq!(rows().await, sent, "every request is one row");

    folder.cli(["retire", "digits", "--reason", "the test is over"]).await.ok();
    let kinds = [
        "deployment",
        "configmap",
        "service",
        "networkpolicy",
        "poddisruptionbudget",
        "pod",
        "ingress",
        "prometheusrule",
    ];
    let left = || kinds.iter().flat_map(|kind| installed.namespace.ours(kind)).count();
    until("nothing of the model is left", Duration::from_secs(90), || left() == 0).await;
    assert!(!Facts::read(folder, "digits").await.told().is_empty(), "{}", id("digits"));
}

/// From the demand to the release, and how much of it the worker's pod took to start.
fn say_how_long(facts: &Facts) {
    let at = |name: &str| {
        let found = facts.facts.iter().find(|fact| fact.answer.name() == name);
        found.unwrap_or_else(|| panic!("no `{name}`: {:?}", facts.told())).at.0
    };
    let seconds = |from: &str, to: &str| Duration::from_millis(at(to) - at(from)).as_secs_f64();
    println!(
        "from requested to released: {:.1} s, of them {:.1} s for the pod, {:.1} s for the proof",
        seconds("requested", "released"),
        seconds("planned", "deployed"),
        seconds("deployed", "validated"),
    );
}
