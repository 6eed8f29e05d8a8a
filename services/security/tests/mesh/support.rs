//! A broker, replicas of security, workers as the mesh sees them, and facts as the others write them.

use slipway_bus::{Bus, Draft, IdentityError, Principal, Registration, WorkerRecord, WorkerState};
use slipway_kernel::{
    Answer, Attempt, ByteSize, Candidate, CpuMillis, Deployed, DeploymentId, Digest, FactKey, InfrastructureChosen,
    IntakeReference, MachineFacts, ModelFacts, ModelFormat, Plan, Planned, PlatformSelected, Requested, RevisionId,
    Service, Slot, Span, Timestamp, spec::ModelDeployment,
};
use slipway_runtime::{
    CancellationToken, Common, Frame,
    tls::{self, Identity, KeyAndRequest, Reloadable, SpiffeId},
};
use slipway_security::{AuthorityConfig, Config, ProofConfig};
use slipway_testkit::NatsServer;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tonic::{service::Routes, transport::Server};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const MODEL: &[u8] = b"a model";

pub(crate) fn id() -> DeploymentId {
    "default.digits".parse().unwrap()
}

/// A running replica; it ends with this.
pub(crate) struct Replica {
    pub(crate) frame: Frame,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.frame.shutdown.cancel();
    }
}

impl Replica {
    pub(crate) fn start(server: &NatsServer, data: &Path) -> Self {
        Self::start_with(server, data, AuthorityConfig::default())
    }

    pub(crate) fn start_with(server: &NatsServer, data: &Path, authority: AuthorityConfig) -> Self {
        let mut frame = Frame::for_test("security");
        frame.data_dir = data.to_path_buf();
        let config = Config {
            common: Common { data_dir: data.to_path_buf(), ..Common::default() },
            bus: server.config(Principal::Service(Service::Security)),
            authority,
            proof: ProofConfig { worker_wait: Span::seconds(5), ..ProofConfig::default() },
            ..Config::default()
        };
        frame.tasks.spawn("run", slipway_security::run(config, frame.clone()));
        Self { frame }
    }

    pub(crate) fn metrics(&self) -> String {
        self.frame.metrics.encode().unwrap()
    }
}

/// Asks for an identity as `bus` and puts it to use.
pub(crate) async fn ask(bus: &Bus, instance: &str, id: &SpiffeId, names: &[&str]) -> Result<Reloadable, IdentityError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = KeyAndRequest::generate(id, &names).unwrap();
    let granted = bus.identities().request(instance, &id.to_string(), &made.csr_pem, &names, PATIENCE).await?;
    let identity = Identity::from_pem(&granted.chain_pem, &made.key_pem).unwrap();
    assert_eq!((identity.spiffe_id(), identity.not_after()), (id, granted.not_after));
    Ok(Reloadable::new(identity, &granted.ca_bundle_pem).unwrap())
}

