//! More workers under load and fewer after it; services that scale each by itself. Requests notice nothing.

use super::digits;
use crate::{
    client::{Sender, Traffic},
    installed::{Installed, RELEASE},
    kubectl::until,
};
use serde_json::json;
use std::time::Duration;

/// Callers that keep a worker busy.
const CALLERS: usize = 12;

#[track_caller]
fn nobody_noticed(traffic: &Traffic) {
    assert_eq!((&traffic.failures, traffic.wrong), (&Vec::new(), 0), "{:?}", traffic.by_revision);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn workers_come_with_the_load_and_go_with_it() {
    let installed = Installed::new().await;
    // One caller needs less than half of what calls for another worker, twelve need more.
    let scale = json!({ "min": 1, "max": 2, "signal": "cpu", "target": 60 });
    let caller = digits(&installed, "250m", scale).await;
    let ready = || {
        let pods = installed.namespace.ours("pod");
        let is_ready = |pod: &&serde_json::Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        pods.iter().filter(is_ready).count()
    };
    let patient = Sender::start(caller.clone());
    let busy: Vec<Sender> = (0..CALLERS).map(|_| Sender::start(caller.clone())).collect();
    until("a second worker serves", Duration::from_secs(120), || ready() == 2).await;
    for sender in busy {
        nobody_noticed(&sender.stop().await);
    }
    until("one worker is left", Duration::from_secs(300), || ready() == 1).await;
    let traffic = patient.stop().await;
    nobody_noticed(&traffic);
    println!("{} requests of one caller while workers came and went", traffic.answered);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn each_service_has_as_many_replicas_as_its_own_values_say() {
    let installed = Installed::new().await;
    let caller = digits(&installed, "100m", json!({ "min": 1, "max": 1 })).await;
    let traffic = Sender::start(caller);
    let set = |ingress: u32, sinks: u32| {
        let values = format!("services.ingress.replicas={ingress},services.sink-writer.replicas={sinks}");
        installed.namespace.helm(&["upgrade", RELEASE, "charts/slipway", "--reuse-values", "--set", &values]).unwrap();
    };
    for (ingress, sinks) in [(2, 1), (2, 2), (1, 1)] {
        set(ingress, sinks);
        until("all are there", Duration::from_secs(90), || installed.waits_for().is_empty()).await;
        for (service, wanted) in [("ingress", ingress), ("sink-writer", sinks), ("controller", 1)] {
            let deployment = installed.namespace.get("deployment", &format!("{RELEASE}-{service}")).unwrap();
            assert_eq!(deployment["status"]["readyReplicas"], wanted, "{service}");
        }
    }
    nobody_noticed(&traffic.stop().await);
}
