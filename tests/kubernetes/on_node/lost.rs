//! A node that stops answering while a model is served from it.

use super::digits;
use crate::{
    client::Sender,
    installed::Installed,
    kubectl::{kubectl, until},
};
use serde_json::json;
use slipway_testkit::{eventually, workspace};
use std::{process::Command, time::Duration};

/// Where broker and services run.
const HOME: &str = "node-1";
/// The one that is lost.
const LOST: &str = "node-2";

/// The nodes as the test found them, whatever became of it.
struct Nodes;

impl Nodes {
    /// No new pods come to this one, but to the other.
    fn close(closed: &str, open: &str) {
        kubectl(&["uncordon", open]).unwrap();
        kubectl(&["cordon", closed]).unwrap();
    }

    /// Kills the kubelet of the node, or starts it and waits until the node is ready.
    fn kubelet(command: &str) -> bool {
        let cluster = std::env::var("SLIPWAY_CLUSTER").expect("the runner says which cluster it started");
        let node = workspace().join("tests/kubernetes/cluster/node");
        Command::new(node).args(["--folder", &cluster, "--name", LOST, command]).status().unwrap().success()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let opened = [HOME, LOST].map(|node| kubectl(&["uncordon", node]).is_ok());
        if !opened[0] || !opened[1] || !Self::kubelet("start") {
            println!("the nodes are not as they were");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs two nodes: make test-kubernetes"]
async fn a_lost_node_is_spoken_of_and_its_worker_started_elsewhere_and_no_request_fails() {
    let _nodes = Nodes;
    Nodes::close(LOST, HOME);
    let installed = Installed::new().await;
    Nodes::close(HOME, LOST);
    let caller = digits(&installed, "250m", json!({ "min": 1, "max": 1 })).await;
    kubectl(&["uncordon", HOME]).unwrap();
    let ready_at = |node: &str| {
        let pods = installed.namespace.ours("pod");
        let is_ready = |pod: &&serde_json::Value| {
            pod["spec"]["nodeName"] == node && pod["status"]["containerStatuses"][0]["ready"] == true
        };
        pods.iter().filter(is_ready).count()
    };
    assert_eq!((ready_at(LOST), ready_at(HOME)), (1, 0));
    let traffic = Sender::start(caller);

    assert!(Nodes::kubelet("stop"));
    let said = format!("the node `{LOST}` does not answer");
    let speaks_of_it = |wanted: bool| {
        let (folder, said) = (&installed.folder, &said);
        eventually(Duration::from_secs(90), move || async move {
            let told = folder.cli(["status", "digits"]).await.ok().stdout;
            if told.contains(said) == wanted { Ok(()) } else { Err(told) }
        })
    };
    speaks_of_it(true).await;
    until("another worker serves from the other node", Duration::from_secs(150), || ready_at(HOME) == 1).await;

    assert!(Nodes::kubelet("start"));
    until("the first one has ended", Duration::from_secs(120), || installed.namespace.ours("pod").len() == 1).await;
    speaks_of_it(false).await;
    assert_eq!(ready_at(HOME), 1);
    let traffic = traffic.stop().await;
    assert_eq!((&traffic.failures, traffic.wrong), (&Vec::new(), 0), "{:?}", traffic.by_revision);
    let sent = usize::try_from(traffic.answered).unwrap();
    eventually(Duration::from_secs(60), || async {
        let rows = installed.postgres.rows("SELECT request_id FROM predictions").await.len();
        if rows == sent { Ok(()) } else { Err(format!("{rows} rows of {sent} requests")) }
    })
    .await;
    println!("{sent} requests answered while a node was lost and came back");
}
