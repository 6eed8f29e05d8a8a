//! The generator against real HTTP servers with known misbehaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::{Router, http::StatusCode, routing::any};
use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};
use slipway_loadtest::{Client, FailureClass, Limits, Report, Request, Same, Shape, Stop, Target, run};
use std::{
    future::Future,
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A server on a thread of its own, so that the test's runtime is no part of what is measured.
fn serve<F, Fut>(handler: F) -> Target
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = StatusCode> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, Router::new().fallback(any(handler))).await.unwrap();
        });
    });
    format!("http://{address}").parse().unwrap()
}

async fn load(target: &Target, shape: Shape, limits: Limits) -> Report {
    let request = Request {
        method: Method::POST,
        path: PathAndQuery::from_static("/"),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
    };
    run(target, Arc::new(Same(request)), shape, limits, &Stop::default()).await.unwrap()
}

/// Answers each request so long after it came. The tenth that comes cancels the token.
fn answering_after(delay: Duration, tenth: CancellationToken) -> Target {
    let count = Arc::new(AtomicU64::new(0));
    serve(move || {
        if count.fetch_add(1, Ordering::Relaxed) == 9 {
            tenth.cancel();
        }
        async move {
            tokio::time::sleep(delay).await;
            StatusCode::OK
        }
    })
}

/// Answers nothing between `from` and `until` after the first request, and at once otherwise.
fn stalling(from: Duration, until: Duration) -> Target {
    let first = Arc::new(std::sync::OnceLock::new());
    serve(move || {
        let first = Arc::clone(&first);
        async move {
            let since = first.get_or_init(Instant::now).elapsed();
            if since >= from && since < until {
                tokio::time::sleep(until - since).await;
            }
            StatusCode::OK
        }
    })
}

#[tokio::test]
async fn every_request_of_an_open_loop_is_sent_at_its_time_and_counted_once() {
    let seen = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&seen);
    let target = serve(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async { StatusCode::OK }
    });
    let report = load(&target, Shape::Open { rate: 200.0, duration: ms(1_000) }, Limits::default()).await;
    assert_eq!((report.sent, report.ok, report.shed, report.failed()), (200, 200, 0, 0));
    assert_eq!(seen.load(Ordering::Relaxed), 200);
    assert_eq!(report.seconds.iter().map(|second| second.ok).sum::<u64>(), 200);
    assert!((report.throughput - 200.0).abs() < 10.0, "{}", report.throughput);
}

#[tokio::test]
async fn a_stall_shows_in_the_latency_of_everybody_who_was_due_in_it() {
    // 400 ms of 2 s: a fifth of those who wanted to be served had to wait, the first of them almost 400 ms.
    let target = stalling(ms(500), ms(900));
    let open = load(&target, Shape::Open { rate: 100.0, duration: ms(2_000) }, Limits::default()).await;
    assert!(open.latency.p99_ms > 300.0, "{}", open.latency);
    assert!(open.latency.p90_ms > 100.0, "{}", open.latency);
    assert!(open.latency.p50_ms < 100.0, "{}", open.latency);
}

#[tokio::test]
async fn a_caller_who_waits_for_the_stall_does_not_see_it_which_is_why_the_loop_is_open() {
    let target = stalling(ms(500), ms(900));
    let closed = load(&target, Shape::Closed { callers: 1, duration: ms(2_000) }, Limits::default()).await;
    assert!(closed.latency.max_ms > 300.0, "{}", closed.latency);
    assert!(closed.latency.p99_ms < 100.0, "one request of very many: {}", closed.latency);
}

#[tokio::test]
async fn a_stall_is_not_hidden_by_the_bound_on_requests_under_way() {
    // Only two may be under way, so most of those due in the stall are never sent: they are counted, not forgotten.
    let target = stalling(ms(500), ms(900));
    let limits = Limits { max_in_flight: 2, ..Limits::default() };
    let report = load(&target, Shape::Open { rate: 100.0, duration: ms(1_500) }, limits).await;
    assert!(report.shed >= 25, "{}", report.shed);
    assert_eq!(report.due(), 150);
    assert!(report.throughput < 90.0, "{}", report.throughput);
}

#[tokio::test]
async fn failures_are_counted_by_class() {
    let count = Arc::new(AtomicU64::new(0));
    let target = serve(move || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        async move {
            match n % 4 {
                0 => StatusCode::SERVICE_UNAVAILABLE,
                1 => StatusCode::INTERNAL_SERVER_ERROR,
                2 => {
                    tokio::time::sleep(ms(2_000)).await;
                    StatusCode::OK
                }
                _ => StatusCode::OK,
            }
        }
    });
    let limits = Limits { timeout: ms(300), ..Limits::default() };
    let report = load(&target, Shape::Open { rate: 100.0, duration: ms(400) }, limits).await;
    for class in [FailureClass::Status(503), FailureClass::Status(500), FailureClass::Timeout] {
        assert_eq!(report.failed_with(class), 10, "{class}");
    }
    assert_eq!(report.ok, 10);
    assert!(report.latency.max_ms >= 300.0, "what timed out is a latency: {}", report.latency);
}

