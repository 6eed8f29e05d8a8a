//! Clients that hold on to connections, or break the rules of the protocol, beside one that behaves: it is answered every time, memory
//! stays bounded, and the server answers as before when they are gone. How fast the one that behaves is answered is printed.

mod frames;
mod neighbour;

use crate::{alone, client::Caller, documents::Document};
use frames::Http2;
use neighbour::{Neighbour, Way, resident};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slipway_testkit::{Mesh, ServedModel, eventually};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// What a bad client waits for is there within this.
const SOON: Duration = Duration::from_secs(20);

/// How often the client that behaves is answered beside the others.
const ANSWERS: usize = 100;

/// A server, and how it is asked well.
struct Server<'a> {
    what: &'static str,
    pid: u32,
    way: &'a Way,
}

impl Server<'_> {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.way.address).await.unwrap()
    }

    /// A good request; the connection is kept.
    fn request(&self) -> String {
        self.head(self.way.body.len(), "") + &self.way.body
    }

    fn head(&self, length: usize, more: &str) -> String {
        let Way { path, address, key, .. } = self.way;
        format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
             {more}content-length: {length}\r\n\r\n"
        )
    }

    /// Lets bad clients do something beside one that behaves, which is answered so often while their connections are there. Meanwhile the
    /// server has at most `most` MiB of memory more.
    async fn beside(&self, what: &str, most: u64, doing: impl Future<Output = Vec<TcpStream>>) {
        let before = resident(self.pid);
        let neighbour = Neighbour::start(self.way.clone());
        let held = doing.await;
        let so_far = neighbour.asked();
        eventually(SOON, || async { neighbour.asked() >= so_far + ANSWERS }).await;
        let grown = resident(self.pid).saturating_sub(before) >> 20;
        drop(held);
        let told = neighbour.stop().await;
        println!("{}: {what}: memory +{grown} MiB; the one that behaves: {told}", self.what);
        assert!(told.failures.is_empty(), "{}: {what}: {:?}", self.what, told.failures);
        assert!(grown <= most, "{}: {what}: {grown} MiB more, at most {most} are meant", self.what);
    }
}

/// All that a connection says until it is closed.
async fn last_words(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is an end too.
    let _ = timeout(SOON, stream.read_to_end(&mut said)).await.expect("the server closes");
    String::from_utf8_lossy(&said).into_owned()
}

/// Connections that send heads, bodies, or take answers, as slowly as they like.
async fn slow(server: &Server<'_>) {
    // 200 at 64 KiB of head and some 50 KiB of buffers and state each are 23 MiB; the heap keeps as much again.
    server
        .beside("200 slow bodies", 64, async {
            let mut streams = Vec::new();
            for _ in 0..200 {
                let mut stream = server.connect().await;
                let head = server.head(server.way.body.len(), "slipway-timeout-ms: 2000\r\n");
                stream.write_all((head + &server.way.body[..20]).as_bytes()).await.unwrap();
                streams.push(stream);
            }
            for stream in streams {
                let said = timeout(SOON, first_answer(stream)).await.expect("an answer");
                assert!(said.starts_with("HTTP/1.1 408") && said.contains("body-too-slow"), "{said}");
            }
            Vec::new()
        })
        .await;
    server
        .beside("200 slow heads", 64, async {
            let mut streams = Vec::new();
            for _ in 0..200 {
                let mut stream = server.connect().await;
                stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\nx: ").await.unwrap();
                streams.push(stream);
            }
            // Byte by byte. When they are cut off is a matter of `http.header_timeout`, of which the ingress has a test.
            for _ in 0..20 {
                for stream in &mut streams {
                    stream.write_all(b"x").await.unwrap();
                }
            }
            streams
        })
        .await;
    server
        .beside("30 that ask and never read", 64, async {
            let mut streams = Vec::new();
            let many = server.request().repeat(200);
            // Fewer than may wait at a worker: this is not about overload.
            for _ in 0..30 {
                let mut stream = server.connect().await;
                // Until nothing more is taken: the server stops to read when its answers are not.
                let _ = timeout(Duration::from_millis(20), stream.write_all(many.as_bytes())).await;
                streams.push(stream);
            }
            streams
        })
        .await;
}

/// The first answer on a connection that is kept.
async fn first_answer(mut stream: TcpStream) -> String {
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece).await.unwrap_or(0);
        said.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&said);
        if read == 0 || text.contains("\r\n\r\n{") && text.ends_with('}') {
            return text.into_owned();
        }
    }
}

