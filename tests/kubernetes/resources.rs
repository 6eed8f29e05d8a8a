//! Controllers with a bridge over a real broker and a real API server, with the rights that the chart gives them and no others; the other services
//! are played.

use crate::{
    faulty::Faulty,
    kubectl::{Namespace, kubectl},
    others::Others,
};
use serde_json::{Value, json};
use slipway_bus::{Bus, Command, IntakeAnswer, Principal, Verb, View};
use slipway_controller::{
    Config, GateConfig, KubernetesConfig, LocalConfig, gate::PrincipalConfig, target::simulated::Simulated,
};
use slipway_kernel::{Answer, Deployment, DeploymentId, Service, fold};
use slipway_runtime::Frame;
use slipway_testkit::{NatsServer, eventually, workspace};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Resources {
    pub namespace: Namespace,
    pub view: View,
    pub operator: Bus,
    pub others: Arc<Others>,
    nats: NatsServer,
    /// The way of the controllers to the API server.
    kubeconfig: PathBuf,
    _folder: TempDir,
    /// The machine that all controllers share.
    target: Simulated,
    controllers: Vec<(Frame, JoinHandle<anyhow::Result<()>>)>,
    playing: JoinHandle<()>,
}

const CHART: &str = "charts/slipway";

/// Installs the definition, as `helm install` does it.
pub async fn define() {
    let file = workspace().join(CHART).join("crds/modeldeployments.json");
    let file = file.to_str().unwrap();
    kubectl(&["apply", "--server-side", "--field-manager", "helm", "--force-conflicts", "-f", file]).unwrap();
    let established = ["wait", "--for=condition=Established", "--timeout=60s", "crd/modeldeployments.slipway.dev"];
    kubectl(&established).unwrap();
}

impl Resources {
    /// Two controllers.
    pub async fn new() -> Self {
        let mut this = Self::without_controllers().await;
        this.add_controller();
        this.add_controller();
        this
    }

    /// No controllers, and an API server that fails as a test says for those that are added.
    pub async fn behind(faulty: &Faulty) -> Self {
        let mut this = Self::without_controllers().await;
        faulty.kubeconfig().clone_into(&mut this.kubeconfig);
        this
    }

    pub async fn without_controllers() -> Self {
        define().await;
        let namespace = Namespace::new(&[]).await;
        let nats = NatsServer::secured().await;
        let mut buses = BTreeMap::new();
        for service in Service::ALL.into_iter().filter(|service| *service != Service::InferenceWorker) {
            buses.insert(service, nats.bus_as(service).await);
        }
        let view = buses[&Service::Validator].log().follow().await.unwrap();
        let operator = nats.bus(Principal::Operator).await;
        let others = Others::new(buses);
        let playing = tokio::spawn(Arc::clone(&others).play(view.clone()));
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let (target, controllers) = (Simulated::default(), Vec::new());
        let this =
            Self { namespace, view, operator, others, nats, kubeconfig, _folder: folder, target, controllers, playing };
        this.grant();
        this
    }

    /// A service account with what the chart lets a controller do with custom resources, and a way in for it.
    fn grant(&self) {
        let namespaces = format!("customResources.namespaces={{{}}}", self.namespace.name);
        let arguments = ["template", "t", CHART, "--show-only", "templates/roles.yaml", "--set", &namespaces];
        let text = self.namespace.helm(&arguments).unwrap();
        let of_bridge = text.split("\n---\n").filter(|document| document.contains("name: t-slipway-bridge"));
        let of_bridge = of_bridge.collect::<Vec<_>>().join("\n---\n");
        self.namespace.given(&["apply", "-f", "-"], &of_bridge).unwrap();
        self.namespace.run(&["create", "serviceaccount", "t-slipway-controller"]).unwrap();
        let token = self.namespace.run(&["create", "token", "t-slipway-controller"]).unwrap();
        let config = kubectl(&["config", "view", "--raw", "--flatten", "--minify", "--output", "json"]).unwrap();
        let mut config: Value = serde_json::from_str(&config).unwrap();
        config["users"][0]["user"] = json!({ "token": token.trim() });
        std::fs::write(&self.kubeconfig, config.to_string()).unwrap();
    }

    pub fn add_controller(&mut self) {
        let frame = Frame::for_test("controller");
        let operator = PrincipalConfig {
            key: self.operator.identity().unwrap(),
            actor: "operator".into(),
            namespaces: vec!["*".into()],
            verbs: vec!["*".into()],
        };
        let config = Config {
            bus: self.nats.config(Principal::Service(Service::Controller)),
            gate: GateConfig { principals: vec![operator] },
            local: LocalConfig { enabled: false, ..LocalConfig::default() },
            kubernetes: KubernetesConfig {
                kubeconfig: Some(self.kubeconfig.clone()),
                custom_resources: vec![self.namespace.name.clone()],
                ..KubernetesConfig::default()
            },
            ..Config::default()
        };
        let target = Arc::new(self.target.clone());
        let running = tokio::spawn(slipway_controller::run_with(config, frame.clone(), target));
        self.controllers.push((frame, running));
    }

