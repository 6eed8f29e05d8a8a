//! The validator on a real broker with generated keys and permissions: facts in, facts out, and the whole course with a worker's inner door to
//! knock at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod standin;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Response},
    routing::post,
};
use serde_json::{Value, json};
use slipway_bus::{Bus, Draft, Principal, ProbeToken, SinkAnswer, SinkQuery, SinkRow, View};
use slipway_kernel::{
    Answer, Attempt, BlobReference, ByteSize, CpuMillis, Deployed, DeploymentId, Digest, FactKey, Failed, Finding,
    FindingKind, IntakeReference, ModelFacts, ModelFormat, Outcome, Plan, Planned, PlatformSelected, Ready, Requested,
    RevisionId, Service, Slot, Span, TensorSpec, Timestamp, spec::ModelDeployment,
};
use slipway_testkit::{Authority, NatsServer, eventually, frame};
use slipway_validator::{Bounds, Config, Simulated, run, run_with};
use standin::Standin;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const REVISION: RevisionId = RevisionId::new(1, 1);
const PATIENCE: Duration = Duration::from_secs(60);

fn id() -> DeploymentId {
    "default.digits".parse().unwrap()
}

fn now() -> Timestamp {
    Timestamp(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap())
}

/// One connection per service: each may answer only its own slots.
struct Writers(BTreeMap<&'static str, Bus>);

impl Writers {
    async fn connect(server: &NatsServer) -> Self {
        let mut buses = BTreeMap::new();
        for service in Service::ALL {
            buses.insert(service.name(), server.bus_as(service).await);
        }
        Self(buses)
    }

    fn of(&self, service: Service) -> &Bus {
        &self.0[service.name()]
    }

    async fn write(&self, revision: RevisionId, slot: Slot, answer: Answer) {
        let service = slot.answered_by();
        let draft = Draft::new(answer, service.name(), "correlation");
        self.of(service).log().append(&FactKey::new(id(), revision, slot), draft).await.unwrap();
    }

    async fn up_to_deployed(&self, spec: &Value, golden: Option<BlobReference>) {
        let mut document =
            json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m.onnx" } } });
        for (key, value) in spec.as_object().unwrap() {
            document["spec"][key] = value.clone();
        }
        let deployment = ModelDeployment::read(&document).unwrap();
        let spec_digest = deployment.digest();
        let intake = IntakeReference { source: "test".into(), id: "1".into() };
        let generation = RevisionId::new(1, 0);
        self.write(generation, Slot::Request, Answer::Requested(Requested { deployment, spec_digest, intake })).await;
        self.write(generation, Slot::Platform, Answer::PlatformSelected(platform(golden))).await;
        let plan = plan();
        let digest = plan.digest();
        let planned = Planned { plan, digest, manifests: None, revises: None, changes: Vec::new() };
        self.write(REVISION, Slot::Plan, Answer::Planned(planned)).await;
        let deployed = Deployed { endpoints: Vec::new(), measurements: Vec::new(), fencing_token: 1 };
        self.write(REVISION, Slot::Deployment, Answer::Deployed(deployed)).await;
    }

    async fn four_ready(&self) {
        let ready = || Ready { configured: Vec::new(), proofs: Vec::new() };
        self.write(REVISION, Slot::Ingress, Answer::IngressReady(ready())).await;
        self.write(REVISION, Slot::Outputs, Answer::OutputsReady(ready())).await;
        self.write(REVISION, Slot::Observability, Answer::ObservabilityReady(ready())).await;
        self.write(REVISION, Slot::Security, Answer::SecurityReady(ready())).await;
    }
}

fn plan() -> Plan {
    Plan {
        target: "local".into(),
        platform: "slipway".into(),
        model_digest: Digest::of(b"model"),
        replicas: 1,
        cpu: CpuMillis(1_000),
        memory: ByteSize::mebibytes(512),
        threads: 1,
        max_batch: 8,
        max_delay: Span::millis(2),
        queue_limit: 64,
        fixed_batching: false,
        latency_target: None,
    }
}

fn platform(golden: Option<BlobReference>) -> PlatformSelected {
    PlatformSelected {
        platform: "slipway".into(),
        image: String::new(),
        reason: "it can".into(),
        model: ModelFacts {
            digest: Digest::of(b"model"),
            size_bytes: 5,
            format: ModelFormat::Onnx,
            inputs: vec![TensorSpec { name: "X".into(), datatype: "FP32".into(), shape: vec![-1, 1] }],
            outputs: Vec::new(),
            operators: Vec::new(),
            parameters: 0,
            memory_estimate_bytes: 0,
            opset: 18,
            producer: String::new(),
        },
        candidates: Vec::new(),
        golden,
    }
}

fn config(server: &NatsServer) -> Config {
    Config { bus: server.config(Principal::Service(Service::Validator)), ..Config::default() }
}

async fn answer(view: &View) -> Answer {
    let id = id();
    let answered = view.wait_until(&id, PATIENCE, |folded| {
        folded.deployment.revision(REVISION).is_some_and(|revision| revision.fact(Slot::Validation).is_some())
    });
    let folded = answered.await.expect("an answer");
    folded.deployment.revision(REVISION).unwrap().answer(Slot::Validation).unwrap().clone()
}

#[tokio::test]
async fn two_replicas_give_one_answer_when_the_four_are_ready_and_its_report_can_be_read() {
    let server = NatsServer::secured().await;
    let writers = Writers::connect(&server).await;
    for _ in 0..2 {
        let frame = frame(Principal::Service(Service::Validator));
        tokio::spawn(run_with(config(&server), frame, Arc::new(Simulated)));
    }
    writers.up_to_deployed(&json!({}), None).await;
    let operator = server.bus(Principal::Operator).await;
    let view = operator.log().follow().await.unwrap();
    writers.four_ready().await;
    let Answer::Validated(report) = answer(&view).await else {
        panic!("not validated");
    };
    assert!(report.checks.iter().all(|check| check.outcome == Outcome::Passed));
    assert_eq!(report.plan_digest, Some(plan().digest()));
    let text = operator.blobs().get(&report.report.unwrap().digest).await.unwrap();
    assert!(String::from_utf8_lossy(&text).contains("# Validation of default.digits 1-1: validated"));
    // A second answer would have been refused by the log; that none was tried shows in the attempts.
    let folded = view.get(&id()).unwrap();
    assert_eq!(folded.deployment.revision(REVISION).unwrap().attempts(Slot::Validation).next(), Attempt(1));
}

#[tokio::test]
async fn one_of_the_four_that_failed_fails_the_validation_at_once_with_its_findings() {
    let server = NatsServer::secured().await;
    let writers = Writers::connect(&server).await;
    tokio::spawn(run_with(config(&server), frame(Principal::Service(Service::Validator)), Arc::new(Simulated)));
    writers.up_to_deployed(&json!({}), None).await;
    let finding = Finding::deterministic(FindingKind::Misconfigured, "no such table");
    writers.write(REVISION, Slot::Outputs, Answer::OutputsFailed(Failed { findings: vec![finding.clone()] })).await;
    let view = server.bus(Principal::Operator).await.log().follow().await.unwrap();
    let Answer::ValidationFailed(report) = answer(&view).await else {
        panic!("not failed");
    };
    assert_eq!(report.findings, [finding]);
}

/// The door and what is behind it: a model that doubles its input, answered only for the validator's own mark.
struct Door {
    validator_key: String,
    seen: AtomicU64,
    rows: Arc<Mutex<Vec<(String, SinkRow)>>>,
    worker: Arc<Standin>,
}

async fn infer(State(door): State<Arc<Door>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let refused =
        |status: u16| Response::builder().status(status).header("retry-after", "1").body(Body::empty()).unwrap();
    if ProbeToken::verify(&text("slipway-probe"), &door.validator_key, &id(), now()).is_err() {
        return refused(401);
    }
    if !door.worker.lives.load(Ordering::SeqCst) {
        return refused(503);
    }
    let request: Value = serde_json::from_slice(&body).unwrap();
    let input = &request["inputs"][0];
    let doubled: Vec<f64> = input["data"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap() * 2.0).collect();
    let number = door.seen.fetch_add(1, Ordering::SeqCst);
    let (request_id, trace_id) = (format!("request-{number:06}"), format!("{:032x}", number + 1));
    let row = SinkRow { request_id: request_id.clone(), trace_id: trace_id.clone(), revision: REVISION, ok: true };
    door.rows.lock().unwrap().push((text("slipway-correlation-id"), row));
    let answer = json!({ "outputs": [{ "name": "Y", "datatype": "FP32", "shape": input["shape"], "data": doubled }] });
    Response::builder()
        .header("slipway-request-id", request_id)
        .header("slipway-revision", text("slipway-revision"))
        .header("traceparent", format!("00-{trace_id}-b7ad6b7169203331-01"))
        .body(Body::from(answer.to_string()))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_course_over_a_real_broker_with_a_worker_that_is_told_to_end() {
    let server = NatsServer::secured().await;
    let writers = Writers::connect(&server).await;
    let worker = Arc::new(Standin::default());
    let authority = Arc::new(Authority::new());
    authority.grant(writers.of(Service::Security).clone(), |request| {
        assert_eq!(request.subject, "spiffe://slipway/service/validator");
    });
    let rows: Arc<Mutex<Vec<(String, SinkRow)>>> = Arc::default();

    // The door.
    let door = Arc::new(Door {
        validator_key: writers.of(Service::Validator).identity().unwrap(),
        seen: AtomicU64::new(0),
        rows: Arc::clone(&rows),
        worker: Arc::clone(&worker),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/v2/namespaces/default/models/digits/infer", post(infer)).with_state(door);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    // The sink-writer's answers, the worker, the golden rows.
    let sink_writer = writers.of(Service::SinkWriter).clone();
    tokio::spawn(async move {
        let frame = frame(Principal::Service(Service::SinkWriter));
        let answer = move |query: SinkQuery| {
            let rows = rows.lock().unwrap().clone();
            async move { Some(page(&rows, &query)) }
        };
        sink_writer.sinks().serve(&frame, answer).await.unwrap();
    });
    let registry = writers.of(Service::InferenceWorker).clone();
    tokio::spawn(Arc::clone(&worker).live(registry, authority, id(), REVISION));
    let golden: String =
        (0..50).map(|n| format!("{}\n", json!({ "inputs": { "X": [n] }, "expected": { "Y": [n * 2] } }))).collect();
    let golden = writers.of(Service::PlatformSelector).blobs().put(golden, "application/jsonl").await.unwrap();

    let bounds = Bounds { warm_up: Span::millis(50), overload: Span::millis(200), ..Bounds::default() };
    let mut config = Config { bounds, ..config(&server) };
    config.ingress.address = address;
    tokio::spawn(run(config, frame(Principal::Service(Service::Validator))));
    let spec = json!({
        "slo": { "latencyP99": "500ms" },
        "validation": { "golden": "file:///golden.jsonl", "load": { "rate": "50/s", "duration": "400ms", "repeats": 3 } },
    });
    writers.up_to_deployed(&spec, Some(golden)).await;
    eventually(PATIENCE, || async { worker.lives.load(Ordering::SeqCst) }).await;
    writers.four_ready().await;

    let operator = server.bus(Principal::Operator).await;
    let view = operator.log().follow().await.unwrap();
    let (verdict, report) = match answer(&view).await {
        Answer::Validated(report) => ("validated", report),
        Answer::ValidationFailed(report) => ("failed", report),
        Answer::ValidationInconclusive(report) => ("inconclusive", report),
        other => panic!("{}", other.name()),
    };
    let text = operator.blobs().get(&report.report.clone().unwrap().digest).await.unwrap();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(verdict, "validated", "{text}");
    for name in ["golden-outputs", "authentication", "latency-p99", "overload", "worker-killed", "sinks", "traces"] {
        let check = report.checks.iter().find(|check| check.name == name).unwrap();
        assert_eq!(check.outcome, Outcome::Passed, "{name}\n{text}");
    }
    assert_eq!(worker.aborts.load(Ordering::SeqCst), 1, "it was told to end, and was started anew");
}

fn page(rows: &[(String, SinkRow)], query: &SinkQuery) -> SinkAnswer {
    let mut own: Vec<SinkRow> = rows
        .iter()
        .filter(|(correlation, _)| query.correlation.as_ref().is_none_or(|wanted| wanted == correlation))
        .map(|(_, row)| row.clone())
        .collect();
    own.sort_by(|a, b| a.request_id.cmp(&b.request_id));
    let offset = usize::try_from(query.offset).unwrap();
    let page = own.iter().skip(offset).take(SinkAnswer::PAGE).cloned().collect();
    SinkAnswer { total: own.len() as u64, rows: page, pending: 0 }
}