/// Connections of which the client's half is closed.
async fn half_closed(server: &Server<'_>) {
    server
        .beside("half-closed", 32, async {
            for _ in 0..50 {
                let mut stream = server.connect().await;
                stream.write_all((server.head(1_000, "") + "{\"inputs\"").as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                let said = last_words(stream).await;
                assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "a body cut off: {said}");
                let mut stream = server.connect().await;
                stream.write_all(server.request().as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                let said = last_words(stream).await;
                // A client that closes looks the same, and its work is dropped.
                assert!(said.is_empty() || said.starts_with("HTTP/1.1 200"), "a whole request: {said}");
            }
            let mut http2 = Http2::connect(server).await;
            for stream in 0..100 {
                // Begun, and nothing more.
                http2.headers(2 * stream + 1, false).await;
            }
            let mut good = Http2::connect(server).await;
            good.headers(1, true).await;
            assert!(good.answered(1).await, "an empty body is answered");
            vec![http2.into_stream(), good.into_stream()]
        })
        .await;
}

/// What a client of HTTP/2 can do to a server for nothing.
async fn floods(server: &Server<'_>) {
    server
        .beside("rapid reset", 64, async {
            let mut http2 = Http2::connect(server).await;
            let mut sent = 0;
            while sent < 10_000 && http2.headers(2 * sent + 1, false).await && http2.reset(2 * sent + 1).await {
                sent += 1;
            }
            http2.expect_the_end().await;
            println!("{}: sent away after {sent} resets at the latest", server.what);
            Vec::new()
        })
        .await;
    server
        .beside("endless head", 64, async {
            let mut http2 = Http2::connect(server).await;
            let mut sent = 0;
            http2.begin_headers(1).await;
            while sent < 10_000 && http2.continuation(1).await {
                sent += 1;
            }
            http2.expect_the_end().await;
            println!("{}: sent away after {sent} continuations at the latest", server.what);
            Vec::new()
        })
        .await;
    server
        .beside("pings and settings that nobody reads the answers of", 64, async {
            let mut http2 = Http2::connect(server).await;
            let mut sent = 0;
            while sent < 10_000 && http2.ping().await && http2.settings().await {
                sent += 1;
            }
            vec![http2.into_stream()]
        })
        .await;
}

/// Ten thousand connections on which nothing is said, if this process may have as many files.
async fn idle(server: &Server<'_>) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let most = limit.maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap().saturating_sub(1_000));
    let count = most.min(10_000);
    // A silent connection is some 5 KiB; 16 KiB for each of the 4,096 places leave room for what the heap keeps.
    server
        .beside(&format!("{count} idle"), 64, async {
            let mut streams = Vec::with_capacity(count);
            for _ in 0..count {
                streams.push(timeout(SOON, server.connect()).await.expect("a connection is taken"));
            }
            // Who comes after them is answered, on a connection of its own each time.
            for _ in 0..20 {
                let said = timeout(SOON, async {
                    let mut stream = server.connect().await;
                    stream.write_all(server.request().as_bytes()).await.unwrap();
                    first_answer(stream).await
                });
                let said = said.await.expect("a newcomer is answered beside them");
                assert!(said.starts_with("HTTP/1.1 200"), "{said}");
            }
            streams
        })
        .await;
}

async fn all(server: &Server<'_>) {
    slow(server).await;
    half_closed(server).await;
    floods(server).await;
    idle(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_door_clients_that_hold_on_or_break_the_rules_hurt_nobody_else() {
    let _alone = alone().await;
    let mut mesh = Mesh::start().await;
    Document::digits("digits", "digits-v1").deploy(mesh.folder()).await.ok();
    let caller = Caller::of(mesh.folder(), "digits");
    let way = Way::new(caller.door.trim_start_matches("http://"), &caller.key);
    all(&Server { what: "door", pid: mesh.program().pid(), way: &way }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_worker_that_is_asked_directly_clients_that_hold_on_or_break_the_rules_hurt_nobody_else() {
    let _alone = alone().await;
    let worker = ServedModel::start(&crate::documents::example("digits-v1.onnx"), &["--name", "digits"]).await;
    let way = Way::new(&worker.http, "");
    all(&Server { what: "worker", pid: worker.program.pid(), way: &way }).await;
}
