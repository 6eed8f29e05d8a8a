//! A real Prometheus on what observability generates.

use crate::{
    alone,
    client::Caller,
    documents::{Document, digits},
};
use serde_json::json;
use slipway_testkit::{Mesh, Prometheus, eventually, promtool};
use std::{fs, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_the_mesh_by_what_is_generated_and_the_rules_fire_as_they_should() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    let document = Document::digits("digits", "digits-v1")
        .with("spec.slo", json!({ "availability": 99.0, "latencyP99": "800ms" }));
    document.deploy(folder).await.ok();
    let generated = folder.path().join("observability");
    let checked = promtool(&generated, ["check", "config", "prometheus.yml"]);
    assert!(
        checked.status.success(),
        "{}{}",
        String::from_utf8_lossy(&checked.stdout),
        String::from_utf8_lossy(&checked.stderr)
    );
    let rules = fs::read_dir(generated.join("rules")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(rules.len(), 1, "{rules:?}");
    let checked = promtool(&generated, ["check", "rules", rules[0].to_str().unwrap()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));

    // The generated configuration, with an interval that fits a test.
    let config = fs::read_to_string(generated.join("prometheus.yml")).unwrap();
    let mut config: serde_json::Value =
        serde_json::from_str(&config).expect("JSON is YAML, and what is generated is JSON");
    config["global"]["scrape_interval"] = json!("1s");
    config["global"]["evaluation_interval"] = json!("1s");
    absolute(&mut config, &generated);
    let prometheus = Prometheus::start(&config.to_string()).await;
    let caller = Caller::of(folder, "digits");
    for digit in &digits()[..40] {
        caller.ask(digit).await;
    }
    eventually(Duration::from_secs(40), || async {
        let targets = prometheus.targets().await;
        let down: Vec<String> = targets
            .iter()
            .filter(|target| target["health"] != "up")
            .map(|target| format!("{} {}", target["scrapeUrl"], target["lastError"]))
            .collect();
        // The mesh itself and at least one worker.
        if targets.len() >= 2 && down.is_empty() {
            Ok(())
        } else {
            Err(format!("{} targets, down: {down:?}", targets.len()))
        }
    })
    .await;
    let query = "sum(slipway_ingress_requests_total{deployment=\"digits\",probe=\"false\",code=\"200\"})";
    eventually(Duration::from_secs(20), || async {
        let answered = prometheus.query(query).await;
        match answered.first() {
            Some(sample) if sample.value >= 40.0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let loaded = prometheus.rules().await;
    let names: Vec<&str> = loaded
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .map(|rule| rule["name"].as_str().unwrap())
        .collect();
    assert!(!names.is_empty(), "no rule is loaded");
    fire(&rules[0]);
}

/// Relative paths of the configuration, made absolute.
fn absolute(config: &mut serde_json::Value, folder: &std::path::Path) {
    match config {
        serde_json::Value::String(text)
            if !text.starts_with('/') && (text.ends_with(".json") || text.ends_with(".yml")) =>
        {
            *text = folder.join(&*text).display().to_string();
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(|one| absolute(one, folder)),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|one| absolute(one, folder)),
        _ => {}
    }
}

/// `promtool test rules`: with three of ten requests failing for hours the fast burn alert fires, without failures it does not.
fn fire(rules: &std::path::Path) {
    let text = fs::read_to_string(rules).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&text).expect("what is generated is JSON");
    let alerts = parsed["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    let fast = alerts
        .filter(|rule| {
            rule["expr"].as_str().is_some_and(|expr| expr.contains("[1h]") && expr.contains("requests_total"))
        })
        .find_map(|rule| rule["alert"].as_str())
        .expect("there is an alert on the fast burn of the error budget");
    let series = |code: &str| {
        format!(
            "slipway_ingress_requests_total{{namespace=\"default\",deployment=\"digits\",revision=\"1-1\",code=\"{code}\",probe=\"false\"}}"
        )
    };
    let unit = |failing: &str| {
        json!({
            "interval": "1m",
            "input_series": [
                { "series": series("200"), "values": "0+540x180" },
                { "series": series("503"), "values": failing },
            ],
            "promql_expr_test": [{
                "expr": format!("count(ALERTS{{alertname=\"{fast}\",alertstate=\"firing\"}}) or vector(0)"),
                "eval_time": "2h",
                "exp_samples": [{ "labels": "{}", "value": if failing == "0x180" { 0 } else { 1 } }],
            }],
        })
    };
    let test =
        json!({ "rule_files": [rules], "evaluation_interval": "1m", "tests": [unit("0+240x180"), unit("0x180")] });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.test.yml");
    fs::write(&file, test.to_string()).unwrap();
    let ran = promtool(folder.path(), ["test", "rules", file.to_str().unwrap()]);
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}
