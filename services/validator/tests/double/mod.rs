//! A mesh in one process with programmable misbehaviour: a public door over HTTP with a small model behind it, probe sinks, a
//! registry of workers, and the figures of a live revision and of the machine.
//!
//! The model takes `X` FP32 [-1, 2] and gives `label` (1 if the first is greater) and `p` (both halved).

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Response, StatusCode},
    routing::post,
};
use serde_json::{Value, json};
use slipway_kernel::{
    AnswerCounts, Attempt, BlobReference, ByteSize, CpuMillis, DeploymentId, Digest, Plan, RevisionId, Span,
    TensorSpec, Timestamp,
    spec::{Access, Fault, Slo, Validation},
};
use slipway_validator::{
    Bounds, Checks, Effects, Proof, RowPage, Worker, World, WorldError,
    domain::{
        assignment::{Assignment, Live},
        contention::Reading,
        judge::sinks::Row,
    },
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

pub(crate) const REVISION: RevisionId = RevisionId::new(2, 1);
pub(crate) const LIVE: RevisionId = RevisionId::new(1, 1);

pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How the mesh misbehaves; by default it does not.
#[derive(Clone, Default)]
pub(crate) struct Behaviour {
    /// Every request takes this much longer.
    pub slow: Duration,
    /// Requests answered at once; others wait for a place.
    pub places: Option<usize>,
    /// Every label is wrong.
    pub wrong_labels: bool,
    /// Every number is off by this.
    pub off_by: f64,
    /// Answers are those of another row when more requests than this are under way.
    pub mixes_rows_above: Option<usize>,
    /// Everybody is let in.
    pub no_door_keeper: bool,
    /// Everybody is let in once this many requests were seen.
    pub door_keeper_leaves_after: Option<u64>,
    /// Any probe token is believed.
    pub believes_any_mark: bool,
    /// Every so many-th request of ours fails with 500.
    pub fails_every: Option<u64>,
    /// Every so many-th result has no row.
    pub loses_rows_every: Option<u64>,
    /// Every so many-th result has two rows.
    pub doubles_rows_every: Option<u64>,
    /// Rows are of another trace than the answer.
    pub tears_traces: bool,
    /// Answers name no trace.
    pub names_no_trace: bool,
    /// Requests under way above which it refuses; the status, and whether with `Retry-After`.
    pub refuses_above: Option<(usize, u16, bool)>,
    /// After the first refusal it refuses everything.
    pub never_recovers: bool,
    /// How long a killed worker is away; `None`: for ever.
    pub worker_back_after: Option<Duration>,
    /// Whether the door waits for the worker; else it answers with this status, or with 503 and `Retry-After`.
    pub without_worker: Option<u16>,
    /// Another revision answers.
    pub misroutes: bool,
    /// The sink-writer does not answer.
    pub sinks_away: bool,
    /// The live revision fails every second request from this moment of the proof on.
    pub live_burns_after: Option<Duration>,
    /// Share of the machine that others use.
    pub foreign: f64,
}

/// The mesh.
pub(crate) struct Mesh {
    behaviour: Behaviour,
    golden: Bytes,
    begin: Instant,
    seen: AtomicU64,
    ours: AtomicU64,
    under_way: AtomicUsize,
    broken: AtomicU64,
    places: tokio::sync::Semaphore,
    rows: Mutex<BTreeMap<String, Vec<Row>>>,
    killed: Mutex<Option<Instant>>,
    pub kills: AtomicU64,
    pub strangers_served: AtomicU64,
}

impl Mesh {
    fn new(behaviour: Behaviour, golden: Bytes) -> Arc<Self> {
        Arc::new(Self {
            places: tokio::sync::Semaphore::new(behaviour.places.unwrap_or(1_000)),
            behaviour,
            golden,
            begin: Instant::now(),
            seen: AtomicU64::new(0),
            ours: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            broken: AtomicU64::new(0),
            rows: Mutex::default(),
            killed: Mutex::default(),
            kills: AtomicU64::new(0),
            strangers_served: AtomicU64::new(0),
        })
    }

    /// Whether a worker is there.
    fn has_worker(&self) -> bool {
        match (*self.killed.lock().unwrap(), self.behaviour.worker_back_after) {
            (None, _) => true,
            (Some(at), Some(back)) => at.elapsed() >= back,
            (Some(_), None) => false,
        }
    }

    fn is_let_in(&self, headers: &HeaderMap, seen: u64) -> bool {
        let keeper_left = self.behaviour.door_keeper_leaves_after.is_some_and(|after| seen > after);
        if self.behaviour.no_door_keeper || keeper_left {
            return true;
        }
        match headers.get("slipway-probe").and_then(|mark| mark.to_str().ok()) {
            Some(mark) => self.behaviour.believes_any_mark || mark == "mark-of-default.digits",
            None => false,
        }
    }
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn answer(status: u16) -> Response<Body> {
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(Body::from("{\"error\":\"no\"}")).unwrap()
}

fn refusal(status: u16, retry_after: bool) -> Response<Body> {
    let mut response = answer(status);
    if retry_after {
        response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
    }
    response
}

async fn infer(State(mesh): State<Arc<Mesh>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let behaviour = &mesh.behaviour;
    let seen = mesh.seen.fetch_add(1, Ordering::SeqCst);
    let under_way = mesh.under_way.fetch_add(1, Ordering::SeqCst) + 1;
    let _guard = UnderWay(&mesh.under_way);
    if !mesh.is_let_in(&headers, seen) {
        return answer(401);
    }
    let Some(correlation) = headers.get("slipway-correlation-id").map(|value| value.to_str().unwrap().to_owned())
    else {
        mesh.strangers_served.fetch_add(1, Ordering::SeqCst);
        return model(&mesh, &body, under_way, "none", seen);
    };
    let ours = mesh.ours.fetch_add(1, Ordering::SeqCst) + 1;
    if behaviour.never_recovers && mesh.broken.load(Ordering::SeqCst) > 0 {
        return refusal(503, true);
    }
    if let Some((most, status, retry_after)) = behaviour.refuses_above
        && under_way > most
    {
        mesh.broken.fetch_add(1, Ordering::SeqCst);
        return refusal(status, retry_after);
    }
    if behaviour.fails_every.is_some_and(|every| ours.is_multiple_of(every)) {
        return answer(500);
    }
    if !mesh.has_worker() {
        match behaviour.without_worker {
            Some(status) => return refusal(status, status == 503),
            None => {
                while !mesh.has_worker() {
                    tokio::time::sleep(ms(5)).await;
                }
            }
        }
    }
    let _place = mesh.places.acquire().await.unwrap();
    tokio::time::sleep(ms(1) + behaviour.slow).await;
    model(&mesh, &body, under_way, &correlation, ours)
}

fn model(mesh: &Mesh, body: &[u8], under_way: usize, correlation: &str, number: u64) -> Response<Body> {
    let behaviour = &mesh.behaviour;
    let request: Value = serde_json::from_slice(body).unwrap();
    let input = &request["inputs"][0];
    let rows = input["shape"][0].as_u64().unwrap();
    let mut numbers: Vec<f64> = input["data"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    assert_eq!(numbers.len() as u64, rows * 2);
    if behaviour.mixes_rows_above.is_some_and(|most| under_way > most) {
        numbers.reverse();
    }
    let label = |row: &[f64]| i64::from((row[0] > row[1]) != behaviour.wrong_labels);
    let labels: Vec<i64> = numbers.chunks(2).map(label).collect();
    let halves: Vec<f64> = numbers.iter().map(|number| number / 2.0 + behaviour.off_by).collect();
    let body = json!({ "model_name": "digits", "outputs": [
        { "name": "label", "datatype": "INT64", "shape": [rows], "data": labels },
        { "name": "p", "datatype": "FP32", "shape": [rows, 2], "data": halves },
    ] });
    let (id, trace) = (format!("request-{number}"), format!("{:032x}", number + 1));
    let every = |every: Option<u64>| every.is_some_and(|every| number.is_multiple_of(every));
    let row = Row {
        request_id: id.clone(),
        trace_id: if behaviour.tears_traces { "f".repeat(32) } else { trace.clone() },
        revision: REVISION,
    };
    let copies =
        if every(behaviour.loses_rows_every) { 0 } else { 1 + usize::from(every(behaviour.doubles_rows_every)) };
    mesh.rows.lock().unwrap().entry(correlation.to_owned()).or_default().extend(vec![row; copies]);
    let revision = if behaviour.misroutes { LIVE } else { REVISION };
    let mut response = Response::builder()
        .header("content-type", "application/json")
        .header("slipway-request-id", id)
        .header("slipway-revision", revision.to_string());
    if !behaviour.names_no_trace {
        response = response.header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"));
    }
    response.body(Body::from(body.to_string())).unwrap()
}

#[async_trait]
impl World for Mesh {
    async fn golden(&self, _reference: &BlobReference) -> Result<Bytes, WorldError> {
        Ok(self.golden.clone())
    }

    fn pass(&self, deployment: &DeploymentId) -> Result<String, WorldError> {
        Ok(format!("mark-of-{deployment}"))
    }

    async fn rows(&self, _: &DeploymentId, correlation: &str, offset: u64) -> Result<RowPage, WorldError> {
        if self.behaviour.sinks_away {
            return Err(WorldError::Metrics("nobody answers".into()));
        }
        const PAGE: usize = 100;
        let rows = self.rows.lock().unwrap().get(correlation).cloned().unwrap_or_default();
        let offset = usize::try_from(offset).unwrap();
        let page: Vec<Row> = rows.iter().skip(offset).take(PAGE).cloned().collect();
        let after = offset + page.len();
        Ok(RowPage { rows: page, next: (after < rows.len()).then_some(after as u64), pending: 0 })
    }

    async fn workers(&self, _: &DeploymentId, _: RevisionId) -> Result<Vec<Worker>, WorldError> {
        // It is started anew under its name.
        let since = Timestamp(self.kills.load(Ordering::SeqCst));
        let worker = Worker { instance: "w".into(), address: "127.0.0.1:1".into(), since, ready: true };
        Ok(if self.has_worker() { vec![worker] } else { Vec::new() })
    }

    async fn kill(&self, _: &DeploymentId, _: RevisionId, _: &Worker) -> Result<(), WorldError> {
        self.kills.fetch_add(1, Ordering::SeqCst);
        *self.killed.lock().unwrap() = Some(Instant::now());
        Ok(())
    }

    async fn live(&self, _: &DeploymentId, revision: RevisionId) -> Result<BTreeMap<String, AnswerCounts>, WorldError> {
        assert_eq!(revision, LIVE);
        let elapsed = self.begin.elapsed();
        // A thousand requests a second.
        let count = |elapsed: Duration| u64::try_from(elapsed.as_millis()).unwrap();
        let failures = self.behaviour.live_burns_after.map_or(0, |after| count(elapsed.saturating_sub(after)) / 2);
        let counts = AnswerCounts { requests: count(elapsed), failures, buckets: Vec::new() };
        Ok(BTreeMap::from([("ingress-1".to_owned(), counts)]))
    }

    async fn machine(&self, _: &DeploymentId, _: RevisionId) -> Option<Reading> {
        let total = u64::try_from(self.begin.elapsed().as_micros()).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let idle = (total as f64 * (1.0 - self.behaviour.foreign)) as u64;
        Some(Reading { total, idle, ours: BTreeMap::new() })
    }
}

/// Forty golden rows; the labels and numbers of the model.
pub(crate) fn golden() -> Bytes {
    let line = |n: u32| {
        let (a, b) = (f64::from(n), f64::from(n * 7 % 40));
        let line =
            json!({ "inputs": { "X": [a, b] }, "expected": { "label": i64::from(a > b), "p": [a / 2.0, b / 2.0] } });
        format!("{line}\n")
    };
    (0..40).map(line).collect::<String>().into()
}

/// What is proved: 100 requests a second for a quarter of a second, three times, against 250 ms.
pub(crate) fn assignment() -> Assignment {
    let plan = Plan {
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
    };
    let mut validation = Validation::default();
    validation.load.rate = Some("100/s".parse().unwrap());
    validation.load.duration = Span::millis(250);
    // Whoever is about it asks for it.
    validation.faults.clear();
    Assignment {
        deployment: "default.digits".parse().unwrap(),
        revision: REVISION,
        attempt: Attempt(0),
        slo: Slo { latency_p99: Some(Span::millis(250)), availability: 99.9, throughput: None },
        validation,
        access: Access::default(),
        request_timeout: Span::seconds(3),
        inputs: vec![TensorSpec { name: "X".into(), datatype: "FP32".into(), shape: vec![-1, 2] }],
        golden: Some(BlobReference { digest: Digest::of(b"g"), media_type: "application/jsonl".into(), size_bytes: 1 }),
        plan_digest: plan.digest(),
        plan,
        live: None,
        in_production: false,
    }
}

/// The same, with a worker to be killed.
pub(crate) fn assignment_with_kill() -> Assignment {
    let mut assignment = assignment();
    assignment.validation.faults = vec![Fault::WorkerKilled];
    assignment
}

pub(crate) fn live() -> Live {
    Live { revision: LIVE, slo: Slo { latency_p99: None, availability: 99.9, throughput: None } }
}

pub(crate) fn bounds() -> Bounds {
    Bounds {
        warm_up: Span::millis(50),
        overload: Span::millis(200),
        overload_rate: 3_000,
        worker_back: Span::seconds(3),
        sinks_within: Span::millis(600),
        ..Bounds::default()
    }
}

/// So many proofs at a time in this process: more would load the machine for each other beyond what the targets allow.
static TURNS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(3);

/// Proves an assignment against a mesh that behaves so.
pub(crate) async fn prove_with(
    behaviour: Behaviour,
    assignment: &Assignment,
    golden: Bytes,
    bounds: Bounds,
) -> (Proof, Arc<Mesh>) {
    let _turn = TURNS.acquire().await.unwrap();
    let mesh = Mesh::new(behaviour, golden);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let served = Arc::clone(&mesh);
    // On a thread of its own, and ended with the test's process.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let app = Router::new().route("/v2/namespaces/default/models/digits/infer", post(infer)).with_state(served);
            axum::serve(listener, app).await.unwrap();
        });
    });
    let checks = Checks::new(Arc::clone(&mesh) as Arc<dyn World>, target, bounds);
    (checks.prove(assignment).await, mesh)
}

pub(crate) async fn prove(behaviour: Behaviour) -> (Proof, Arc<Mesh>) {
    prove_with(behaviour, &assignment(), golden(), bounds()).await
}
