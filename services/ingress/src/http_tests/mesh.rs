//! The whole service on a real broker with its permissions. Security, controller, validator and worker are played by the test.

use super::{
    authority::Authority,
    client::Answer,
    worker::{Manner, Worker},
    world::{FIRST, INFER, body},
};
use crate::{
    Config, RealEffects,
    auth::api_key::tests::KEY,
    config::{AuthConfig, HttpConfig},
    run_with,
    table::build::{build, tests::History},
};
use prost::Message as _;
use serde_json::json;
use slipway_bus::{
    ApiKeyRecord, Bus, BusConfig, Draft, Granted, Principal, ProbeToken, Registration, View, WorkerRecord, WorkerState,
    topology,
};
use slipway_kernel::{Answer as Said, Digest, RequestId, RevisionId, Service, Slot, Timestamp};
use slipway_proto::{
    oip::{Tensor, raw_response},
    slipway::inference::v1::{InferenceRequest, InferenceResult, inference_result::Outcome},
};
use slipway_runtime::Frame;
use slipway_testkit::{NatsServer, eventually, frame, free_port};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(30);
const SECOND: RevisionId = RevisionId::new(2, 1);

struct Mesh {
    nats: NatsServer,
    buses: BTreeMap<Service, Bus>,
    view: View,
    authority: Arc<Authority>,
    history: History,
    written: usize,
    frame: Frame,
    address: SocketAddr,
    running: JoinHandle<anyhow::Result<()>>,
    http: reqwest::Client,
}

impl Mesh {
    async fn start() -> Self {
        slipway_runtime::tls::install_provider();
        let nats = NatsServer::secured_for(&["default.shop"]).await;
        let mut buses = BTreeMap::new();
        for service in [
            Service::Ingress,
            Service::Provisioner,
            Service::PlatformSelector,
            Service::Controller,
            Service::Security,
            Service::Validator,
            Service::InferenceWorker,
            Service::SinkWriter,
        ] {
            buses.insert(service, nats.bus_as(service).await);
        }
        let authority = Arc::new(Authority::new());
        tokio::spawn(security(buses[&Service::Security].clone(), Arc::clone(&authority)));
        let validator = buses[&Service::Validator].identity().unwrap();
        let (address, frame, running) = replica(&nats, &validator);
        let view = buses[&Service::Controller].log().follow().await.unwrap();
        let mut history = History::new();
        history.access = json!({ "apiKeys": true });
        let http = reqwest::Client::builder().no_proxy().timeout(LONG).build().unwrap();
        Self { nats, buses, view, authority, history, written: 0, frame, address, running, http }
    }

    /// One more replica.
    fn replica(&self) -> (SocketAddr, Frame, JoinHandle<anyhow::Result<()>>) {
        replica(&self.nats, &self.bus(Service::Validator).identity().unwrap())
    }

    fn bus(&self, service: Service) -> &Bus {
        &self.buses[&service]
    }

    /// Writes what is new in the history, each fact as the service that answers its slot.
    async fn write(&mut self) {
        for fact in &self.history.facts[self.written..] {
            let draft = Draft::new(fact.answer.clone(), "test", "test");
            let bus = self.bus(fact.key.slot.answered_by());
            bus.log().append(&fact.key, draft).await.unwrap();
        }
        self.written = self.history.facts.len();
    }

    async fn register(&self, worker: &Worker) -> Registration {
        let record = WorkerRecord {
            deployment: worker.seat.deployment.clone(),
            revision: worker.seat.revision,
            instance: worker.seat.instance.clone(),
            host: "here".to_owned(),
            address: worker.seat.address.to_string(),
            admin: String::new(),
            pid: 1,
            fencing_token: 1,
            state: WorkerState::Ready,
            measurements: Vec::new(),
            detail: json!({}),
            since: Timestamp(0),
        };
        self.bus(Service::InferenceWorker).workers().register(record).await.unwrap()
    }

