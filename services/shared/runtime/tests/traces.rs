//! Spans as a collector receives them: several services in one process, and then no collector at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use axum::{Router, body::Body, response::Response, routing::post};
use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame as BodyFrame;
use slipway_runtime::{
    AdminConfig, CancellationToken, Common, Process, ProcessConfig, TelemetryConfig,
    drain::{self, HttpLimits},
    trace,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::{sleep, timeout},
};
use tracing::{Instrument, info_span};

/// A collector that keeps the bytes of each message.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Bytes>>>);

impl Collector {
    async fn start(self, end: CancellationToken) -> SocketAddr {
        let (listener, address) = drain::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let app = Router::new().route(
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            post(move |body: Body| async move {
                let message = body.collect().await.unwrap().to_bytes();
                self.0.lock().unwrap().push(message);
                answer()
            }),
        );
        let limits = HttpLimits { bound: Duration::from_millis(100), ..HttpLimits::default() };
        tokio::spawn(drain::http(listener, app, limits, end));
        address
    }

    /// The message that holds all of these texts, once it has come.
    async fn message_with(&self, texts: &[&str]) -> Bytes {
        let found = async {
            loop {
                let messages = self.0.lock().unwrap().clone();
                if let Some(message) =
                    messages.into_iter().find(|message| texts.iter().all(|text| holds(message, text)))
                {
                    return message;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), found).await.unwrap_or_else(|_| panic!("no message with {texts:?}"))
    }
}

fn holds(message: &[u8], text: &str) -> bool {
    message.windows(text.len()).any(|window| window == text.as_bytes())
}

/// An empty gRPC message and the status that all is well.
fn answer() -> Response {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    let frames =
        [Ok::<_, std::io::Error>(BodyFrame::data(Bytes::from_static(&[0; 5]))), Ok(BodyFrame::trailers(trailers))];
    let body = Body::new(StreamBody::new(futures::stream::iter(frames)));
    Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

async fn metrics(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

fn count(metrics: &str, outcome: &str) -> u64 {
    let series = format!("slipway_spans_total{{outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_exports_as_itself_and_a_lost_collector_costs_only_spans() {
    let (collector, collector_end) = (Collector::default(), CancellationToken::new());
    let collector_address = collector.clone().start(collector_end.clone()).await;
    let common = Common {
        admin: AdminConfig { listen: "127.0.0.1:0".parse().ok() },
        telemetry: TelemetryConfig {
            otlp_endpoint: Some(format!("http://{collector_address}")),
            ..TelemetryConfig::default()
        },
        ..Common::default()
    };
    let process = Process::start(ProcessConfig { name: "up", common }).await.unwrap();
    let admin = process.admin_address().unwrap();
    let (ingress, sink_writer) = (process.frame("ingress"), process.frame("sink-writer"));

    let (send, receive) = oneshot::channel::<String>();
    ingress.tasks.spawn("request", async move {
        // The span of a shared crate, in a task of the service's own.
        async {
            let inner = info_span!(target: "slipway_bus::log", "span-of-the-bus");
            send.send(async { trace::current_traceparent().unwrap() }.instrument(inner).await).unwrap();
        }
        .instrument(info_span!(target: "slipway_ingress::stack", "span-of-ingress"))
        .await;
        // Somewhere hyper or tonic runs a task of their own, where only the target tells.
        let detached = info_span!(target: "slipway_validator::load", parent: None, "span-of-validator");
        tokio::spawn(async {}.instrument(detached)).await.unwrap();
        info_span!(target: "hyper::proto", "span-of-a-library").in_scope(|| ());
    });
    sink_writer.tasks.spawn("write", async move {
        let traceparent = receive.await.unwrap();
        let span = info_span!(target: "slipway_bus::results", "span-of-sink-writer");
        assert!(trace::parent_from(&span, &traceparent));
        span.in_scope(|| ());
    });

    let of_ingress = collector.message_with(&["service.name", "ingress", "span-of-ingress", "span-of-the-bus"]).await;
    let of_sink_writer = collector.message_with(&["service.name", "sink-writer", "span-of-sink-writer"]).await;
    let of_validator = collector.message_with(&["service.name", "validator", "span-of-validator"]).await;
    assert!(!holds(&of_ingress, "span-of-sink-writer") && !holds(&of_ingress, "span-of-validator"));
    assert!(!holds(&of_sink_writer, "span-of-ingress") && !holds(&of_validator, "span-of-ingress"));
    let library = collector.0.lock().unwrap().iter().any(|message| holds(message, "span-of-a-library"));
    assert!(!library, "libraries are not traced");

    let exported = timeout(Duration::from_secs(20), async {
        while count(&metrics(admin).await, "exported") < 4 {
            sleep(Duration::from_millis(20)).await;
        }
        metrics(admin).await
    });
    let before = exported.await.unwrap();
    assert_eq!((count(&before, "failed"), count(&before, "dropped")), (0, 0));

    collector_end.cancel();
    let failed = timeout(Duration::from_secs(30), async {
        loop {
            info_span!(target: "slipway_ingress::stack", "lost").in_scope(|| ());
            if count(&metrics(admin).await, "failed") > 0 {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    failed.await.expect("what the collector did not take is counted");

    let began = Instant::now();
    process.drain().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "the drain took {:?}", began.elapsed());
}
