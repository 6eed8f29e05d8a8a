//! A model that another server computes, beside a worker that answers for it.

use crate::{
    client::Caller,
    documents::{Digit, Document, digits, example},
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
    selects(&facts, "triton", &image);

    stands_beside_a_worker(&installed);
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

fn selects(facts: &Facts, platform: &str, image: &str) {
    let Answer::PlatformSelected(selected) = facts.answer(RevisionId::new(1, 0), "platform-selected") else {
        unreachable!()
    };
    assert_eq!((selected.platform.as_str(), selected.image.as_str()), (platform, image));
}

/// The pod of the only worker has two containers, both of which are ready.
fn stands_beside_a_worker(installed: &Installed) {
    let pods = installed.namespace.run(&["get", "pods", "--selector=slipway.dev/deployment", "--output", "json"]);
    let pods: Value = serde_json::from_str(&pods.unwrap()).unwrap();
    let statuses = pods["items"][0]["status"]["containerStatuses"].as_array().unwrap();
    let standing = |status: &Value| (status["name"].as_str().unwrap().to_owned(), status["ready"] == true);
    let mut containers: Vec<_> = statuses.iter().map(standing).collect();
    containers.sort();
    assert_eq!(containers, [("server".to_owned(), true), ("worker".to_owned(), true)]);
}

/// What `own_server.py` calls a model: the mean of each class of digits. And the golden rows that it answers rightly.
fn nearest_mean() -> (Value, Vec<Value>) {
    let rows: Vec<Value> = std::fs::read_to_string(example("digits-v1.golden.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let pixels = |row: &Value| -> Vec<f64> {
        row["inputs"]["X"].as_array().unwrap().iter().map(|pixel| pixel.as_f64().unwrap()).collect()
    };
    let label = |row: &Value| row["expected"]["label"].as_u64().unwrap();
    let mean = |class: u64| -> Vec<f64> {
        let of_class: Vec<Vec<f64>> = rows.iter().filter(|row| label(row) == class).map(pixels).collect();
        (0..64).map(|n| of_class.iter().map(|row| row[n]).sum::<f64>() / of_class.len() as f64).collect()
    };
    let means: Vec<Vec<f64>> = (0..10).map(mean).collect();
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let nearest = |row: &[f64]| {
        (0..10_u64).min_by(|a, b| {
            let [a, b] = [a, b].map(|class| distance(row, &means[usize::try_from(*class).unwrap()]));
            a.total_cmp(&b)
        })
    };
    let golden = rows.iter().filter(|row| nearest(&pixels(row)) == Some(label(row)));
    let golden: Vec<Value> =
        golden.map(|row| json!({ "inputs": row["inputs"], "expected": { "label": label(row) } })).collect();
    assert!(golden.len() > rows.len() / 2, "{} of {} rows are nearest to their own mean", golden.len(), rows.len());
    (json!({ "classes": (0..10).collect::<Vec<u64>>(), "means": means }), golden)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_model_that_only_a_container_of_ones_own_knows_is_released_and_answered() {
    let image = std::env::var("SLIPWAY_OWN_IMAGE").expect("the runner makes an image of one's own");
    let installed = Installed::new().await;
    let folder = &installed.folder;
    let files = tempfile::tempdir().unwrap();
    let (model, rows) = nearest_mean();
    let uri = |name: &str, lines: &[Value]| {
        let path = files.path().join(name);
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        format!("file://{}", path.display())
    };
    let (model, golden) = (uri("digits.means", &[model]), uri("golden.jsonl", &rows));
    let document = Document::digits("digits", "digits-v1")
        .with(
            "spec.model",
            json!({
                "uri": model,
                "format": "other",
                "signature": {
                    "inputs": [{ "name": "X", "datatype": "FP32", "shape": [-1, 64] }],
                    "outputs": [
                        { "name": "label", "datatype": "INT64", "shape": [-1] },
                        { "name": "nearness", "datatype": "FP32", "shape": [-1, 10] },
                    ],
                },
            }),
        )
        .with("spec.serving", json!({ "platform": "container", "container": { "image": image } }))
        .with("spec.validation.golden", json!(golden))
        .with("spec.resources", json!({ "cpu": "250m", "memory": "256Mi" }))
        .with("spec.scale", json!({ "min": 1, "max": 1 }));
    document.deploy(folder).await.ok();
    let facts = Facts::read(folder, "digits").await;
    facts.hold_together();
    selects(&facts, "container", &image);
    stands_beside_a_worker(&installed);
    folder.cli(["api-key", "digits"]).await.ok();
    let caller = Caller::of(folder, "digits");
    for row in &rows[..20] {
        let input = json!({ "name": "X", "datatype": "FP32", "shape": [1, 64], "data": row["inputs"]["X"] });
        let body = json!({ "inputs": [input] });
        caller.ask(&Digit { body, label: row["expected"]["label"].as_i64().unwrap() }).await;
    }
}
