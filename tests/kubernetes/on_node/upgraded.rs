//! An installation that is upgraded, rolled back and removed.

use super::digits;
use crate::{
    client::Sender,
    facts::Facts,
    installed::{Installed, RELEASE},
    kubectl::until,
};
use serde_json::json;
use slipway_testkit::workspace;
use std::{fs, path::Path, process::Command, time::Duration};

/// A copy of the chart that says of itself that it is older, and makes other pods.
fn older(folder: &Path) -> String {
    let copied = Command::new("cp").arg("-R").arg(workspace().join("charts/slipway")).arg(folder).status().unwrap();
    assert!(copied.success());
    let file = folder.join("slipway/Chart.yaml");
    let chart = fs::read_to_string(&file).unwrap();
    let version = chart.lines().find(|line| line.starts_with("version:")).unwrap();
    fs::write(&file, chart.replace(version, "version: 0.0.1")).unwrap();
    folder.join("slipway").to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn an_upgrade_and_its_rollback_lose_nothing_and_a_removal_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let older = older(folder.path());
    let installed = Installed::with(&older, &[]).await;
    let caller = digits(&installed, "100m", json!({ "min": 1, "max": 1 })).await;
    let before = Facts::read(&installed.folder, "digits").await.told();
    let traffic = Sender::start(caller);
    let namespace = &installed.namespace;
    for step in [
        ["upgrade", RELEASE, "charts/slipway", "--reuse-values"].as_slice(),
        &["rollback", RELEASE, "1"],
        &["upgrade", RELEASE, "charts/slipway", "--reuse-values"],
    ] {
        namespace.helm(step).unwrap();
        until("every pod is ready", Duration::from_secs(120), || installed.waits_for().is_empty()).await;
    }
    let traffic = traffic.stop().await;
    assert_eq!((&traffic.failures, traffic.wrong), (&Vec::new(), 0), "{:?}", traffic.by_revision);
    assert_eq!(Facts::read(&installed.folder, "digits").await.told(), before, "the log is the one that was");
    let sent = usize::try_from(traffic.answered).unwrap();
    slipway_testkit::eventually(Duration::from_secs(60), || async {
        let rows = installed.postgres.rows("SELECT request_id FROM predictions WHERE NOT suspect").await.len();
        if rows == sent { Ok(()) } else { Err(format!("{rows} rows of {sent} requests")) }
    })
    .await;
    println!("{sent} requests answered while every service was replaced three times");

    installed.folder.cli(["retire", "digits", "--reason", "the test is over"]).await.ok();
    until("no worker is left", Duration::from_secs(90), || namespace.ours("deployment").is_empty()).await;
    namespace.helm(&["uninstall", RELEASE, "--wait"]).unwrap();
    // As the chart's README tells it.
    namespace
        .run(&["delete", "secret,configmap", "-l", "app.kubernetes.io/instance=slipway,slipway.dev/kept=true"])
        .unwrap();
    let kinds = "deployments,statefulsets,jobs,cronjobs,pods,services,configmaps,secrets,serviceaccounts,roles,\
                 rolebindings,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,persistentvolumeclaims";
    let left = || {
        let names = namespace.run(&["get", kinds, "--output", "name"]).unwrap();
        let ours = names.lines().filter(|name| name.contains(RELEASE) || name.contains("digits"));
        ours.map(str::to_owned).collect::<Vec<_>>()
    };
    until("nothing is left", Duration::from_secs(60), || left().is_empty()).await;
    let everywhere = crate::kubectl::kubectl(&["get", "clusterroles,clusterrolebindings", "--output", "name"]).unwrap();
    assert!(!everywhere.contains(&namespace.name), "{everywhere}");
}
