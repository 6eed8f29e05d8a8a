//! From a document to production, and refused documents.

use crate::{
    alone,
    client::Caller,
    documents::{Document, digits, example},
    facts::Facts,
    id,
};
use slipway_kernel::{Answer, Phase, RevisionId};
use slipway_testkit::{DataFolder, Mesh, eventually};
use std::{fs, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_example_is_released_answers_and_keeps_every_result() {
    let _alone = alone().await;
    let mut mesh = Mesh::start().await;
    let folder = mesh.folder();
    let ran = folder.cli_in(&example(""), ["deploy", "-f", "digits-v1.yaml"]).await.ok();
    assert!(ran.stdout.contains("released"), "{}", ran.stdout);

    let facts = Facts::read(folder, "digits").await;
    facts.hold_together();
    assert_eq!(facts.deployment.phase(), Phase::Released);
    let first = RevisionId::new(1, 1);
    let released = facts.deployment.serving().unwrap();
    for answer in ["requested", "infrastructure-chosen", "infrastructure-ready", "platform-selected"] {
        assert!(facts.has(RevisionId::new(1, 0), answer), "{answer}: {:?}", facts.told());
    }
    for answer in ["planned", "deployed", "ingress-ready", "outputs-ready", "observability-ready", "security-ready"] {
        assert!(facts.has(first, answer), "{answer}: {:?}", facts.told());
    }
    let Answer::Validated(report) = facts.answer(released, "validated") else { panic!() };
    let names: Vec<&str> = report.checks.iter().map(|check| check.name.as_str()).collect();
    for name in [
        "golden-accuracy",
        "latency-p99",
        "throughput",
        "authentication",
        "overload",
        "worker-killed",
        "sinks",
        "traces",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }

    let caller = Caller::of(folder, "digits");
    let digits = digits();
    for digit in &digits[..20] {
        let answered = caller.ask(digit).await;
        assert_eq!(answered.header("slipway-revision"), released.to_string());
        assert!(!answered.header("slipway-request-id").is_empty() && answered.header("traceparent").starts_with("00-"));
    }
    // The command line shows the same, to people and to programs.
    let data = digits[0].body.to_string();
    let inferred = folder.cli(["infer", "digits", "--output", "json", "--request", &data]).await.ok();
    assert_eq!(crate::documents::label(&inferred.json_lines()[0]), Some(digits[0].label));
    eventually(Duration::from_secs(20), || async {
        let ran = folder.cli(["results", "digits", "--output", "json"]).await;
        let total = ran.json_lines().first().map(|answer| answer["total"].clone());
        if total == Some(21.into()) { Ok(()) } else { Err(total) }
    })
    .await;
    let status = folder.cli(["status", "--output", "json"]).await.ok();
    assert_eq!(status.json_lines()[0][0]["phase"], "released", "{}", status.stdout);
    let told = folder.cli(["explain", "digits"]).await.ok().stdout;
    for word in ["local", "slipway", "kubernetes", "triton", "1-1"] {
        assert!(told.contains(word), "`explain` says nothing of {word}:\n{told}");
    }
    with_other_prices(folder).await;
    let verified = folder.cli(["log", "verify"]).await.ok().stdout;
    assert!(verified.contains("every fact is there"), "{verified}");

    // A second start in the same folder goes on where the first ended.
    let status = mesh.stop().await;
    assert!(status.success(), "{status}");
    mesh.start_again().await;
    let folder = mesh.folder();
    let caller = Caller::of(folder, "digits");
    caller.ask(&digits[0]).await;
    assert_eq!(Facts::read(folder, "digits").await.told(), facts.told());
}

/// What was chosen is chosen again with another table, and one that makes no sense is refused by path.
async fn with_other_prices(folder: &DataFolder) {
    let table = include_str!("../../services/provisioner/prices.toml");
    let file = folder.path().join("prices.toml");
    let arguments = ["explain", "digits", "--with", file.to_str().unwrap()];
    fs::write(&file, table.replace(r#"as_of = "2025-10-01""#, r#"as_of = "2030-01-01""#)).unwrap();
    let told = folder.cli(arguments).await.ok().stdout;
    for words in ["local all the same", "prices of 2030-01-01", "region: us-east-1: the cheapest of 6 regions"] {
        assert!(told.contains(words), "`explain --with` does not say `{words}`:\n{told}");
    }
    fs::write(&file, table.replacen("core = 0.0336", "core = -1.0", 1)).unwrap();
    let refused = folder.cli(arguments).await;
    assert!(refused.stderr.contains("aws.core"), "{}", refused.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_document_names_every_path_and_writes_nothing() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    let ran = folder.cli_in(&example(""), ["deploy", "-f", "refused.yaml"]).await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    for path in ["spec.model.uri", "spec.serving.batching.maxSize", "spec.scale.max", "spec.slo.availability"] {
        assert!(ran.stderr.contains(path), "{path}: {}", ran.stderr);
    }
    let bus = folder.bus(slipway_bus::Principal::Operator).await;
    assert!(bus.log().read(&id("refused")).await.unwrap().is_empty());

    // What only the machine can refuse ends as `abandoned`, with advice, and leaves nothing running.
    let target =
        Document::digits("elsewhere", "digits-v1").with("spec.infrastructure", serde_json::json!({ "target": "aws" }));
    let ran = target.deploy(folder).await;
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.stdout, ran.stderr);
    let facts = Facts::read(folder, "elsewhere").await;
    assert_eq!(facts.deployment.phase(), Phase::Abandoned, "{:?}", facts.told());
    let Answer::Abandoned(abandoned) = facts.answer(RevisionId::new(1, 0), "abandoned") else { panic!() };
    assert!(!abandoned.advice.is_empty());
    assert!(folder.workers().is_empty());
}
