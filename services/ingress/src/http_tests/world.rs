//! A door with one deployment behind it, and what a test may turn.

use super::{authority::Authority, client::Answer, mailbox::MemoryMailbox, worker::Worker};
use crate::{
    actor::OwnDoor,
    admission::Admission,
    auth::{Authenticator, api_key::ApiKeys, issuers::Issuers, outbound::Outbound, probe::Probes},
    capture::Capture,
    channels::http::HttpDoor,
    config::{AuthConfig, HttpConfig, LimitsConfig},
    limits,
    stack::{Ingress, stack},
    table::{
        Routing,
        build::{build, tests::History},
    },
    telemetry::IngressMetrics,
    ticket::Tickets,
    upstream::Pool,
};
use serde_json::{Value, json};
use slipway_kernel::{RevisionId, Span};
use slipway_proto::slipway::inference::v1::InferenceResult;
use slipway_runtime::{CancellationToken, Frame, websocket::WebSockets};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

pub(super) struct Setting {
    pub(super) limits: LimitsConfig,
    pub(super) http: HttpConfig,
    pub(super) worker_wait: Duration,
    pub(super) history: History,
    pub(super) drain: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            limits: LimitsConfig::default(),
            http: HttpConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..HttpConfig::default() },
            worker_wait: Duration::from_secs(5),
            history: History::new(),
            drain: Duration::from_secs(5),
        }
    }
}

pub(super) struct World {
    pub(super) ingress: Arc<Ingress>,
    pub(super) mailbox: Arc<MemoryMailbox>,
    pub(super) authority: Authority,
    pub(super) history: History,
    pub(super) address: SocketAddr,
    pub(super) door: OwnDoor,
    pub(super) shutdown: CancellationToken,
    pub(super) server: JoinHandle<()>,
    pub(super) http: reqwest::Client,
    applied: u64,
}

pub(super) const FIRST: RevisionId = RevisionId::new(1, 1);
pub(super) const INFER: &str = "/v2/models/digits/infer";

impl World {
    /// One released revision with anonymous access.
    pub(super) async fn released() -> Self {
        let mut setting = Setting::default();
        setting.history.release(1, 1);
        Self::open(setting).await
    }

    pub(super) async fn open(setting: Setting) -> Self {
        slipway_runtime::tls::install_provider();
        let Setting { limits: bounds, http, worker_wait, history, drain } = setting;
        let shutdown = CancellationToken::new();
        let (frame, mailbox) = (Frame::for_test("ingress"), Arc::new(MemoryMailbox::default()));
        let metrics = IngressMetrics::register(&frame.metrics);
        let ingress = Arc::new(Ingress {
            routing: Routing::default(),
            pool: Pool::new(Duration::from_secs(1), http.lanes()),
            authenticator: Authenticator {
                api_keys: ApiKeys::default(),
                issuers: Issuers::new(Outbound::new(&AuthConfig::default()).unwrap()),
                probes: Probes::new(Vec::new()),
            },
            admission: Admission::new(&bounds),
            limits: bounds,
            worker_wait,
            mailbox: Arc::<MemoryMailbox>::clone(&mailbox),
            capture: Capture::new(1 << 20, metrics.clone()),
            tickets: Tickets::new(b"a test"),
            metrics,
            clock: frame.clock.clone(),
            health: frame.health.clone(),
            websockets: WebSockets::new(limits::WEBSOCKETS, shutdown.clone()),
            closing: shutdown.clone(),
        });
        let captured = Arc::clone(&ingress);
        tokio::spawn(async move { captured.capture.run(captured.mailbox.as_ref()).await });
        let authority = Authority::new();
        ingress.pool.set_identity(authority.ingress());
        let door = HttpDoor::open(&http, drain).await.unwrap();
        let (address, certificate) = (door.address, door.certificate.clone());
        let serving = door.serve(stack(Arc::clone(&ingress)), ingress.websockets.clone(), shutdown.clone());
        let server = tokio::spawn(async move { serving.await.unwrap() });
        let own = OwnDoor { address, advertised: address.to_string(), certificate };
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        let mut world = Self {
            ingress,
            mailbox,
            authority,
            history,
            address,
            door: own,
            shutdown,
            server,
            http: client,
            applied: 0,
        };
        world.apply();
        world
    }

    /// Applies what the history says.
    pub(super) fn apply(&mut self) {
        self.applied += 1;
        let entry = build(&self.history.fold());
        let id = self.history.id.clone();
        self.ingress.routing.apply(&self.ingress.admission, [(id, entry)], self.applied, self.applied);
    }

    pub(super) fn worker(&self, revision: RevisionId, instance: &str) -> Worker {
        Worker::start(&self.authority, &self.history.id, revision, instance)
    }

    /// Says who is registered.
    pub(super) fn register(&self, workers: &[&Worker]) {
        self.ingress.pool.set_seats(workers.iter().map(|worker| worker.seat.clone()).collect());
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.http.post(self.url(path)).json(body)
    }

    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        Answer::of(request.send().await.unwrap()).await
    }

    /// A good request.
    pub(super) async fn infer(&self, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.post(INFER, &body());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    /// What was captured, once there are so many.
    pub(super) async fn captured(&self, count: usize) -> Vec<InferenceResult> {
        let results = || {
            let batches = self.mailbox.captured.lock().unwrap();
            let all = batches.iter().flat_map(|(_, batch)| batch.iter());
            all.map(|captured| captured.result.clone().unwrap()).collect::<Vec<_>>()
        };
        eventually("the results are captured", || results().len() >= count).await;
        results()
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(self.url(path))).await
    }
}

/// Limits with few permits and little patience.
pub(super) fn tight(per_deployment: usize) -> LimitsConfig {
    LimitsConfig { in_flight_per_deployment: per_deployment, queue_wait: Span::millis(50), ..LimitsConfig::default() }
}

pub(super) fn body() -> Value {
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 2] }] })
}

/// Waits for what another task brings about.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), waiting).await.is_ok(), "{what}");
}
