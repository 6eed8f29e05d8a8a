//! What is asked of a mesh here: hand in, wait on the log, look for what is left.

use serde_json::{Value, json};
use slipway_bus::{Folded, View};
use slipway_kernel::{Deployment, Fact, Phase};
use slipway_testkit::{DataFolder, Ran, workspace};
use std::{collections::BTreeSet, fs, sync::Arc, time::Duration};

/// A document whose proof and rollout take no time.
pub(crate) fn document(name: &str, model: &str) -> Value {
    let uri = |file: String| format!("file://{}", workspace().join("infra/examples").join(file).display());
    json!({
        "apiVersion": "slipway.dev/v1",
        "kind": "ModelDeployment",
        "metadata": { "name": name },
        "spec": {
            "model": { "uri": uri(format!("{model}.onnx")) },
            "slo": { "availability": 90.0 },
            "scale": { "min": 1, "max": 1 },
            "validation": {
                "golden": uri(format!("{model}.golden.jsonl")),
                "load": { "rate": "20/s", "duration": "200ms", "repeats": 1 },
                "faults": [],
            },
            "rollout": { "steps": [100], "hold": "0s", "watch": "0s" },
        },
    })
}

/// `slipway deploy -f … --no-wait`. The same tag is the same demand.
pub(crate) async fn hand_in(folder: &DataFolder, document: &Value, tag: &str) -> Ran {
    let file = folder.path().join(format!("document-{tag}.json"));
    fs::write(&file, document.to_string()).unwrap();
    folder.cli(["deploy", "-f", file.to_str().unwrap(), "--no-wait", "--id", tag]).await
}

/// Waits until a deployment's state satisfies `holds`.
///
/// # Panics
/// When it does not in time, with the log.
pub(crate) async fn until(
    view: &View,
    name: &str,
    within: Duration,
    mut holds: impl FnMut(&Deployment) -> bool + Send,
) -> Arc<Folded> {
    let found = view.wait_until(&crate::id(name), within, |folded| holds(&folded.deployment)).await;
    found.unwrap_or_else(|| panic!("{name}: not within {within:?}; the log:\n{}", told(view, name)))
}

/// Waits until a deployment is released.
pub(crate) async fn released(view: &View, name: &str, within: Duration) -> Arc<Folded> {
    until(view, name, within, |deployment| deployment.phase() == Phase::Released).await
}

fn told(view: &View, name: &str) -> String {
    let line = |fact: &Arc<Fact>| format!("  {} {} {:?}", fact.key, fact.answer.name(), fact.answer.findings());
    view.facts(&crate::id(name)).iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Every question has one answer, each fits its question, and none was set aside.
pub(crate) fn holds_together(view: &View, name: &str) {
    let facts = view.facts(&crate::id(name));
    let keys: BTreeSet<String> = facts.iter().map(|fact| fact.key.to_string()).collect();
    assert_eq!(keys.len(), facts.len(), "a question has two answers:\n{}", told(view, name));
    for fact in &facts {
        assert!(fact.answer.answers(fact.key.slot), "{} is answered by `{}`", fact.key, fact.answer.name());
    }
    assert_eq!(view.get(&crate::id(name)).unwrap().deployment.set_aside, []);
}
