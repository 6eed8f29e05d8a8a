//! The admin endpoints of a process: `/livez`, `/readyz`, `/metrics`, `/status`.
//!
//! - `/livez` is 200 as long as the async runtime answers at all. Nothing else: a process that waits for its broker must
//!   not be killed for it.
//! - `/readyz` is 200 when every condition of every service holds and no shutdown has begun, else 503 with the list.
//! - `/metrics` is OpenMetrics text, `/status` JSON for people and the console.
//!
//! The endpoints are bounded tightly, because they render the state of the whole process and asking costs nothing: a
//! few scrapers at once, a few seconds each, and whoever comes too many is told 503 at once instead of making the
//! service's own work wait.

use crate::{
    drain::{self, HttpLimits, NotDrained},
    frame::Frame,
    metrics::{CONTENT_TYPE, Exposition},
};
use axum::{
    BoxError, Json, Router,
    error_handling::HandleErrorLayer,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

/// Requests at once: a Prometheus pair, a kubelet's probes and a person fit.
const MAX_REQUESTS: usize = 8;
/// A scrape that takes longer is of no use to anyone; Prometheus gives up after 10 s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections, and how long they may idle or dawdle.
const LIMITS: HttpLimits = HttpLimits {
    max_connections: 32,
    max_streams: 16,
    max_head: 16 * 1024,
    header_timeout: Duration::from_secs(75),
    notice: Duration::ZERO,
    bound: Duration::from_secs(1),
};

/// What the endpoints tell about.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    pub(crate) process: &'static str,
    pub(crate) started: Instant,
    pub(crate) shutdown: CancellationToken,
    pub(crate) frames: Arc<Mutex<Vec<Frame>>>,
    pub(crate) exposition: Exposition,
}

impl Board {
    fn frames(&self) -> Vec<Frame> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn readiness(&self) -> (bool, Value) {
        let mut not_ready: Vec<Value> = Vec::new();
        if self.shutdown.is_cancelled() {
            not_ready.push(json!({ "service": self.process, "condition": "shutdown", "reason": "draining" }));
        }
        for frame in self.frames() {
            not_ready.extend(
                frame
                    .health
                    .not_ready()
                    .into_iter()
                    .map(|one| json!({ "service": frame.service, "condition": one.condition, "reason": one.reason })),
            );
        }
        (not_ready.is_empty(), json!({ "ready": not_ready.is_empty(), "notReady": not_ready }))
    }

    fn status(&self) -> Value {
        let (ready, _) = self.readiness();
        let services: BTreeMap<&str, Value> = self
            .frames()
            .iter()
            .map(|frame| {
                let status = json!({
                    "ready": frame.health.is_ready(),
                    "conditions": frame.health.states(),
                    "tasks": frame.tasks.running(),
                    "status": frame.status.values(),
                });
                (frame.service, status)
            })
            .collect();
        json!({
            "process": self.process,
            "version": crate::VERSION,
            "pid": std::process::id(),
            "uptimeSeconds": self.started.elapsed().as_secs(),
            "ready": ready,
            "draining": self.shutdown.is_cancelled(),
            "services": services,
        })
    }
}

/// Serves the endpoints until `end`, which comes after the drain of everything else so that the drain can be watched.
pub(crate) async fn serve(listener: TcpListener, board: Board, end: CancellationToken) -> Result<(), NotDrained> {
    drain::http(listener, router(board), LIMITS, end).await
}

fn router(board: Board) -> Router {
    let bounds = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(overload))
        .load_shed()
        .concurrency_limit(MAX_REQUESTS)
        .timeout(REQUEST_TIMEOUT);
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(|State(board): State<Board>| async move { Json(board.status()) }))
        .layer(bounds)
        .with_state(board)
}

async fn overload(error: BoxError) -> Response {
    let reason =
        if error.is::<tower::timeout::error::Elapsed>() { "took too long" } else { "too many requests at once" };
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], format!("admin endpoint: {reason}\n"))
        .into_response()
}

async fn readyz(State(board): State<Board>) -> Response {
    let (ready, body) = board.readiness();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

async fn metrics(State(board): State<Board>) -> Response {
    match board.exposition.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "a metric cannot be encoded\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        config::{AdminConfig, Common},
        process::{Process, ProcessConfig},
    };
    use prometheus_client::metrics::counter::Counter;
    use serde_json::Value;
    use std::net::SocketAddr;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    async fn process() -> (Process, SocketAddr) {
        let admin = AdminConfig { listen: "127.0.0.1:0".parse().ok() };
        let common = Common { admin, ..Common::default() };
        let process = Process::start(ProcessConfig { name: "up", common }).await.unwrap();
        let address = process.admin_address().unwrap();
        (process, address)
    }

    /// Status line, head and body.
    async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn a_process_is_ready_when_every_service_is() {
        let (process, address) = process().await;
        let (ingress, validator) = (process.frame("ingress"), process.frame("validator"));
        let nats = ingress.health.condition("nats");
        let (status, _, body) = get(address, "/readyz").await;
        assert_eq!(status, 503);
        assert_eq!(
            body,
            r#"{"ready":false,"notReady":[{"service":"ingress","condition":"nats","reason":"starting"}]}"#
        );
        assert_eq!(get(address, "/livez").await.0, 200);
        nats.set_ready();
        validator.health.condition("nats").set_ready();
        let (status, _, body) = get(address, "/readyz").await;
        assert_eq!((status, body.as_str()), (200, r#"{"ready":true,"notReady":[]}"#));
        process.drain().await.unwrap();
    }

    #[tokio::test]
    async fn a_draining_process_is_alive_and_not_ready() {
        let (process, address) = process().await;
        let frame = process.frame("ingress");
        let (leave, wait) = tokio::sync::oneshot::channel::<()>();
        frame.tasks.spawn("slow", async move {
            let _ = wait.await;
        });
        let draining = tokio::spawn(process.drain());
        frame.shutdown.cancelled().await;
        let (status, _, body) = get(address, "/readyz").await;
        assert!(status == 503 && body.contains("draining"), "{body}");
        assert_eq!(get(address, "/livez").await.0, 200);
        leave.send(()).unwrap();
        draining.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_of_the_process_and_its_services() {
        let (process, address) = process().await;
        let counter = Counter::<u64>::default();
        let ingress = process.frame("ingress");
        ingress.metrics.with(|registry| registry.register("requests", "Requests", counter.clone()));
        counter.inc();
        let (status, head, body) = get(address, "/metrics").await;
        assert_eq!(status, 200);
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
        assert!(body.contains("slipway_requests_total{service=\"ingress\"} 1\n"), "{body}");
        assert!(body.contains("process_resident_memory_bytes "), "{body}");
        assert!(body.ends_with("# EOF\n"));
        process.drain().await.unwrap();
    }

    #[tokio::test]
    async fn status_tells_what_runs_and_how_it_is() {
        let (process, address) = process().await;
        let ingress = process.frame("ingress");
        ingress.status.set("routes", &2);
        ingress.health.condition("nats").set_not_ready("no answer");
        ingress.tasks.spawn("listener", ingress.shutdown.clone().cancelled_owned());
        let (status, _, body) = get(address, "/status").await;
        assert_eq!(status, 200);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["process"], "up");
        assert_eq!(body["ready"], false);
        assert_eq!(body["services"]["ingress"]["status"]["routes"], 2);
        assert_eq!(body["services"]["ingress"]["conditions"]["nats"]["reason"], "no answer");
        assert_eq!(body["services"]["ingress"]["tasks"]["listener"], 1);
        assert_eq!(get(address, "/nothing").await.0, 404);
        process.drain().await.unwrap();
    }
}