pub(crate) fn refusal(asked: Result<Reloadable, IdentityError>) -> String {
    match asked {
        Err(IdentityError::Refused(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// The id of the workers of a revision.
pub(crate) fn worker_id(revision: RevisionId) -> SpiffeId {
    SpiffeId::Revision { deployment: id(), revision }
}

/// A worker as the mesh sees it: an entry in the registry and a door.
pub(crate) struct Worker {
    pub(crate) bus: Bus,
    pub(crate) instance: String,
    pub(crate) revision: RevisionId,
    registration: Registration,
    end: CancellationToken,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Worker {
    /// Registered as warm, without an identity.
    pub(crate) async fn warm(server: &NatsServer, revision: RevisionId, instance: &str) -> Self {
        let bus = server.bus_as(Service::InferenceWorker).await;
        let record = WorkerRecord {
            deployment: id(),
            revision,
            instance: instance.to_owned(),
            host: "host".to_owned(),
            address: String::new(),
            admin: String::new(),
            pid: 1,
            fencing_token: 1,
            state: WorkerState::Warm,
            measurements: Vec::new(),
            detail: serde_json::Value::Null,
            since: Timestamp(0),
        };
        let registration = bus.workers().register(record).await.unwrap();
        Self { bus, instance: instance.to_owned(), revision, registration, end: CancellationToken::new() }
    }

    /// Gets its identity and opens its door to whom `lets_in` says.
    pub(crate) async fn serve(&self, lets_in: fn(&SpiffeId) -> bool) {
        let identity = ask(&self.bus, &self.instance, &worker_id(self.revision), &["127.0.0.1"]).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tls::incoming(listener, identity.server_config(lets_in).unwrap()).unwrap();
        let end = self.end.clone().cancelled_owned();
        tokio::spawn(Server::builder().add_routes(Routes::default()).serve_with_incoming_shutdown(incoming, end));
        let ready = |record: &mut WorkerRecord| {
            record.state = WorkerState::Ready;
            record.address = address.to_string();
        };
        self.registration.update(ready).await.unwrap();
    }

    pub(crate) async fn serving(
        server: &NatsServer,
        revision: RevisionId,
        instance: &str,
        lets_in: fn(&SpiffeId) -> bool,
    ) -> Self {
        let worker = Self::warm(server, revision, instance).await;
        worker.serve(lets_in).await;
        worker
    }
}

/// As workers decide.
pub(crate) fn as_it_should_be(id: &SpiffeId) -> bool {
    matches!(id, SpiffeId::Service(Service::Ingress | Service::Validator))
}

/// Those who write facts, each his own.
pub(crate) struct Others {
    pub(crate) controller: Bus,
    provisioner: Bus,
    selector: Bus,
    validator: Bus,
}

impl Others {
    pub(crate) async fn new(server: &NatsServer) -> Self {
        Self {
            controller: server.bus_as(Service::Controller).await,
            provisioner: server.bus_as(Service::Provisioner).await,
            selector: server.bus_as(Service::PlatformSelector).await,
            validator: server.bus_as(Service::Validator).await,
        }
    }

    pub(crate) async fn write(&self, revision: RevisionId, slot: Slot, answer: Answer) {
        let bus = match slot.answered_by() {
            Service::Controller => &self.controller,
            Service::Provisioner => &self.provisioner,
            Service::PlatformSelector => &self.selector,
            Service::Validator => &self.validator,
            other => panic!("{other} is not played here"),
        };
        let draft = Draft::new(answer, slot.answered_by().name(), "c1");
        bus.log().append(&FactKey::new(id(), revision, slot), draft).await.unwrap();
    }

    /// Everything up to the platform, with the artifact in the store.
    pub(crate) async fn requested(&self, spec: serde_json::Value) {
        self.selector.blobs().put(MODEL, "application/octet-stream").await.unwrap();
        self.requested_without_artifact(spec).await;
    }

    pub(crate) async fn requested_without_artifact(&self, mut spec: serde_json::Value) {
        spec["model"] = serde_json::json!({ "uri": "file:///m.onnx" });
        let document = serde_json::json!({ "metadata": { "name": "digits" }, "spec": spec });
        let deployment = ModelDeployment::read(&document).unwrap();
        let intake = IntakeReference { source: "test".to_owned(), id: "1".to_owned() };
        let requested = Requested { spec_digest: deployment.digest(), deployment, intake };
        let start = RevisionId::new(1, 0);
        self.write(start, Slot::Request, Answer::Requested(requested)).await;
        self.write(start, Slot::Choice, Answer::InfrastructureChosen(choice())).await;
        self.write(start, Slot::Platform, Answer::PlatformSelected(platform())).await;
    }

    pub(crate) async fn planned(&self, revision: RevisionId) {
        let plan = Plan {
            target: "local".to_owned(),
            platform: "slipway".to_owned(),
            model_digest: Digest::of(MODEL),
            replicas: 1,
            cpu: CpuMillis(1_000),
            // Revisions differ.
            memory: ByteSize::mebibytes(64 * u64::from(revision.revision.0)),
            threads: 1,
            max_batch: 1,
            max_delay: Span::millis(1),
            queue_limit: 1,
            fixed_batching: false,
            latency_target: None,
        };
        let planned = Planned { digest: plan.digest(), plan, manifests: None, revises: None, changes: Vec::new() };
        self.write(revision, Slot::Plan, Answer::Planned(planned)).await;
    }

    pub(crate) async fn deployed(&self, revision: RevisionId) {
        let deployed = Deployed { endpoints: Vec::new(), measurements: Vec::new(), fencing_token: 1 };
        self.write(revision, Slot::Deployment, Answer::Deployed(deployed)).await;
    }

    /// What security answered to a question, once it has.
    pub(crate) async fn answer(&self, revision: RevisionId, slot: Slot, attempt: u32) -> Answer {
        let view = self.controller.log().follow().await.unwrap();
        let key = FactKey::new(id(), revision, slot).at(Attempt(attempt));
        let answered = |key: &FactKey| view.facts(&id()).into_iter().find(|fact| fact.key == *key);
        view.wait_until(&id(), PATIENCE, |_| answered(&key).is_some()).await.expect("security answers");
        let fact: Arc<slipway_kernel::Fact> = answered(&key).unwrap();
        assert_eq!(fact.actor, "security");
        fact.answer.clone()
    }
}

fn choice() -> InfrastructureChosen {
    let candidate = Candidate {
        target: "local".to_owned(),
        score: 1.0,
        vetoes: Vec::new(),
        reasons: Vec::new(),
        cost_per_hour: 0.0,
    };
    InfrastructureChosen {
        target: "local".to_owned(),
        reason: String::new(),
        candidates: vec![candidate],
        machine: MachineFacts::default(),
        needs_approval: false,
    }
}

fn platform() -> PlatformSelected {
    PlatformSelected {
        platform: "slipway".to_owned(),
        image: String::new(),
        reason: String::new(),
        model: ModelFacts {
            digest: Digest::of(MODEL),
            size_bytes: MODEL.len() as u64,
            format: ModelFormat::Onnx,
            inputs: Vec::new(),
            outputs: Vec::new(),
            operators: Vec::new(),
            parameters: 0,
            memory_estimate_bytes: 0,
            opset: 0,
            producer: String::new(),
        },
        candidates: Vec::new(),
        golden: None,
    }
}
