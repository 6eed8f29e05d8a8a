//! What is sent to confuse parsers or to hold connections, and the other ways in: HTTP/2 and TLS.

use super::{
    client::Answer,
    world::{FIRST, INFER, Setting, World, body},
};
use serde_json::json;
use slipway_kernel::Span;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Sends bytes as they are and reads until the server closes; what is still unsaid after a while was not said.
async fn raw(world: &World, text: &str) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    // The server may close before all is sent.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_request_of_doubtful_extent_is_refused_and_its_connection_closed() {
    let world = World::released().await;
    let smuggled = "GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n";
    let post = format!("POST {INFER} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n");
    for head in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: +5\r\n",
        "content-length: 0x5\r\n",
        "content-length: 5, 5\r\n",
        "content-length: 18446744073709551616\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding : chunked\r\n",
        "content-length: 0\r\nx: a\r\n b\r\n",
        "content-length: 0\r\nx: a\0b\r\n",
        "content-length: 0\r\nhost: b\r\n",
        "content-length: 0\r\nupgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
    ] {
        let answer = raw(&world, &format!("{post}{head}\r\n0\r\n\r\n{smuggled}")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?}: nothing after it was answered: {answer}");
    }
    let chunk = raw(&world, &format!("{post}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{smuggled}")).await;
    assert!(!chunk.contains("\"live\""), "{chunk}");
    let no_host = raw(&world, "GET /v2 HTTP/1.1\r\n\r\n").await;
    assert!(no_host.starts_with("HTTP/1.1 400"), "{no_host}");
}

#[tokio::test]
async fn a_client_that_sends_all_of_too_large_a_body_before_it_reads_is_told_why() {
    let world = World::released().await;
    for size in [5 << 20, 30 << 20] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        let head = format!(
            "POST {INFER} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        timeout(Duration::from_secs(10), stream.write_all(&vec![b' '; size]))
            .await
            .unwrap_or_else(|_| panic!("{size}: stuck"))
            .unwrap();
        let mut answer = String::new();
        timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("payload-too-large"), "{size}: {answer}");
    }
}

#[tokio::test]
async fn trailers_say_nothing_about_who_sends_them() {
    let mut setting = Setting::default();
    setting.history.access = json!({ "apiKeys": true });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let own = world.ingress.authenticator.probes.own();
    let head = format!(
        "POST {INFER} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: slipway-probe\r\nconnection: close\r\n\r\n"
    );
    let answer = raw(&world, &format!("{head}2\r\n{{}}\r\n0\r\nslipway-probe: {own}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}

#[tokio::test]
async fn heads_beyond_their_bounds_are_431() {
    let world = World::released().await;
    let large = format!("GET /v2 HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /v2 HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(200));
    let huge = format!("GET /v2 HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", "x".repeat(1 << 20));
    for head in [large, many, huge] {
        let answer = raw(&world, &head).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_dawdles_is_cut_off() {
    let mut setting = Setting::default();
    setting.http.header_timeout = Span::millis(200);
    setting.history.http = json!({ "timeout": "300ms" });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let begun = Instant::now();
    assert_eq!(raw(&world, "POST /v2/models/digits/infer HTTP/1.1\r\nhost: a\r\nx").await, "");
    assert!(begun.elapsed() < Duration::from_secs(5), "a slow head was held");
    let begun = Instant::now();
    let slow_body = format!("POST {INFER} HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{{\"inputs\"");
    let answer = raw(&world, &slow_body).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(5), "a slow body was held");
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    for _ in 0..3 {
        let response = client.post(world.url(INFER)).json(&body()).send().await.unwrap();
        assert_eq!(response.version(), reqwest::Version::HTTP_2);
        assert_eq!(Answer::of(response).await.status, 200);
    }
    let large = client.get(world.url("/v2")).header("x", "x".repeat(20_000)).send().await;
    assert!(large.is_err() || large.unwrap().status().as_u16() == 431);
}

#[tokio::test]
async fn the_door_speaks_tls_and_proves_itself_over_it() {
    use crate::actor::{Effects as _, RealEffects, Subject};
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let mut setting = Setting::default();
    setting.http.tls_certificate = path("cert.pem", made.cert.pem());
    setting.http.tls_key = path("key.pem", made.signing_key.serialize_pem());
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let url = format!("https://localhost:{}{INFER}", world.address.port());
    let response = client.post(url).json(&body()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
    let plain = raw(&world, "GET /v2 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!plain.contains("HTTP/1.1 200"), "{plain}");
    let door = std::sync::Arc::clone(world.ingress.routing.load().door(&world.history.id).unwrap());
    let subject = Subject {
        ingress: &world.ingress,
        id: &world.history.id,
        target: &door.entry.targets[&FIRST],
        door: &world.door,
    };
    let proofs = RealEffects.prove(subject).await.unwrap();
    assert!(proofs[1].detail.contains("spec.access.anonymous"), "{proofs:?}");
    assert_eq!(worker.calls(), 2);
}
