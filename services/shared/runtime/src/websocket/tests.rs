//! Talks over real connections, with the client's half of the same library.

use super::*;
use crate::drain;
use axum::{Router, extract::State, routing::get};
use futures::{SinkExt as _, StreamExt as _};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::{net::TcpStream, sync::Notify, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message},
};

const LIMITS: Limits = Limits { message: 1_000, under_way: 3 };

/// Answers in capitals; `wait` waits to be told, `end` ends the talk.
#[derive(Clone)]
struct Server {
    sockets: WebSockets,
    go: Arc<Notify>,
    under_way: Arc<AtomicUsize>,
    memory: usize,
    held: Arc<AtomicUsize>,
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn open(State(server): State<Server>, request: Request<Body>) -> Response<Body> {
    let (own, memory, held) = (server.clone(), server.memory, Arc::clone(&server.held));
    let hold = move |bytes| {
        held.store(bytes, Ordering::SeqCst);
        bytes <= memory
    };
    let accepted = server.sockets.accept(request, LIMITS, Box::new(hold), move |text| {
        let server = own.clone();
        async move {
            server.under_way.fetch_add(1, Ordering::SeqCst);
            let _under_way = UnderWay(Arc::clone(&server.under_way));
            if text == "wait" {
                server.go.notified().await;
            }
            let ends = (text == "end").then_some((CloseCode::Policy, "you said so"));
            Answer { text: text.to_uppercase(), ends }
        }
    });
    accepted.unwrap_or_else(|refused| Response::builder().status(400).body(Body::from(refused.to_string())).unwrap())
}

struct World {
    server: Server,
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

async fn world(most: usize, memory: usize) -> World {
    let shutdown = CancellationToken::new();
    let server = Server {
        sockets: WebSockets::new(most, shutdown.clone()),
        go: Arc::default(),
        under_way: Arc::default(),
        memory,
        held: Arc::default(),
    };
    let (listener, address) = drain::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let app = Router::new().route("/", get(open)).with_state(server.clone());
    let (sockets, closing) = (server.sockets.clone(), shutdown.clone());
    let serving = tokio::spawn(async move {
        drain::http(listener, app, drain::HttpLimits::default(), closing).await.unwrap();
        sockets.ended().await;
    });
    World { server, address, shutdown, serving }
}

impl World {
    async fn client(&self) -> Result<Client, tungstenite::Error> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        client_async(format!("ws://{}/", self.address), stream).await.map(|(socket, _)| Client(socket))
    }

    async fn until(&self, count: usize) {
        let waiting = async {
            while self.server.under_way.load(Ordering::SeqCst) != count {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), waiting).await.expect("as many are under way");
    }
}

struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn hear(&mut self) -> Message {
        let heard = timeout(Duration::from_secs(10), self.0.next()).await.expect("something is said");
        heard.unwrap().unwrap()
    }

    async fn hears(&mut self, text: &str) {
        assert_eq!(self.hear().await, Message::text(text));
    }

    async fn ends(&mut self, code: CloseCode) {
        match self.hear().await {
            Message::Close(Some(frame)) => assert_eq!(frame.code, code, "{frame:?}"),
            other => panic!("{other:?} where {code} ends the talk"),
        }
    }
}

#[tokio::test]
async fn messages_are_answered_in_any_order_and_a_talk_ends_with_its_word() {
    let world = world(8, 1 << 20).await;
    let mut client = world.client().await.unwrap();
    client.say("wait").await;
    client.say("b").await;
    client.hears("B").await;
    world.server.go.notify_one();
    client.hears("WAIT").await;
    client.say("end").await;
    client.hears("END").await;
    client.ends(CloseCode::Policy).await;
}

#[tokio::test]
async fn nothing_is_read_while_as_many_as_may_be_are_under_way_and_who_leaves_takes_them_along() {
    let world = world(8, 1 << 20).await;
    let mut client = world.client().await.unwrap();
    for _ in 0..LIMITS.under_way {
        client.say("wait").await;
    }
    client.say("more").await;
    world.until(LIMITS.under_way).await;
    assert!(timeout(Duration::from_millis(100), client.0.next()).await.is_err(), "one more is not read");
    world.server.go.notify_one();
    // Room for one: it is read and answered.
    let heard = [client.hear().await, client.hear().await];
    assert!(heard.contains(&Message::text("WAIT")) && heard.contains(&Message::text("MORE")), "{heard:?}");
    drop(client);
    world.until(0).await;
}

#[tokio::test]
async fn what_is_too_large_or_breaks_the_protocol_ends_the_talk_with_its_code() {
    let small = world(8, 500).await;
    let mut client = small.client().await.unwrap();
    client.say(&"x".repeat(900)).await;
    client.ends(CloseCode::Again).await;
    // Many small messages never add up.
    let mut client = small.client().await.unwrap();
    for _ in 0..20 {
        client.say(&"x".repeat(100)).await;
        client.hears(&"X".repeat(100)).await;
        assert_eq!(small.server.held.load(Ordering::SeqCst), 0, "a message that was taken is held by nobody here");
    }
    let world = world(8, 1 << 20).await;
    let mut client = world.client().await.unwrap();
    client.say(&"x".repeat(1_001)).await;
    client.ends(CloseCode::Size).await;
    let mut client = world.client().await.unwrap();
    client.0.send(Message::binary(vec![0; 10])).await.unwrap();
    client.ends(CloseCode::Unsupported).await;
    // A frame that is not masked, and a text that is none.
    for (frame, code) in
        [(&[0x81, 1, b'x'][..], CloseCode::Protocol), (&[0x81, 0x81, 0, 0, 0, 0, 0xff][..], CloseCode::Invalid)]
    {
        let mut client = world.client().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(client.0.get_mut(), frame).await.unwrap();
        client.ends(code).await;
    }
}

#[tokio::test]
async fn a_server_that_ends_answers_what_is_under_way_and_says_so() {
    let world = world(8, 1 << 20).await;
    let mut client = world.client().await.unwrap();
    client.say("wait").await;
    world.until(1).await;
    world.shutdown.cancel();
    client.say("late").await;
    assert!(timeout(Duration::from_millis(50), client.0.next()).await.is_err(), "nothing more is read");
    world.server.go.notify_one();
    client.hears("WAIT").await;
    client.ends(CloseCode::Away).await;
    drop(client);
    timeout(Duration::from_secs(10), world.serving).await.expect("the server ends").unwrap();
}

#[tokio::test]
async fn talks_are_as_many_as_there_are_places_and_a_plain_request_is_none() {
    let world = world(1, 1 << 20).await;
    let first = world.client().await.unwrap();
    let Err(tungstenite::Error::Http(refused)) = world.client().await else { panic!("there is one place") };
    assert_eq!(refused.status(), 400);
    drop(first);
    let again = async { while world.client().await.is_err() {} };
    timeout(Duration::from_secs(10), again).await.expect("the place is free again");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanished_is_found_out_by_its_silence() {
    let (ours, theirs) = tokio::io::duplex(1_024);
    let (closing, began) = (CancellationToken::new(), tokio::time::Instant::now());
    let answer = |text| async { Answer { text, ends: None } };
    talk::run(ours, LIMITS, Box::new(|_| true), closing, answer).await;
    assert!((60..70).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    drop(theirs);
}