#[tokio::test]
async fn nobody_there_is_a_failure_to_connect() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = format!("http://127.0.0.1:{port}").parse().unwrap();
    let report = load(&target, Shape::Open { rate: 50.0, duration: ms(200) }, Limits::default()).await;
    assert_eq!(report.failed_with(FailureClass::Connect), 10);
    assert_eq!(report.ok, 0);
}

#[tokio::test]
async fn a_closed_loop_finds_what_goes_through() {
    let target = serve(|| async {
        tokio::time::sleep(ms(20)).await;
        StatusCode::OK
    });
    let report = load(&target, Shape::Closed { callers: 4, duration: ms(1_000) }, Limits::default()).await;
    assert!(report.throughput > 100.0 && report.throughput <= 205.0, "{}", report.throughput);
    assert_eq!(report.backlog.peak, 4);
}

#[tokio::test]
async fn a_run_stops_at_once_and_says_what_was_under_way() {
    let stop = Stop::default();
    let target = answering_after(ms(60_000), stop.now.clone());
    let begin = Instant::now();
    let request = Request {
        method: Method::GET,
        path: PathAndQuery::from_static("/"),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let shape = Shape::Open { rate: 100.0, duration: ms(60_000) };
    let limits = Limits { timeout: ms(60_000), ..Limits::default() };
    let report = run(&target, Arc::new(Same(request)), shape, limits, &stop).await.unwrap();
    assert!(begin.elapsed() < ms(2_000));
    assert!(report.stopped && report.abandoned > 5 && report.abandoned == report.sent, "{report}");
}

#[tokio::test]
async fn enough_sends_no_more_and_waits_for_what_is_under_way() {
    let stop = Stop::default();
    let target = answering_after(ms(300), stop.enough.clone());
    let request = Request {
        method: Method::GET,
        path: PathAndQuery::from_static("/"),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let shape = Shape::Open { rate: 100.0, duration: ms(60_000) };
    let report = run(&target, Arc::new(Same(request)), shape, Limits::default(), &stop).await.unwrap();
    assert!(report.stopped && report.abandoned == 0 && report.ok == report.sent && report.ok > 5, "{report}");
}

#[tokio::test]
async fn dropping_the_run_stops_it() {
    let seen = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&seen);
    let target = serve(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        async { StatusCode::OK }
    });
    let shape = Shape::Open { rate: 100.0, duration: ms(60_000) };
    let dropped = tokio::time::timeout(ms(300), load(&target, shape, Limits::default())).await;
    assert!(dropped.is_err());
    // Whatever was on its way arrives; then nothing more does.
    tokio::time::sleep(ms(200)).await;
    let after = seen.load(Ordering::Relaxed);
    tokio::time::sleep(ms(300)).await;
    assert_eq!(seen.load(Ordering::Relaxed), after);
}

#[tokio::test]
async fn a_generator_that_is_late_says_so() {
    /// A workload that takes 30 ms to make each request: the generator cannot keep 100/s.
    struct Slow(Same);
    impl slipway_loadtest::Workload for Slow {
        fn request(&self, n: u64) -> Request {
            std::thread::sleep(ms(30));
            self.0.request(n)
        }
    }
    let target = serve(|| async { StatusCode::OK });
    let request = Request {
        method: Method::GET,
        path: PathAndQuery::from_static("/"),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let shape = Shape::Open { rate: 100.0, duration: ms(500) };
    let report = run(&target, Arc::new(Slow(Same(request))), shape, Limits::default(), &Stop::default()).await.unwrap();
    assert!(report.late, "{report}");
    assert!(report.to_string().contains("do not trust"), "{report}");
}

#[tokio::test]
async fn connections_are_kept_and_one_that_the_server_closes_is_nobodys_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target: Target = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let opened = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&opened);
    // Three requests a connection, and then it is closed without a word: a server whose patience ends between two requests.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || {
                let mut request = [0; 1_024];
                for _ in 0..3 {
                    if stream.read(&mut request).unwrap_or(0) == 0 {
                        return;
                    }
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                }
            });
        }
    });
    let shape = Shape::Open { rate: 50.0, duration: ms(600) };
    let report = load(&target, shape, Limits::default()).await;
    assert_eq!((report.sent, report.ok), (30, 30), "{report}");
    let opened = opened.load(Ordering::Relaxed);
    assert!((10..15).contains(&opened), "kept for three requests each, unless two were under way: {opened}");
}

#[tokio::test]
async fn a_request_that_meets_a_closing_connection_is_sent_again_on_another() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target: Target = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (close, to_close) = std::sync::mpsc::sync_channel::<()>(1);
    let (closed, is_closed) = std::sync::mpsc::sync_channel::<()>(1);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            assert!(stream.read(&mut [0; 1_024]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            if to_close.recv().is_err() {
                return;
            }
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    let client = Client::new(target, &Limits::default());
    let request = Request {
        method: Method::GET,
        path: PathAndQuery::from_static("/"),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    client.send(request.clone()).await.unwrap();
    // The connection says that it is free; then it is closed while this thread, which would see it, waits.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    close.send(()).unwrap();
    is_closed.recv().unwrap();
    // The runtime hears of it, and this task runs before the one that keeps the connection.
    tokio::task::yield_now().await;
    assert_eq!(client.send(request).await.unwrap().status, StatusCode::OK);
}
