//! The target `kubernetes` against an API server that says what a test lets it say.

mod api_server;

pub use api_server::ApiServer;
use serde_json::{Value, json};
use slipway_kernel::{
    ByteSize, Cause, CpuMillis, FindingKind,
    spec::{ModelDeployment, Placement},
};
use slipway_provisioner::{Config, config::KubernetesConfig, domain::cluster::Needs, kubernetes};

fn needs() -> Needs {
    Needs::of(1, CpuMillis(1_000), ByteSize::mebibytes(512), 0)
}

/// A node that is ready, with a GPU.
pub fn node(name: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "status": {
            "conditions": [{ "type": "Ready", "status": "True" }],
            "allocatable": { "cpu": "2", "memory": "4Gi", "pods": "110", "nvidia.com/gpu": "1" },
            "nodeInfo": { "architecture": "arm64", "operatingSystem": "linux" },
        },
    })
}

fn pod(node: &str, cpu: &str) -> Value {
    json!({ "spec": { "nodeName": node, "containers": [{ "resources": { "requests": { "cpu": cpu } } }] } })
}

/// A cluster with two nodes, each a page of its own, and one pod.
async fn cluster() -> ApiServer {
    let server = ApiServer::new().await;
    server.says("/version", 200, json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.1" }));
    server.says("/api/v1/namespaces/ml", 200, json!({ "status": { "phase": "Active" } }));
    let first = json!({ "items": [node("a")], "metadata": { "continue": "page=2" } });
    server.says("/api/v1/nodes?limit=500", 200, first);
    server.says("/api/v1/nodes?limit=500&continue=page%3D2", 200, json!({ "items": [node("b")], "metadata": {} }));
    for path in ["/api/v1/pods", "/api/v1/namespaces/ml/pods"] {
        server.says(path, 200, json!({ "items": [pod("a", "1500m")] }));
    }
    for path in ["/api/v1/namespaces/ml/resourcequotas", "/api/v1/namespaces/ml/limitranges"] {
        server.says(path, 200, json!({ "items": [] }));
    }
    server.says("/apis/storage.k8s.io/v1/storageclasses", 200, json!({ "items": [] }));
    server.says("/apis", 200, json!({ "groups": [{ "name": "keda.sh" }] }));
    for path in [
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/authorization.k8s.io/v1/namespaces/ml/localsubjectaccessreviews",
    ] {
        server.says(path, 201, json!({ "status": { "allowed": true } }));
    }
    server
}

fn config(server: &ApiServer) -> KubernetesConfig {
    KubernetesConfig { enabled: true, kubeconfig: Some(server.kubeconfig("ml")), ..KubernetesConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_ready_is_proved_so_over_all_its_pages() {
    let server = cluster().await;
    let ready = kubernetes::prepare(&config(&server), &needs()).await.unwrap();
    assert_eq!((ready.machine.cores, ready.machine.memory_bytes), (4, 8 << 30));
    assert_eq!(ready.machine.architecture, "aarch64");
    let nodes = ready.proofs.iter().find(|proof| proof.name == "nodes").unwrap();
    assert_eq!(nodes.detail, "2 of 2 node(s) may take workers, and have room for 2");
    let permissions = ready.proofs.iter().find(|proof| proof.name == "permissions").unwrap();
    assert!(permissions.detail.starts_with("this user may do all"), "{}", permissions.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_that_count_are_those_of_the_controller() {
    let server = cluster().await;
    let path = "/apis/authorization.k8s.io/v1/namespaces/ml/localsubjectaccessreviews";
    server.says(path, 201, json!({ "status": { "allowed": false } }));
    let user = "system:serviceaccount:slipway:slipway-controller";
    let config = KubernetesConfig { controller: Some(user.to_owned()), ..config(&server) };
    let findings = kubernetes::prepare(&config, &needs()).await.unwrap_err();
    assert_eq!((findings.len(), findings[0].kind), (1, FindingKind::Misconfigured));
    assert!(findings[0].message.contains(user) && findings[0].message.contains("deployments.apps"));
    let asked = server.asked(path);
    assert!(asked.iter().all(|question| question["spec"]["user"] == user), "{asked:?}");
    assert!(asked.iter().any(|question| question["spec"]["resourceAttributes"]["resource"] == "pods"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_others_that_may_not_be_seen_are_unknown_and_those_of_the_namespace_count() {
    let server = cluster().await;
    server.says("/api/v1/pods", 403, json!({ "message": "pods is forbidden" }));
    let ready = kubernetes::prepare(&config(&server), &needs()).await.unwrap();
    let nodes = ready.proofs.iter().find(|proof| proof.name == "nodes").unwrap();
    assert!(nodes.detail.starts_with("2 of 2 node(s) may take workers, and have room for 2"), "{}", nodes.detail);
    assert!(nodes.detail.contains("what pods of others have is not known: no right: pods is forbidden"));
    let two = Needs { workers: 3, ..needs() };
    let findings = kubernetes::prepare(&config(&server), &two).await.unwrap_err();
    assert_eq!((findings[0].kind, findings[0].cause), (FindingKind::Unschedulable, Cause::Transient));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_and_a_server_that_is_away_are_told_apart() {
    let server = cluster().await;
    server.says("/version", 401, json!({ "message": "Unauthorized" }));
    let findings = kubernetes::prepare(&config(&server), &needs()).await.unwrap_err();
    assert_eq!((findings[0].kind, findings[0].cause), (FindingKind::Misconfigured, Cause::Deterministic));
    let config = config(&server);
    server.stop();
    let findings = kubernetes::prepare(&config, &needs()).await.unwrap_err();
    assert_eq!((findings.len(), findings[0].kind), (1, FindingKind::DependencyUnavailable));
    assert_eq!(findings[0].cause, Cause::Transient);
    let lost = KubernetesConfig { kubeconfig: Some("/nowhere/kubeconfig".into()), ..config };
    let findings = kubernetes::prepare(&lost, &needs()).await.unwrap_err();
    assert_eq!((findings[0].kind, findings[0].cause), (FindingKind::Misconfigured, Cause::Deterministic));
    assert!(findings[0].message.contains("/nowhere/kubeconfig"), "{}", findings[0].message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_counts_the_gpus_that_are_there() {
    let server = cluster().await;
    let given = async |placement: Value| {
        let placement: Placement = serde_json::from_value(placement).unwrap();
        kubernetes::gpus(&config(&server), &placement).await.unwrap().map(|gpus| gpus.len())
    };
    assert_eq!(given(json!({})).await, Some(2));
    assert_eq!(given(json!({ "gpuProfile": "1g.5gb" })).await, Some(0));
    assert_eq!(given(json!({ "nodeSelector": { "zone": "a" } })).await, Some(0));
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config { kubernetes: config(&server), ..Config::default() };
    config.local.enabled = false;
    let chosen = async |workers: u32| {
        let document = json!({
            "metadata": { "name": "d" },
            "spec": {
                "model": { "uri": "https://models.example/m.onnx" },
                "infrastructure": { "gpu": "required", "target": "kubernetes" },
                "scale": { "min": workers, "max": 4 },
            },
        });
        let spec = ModelDeployment::read(&document).unwrap().spec;
        slipway_provisioner::preview(&config, folder.path(), &spec).await.unwrap()
    };
    assert_eq!(chosen(2).await.target, "kubernetes");
    let too_many = chosen(3).await;
    assert!(too_many.target.is_empty() && too_many.reason.contains("3 GPUs"), "{}", too_many.reason);
}
