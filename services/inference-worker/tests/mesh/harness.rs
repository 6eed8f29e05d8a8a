//! A mesh of one worker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use slipway_bus::{Bus, Lease, LeaseKey, Principal, WorkerRecord, WorkerState};
use slipway_inference_worker::Config;
use slipway_inference_worker::domain::lifetime::WantedWorkers;
use slipway_kernel::{DeploymentId, Digest, RevisionId, Service, Span};
use slipway_proto::inference::ModelInferRequest;
use slipway_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use slipway_proto::oip::{Tensor, raw_request};
use slipway_runtime::Frame;
use slipway_runtime::tls::{self, SpiffeId};
use slipway_testkit::{Authority, NatsServer, eventually};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const HOST: &str = "here";
pub const INSTANCE: &str = "w-0";

pub struct Mesh {
    pub nats: NatsServer,
    pub authority: Arc<Authority>,
    pub controller: Bus,
    pub ingress: Bus,
    pub security: Bus,
    pub lease: Option<Lease>,
    pub data: TempDir,
}

impl Mesh {
    /// A broker with the artifact stored and the worker listed; nothing is granted yet.
    pub async fn start(model: &str) -> (Self, Config) {
        let artifact = std::fs::read(example(&format!("{model}.onnx"))).unwrap();
        Self::with(artifact).await
    }

    pub async fn with(artifact: Vec<u8>) -> (Self, Config) {
        slipway_runtime::tls::install_provider();
        let nats = NatsServer::secured_for(&["default.shop"]).await;
        let selector = nats.bus_as(Service::PlatformSelector).await;
        let digest = Digest::of(&artifact);
        selector.blobs().put(artifact, "application/octet-stream").await.unwrap();
        let mut mesh = Self {
            controller: nats.bus_as(Service::Controller).await,
            ingress: nats.bus_as(Service::Ingress).await,
            security: nats.bus_as(Service::Security).await,
            authority: Arc::new(Authority::new()),
            lease: None,
            data: tempfile::tempdir().unwrap(),
            nats,
        };
        mesh.want(&[INSTANCE]).await;
        let config = mesh.config(digest);
        (mesh, config)
    }

    /// Security begins to grant identities.
    pub fn grant(&self) {
        self.authority.grant(self.security.clone(), |request| {
            assert!(request.subject.starts_with("spiffe://slipway/ns/default/deployment/digits/revision/"));
        });
    }

    /// The controller writes whom it wants.
    pub async fn want(&mut self, instances: &[&str]) {
        if self.lease.is_none() {
            let key = LeaseKey::host(HOST, Service::Controller, "workers");
            let lease = self.controller.leases().acquire(&key, Duration::from_secs(10)).await.unwrap();
            self.lease = Some(lease.expect("nobody else holds it"));
        }
        let wanted = WantedWorkers { instances: instances.iter().map(|name| (*name).to_owned()).collect() };
        self.lease.as_ref().unwrap().set_value(&wanted).await.unwrap();
    }

    pub fn config(&self, digest: Digest) -> Config {
        let mut config =
            Config { bus: self.nats.config(Principal::Service(Service::InferenceWorker)), ..Config::default() };
        config.worker.deployment = deployment().to_string();
        config.worker.revision = Some(revision());
        config.worker.instance = INSTANCE.into();
        config.worker.host = HOST.into();
        config.worker.fencing_token = 3;
        config.worker.model_digest = Some(digest);
        config.worker.max_batch = 4;
        config.worker.max_delay = Span::millis(1);
        config
    }

    /// Runs a worker in this process.
    pub fn run(&self, config: Config) -> Running {
        let mut frame = Frame::for_test("inference-worker");
        frame.data_dir = self.data.path().to_owned();
        Running { frame: frame.clone(), task: tokio::spawn(slipway_inference_worker::run(config, frame)) }
    }

    pub async fn worker(&self) -> Option<WorkerRecord> {
        self.controller.workers().list().await.unwrap().pop()
    }

    /// Waits until the registry shows the worker in this state.
    pub async fn until(&self, state: WorkerState) -> WorkerRecord {
        eventually(PATIENCE, || async {
            match self.worker().await {
                Some(record) if record.state == state => Ok(record),
                other => Err(other.map(|record| record.state)),
            }
        })
        .await
    }

    /// A client with the identity of a service, towards the worker.
    pub async fn client(
        &self,
        service: Service,
    ) -> Result<GrpcInferenceServiceClient<Channel>, tonic::transport::Error> {
        self.channel(service).await.map(GrpcInferenceServiceClient::new)
    }

    /// The connection of such a client.
    pub async fn channel(&self, service: Service) -> Result<Channel, tonic::transport::Error> {
        let address = self.worker().await.unwrap().address.parse().unwrap();
        let expected = SpiffeId::Revision { deployment: deployment(), revision: revision() };
        let member = self.authority.member(&SpiffeId::Service(service));
        let config = member.client_config(expected).unwrap();
        Endpoint::from_static("http://worker").connect_with_connector(tls::connector(address, config)).await
    }
}

pub struct Running {
    pub frame: Frame,
    pub task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Waits until the worker has ended.
    pub async fn ended(self) -> anyhow::Result<()> {
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").unwrap()
    }

    /// Asks it to end, as SIGTERM does, and waits.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.frame.shutdown.cancel();
        self.ended().await
    }
}

pub fn deployment() -> DeploymentId {
    "default.digits".parse().unwrap()
}

pub fn revision() -> RevisionId {
    RevisionId::new(1, 1)
}

pub fn example(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../infra/examples").join(file)
}

/// The first rows of the golden file: pixels and true digits.
pub fn golden(rows: usize) -> (Vec<Vec<f32>>, Vec<i64>) {
    let text = std::fs::read_to_string(example("digits-v2.golden.jsonl")).unwrap();
    text.lines()
        .take(rows)
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let pixels = line["inputs"]["X"].as_array().unwrap();
            let pixels = pixels.iter().map(|pixel| pixel.as_f64().unwrap() as f32).collect();
            (pixels, line["expected"]["label"].as_i64().unwrap())
        })
        .unzip()
}

/// A request over rows of pixels.
pub fn body(rows: &[Vec<f32>]) -> ModelInferRequest {
    let input = Tensor::from_f32("X", vec![rows.len(), 64], &rows.concat()).unwrap();
    raw_request("digits", "", [input])
}

/// The same for the direct path.
pub fn direct(id: &str, rows: &[Vec<f32>]) -> Request<ModelInferRequest> {
    let mut request = Request::new(body(rows));
    request.metadata_mut().insert("slipway-request-id", id.parse().unwrap());
    request.set_timeout(PATIENCE);
    request
}
