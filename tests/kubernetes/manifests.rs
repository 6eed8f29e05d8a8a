//! What is shown and written of manifests, against the programs that take it: the API server, Helm, kubectl.

use crate::kubectl::{Namespace, kubectl};
use serde::Deserialize as _;
use serde_json::{Value, json};
use slipway_testkit::{slipway_binary, workspace};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// The objects in a text of YAML documents, in the order of their kinds and names.
fn objects(text: &str) -> Vec<Value> {
    let documents = serde_norway::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    let mut objects: Vec<Value> = documents.filter(|object| !object.is_null()).collect();
    objects.sort_by_key(|object| format!("{}/{}", object["kind"], object["metadata"]["name"]));
    objects
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A document of a model that needs neither mesh nor network, and the settings of an installation.
fn inputs(folder: &Path) -> [String; 2] {
    let model = workspace().join("infra/examples/digits-v1.onnx");
    let document = json!({
        "metadata": { "name": "digits" },
        "spec": {
            "model": { "uri": format!("file://{}", model.display()) },
            "scale": { "min": 2, "max": 4 },
            "placement": {
                "nodeSelector": { "kubernetes.io/os": "linux" },
                "tolerations": [{ "key": "reserved", "operator": "Exists", "effect": "NoSchedule" }],
                "spread": "zone",
                "storage": { "size": "1Gi" },
            },
        },
    });
    let settings = r#"
        [bus]
        url = "tls://slipway-nats.slipway:4222"
        [local]
        enabled = false
        [kubernetes]
        enabled = true
        namespace = "models"
        services_namespace = "slipway"
        image = "registry.example/slipway:0.1.0"
        prometheus = "http://prometheus.monitoring:9090"
    "#;
    let files = [("digits.json", document.to_string()), ("controller.toml", settings.to_owned())];
    files.map(|(name, text)| {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    })
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn the_golden_manifests_are_taken_by_a_strict_api_server() {
    let namespace = Namespace::new(&["pod-security.kubernetes.io/enforce=restricted"]).await;
    for file in ["kubernetes.json", "kubernetes-placed.json"] {
        let path = workspace().join("services/controller/tests").join(file);
        let mut list: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        for item in list["items"].as_array_mut().unwrap() {
            item["metadata"]["namespace"] = namespace.name.as_str().into();
        }
        namespace.try_out(&list).unwrap_or_else(|error| panic!("{file}: {error}"));
        list["items"][0]["spec"] = json!({ "nobody": "knows this" });
        assert!(namespace.try_out(&list).is_err(), "it is not strict");
    }
}

#[test]
#[ignore = "needs helm and kubectl: make test-kubernetes"]
fn a_chart_and_a_kustomization_hold_what_the_plan_shows() {
    let folder = tempfile::tempdir().unwrap();
    let [document, settings] = inputs(folder.path());
    let slipway = |arguments: &[&str]| {
        let installation = ["--file", &document, "--controller", &settings, "--keda", "--revision", "2-1"];
        printed(&Command::new(slipway_binary()).args(arguments).args(installation).output().unwrap())
    };
    let planned = objects(&slipway(&["plan", "--manifests"]));
    let kinds: Vec<&str> = planned.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    let expected = ["ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "ScaledObject", "Service", "StatefulSet"];
    assert_eq!(kinds, expected);
    let to = |name: &str| folder.path().join(name).display().to_string();
    let (chart, kustomization) = (to("chart"), to("kustomization"));
    slipway(&["render", "--format", "helm", "--to", &chart]);
    slipway(&["render", "--format", "kustomize", "--to", &kustomization]);
    let templated = printed(&Command::new("helm").args(["template", "digits", &chart]).output().unwrap());
    assert_eq!(objects(&templated), planned);
    let linted = Command::new("helm").args(["lint", "--strict", &chart]).output().unwrap();
    assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
    let built = printed(&Command::new("kubectl").args(["kustomize", &kustomization]).output().unwrap());
    assert_eq!(objects(&built), planned);
}

#[tokio::test]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn the_settings_of_an_installation_are_found_in_its_cluster() {
    let (namespace, folder) = (Namespace::new(&[]).await, tempfile::tempdir().unwrap());
    let [document, settings] = inputs(folder.path());
    let map = |name: &str, text: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "service.toml": text } });
    namespace.apply(&map("slipway-controller", &fs::read_to_string(&settings).unwrap()));
    namespace.apply(&map("slipway-provisioner", ""));
    let plan = |of: &[&str]| {
        let arguments = [&["plan", "--manifests", "--file", &document], of].concat();
        Command::new(slipway_binary()).args(arguments).output().unwrap()
    };
    let found = objects(&printed(&plan(&["--kube-namespace", &namespace.name])));
    // What the cluster serves is found, too; by hand it is said.
    let has_keda = kubectl(&["get", "customresourcedefinition", "scaledobjects.keda.sh"]).is_ok();
    let keda: &[&str] = if has_keda { &["--keda"] } else { &[] };
    assert_eq!(found, objects(&printed(&plan(&[&["--controller", &settings], keda].concat()))));
    assert!(!found.is_empty());
    let missing = plan(&["--kube-namespace", "default"]);
    let said = String::from_utf8_lossy(&missing.stderr);
    assert_eq!(missing.status.code(), Some(2), "{said}");
    assert!(said.contains("default/slipway-controller"), "{said}");
}
