//! Many requests on one WebSocket.

use super::{
    worker::Manner,
    world::{FIRST, Setting, World, body, eventually},
};
use crate::auth::api_key::{KeyHash, tests::KEY};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use slipway_oip::stream::UNDER_WAY;
use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        http::{HeaderName, HeaderValue},
        protocol::frame::coding::CloseCode,
    },
};

const STREAM: &str = "/v2/models/digits/stream";

struct Client(WebSocketStream<TcpStream>);

async fn open(world: &World, path: &str, headers: &[(&str, &str)]) -> Result<Client, (u16, Value)> {
    let mut request = format!("ws://{}{path}", world.address).into_client_request().unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
    }
    let stream = TcpStream::connect(world.address).await.unwrap();
    match client_async(request, stream).await {
        Ok((socket, _)) => Ok(Client(socket)),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err((response.status().as_u16(), serde_json::from_slice(body).unwrap_or_default()))
        }
        Err(error) => panic!("{error}"),
    }
}

fn request(id: &str) -> Value {
    let mut request = body();
    request["id"] = json!(id);
    request
}

impl Client {
    async fn ask(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn hear(&mut self) -> Message {
        tokio::time::timeout(Duration::from_secs(10), self.0.next()).await.expect("something comes").unwrap().unwrap()
    }

    async fn answer(&mut self) -> Value {
        serde_json::from_str(self.hear().await.to_text().unwrap()).unwrap()
    }

    async fn ends(&mut self, code: CloseCode) {
        match self.hear().await {
            Message::Close(Some(frame)) => assert_eq!(frame.code, code, "{frame:?}"),
            other => panic!("{other:?} where {code} ends it"),
        }
    }
}

#[tokio::test]
async fn each_message_is_a_request_answered_under_its_id_and_recorded_for_itself() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    for path in [STREAM, "/v2/models/digits/versions/1-1/stream", "/v2/namespaces/default/models/digits/stream"] {
        let mut client = open(&world, path, &[("x-request-id", "of-the-proxy")]).await.unwrap();
        for id in 0..30 {
            client.ask(&request(&format!("r-{id}"))).await;
        }
        let mut answers = BTreeMap::new();
        for _ in 0..30 {
            let answer = client.answer().await;
            answers.insert(answer["id"].as_str().unwrap().to_owned(), answer["outputs"][0]["data"].clone());
        }
        assert!(answers.len() == 30 && answers.values().all(|data| *data == json!([0.5, 2.0])), "{path}: {answers:?}");
    }
    let mut captured: Vec<_> = world.captured(90).await.into_iter().map(|result| result.request_id).collect();
    captured.sort();
    captured.dedup();
    assert_eq!(captured.len(), 30, "the same thirty ids, three times");
    let summary = world.ingress.routing.load().door(&world.history.id).unwrap().counts[&FIRST].summary();
    assert_eq!((summary.requests, summary.failures), (90, 0));
}

#[tokio::test]
async fn a_bad_message_is_refused_under_its_id_where_it_has_one_and_the_talk_goes_on() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let mut client = open(&world, STREAM, &[]).await.unwrap();
    let mut strange = request("strange");
    strange["inputs"][0]["name"] = json!("z");
    client.ask(&strange).await;
    let refused = client.answer().await;
    assert_eq!((&refused["id"], &refused["code"]), (&json!("strange"), &json!("invalid-argument")));
    assert_eq!(refused["refusals"][0]["path"], json!("inputs[0].name"), "{refused}");
    client.0.send(Message::text("{no document")).await.unwrap();
    let refused = client.answer().await;
    assert_eq!((&refused["id"], &refused["code"]), (&Value::Null, &json!("invalid-argument")));
    worker.set(Manner::Say("overloaded", tonic::Code::ResourceExhausted));
    client.ask(&request("late")).await;
    let refused = client.answer().await;
    assert_eq!(
        (&refused["id"], &refused["code"], &refused["retry_after_s"]),
        (&json!("late"), &json!("overloaded"), &json!(3))
    );
    worker.set(Manner::Answer);
    client.ask(&request("good")).await;
    assert_eq!(client.answer().await["outputs"][0]["data"], json!([0.5, 2.0]));
}

