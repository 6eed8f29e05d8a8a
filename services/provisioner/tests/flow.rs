//! Against a real broker, with the permissions of production.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cloud/mod.rs"]
mod cloud;
#[path = "cluster/mod.rs"]
mod cluster;

use async_trait::async_trait;
use cluster::ApiServer;
use slipway_bus::{Bus, Draft, Folded, Principal, View, WorkerRecord, WorkerState};
use slipway_kernel::{
    Answer, Approved, Attempt, CommandReason, DeploymentId, FactKey, Finding, FindingKind, IntakeReference, Item,
    Proof, Requested, RevisionId, Service, Slot,
    spec::{ModelDeployment, Placement, Target},
};
use slipway_provisioner::{
    Config, Effects, Installation,
    domain::{stack::Chosen, surroundings::Surroundings},
    effects::Prepared,
    local::{NotReady, Order},
    run_with,
    stack::Hears,
};
use slipway_runtime::Frame;
use slipway_testkit::{NatsServer, frame};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(20);

/// A broker, the gate's hand, and a folder for the service's data.
struct Stage {
    server: NatsServer,
    gate: Bus,
    view: View,
    data: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let server = NatsServer::secured().await;
        let gate = server.bus_as(Service::Controller).await;
        let view = gate.log().follow().await.unwrap();
        Self { server, gate, view, data: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> Config {
        let mut config =
            Config { bus: self.server.config(Principal::Service(Service::Provisioner)), ..Config::default() };
        config.local.worker = vec!["/bin/sh".into(), "-c".into(), "echo worker 1.0".into()];
        config
    }

    fn installation(&self) -> Installation {
        Installation::new(self.config(), self.data.path().to_owned()).unwrap()
    }

    fn start(&self) -> Running {
        self.start_with(self.installation())
    }

    fn start_with(&self, effects: impl Effects) -> Running {
        self.start_with_config(self.config(), effects)
    }

    fn start_with_config(&self, config: Config, effects: impl Effects) -> Running {
        let frame = frame(Principal::Service(Service::Provisioner));
        let running = tokio::spawn(run_with(config, frame.clone(), effects));
        Running { frame, running }
    }

    async fn write(&self, id: &DeploymentId, slot: Slot, answer: Answer) {
        let key = FactKey::new(id.clone(), RevisionId::new(1, 0), slot);
        self.gate.log().append(&key, Draft::new(answer, "test", "correlation")).await.unwrap();
    }

    /// Asks for a deployment with this infrastructure.
    async fn request(&self, name: &str, infrastructure: serde_json::Value) -> DeploymentId {
        let document = serde_json::json!({
            "metadata": { "name": name },
            "spec": { "model": { "uri": "file:///m.onnx" }, "resources": { "memory": "64Mi" }, "infrastructure": infrastructure },
        });
        let deployment = ModelDeployment::read(&document).unwrap();
        let (id, spec_digest) = (deployment.id(), deployment.digest());
        let requested = Requested { deployment, spec_digest, intake: intake(name) };
        self.write(&id, Slot::Request, Answer::Requested(requested)).await;
        id
    }

    async fn until(&self, id: &DeploymentId, holds: impl Fn(&Folded) -> bool + Send) -> Arc<Folded> {
        self.view.wait_until(id, PATIENCE, holds).await.unwrap_or_else(|| panic!("{id}: {:#?}", self.view.facts(id)))
    }

    async fn answer(&self, id: &DeploymentId, slot: Slot) -> Answer {
        let folded = self.until(id, |folded| newest(folded, slot).is_some()).await;
        newest(&folded, slot).unwrap()
    }
}

fn newest(folded: &Folded, slot: Slot) -> Option<Answer> {
    folded.deployment.newest()?.answer(slot).cloned()
}

fn intake(id: &str) -> IntakeReference {
    IntakeReference { source: "test".into(), id: id.into() }
}

struct Running {
    frame: Frame,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    async fn stop(self) {
        self.frame.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_requested_is_chosen_with_reasons_and_made_ready_with_proofs() {
    let stage = Stage::new().await;
    let service = stage.start();
    let id = stage.request("digits", serde_json::json!({})).await;
    let Answer::InfrastructureReady(ready) = stage.answer(&id, Slot::Infrastructure).await else { panic!() };
    assert_eq!(ready.target, "local");
    assert_eq!(ready.proofs.len(), 6, "{:?}", ready.proofs);
    assert!(ready.machine.cores > 0 && ready.machine.memory_bytes > 0);
    let Answer::InfrastructureChosen(chosen) = stage.answer(&id, Slot::Choice).await else { panic!() };
    assert_eq!((chosen.target.as_str(), chosen.candidates.len()), ("local", 6));
    let folded = stage.view.get(&id).unwrap();
    let last = folded.deployment.facts().last().unwrap();
    assert_eq!((last.actor.as_str(), last.correlation.as_str()), ("provisioner", "correlation"));
    assert_eq!(last.causation.as_deref(), Some("default.digits.1.0.choice.0"));
    assert!(stage.data.path().join("run/default.digits.claim").exists());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_provisioned_before_the_approval_that_was_asked_for() {
    let stage = Stage::new().await;
    let service = stage.start();
    let manual = stage.request("manual", serde_json::json!({ "approval": "manual" })).await;
    let Answer::InfrastructureChosen(chosen) = stage.answer(&manual, Slot::Choice).await else { panic!() };
    assert!(chosen.needs_approval);
    // One that was asked for later is done, so the first was passed over and not just slow.
    let automatic = stage.request("automatic", serde_json::json!({})).await;
    stage.answer(&automatic, Slot::Infrastructure).await;
    assert_eq!(newest(&stage.view.get(&manual).unwrap(), Slot::Infrastructure), None);
    assert!(!stage.data.path().join("run/default.manual.claim").exists());
    let approved = Approved { reason: "fine".into(), intake: intake("approve") };
    stage.write(&manual, Slot::Approval, Answer::Approved(approved)).await;
    assert!(matches!(stage.answer(&manual, Slot::Infrastructure).await, Answer::InfrastructureReady(_)));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_executed_or_fulfilled_says_so_plainly() {
    let stage = Stage::new().await;
    let service = stage.start();
    for (name, infrastructure, target, kind, word) in [
        ("cloud", serde_json::json!({ "target": "aws" }), "aws", FindingKind::ExecutorMissing, "(it has: `local`)"),
        (
            "cluster",
            serde_json::json!({ "target": "kubernetes" }),
            "kubernetes",
            FindingKind::ExecutorMissing,
            "no executor for `kubernetes`",
        ),
        (
            "nowhere",
            serde_json::json!({ "target": "local", "residency": ["eu"] }),
            "",
            FindingKind::InfrastructureUnsuitable,
            "the data must be in eu",
        ),
    ] {
        let id = stage.request(name, infrastructure).await;
        let Answer::InfrastructureFailed(failed) = stage.answer(&id, Slot::Infrastructure).await else { panic!() };
        assert_eq!(failed.findings[0].kind, kind);
        assert!(failed.findings[0].message.contains(word), "{}", failed.findings[0].message);
        let Answer::InfrastructureChosen(chosen) = stage.answer(&id, Slot::Choice).await else { panic!() };
        assert_eq!(chosen.target, target);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_in_a_cluster_looks_there_and_leaves_this_machine_alone() {
    let (stage, server) = (Stage::new().await, ApiServer::new().await);
    // That is all there is to see.
    server.says("/version", 200, serde_json::json!({ "major": "1", "minor": "34", "gitVersion": "v1.34.1" }));
    server.says("/api/v1/namespaces/ml", 200, serde_json::json!({ "status": { "phase": "Active" } }));
    let mut config = stage.config();
    config.local.enabled = false;
    config.kubernetes.enabled = true;
    config.kubernetes.kubeconfig = Some(server.kubeconfig("ml"));
    let service = stage.start_with(Installation::new(config, stage.data.path().to_owned()).unwrap());
    let id = stage.request("digits", serde_json::json!({})).await;
    let Answer::InfrastructureReady(ready) = stage.answer(&id, Slot::Infrastructure).await else { panic!() };
    assert_eq!((ready.target.as_str(), ready.machine.memory_bytes), ("kubernetes", 0));
    assert_eq!(ready.proofs.len(), 8, "{:?}", ready.proofs);
    let here = stage.request("here", serde_json::json!({ "target": "local" })).await;
    let Answer::InfrastructureFailed(failed) = stage.answer(&here, Slot::Infrastructure).await else { panic!() };
    assert_eq!(failed.findings[0].kind, FindingKind::ExecutorMissing);
    let command = CommandReason { reason: String::new(), intake: intake("retire") };
    stage.write(&id, Slot::Command(0), Answer::RetireRequested(command)).await;
    let Answer::Removed(removed) = stage.answer(&id, Slot::Removal(Service::Provisioner)).await else { panic!() };
    assert!(removed.items.is_empty());
    assert_eq!(std::fs::read_dir(stage.data.path()).unwrap().count(), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_write_the_same_facts_as_one() {
    let stage = Stage::new().await;
    let replicas = [stage.start(), stage.start()];
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(stage.request(&format!("d{n}"), serde_json::json!({})).await);
    }
    for id in &ids {
        stage.answer(id, Slot::Infrastructure).await;
        let folded = stage.view.get(id).unwrap();
        let slots: Vec<String> = folded.deployment.facts().map(|fact| fact.key.slot.to_string()).collect();
        assert_eq!(slots, ["request", "choice", "infrastructure"], "{id}");
        assert!(folded.deployment.set_aside.is_empty());
    }
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_deployment_is_cleaned_up_after_its_workers_are_gone() {
    let stage = Stage::new().await;
    let service = stage.start();
    let id = stage.request("digits", serde_json::json!({})).await;
    stage.answer(&id, Slot::Infrastructure).await;
    let log = stage.data.path().join("run/digits-1-1-0-0123abcd.log");
    std::fs::write(&log, "words").unwrap();
    let host = stage.server.bus_as(Service::InferenceWorker).await;
    let registration = host.workers().register(worker(&id)).await.unwrap();
    let command = CommandReason { reason: String::new(), intake: intake("retire") };
    stage.write(&id, Slot::Command(0), Answer::RetireRequested(command)).await;
    // While the worker lives, another deployment comes and is served: the removal waits without holding anything up.
    let other = stage.request("other", serde_json::json!({})).await;
    stage.answer(&other, Slot::Infrastructure).await;
    let removal = Slot::Removal(Service::Provisioner);
    assert!(newest(&stage.view.get(&id).unwrap(), removal).is_none() && log.exists());
    registration.deregister().await.unwrap();
    let Answer::Removed(removed) = stage.answer(&id, removal).await else { panic!() };
    let expected = Item { name: "file".into(), value: "run/digits-1-1-0-0123abcd.log".into() };
    assert_eq!(removed.items, [expected]);
    assert!(!log.exists() && !stage.data.path().join("run/default.digits.claim").exists());
    service.stop().await;
}

fn worker(id: &DeploymentId) -> WorkerRecord {
    WorkerRecord {
        deployment: id.clone(),
        revision: RevisionId::new(1, 1),
        instance: "digits-1-1-0-0123abcd".into(),
        host: "here".into(),
        address: "127.0.0.1:1".into(),
        admin: "127.0.0.1:2".into(),
        pid: 1,
        fencing_token: 1,
        state: WorkerState::Ready,
        measurements: Vec::new(),
        detail: serde_json::Value::Null,
        since: slipway_kernel::Timestamp(0),
    }
}

/// A world in which the machine is full for a while.
struct Full {
    machine: Installation,
    failures: u32,
    tries: AtomicU32,
}

#[async_trait]
impl Effects for Full {
    async fn surroundings(&self, placement: &Placement) -> Surroundings {
        self.machine.surroundings(placement).await
    }

    fn executors(&self) -> Vec<Target> {
        self.machine.executors()
    }

    async fn prepare(&self, _: Target, _: &Order, _: &dyn Hears) -> Result<Prepared, NotReady> {
        if self.tries.fetch_add(1, Ordering::SeqCst) < self.failures {
            return Err(NotReady::Findings(vec![Finding::transient(FindingKind::Unschedulable, "full")]));
        }
        let proofs = vec![Proof { name: "simulated".into(), detail: String::new() }];
        Ok(Prepared { machine: self.surroundings(&Placement::default()).await.machine, proofs })
    }

    async fn remove(&self, _: &Order, _: &[Chosen], _: &dyn Hears) -> Result<Vec<Item>, NotReady> {
        Ok(Vec::new())
    }

    async fn drifted(&self, _: &Order) -> Result<Vec<String>, NotReady> {
        Ok(Vec::new())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_full_is_asked_again_and_three_times_in_all() {
    for (failures, attempts, ready) in [(2, 3, true), (9, 3, false)] {
        let stage = Stage::new().await;
        let full = Full { machine: stage.installation(), failures, tries: AtomicU32::new(0) };
        let service = stage.start_with(full);
        let id = stage.request("digits", serde_json::json!({})).await;
        let third = |folded: &Folded| {
            let newest = folded.deployment.newest();
            newest.is_some_and(|newest| newest.attempts(Slot::Infrastructure).next() == Attempt(attempts))
        };
        let folded = stage.until(&id, third).await;
        assert_eq!(matches!(newest(&folded, Slot::Infrastructure), Some(Answer::InfrastructureReady(_))), ready);
        service.stop().await;
    }
}

#[tokio::test]
async fn a_preview_decides_the_same_and_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let document = serde_json::json!({ "metadata": { "name": "d" }, "spec": { "model": { "uri": "file:///m.onnx" } } });
    let spec = ModelDeployment::read(&document).unwrap().spec;
    let data: &Path = folder.path();
    let chosen = slipway_provisioner::preview(&Config::default(), data, &spec).await.unwrap();
    assert_eq!(chosen.target, "local");
    assert_eq!(std::fs::read_dir(data).unwrap().count(), 0);
}
