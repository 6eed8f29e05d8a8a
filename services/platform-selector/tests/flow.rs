//! Against a real broker, with the permissions of production.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use slipway_bus::{Bus, Draft, Folded, Principal, View};
use slipway_kernel::{
    Answer, Cause, DeploymentId, FactKey, FindingKind, InfrastructureReady, IntakeReference, MachineFacts,
    PlatformRejected, PlatformSelected, Requested, RevisionId, Service, Slot, spec::ModelDeployment,
};
use slipway_platform_selector::{Config, run};
use slipway_runtime::Frame;
use slipway_testkit::{NatsServer, frame};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(20);

/// A broker, the hands of those who come before, and a folder for the service's data.
struct Stage {
    server: NatsServer,
    gate: Bus,
    provisioner: Bus,
    view: View,
    data: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        Self::on(NatsServer::secured().await).await
    }

    async fn on(server: NatsServer) -> Self {
        let gate = server.bus_as(Service::Controller).await;
        let provisioner = server.bus_as(Service::Provisioner).await;
        let view = gate.log().follow().await.unwrap();
        Self { server, gate, provisioner, view, data: tempfile::tempdir().unwrap() }
    }

    fn start(&self) -> Running {
        self.start_as(Config::default())
    }

    fn start_as(&self, config: Config) -> Running {
        let principal = Principal::Service(Service::PlatformSelector);
        let frame = Frame { data_dir: self.data.path().to_owned(), ..frame(principal) };
        let config = Config { bus: self.server.config(principal), ..config };
        let running = tokio::spawn(run(config, frame.clone()));
        Running { frame, running }
    }

    /// A deployment whose infrastructure is ready.
    async fn ready(&self, name: &str, spec: serde_json::Value) -> DeploymentId {
        let document = serde_json::json!({ "metadata": { "name": name }, "spec": spec });
        let deployment = ModelDeployment::read(&document).unwrap();
        let (id, spec_digest) = (deployment.id(), deployment.digest());
        let intake = IntakeReference { source: "test".into(), id: name.into() };
        let requested = Answer::Requested(Requested { deployment, spec_digest, intake });
        let machine = MachineFacts { cores: 2, memory_bytes: 8 << 30, ..MachineFacts::default() };
        let ready = InfrastructureReady { target: "local".into(), machine, proofs: Vec::new() };
        for (bus, slot, answer) in [
            (&self.gate, Slot::Request, requested),
            (&self.provisioner, Slot::Infrastructure, Answer::InfrastructureReady(ready)),
        ] {
            let key = FactKey::new(id.clone(), RevisionId::new(1, 0), slot);
            Box::pin(bus.log().append(&key, Draft::new(answer, "test", "correlation"))).await.unwrap();
        }
        id
    }

    async fn until(&self, id: &DeploymentId, holds: impl Fn(&Folded) -> bool + Send) -> Arc<Folded> {
        self.view.wait_until(id, PATIENCE, holds).await.unwrap_or_else(|| panic!("{id}: {:#?}", self.view.facts(id)))
    }

    async fn answer(&self, id: &DeploymentId) -> Answer {
        let folded = self.until(id, |folded| platform(folded).is_some()).await;
        platform(&folded).unwrap()
    }

    async fn selected(&self, id: &DeploymentId) -> PlatformSelected {
        match self.answer(id).await {
            Answer::PlatformSelected(selected) => selected,
            other => panic!("{id}: {other:#?}"),
        }
    }

    async fn rejected(&self, id: &DeploymentId) -> PlatformRejected {
        match self.answer(id).await {
            Answer::PlatformRejected(rejected) => rejected,
            other => panic!("{id}: {other:#?}"),
        }
    }
}