#[tokio::test]
async fn who_may_not_ask_is_refused_before_there_is_a_talk_and_whose_key_is_revoked_is_sent_away() {
    let mut setting = Setting::default();
    setting.history.access = json!({ "apiKeys": true });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let keys = |principal: &str| {
        let hash = KeyHash { sha256: Sha256::digest(KEY).into(), principal: principal.to_owned(), expires: None };
        BTreeMap::from([(world.history.id.clone(), vec![hash])])
    };
    world.ingress.authenticator.api_keys.set(keys("api-key:key-1"));
    let (status, refused) = open(&world, STREAM, &[]).await.err().unwrap();
    assert_eq!((status, &refused["code"]), (401, &json!("unauthenticated")));
    assert_eq!(open(&world, "/v2/models/cats/stream", &[]).await.err().unwrap().0, 404);
    let mut client = open(&world, STREAM, &[("slipway-api-key", KEY)]).await.unwrap();
    client.ask(&request("first")).await;
    assert_eq!(client.answer().await["id"], json!("first"));
    assert_eq!(world.captured(1).await[0].principal, "api-key:key-1");
    world.ingress.authenticator.api_keys.set(BTreeMap::new());
    client.ask(&request("second")).await;
    let refused = client.answer().await;
    assert_eq!((&refused["id"], &refused["code"]), (&json!("second"), &json!("unauthenticated")));
    client.ends(CloseCode::Policy).await;
}

#[tokio::test]
async fn what_is_no_handshake_or_names_one_id_for_all_is_refused_by_name() {
    let world = World::released().await;
    let plain = world.get(STREAM).await;
    assert_eq!((plain.status, &plain.body["refusals"][0]["path"]), (400, &json!("header.upgrade")));
    for (name, value) in [
        ("slipway-request-id", "r"),
        ("idempotency-key", "k"),
        ("prefer", "respond-async"),
        ("slipway-timeout-ms", "0"),
    ] {
        let (status, refused) = open(&world, STREAM, &[(name, value)]).await.err().unwrap();
        assert_eq!((status, &refused["refusals"][0]["path"]), (400, &json!(format!("header.{name}"))));
    }
    assert_eq!(world.infer(&[("upgrade", "h2c"), ("connection", "upgrade")]).await.status, 400);
}

#[tokio::test]
async fn size_rate_and_deadline_are_those_of_each_request() {
    let mut setting = Setting::default();
    // The handshake is a request too.
    setting.history.access = json!({ "anonymous": true, "rateLimit": "3/h" });
    setting.history.http = json!({ "maxBody": "64Ki" });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_secs(60)));
    world.register(&[&worker]);
    let mut client = open(&world, STREAM, &[("slipway-timeout-ms", "200")]).await.unwrap();
    for (id, code) in [("a", "deadline-exceeded"), ("b", "deadline-exceeded"), ("c", "rate-limited")] {
        client.ask(&request(id)).await;
        let refused = client.answer().await;
        assert_eq!((&refused["id"], &refused["code"]), (&json!(id), &json!(code)));
    }
    client.0.send(Message::text("x".repeat(65 * 1024))).await.unwrap();
    client.ends(CloseCode::Size).await;
}

#[tokio::test]
async fn no_more_are_read_than_may_be_under_way_and_who_leaves_takes_them_along() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_secs(60)));
    world.register(&[&worker]);
    let mut client = open(&world, STREAM, &[]).await.unwrap();
    for id in 0..UNDER_WAY - 1 {
        client.ask(&request(&format!("r-{id}"))).await;
    }
    let under_way = || worker.shared.under_way.load(Ordering::SeqCst) as usize;
    eventually("they are under way", || under_way() == UNDER_WAY - 1).await;
    drop(client);
    eventually("none is", || under_way() == 0).await;
    assert_eq!(worker.shared.cancelled.load(Ordering::SeqCst) as usize, UNDER_WAY - 1);
}

#[tokio::test]
async fn a_door_that_closes_answers_what_is_under_way_and_says_that_it_goes_away() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_millis(300)));
    world.register(&[&worker]);
    let mut client = open(&world, STREAM, &[]).await.unwrap();
    client.ask(&request("last")).await;
    eventually("it is under way", || worker.shared.under_way.load(Ordering::SeqCst) == 1).await;
    world.shutdown.cancel();
    assert_eq!(client.answer().await["id"], json!("last"));
    client.ends(CloseCode::Away).await;
    drop(client);
    let ended = tokio::time::timeout(Duration::from_secs(10), world.server);
    ended.await.expect("the door ends").unwrap();
}