    /// Ends the controller that was added last, in the middle of whatever it asks of the API server.
    pub async fn end_controller(&mut self) {
        let (frame, running) = self.controllers.pop().unwrap();
        frame.shutdown.cancel();
        running.await.unwrap().unwrap();
    }

    pub fn id(&self, name: &str) -> DeploymentId {
        format!("{}.{name}", self.namespace.name).parse().unwrap()
    }

    /// Makes or changes a resource, as a person does.
    pub fn apply(&self, name: &str, spec: &Value) {
        self.namespace.apply(&document(&self.namespace.name, name, spec));
    }

    pub fn resource(&self, name: &str) -> Option<Value> {
        self.namespace.get("modeldeployment", name)
    }

    /// Waits until a resource is as wanted.
    pub async fn until(&self, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(PATIENCE, || async {
            let resource = self.resource(name).ok_or_else(|| "not there".to_owned())?;
            if holds(&resource) { Ok(resource) } else { Err(resource["status"].to_string()) }
        })
        .await
    }

    /// Waits until a condition of a resource has this status and reason.
    pub async fn until_condition(&self, name: &str, kind: &str, status: &str, reason: &str) -> Value {
        self.until(name, |resource| {
            let condition = condition(resource, kind);
            condition["status"] == status && condition["reason"] == reason
        })
        .await
    }

    pub fn deployment(&self, name: &str) -> Deployment {
        let id = self.id(name);
        self.view.get(&id).map_or_else(|| fold(&id, []), |folded| folded.deployment.clone())
    }

    /// How often a deployment was demanded.
    pub fn demands(&self, name: &str) -> usize {
        let facts = self.view.facts(&self.id(name));
        facts.iter().filter(|fact| matches!(fact.answer, Answer::Requested(_))).count()
    }

    /// A demand by another way.
    pub async fn send(&self, verb: Verb, id: &str, data: Value) -> IntakeAnswer {
        let namespace = self.namespace.name.parse().unwrap();
        let command = Command { namespace, verb, source: "test".into(), id: id.into(), data };
        eventually(PATIENCE, || async {
            self.operator.intake().send(&command, PATIENCE).await.map_err(|error| error.to_string())
        })
        .await
    }

    /// The reasons of the events about a resource, sorted.
    pub fn events(&self, name: &str) -> Vec<String> {
        let selector = format!("regarding.name={name}");
        let list =
            self.namespace.run(&["get", "events.events.k8s.io", "--field-selector", &selector, "--output", "json"]);
        let list: Value = serde_json::from_str(&list.unwrap()).unwrap();
        let reason = |event: &Value| event["reason"].as_str().unwrap().to_owned();
        let mut reasons: Vec<String> = list["items"].as_array().unwrap().iter().map(reason).collect();
        reasons.sort();
        reasons
    }
}

impl Drop for Resources {
    fn drop(&mut self) {
        self.playing.abort();
        for (frame, running) in &self.controllers {
            frame.shutdown.cancel();
            running.abort();
        }
        // Nobody is left to let go what the namespace waits for.
        let names = self.namespace.run(&["get", "modeldeployments", "--output", "name"]).unwrap_or_default();
        for name in names.lines() {
            let free = r#"{"metadata":{"finalizers":null}}"#;
            let _ = self.namespace.run(&["patch", name, "--type=merge", "--patch", free]);
        }
    }
}

/// A resource whose rollout takes no time, with more or other things in its spec.
pub fn document(namespace: &str, name: &str, spec: &Value) -> Value {
    let mut document = json!({
        "apiVersion": "slipway.dev/v1",
        "kind": "ModelDeployment",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "model": { "uri": "file:///m.onnx" },
            "slo": { "latencyP99": "50ms" },
            "rollout": { "steps": [50, 100], "hold": "50ms", "watch": "60s" },
        },
    });
    for (key, value) in spec.as_object().unwrap() {
        document["spec"][key] = value.clone();
    }
    document
}

/// A condition of a resource; null where it has none.
pub fn condition(resource: &Value, kind: &str) -> Value {
    let conditions = resource["status"]["conditions"].as_array().into_iter().flatten();
    conditions.clone().find(|condition| condition["type"] == kind).cloned().unwrap_or(Value::Null)
}
