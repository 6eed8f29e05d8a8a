//! A worker's own volume: what it fetched once is there when its pod comes back.

use super::volume::Volume;
use crate::{
    client::Caller,
    documents::{Document, digits},
    installed::Installed,
    kubectl::until,
};
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_worker_that_comes_back_finds_its_model_on_its_volume() {
    let volume = Volume::new("models", "256Mi");
    let installed = Installed::new().await;
    let (folder, namespace) = (&installed.folder, &installed.namespace);
    let document = Document::digits("digits", "digits-v1")
        .with("spec.placement", json!({ "storage": { "size": "64Mi", "class": volume.name } }))
        .with("spec.resources", json!({ "cpu": "100m" }))
        .with("spec.scale", json!({ "min": 1, "max": 1 }));
    document.deploy(folder).await.ok();
    folder.cli(["api-key", "digits"]).await.ok();
    let caller = Caller::of(folder, "digits");
    caller.ask(&digits()[0]).await;
    let claims = || namespace.ours("persistentvolumeclaim");
    assert_eq!(claims().len(), 1);
    let kept = volume.files();
    assert!(!kept.is_empty());

    let pods = || namespace.ours("pod");
    assert_eq!(pods().len(), 1);
    let pod = pods()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    let uid = || namespace.run(&["get", "pod", &pod, "--output", "jsonpath={.metadata.uid}"]).unwrap_or_default();
    let killed = uid();
    namespace.run(&["delete", "pod", &pod, "--grace-period=0", "--force"]).unwrap();
    until("the worker is another pod", Duration::from_secs(60), || !uid().is_empty() && uid() != killed).await;
    namespace.run(&["wait", "--for=condition=Ready", "--timeout=120s", &format!("pod/{pod}")]).unwrap();
    caller.ask(&digits()[1]).await;
    assert_eq!(volume.files(), kept, "nothing was fetched again");

    folder.cli(["retire", "digits", "--reason", "the test is over"]).await.ok();
    until("pod and claim are gone", Duration::from_secs(90), || pods().is_empty() && claims().is_empty()).await;
}