    /// What ingress said about a question.
    async fn said(&self, revision: RevisionId, slot: Slot) -> Said {
        let found = |folded: &slipway_bus::Folded| {
            let deployment = &folded.deployment;
            let answer = if revision.revision.0 == 0 {
                deployment.generations.get(&revision.generation).and_then(|generation| generation.answer(slot))
            } else {
                deployment.revision(revision).and_then(|revision| revision.answer(slot))
            };
            answer.cloned()
        };
        let folded = self.view.wait_until(&self.history.id, LONG, |folded| found(folded).is_some()).await;
        found(&folded.expect("no answer")).unwrap()
    }

    async fn infer(&self, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.post(format!("http://{}{INFER}", self.address)).json(&body());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    /// The result of a request that this principal sent, once it is captured.
    async fn captured(&self, principal: &str) -> InferenceResult {
        let queue = self.bus(Service::SinkWriter).captures().consume().await.unwrap();
        eventually(LONG, || async {
            let mut found = None;
            for captured in queue.next(Duration::from_millis(100)).await.unwrap() {
                let result = InferenceResult::decode(captured.payload.clone()).unwrap();
                captured.ack().await.unwrap();
                found = found.or(Some(result).filter(|result| result.principal == principal));
            }
            found
        })
        .await
    }

    async fn issue_key(&self) {
        let record = ApiKeyRecord {
            key_id: "key-1".to_owned(),
            hash: Digest::of(KEY.as_bytes()).to_string(),
            principal: "api-key:key-1".to_owned(),
            created: Timestamp(0),
            expires: None,
        };
        self.bus(Service::Security).api_keys().put(&self.history.id, &record).await.unwrap();
        eventually(LONG, || async { self.infer(&[("slipway-api-key", KEY)]).await.status != 401 }).await;
    }
}

fn replica(nats: &NatsServer, validator: &str) -> (SocketAddr, Frame, JoinHandle<anyhow::Result<()>>) {
    let principal = Principal::Service(Service::Ingress);
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = Config {
        bus: BusConfig { request_timeout: slipway_kernel::Span::seconds(1), ..nats.config(principal) },
        http: HttpConfig { listen: address, ..HttpConfig::default() },
        auth: AuthConfig { probe_keys: vec![validator.to_owned()], ..AuthConfig::default() },
        ..Config::default()
    };
    let frame = frame(principal);
    let running = tokio::spawn(run_with(config, frame.clone(), Arc::new(RealEffects)));
    (address, frame, running)
}

/// Signs what it is asked to.
async fn security(bus: Bus, authority: Arc<Authority>) {
    bus.identities().set_trust(&authority.certificate()).await.unwrap();
    let mut requests = bus.identities().requests().await.unwrap();
    loop {
        for request in requests.get().iter() {
            let granted = Granted {
                chain_pem: authority.sign(&request.csr_pem),
                ca_bundle_pem: authority.certificate(),
                not_after: bus.clock().now().after(LONG),
            };
            bus.identities().answer(request, Ok(granted)).await.unwrap();
        }
        if !requests.changed().await {
            return;
        }
    }
}

const KEYED: (&str, &str) = ("slipway-api-key", KEY);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_opened_served_shifted_and_taken_down() {
    let mut mesh = Mesh::start().await;
    let id = mesh.history.id.clone();

    // Opened and proved.
    let first = Worker::start(&mesh.authority, &id, FIRST, "first");
    let _first = mesh.register(&first).await;
    mesh.history.deploy(1, 1);
    mesh.write().await;
    let Said::IngressReady(ready) = mesh.said(FIRST, Slot::Ingress).await else { panic!("not ready") };
    let names: Vec<&str> = ready.proofs.iter().map(|proof| proof.name.as_str()).collect();
    assert_eq!(names, ["routes applied", "request answered", "stranger"], "{ready:?}");
    let configured =
        |name: &str| ready.configured.iter().find(|item| item.name == name).map(|item| item.value.as_str());
    assert_eq!(configured("address"), Some(format!("http://{}", mesh.address).as_str()));
    assert_eq!(configured("authentication"), Some("api-keys"));
    assert!(mesh.captured("service:ingress").await.probe);

    // Released and served.
    mesh.issue_key().await;
    assert_eq!(mesh.infer(&[KEYED]).await.status, 503, "nothing is released");
    mesh.history.release(1, 1);
    mesh.write().await;
    eventually(LONG, || async { mesh.infer(&[KEYED]).await.status == 200 }).await;
    assert_eq!(mesh.infer(&[]).await.status, 401);

    // Another revision is reached by the validator, then shared.
    let second = Worker::start(&mesh.authority, &id, SECOND, "second");
    let _second = mesh.register(&second).await;
    mesh.history.deploy(2, 1);
    mesh.write().await;
    assert!(matches!(mesh.said(SECOND, Slot::Ingress).await, Said::IngressReady(_)));
    let token = ProbeToken::issue(mesh.bus(Service::Validator), &id, Duration::from_secs(60)).unwrap();
    let marked = mesh.infer(&[("slipway-probe", &token), ("slipway-revision", "2-1")]).await;
    assert_eq!((marked.status, marked.header("slipway-revision")), (200, "2-1"));
    let captured = mesh.captured("service:validator").await;
    assert_eq!((captured.probe, captured.revision.as_str()), (true, "2-1"));
    mesh.history.shift(2, 1, 50);
    mesh.write().await;
    let last = mesh.view.get(&id).unwrap().last_sequence;
    let routes = mesh.bus(Service::Controller).routes();
    assert_eq!(routes.wait_all(last, LONG).await.unwrap(), 1);
    for n in 0..20 {
        assert_eq!(mesh.infer(&[KEYED, ("slipway-request-id", &format!("request-{n}"))]).await.status, 200);
    }
    let stats = eventually(LONG, || async {
        let report = routes.replicas().await.unwrap().pop()?;
        let counted: u64 = report.stats.iter().map(|stats| stats.requests).sum();
        (counted == 20).then_some(report.stats)
    })
    .await;
    assert_eq!(stats.len(), 2);
    assert!(stats.iter().all(|stats| stats.failures == 0 && stats.requests > 0), "{stats:?}");

    // Taken down.
    mesh.history.retire(2);
    mesh.write().await;
    let removed = mesh.said(RevisionId::new(2, 0), Slot::Removal(Service::Ingress)).await;
    assert!(matches!(&removed, Said::Removed(removed) if removed.items.len() == 1), "{removed:?}");
    assert_eq!(mesh.infer(&[KEYED]).await.status, 404);
    mesh.frame.shutdown.cancel();
    mesh.running.await.unwrap().unwrap();
    eventually(LONG, || async { routes.replicas().await.unwrap().is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_left_in_the_queue_is_answered_through_the_broker() {
    let mut mesh = Mesh::start().await;
    let id = mesh.history.id.clone();
    mesh.history.release(1, 1);
    mesh.write().await;
    mesh.issue_key().await;
    let accepted = mesh.infer(&[KEYED, ("prefer", "respond-async"), ("slipway-request-id", "r-1")]).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let place = format!("http://{}{}", mesh.address, accepted.header("location"));
    let poll = || async { Answer::of(mesh.http.get(&place).header(KEYED.0, KEYED.1).send().await.unwrap()).await };
    assert_eq!(poll().await.status, 202);

    let worker = mesh.bus(Service::InferenceWorker);
    let queue = worker.requests().pull(&id, FIRST).await.unwrap();
    let queued = queue.next(10, LONG).await.unwrap().pop().unwrap();
    let request = InferenceRequest::decode(queued.payload.clone()).unwrap();
    assert_eq!((request.request_id.as_str(), request.principal.as_str()), ("r-1", "api-key:key-1"));
    let result = InferenceResult {
        revision: request.revision,
        request_id: request.request_id,
        correlation_id: request.correlation_id,
        outcome: Some(Outcome::Response(raw_response(
            "digits",
            "1-1",
            "r-1",
            [Tensor::from_f32("y", vec![1], &[7.0]).unwrap()],
        ))),
        ..InferenceResult::default()
    };
    let request_id: RequestId = "r-1".parse().unwrap();
    worker.results().publish(&id, &request_id, result.encode_to_vec().into(), None).await.unwrap();
    queued.ack().await.unwrap();
    let done = poll().await;
    assert_eq!((done.status, &done.body["outputs"][0]["data"]), (200, &json!([7.0])));
    let stranger = Answer::of(mesh.http.get(&place).send().await.unwrap()).await;
    assert_eq!(stranger.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_is_away_requests_go_on_by_what_is_known() {
    let mut mesh = Mesh::start().await;
    let id = mesh.history.id.clone();
    let worker = Worker::start(&mesh.authority, &id, FIRST, "first");
    let _registration = mesh.register(&worker).await;
    mesh.history.release(1, 1);
    mesh.write().await;
    mesh.issue_key().await;
    eventually(LONG, || async { mesh.infer(&[KEYED]).await.status == 200 }).await;
    mesh.nats.kill9().await;
    worker.set(Manner::Answer);
    for _ in 0..5 {
        assert_eq!(mesh.infer(&[KEYED]).await.status, 200);
    }
    let left = mesh.infer(&[KEYED, ("prefer", "respond-async")]).await;
    assert_eq!((left.status, left.code(), left.header("retry-after")), (503, "unavailable", "1"));
    mesh.nats.restart().await;
    eventually(LONG, || async { mesh.infer(&[KEYED, ("prefer", "respond-async")]).await.status == 202 }).await;
    assert_eq!(mesh.infer(&[KEYED]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_open_a_door_once_and_both_serve_it() {
    let mut mesh = Mesh::start().await;
    let (other, _frame, _running) = mesh.replica();
    let routes = mesh.bus(Service::Controller).routes();
    eventually(LONG, || async { routes.replicas().await.unwrap().len() == 2 }).await;
    let worker = Worker::start(&mesh.authority, &mesh.history.id, FIRST, "first");
    let _registration = mesh.register(&worker).await;
    mesh.history.deploy(1, 1);
    mesh.write().await;
    let Said::IngressReady(ready) = mesh.said(FIRST, Slot::Ingress).await else { panic!("not ready") };
    assert!(ready.proofs[0].detail.starts_with("2 replicas"), "{ready:?}");
    assert_eq!(worker.calls(), 1, "proved once");
    mesh.issue_key().await;
    mesh.history.release(1, 1);
    mesh.write().await;
    let last = mesh.view.get(&mesh.history.id).unwrap().last_sequence;
    assert_eq!(routes.wait_all(last, LONG).await.unwrap(), 2);
    for address in [mesh.address, other] {
        mesh.address = address;
        eventually(LONG, || async { mesh.infer(&[KEYED]).await.status == 200 }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_what_is_left_over_nats_and_one_that_ends_loses_nothing() {
    const COUNT: usize = 400;
    let mut mesh = Mesh::start().await;
    let (_, leaving, left) = mesh.replica();
    let id = mesh.history.id.clone();
    mesh.history.nats = true;
    mesh.history.access = json!({ "anonymous": true });
    mesh.history.release(1, 1);
    mesh.history.deploy(2, 1);
    mesh.history.shift(2, 1, 25);
    mesh.write().await;
    let client = mesh.nats.model_client("default.shop").await;
    let body = body().to_string();
    for n in 0..COUNT {
        let request_id = format!("request-{n}");
        let headers = [("slipway-request-id", request_id.as_str()), ("content-type", "application/json")];
        client.leave(&topology::inbound(&id), &headers, body.clone()).await.unwrap();
        if n == COUNT / 2 {
            leaving.shutdown.cancel();
        }
    }
    left.await.unwrap().unwrap();
    // The same once more, as a client does that heard no acknowledgement: nothing is queued twice.
    let headers = [("slipway-request-id", "request-0"), ("content-type", "application/json")];
    client.leave(&topology::inbound(&id), &headers, body).await.unwrap();
    eventually(LONG, || async { mesh.nats.messages("INBOUND").await == 0 }).await;
    let depth = async |revision| mesh.bus(Service::Ingress).requests().depth(&id, revision).await.unwrap();
    let (first, second) = (depth(FIRST).await, depth(SECOND).await);
    assert_eq!(first + second, COUNT as u64, "{first} and {second}");
    let entry = build(&mesh.history.fold()).unwrap();
    let to_second = (0..COUNT).filter(|n| {
        let id: RequestId = format!("request-{n}").parse().unwrap();
        entry.pick(&id).unwrap().revision == SECOND
    });
    assert_eq!(second, to_second.count() as u64, "each id meets the revision that it meets over HTTP");
    assert!(client.complaints().is_empty());
}
