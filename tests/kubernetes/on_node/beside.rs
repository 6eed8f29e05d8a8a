//! A model that another server computes, beside a worker that answers for it.

use crate::{
    client::Caller,
    documents::{Document, digits},
    facts::Facts,
    installed::{CHART, Installed},
    kubectl::until,
};
use serde_json::{Value, json};
use slipway_kernel::{Answer, RevisionId};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_model_that_triton_computes_is_released_answered_recorded_and_retired() {
    let image = std::env::var("SLIPWAY_TRITON_IMAGE").expect("the runner makes an image of Triton");
    let offered = format!("services.platform-selector.config.platforms.triton.image={image}");
    let installed = Installed::with(CHART, &[&offered]).await;
    let folder = &installed.folder;
    let document = Document::digits("digits", "digits-v1")
        .with("spec.outputs", json!([{ "postgres": { "url": "env:DATABASE_URL", "table": "predictions" } }]))
        .with("spec.serving", json!({ "platform": "triton" }))
        .with("spec.resources", json!({ "cpu": "250m", "memory": "512Mi" }))
        .with("spec.scale", json!({ "min": 1, "max": 1 }));
    document.deploy(folder).await.ok();
    let facts = Facts::read(folder, "digits").await;
    facts.hold_together();
    let Answer::PlatformSelected(selected) = facts.answer(RevisionId::new(1, 0), "platform-selected") else {
        unreachable!()
    };
    assert_eq!((selected.platform.as_str(), selected.image.as_str()), ("triton", image.as_str()));

    let pods = installed.namespace.run(&["get", "pods", "--selector=slipway.dev/deployment", "--output", "json"]);
    let pods: Value = serde_json::from_str(&pods.unwrap()).unwrap();
    let statuses = pods["items"][0]["status"]["containerStatuses"].as_array().unwrap();
    let standing = |status: &Value| (status["name"].as_str().unwrap().to_owned(), status["ready"] == true);
    let mut containers: Vec<_> = statuses.iter().map(standing).collect();
    containers.sort();
    assert_eq!(containers, [("server".to_owned(), true), ("worker".to_owned(), true)]);

    folder.cli(["api-key", "digits"]).await.ok();
    let caller = Caller::of(folder, "digits");
    for digit in &digits()[..20] {
        caller.ask(digit).await;
    }
    let rows = "SELECT request_id FROM predictions WHERE deployment = 'digits'";
    slipway_testkit::eventually(Duration::from_secs(60), || async {
        let found = installed.postgres.rows(rows).await.len();
        if found == 20 { Ok(()) } else { Err(format!("{found} of 20 rows")) }
    })
    .await;

    folder.cli(["retire", "digits", "--reason", "the test is over"]).await.ok();
    until("no pod of the model is left", Duration::from_secs(90), || installed.namespace.ours("pod").is_empty()).await;
}
