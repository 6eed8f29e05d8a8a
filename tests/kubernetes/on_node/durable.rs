//! The log on a volume: a broker that is killed comes back with it.

use super::{digits, volume::Volume};
use crate::{
    client::Caller,
    documents::{Document, digits as rows},
    facts::Facts,
    installed::{CHART, Installed},
    kubectl::until,
};
use serde_json::json;
use std::time::Duration;

/// The broker's pod.
const BROKER: &str = "slipway-nats-0";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_broker_that_is_killed_comes_back_with_its_log_and_what_was_accepted() {
    let volume = Volume::new("broker", "16Gi");
    let class = format!("nats.storage.storageClassName={}", volume.name);
    let installed = Installed::with(CHART, &["nats.storage.enabled=true", &class]).await;
    let folder = &installed.folder;
    let caller = digits(&installed, "100m", json!({ "min": 1, "max": 1 })).await;
    ask(&caller).await;
    assert!(!volume.files().is_empty());
    let before = Facts::read(folder, "digits").await.told();

    let namespace = &installed.namespace;
    let uid = || namespace.run(&["get", "pod", BROKER, "--output", "jsonpath={.metadata.uid}"]).unwrap_or_default();
    let killed = uid();
    namespace.run(&["delete", "pod", BROKER, "--grace-period=0", "--force"]).unwrap();
    until("the broker is another pod", Duration::from_secs(60), || !uid().is_empty() && uid() != killed).await;
    until("every pod is ready", Duration::from_secs(120), || installed.waits_for().is_empty()).await;
    assert_eq!(Facts::read(folder, "digits").await.told(), before, "the log is the one that was");

    ask(&caller).await;
    let sent = 2 * ASKED;
    slipway_testkit::eventually(Duration::from_secs(60), || async {
        let found = installed.postgres.rows("SELECT request_id FROM predictions").await.len();
        if found == sent { Ok(()) } else { Err(format!("{found} of {sent} rows")) }
    })
    .await;
    // It takes new facts as before.
    let next = Document::digits("digits", "digits-v2")
        .with("spec.resources", json!({ "cpu": "100m" }))
        .with("spec.scale", json!({ "min": 1, "max": 1 }));
    next.deploy(folder).await.ok();
}

const ASKED: usize = 20;

async fn ask(caller: &Caller) {
    for digit in &rows()[..ASKED] {
        caller.ask(digit).await;
    }
}