fn platform(folded: &Folded) -> Option<Answer> {
    folded.deployment.newest()?.answer(Slot::Platform).cloned()
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

fn file(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    format!("file://{}", root.join(name).display())
}

fn example(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/examples").join(name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_model_is_selected_and_pinned_with_its_golden_rows() {
    let stage = Stage::new().await;
    let service = stage.start();
    let spec = serde_json::json!({
        "model": { "uri": file("infra/examples/digits-v2.onnx") },
        "validation": { "golden": file("infra/examples/digits-v2.golden.jsonl") },
    });
    let id = stage.ready("digits", spec).await;
    let selected = stage.selected(&id).await;
    assert_eq!((selected.platform.as_str(), selected.image.as_str()), ("slipway", ""));
    assert_eq!(selected.candidates.len(), 6);
    assert_eq!(selected.model.inputs[0].name, "X");
    // Whoever deploys finds both in the store, as they were.
    let store = stage.gate.blobs();
    assert_eq!(store.get(&selected.model.digest).await.unwrap(), example("digits-v2.onnx"));
    assert_eq!(store.get(&selected.golden.unwrap().digest).await.unwrap(), example("digits-v2.golden.jsonl"));
    assert_eq!(std::fs::read_dir(stage.data.path().join("artifacts")).unwrap().count(), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_from_a_bucket_of_the_broker_is_selected() {
    // Without permissions: whose buckets there are is between a user and the broker's operator.
    let stage = Stage::on(NatsServer::ready().await).await;
    let service = stage.start();
    stage.server.put_object("models", "team/digits.onnx", &example("digits-v1.onnx")).await;
    let id =
        stage.ready("digits", serde_json::json!({ "model": { "uri": "nats-object://models/team/digits.onnx" } })).await;
    assert_eq!(stage.selected(&id).await.model.size_bytes, 4_006);
    let id = stage.ready("missing", serde_json::json!({ "model": { "uri": "nats-object://models/none" } })).await;
    let finding = stage.rejected(&id).await.findings.remove(0);
    assert_eq!((finding.kind, finding.cause), (FindingKind::ArtifactInvalid, Cause::Deterministic));
    assert!(finding.message.contains("there is no object `none` in `models`"), "{}", finding.message);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_rejected_for_good_with_the_reason() {
    let stage = Stage::new().await;
    let service = stage.start();
    let wrong = "0".repeat(64);
    for (name, model, kind, word) in [
        (
            "wrong-digest",
            serde_json::json!({ "uri": file("infra/examples/digits-v1.onnx"), "sha256": wrong }),
            FindingKind::ArtifactInvalid,
            "spec.model.sha256",
        ),
        (
            "pickle",
            serde_json::json!({ "uri": file("tests/data/pickle.onnx") }),
            FindingKind::ArtifactInvalid,
            "pickle",
        ),
        (
            "cut",
            serde_json::json!({ "uri": file("tests/data/truncated.onnx") }),
            FindingKind::ArtifactInvalid,
            "cut short",
        ),
        ("none", serde_json::json!({ "uri": file("nowhere.onnx") }), FindingKind::ArtifactInvalid, "spec.model.uri"),
        (
            "inside",
            serde_json::json!({ "uri": "https://169.254.169.254/latest/meta-data" }),
            FindingKind::ArtifactInvalid,
            "169.254.169.254",
        ),
        (
            "operator",
            serde_json::json!({ "uri": file("tests/data/unknown-operator.onnx") }),
            FindingKind::PlatformUnsuitable,
            "example.oracle.Divine",
        ),
        (
            "saved-model",
            serde_json::json!({ "uri": file("tests/data/saved_model.pb") }),
            FindingKind::PlatformUnsuitable,
            "tf2onnx",
        ),
    ] {
        let id = stage.ready(name, serde_json::json!({ "model": model })).await;
        let rejected = stage.rejected(&id).await;
        let finding = &rejected.findings[0];
        assert_eq!((finding.kind, finding.cause), (kind, Cause::Deterministic), "{name}");
        assert!(finding.message.contains(word), "{name}: {}", finding.message);
        let read = kind == FindingKind::PlatformUnsuitable;
        assert_eq!((rejected.model.is_some(), rejected.candidates.len()), (read, if read { 6 } else { 0 }), "{name}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_away_is_asked_three_times() {
    let stage = Stage::new().await;
    // Nobody listens on this port.
    let port = slipway_testkit::free_port();
    let mut config = Config::default();
    config.https.ports = vec![port];
    config.https.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
    let service = stage.start_as(config);
    let uri = format!("https://127.0.0.1:{port}/m.onnx");
    let id = stage.ready("away", serde_json::json!({ "model": { "uri": uri } })).await;
    let third =
        |folded: &Folded| folded.deployment.newest().is_some_and(|g| g.attempts(Slot::Platform).iter().count() == 3);
    let folded = stage.until(&id, third).await;
    let Some(Answer::PlatformRejected(rejected)) = platform(&folded) else { panic!() };
    assert_eq!(rejected.findings[0].kind, FindingKind::DependencyUnavailable);
    assert_eq!(rejected.findings[0].cause, Cause::Transient);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_write_the_same_facts_as_one() {
    let stage = Stage::new().await;
    let replicas = [stage.start(), stage.start()];
    let mut ids = Vec::new();
    for n in 0..10 {
        let spec = serde_json::json!({ "model": { "uri": file("infra/examples/digits-v1.onnx") } });
        ids.push(stage.ready(&format!("d{n}"), spec).await);
    }
    for id in &ids {
        stage.selected(id).await;
        let folded = stage.view.get(id).unwrap();
        let slots: Vec<String> = folded.deployment.facts().map(|fact| fact.key.slot.to_string()).collect();
        assert_eq!(slots, ["request", "infrastructure", "platform"], "{id}");
    }
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn a_preview_says_the_same_and_pins_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let document = serde_json::json!({
        "metadata": { "name": "d" },
        "spec": {
            "model": { "uri": file("infra/examples/digits-v2.onnx") },
            "validation": { "golden": file("infra/examples/digits-v2.golden.jsonl") },
        },
    });
    let spec = ModelDeployment::read(&document).unwrap().spec;
    let machine = MachineFacts { memory_bytes: 8 << 30, ..MachineFacts::default() };
    let config = Config::default();
    let preview =
        slipway_platform_selector::preview(&config, folder.path(), None, &spec, "local", &machine).await.unwrap();
    assert_eq!(preview.choice.platform.unwrap().name, "slipway");
    assert_eq!(preview.golden_rows, Some(540));
    assert!(preview.findings.is_empty());
}
