//! A cluster that others have made is taken as it is: what the log says of it is what `kubectl` says.

use crate::{documents::Document, facts::Facts, installed::Installed, kubectl::kubectl};
use serde_json::{Value, json};
use slipway_kernel::{Answer, InfrastructureReady, RevisionId};

fn objects(kind: &[&str]) -> Vec<Value> {
    let told = kubectl(&[&["get", "--output", "json"], kind].concat()).unwrap();
    serde_json::from_str::<Value>(&told).unwrap()["items"].as_array().unwrap().clone()
}

/// Thousandths of cores, or bytes: what nodes write of themselves is whole, or has one of these letters.
fn amount(text: &Value) -> u64 {
    let text = text.as_str().unwrap();
    let (digits, unit) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = digits.parse().unwrap();
    match unit {
        "" => number,
        "Ki" => number << 10,
        "Mi" => number << 20,
        "Gi" => number << 30,
        other => panic!("{text}: {other}"),
    }
}

fn millicores(text: &Value) -> u64 {
    let text = text.as_str().unwrap();
    text.strip_suffix('m').map_or_else(|| text.parse::<u64>().unwrap() * 1_000, |milli| milli.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn what_is_said_of_a_cluster_is_what_kubectl_says() {
    // Of volumes none comes of it; it is there to be told.
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": { "name": "adopted" },
        "provisioner": "kubernetes.io/no-provisioner",
    });
    let installed = Installed::new().await;
    installed.namespace.apply(&class);
    let folder = &installed.folder;
    let small = json!({ "cpu": "250m" });
    Document::digits("digits", "digits-v1").with("spec.resources", small).deploy(folder).await.ok();
    let facts = Facts::read(folder, "digits").await;
    let Answer::InfrastructureReady(ready) = facts.answer(RevisionId::new(1, 0), "infrastructure-ready") else {
        unreachable!()
    };
    let InfrastructureReady { machine, proofs, .. } = ready;
    let proof = |name: &str| {
        let found = proofs.iter().find(|proof| proof.name == name);
        found.unwrap_or_else(|| panic!("no proof `{name}`: {proofs:?}")).detail.clone()
    };

    let nodes = objects(&["nodes"]);
    let open: Vec<&Value> = nodes
        .iter()
        .filter(|node| {
            let conditions = node["status"]["conditions"].as_array().unwrap();
            let is_ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
            is_ready && node["spec"]["unschedulable"] != true && node["spec"]["taints"].is_null()
        })
        .collect();
    let sum = |of: &dyn Fn(&Value) -> u64| open.iter().map(|node| of(&node["status"]["allocatable"])).sum::<u64>();
    assert_eq!(u64::from(machine.cores), sum(&|has| millicores(&has["cpu"])) / 1_000);
    assert_eq!(machine.memory_bytes, sum(&|has| amount(&has["memory"])));
    assert!(
        proof("nodes").starts_with(&format!("{} of {} node(s) may take workers", open.len(), nodes.len())),
        "{}",
        proof("nodes")
    );
    let has_gpus = open.iter().any(|node| !node["status"]["allocatable"]["nvidia.com/gpu"].is_null());
    assert_eq!(machine.gpus.is_empty(), !has_gpus);
    let architecture = if open[0]["status"]["nodeInfo"]["architecture"] == "arm64" { "aarch64" } else { "x86_64" };
    assert_eq!((machine.architecture.as_str(), machine.operating_system.as_str()), (architecture, "linux"));

    let version: Value = serde_json::from_str(&kubectl(&["version", "--output", "json"]).unwrap()).unwrap();
    let version = version["serverVersion"]["gitVersion"].as_str().unwrap();
    assert!(proof("api-server").contains(version.trim_start_matches('v')), "{}: {version}", proof("api-server"));
    assert!(proof("namespace").contains(&installed.namespace.name), "{}", proof("namespace"));
    assert!(proof("permissions").contains("slipway-controller"), "{}", proof("permissions"));
    for class in objects(&["storageclasses"]) {
        let name = class["metadata"]["name"].as_str().unwrap();
        assert!(proof("storage").contains(&format!("`{name}`")), "{}: {name}", proof("storage"));
    }
    assert!(proof("storage").contains("`adopted`"), "{}", proof("storage"));
    let served = kubectl(&["api-versions"]).unwrap();
    for group in ["gateway.networking.k8s.io", "keda.sh", "metrics.k8s.io", "monitoring.coreos.com"] {
        let is_served = served.lines().any(|line| line.starts_with(&format!("{group}/")));
        assert_eq!(
            !proof("extensions").contains(&format!("no {group}:")),
            is_served,
            "{group}: {}",
            proof("extensions")
        );
    }
    kubectl(&["delete", "storageclass", "adopted"]).unwrap();
}
