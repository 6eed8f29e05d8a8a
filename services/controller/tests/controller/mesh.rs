//! A broker with permissions, controllers with a simulated target, and the other services played.

use crate::others::Others;
use serde_json::{Value, json};
use slipway_bus::{Bus, Command, Folded, IntakeAnswer, Principal, Verb, View};
use slipway_controller::{
    Config, GateConfig,
    gate::PrincipalConfig,
    target::{Target, simulated::Simulated},
};
use slipway_kernel::{Answer, DeploymentId, Phase, RevisionId, Service};
use slipway_runtime::Frame;
use slipway_testkit::NatsServer;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinHandle;

pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Mesh {
    pub server: NatsServer,
    pub operator: Bus,
    pub client: Bus,
    pub view: View,
    pub target: Simulated,
    pub others: Arc<Others>,
    controllers: Vec<(Frame, JoinHandle<anyhow::Result<()>>)>,
    playing: JoinHandle<()>,
}

impl Mesh {
    pub async fn start() -> Self {
        Self::with(Simulated::default(), 1).await
    }

    pub async fn with(target: Simulated, controllers: usize) -> Self {
        let server = NatsServer::secured().await;
        let operator = server.bus(Principal::Operator).await;
        let client = server.bus(Principal::Client).await;
        let mut buses = std::collections::BTreeMap::new();
        for service in [
            Service::Provisioner,
            Service::PlatformSelector,
            Service::Ingress,
            Service::SinkWriter,
            Service::Observability,
            Service::Security,
            Service::Validator,
        ] {
            buses.insert(service, server.bus_as(service).await);
        }
        let view = buses[&Service::Validator].log().follow().await.unwrap();
        let others = Others::new(buses);
        let playing = tokio::spawn(Arc::clone(&others).play(view.clone()));
        let mut mesh = Self { server, operator, client, view, target, others, controllers: vec![], playing };
        for _ in 0..controllers {
            mesh.add_controller();
        }
        mesh
    }

    pub fn config(&self) -> Config {
        let right = |bus: &Bus, actor: &str, namespaces: &[&str], verbs: &[&str]| PrincipalConfig {
            key: bus.identity().unwrap(),
            actor: actor.into(),
            namespaces: namespaces.iter().map(|n| (*n).to_owned()).collect(),
            verbs: verbs.iter().map(|v| (*v).to_owned()).collect(),
        };
        let principals = vec![
            right(&self.operator, "operator", &["*"], &["*"]),
            right(&self.client, "client", &["default"], &["deploy", "rollback"]),
        ];
        Config {
            bus: self.server.config(Principal::Service(Service::Controller)),
            gate: GateConfig { principals },
            ..Config::default()
        }
    }

    pub fn add_controller(&mut self) {
        let frame = Frame::for_test("controller");
        let target: Arc<dyn Target> = Arc::new(self.target.clone());
        let running = tokio::spawn(slipway_controller::run_with(self.config(), frame.clone(), target));
        self.controllers.push((frame, running));
    }

    /// Kills the first controller as a crash would, as far as a task can be killed.
    pub fn kill_controller(&mut self) {
        let (_, running) = self.controllers.remove(0);
        running.abort();
    }

    pub async fn send(&self, bus: &Bus, verb: Verb, id: &str, data: Value) -> IntakeAnswer {
        let command =
            Command { namespace: "default".parse().unwrap(), verb, source: "test".into(), id: id.into(), data };
        // The gate may not have subscribed yet; a demand nobody hears is sent again, as a sender would.
        slipway_testkit::eventually(PATIENCE, || async {
            bus.intake().send(&command, PATIENCE).await.map_err(|error| error.to_string())
        })
        .await
    }

    pub async fn deploy(&self, name: &str, id: &str, part: &Value) -> IntakeAnswer {
        let answer = self.send(&self.operator, Verb::Deploy, id, document(name, part)).await;
        assert!(answer.accepted, "{answer:?}");
        answer
    }

    pub async fn command(&self, verb: Verb, data: Value) -> IntakeAnswer {
        let id = uuid::Uuid::new_v4().to_string();
        let answer = self.send(&self.operator, verb, &id, data).await;
        assert!(answer.accepted, "{answer:?}");
        answer
    }

    /// Waits until the deployment is as `holds` says; fails with what was done so far.
    pub async fn until(&self, name: &str, holds: impl Fn(&Folded) -> bool + Send + Sync) -> Arc<Folded> {
        let id = id(name);
        match self.view.wait_until(&id, PATIENCE, &holds).await {
            Some(folded) => folded,
            None => panic!("never came to it; the log: {:#?}", self.told(name)),
        }
    }

    pub async fn until_phase(&self, name: &str, phase: Phase) -> Arc<Folded> {
        self.until(name, move |folded| folded.deployment.phase() == phase).await
    }

    pub async fn released(&self, name: &str, revision: RevisionId) -> Arc<Folded> {
        self.until(name, move |folded| folded.deployment.serving() == Some(revision)).await
    }

    /// The log of a deployment in one line each.
    pub fn told(&self, name: &str) -> Vec<String> {
        let mut facts = self.view.facts(&id(name));
        facts.sort_by_key(|fact| fact.sequence);
        facts.iter().map(|fact| format!("{} {}", fact.key, fact.answer.name())).collect()
    }

    pub async fn put(&self, name: &str, revision: RevisionId, slot: slipway_kernel::Slot, answer: Answer) {
        self.others.append(&slipway_kernel::FactKey::new(id(name), revision, slot), answer).await;
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.playing.abort();
        for (frame, running) in &self.controllers {
            frame.shutdown.cancel();
            running.abort();
        }
    }
}

pub fn id(name: &str) -> DeploymentId {
    format!("default.{name}").parse().unwrap()
}

/// A document with a rollout that takes no time.
pub fn document(name: &str, part: &Value) -> Value {
    let mut document = json!({
        "metadata": { "name": name },
        "spec": {
            "model": { "uri": "file:///m.onnx" },
            "slo": { "latencyP99": "50ms" },
            "rollout": { "steps": [10, 50, 100], "hold": "50ms", "watch": "60s" },
        },
    });
    for (key, value) in part.as_object().unwrap() {
        document["spec"][key] = value.clone();
    }
    document
}
