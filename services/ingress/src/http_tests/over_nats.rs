//! The doors over NATS: a real broker with permissions, clients with keys of their own, and a door as in the other tests. Where the queues
//! of revisions and the results are a double, as there, it can be told to be full or away.

use super::{
    worker::{Manner, Worker},
    world::{FIRST, Setting, World, body, eventually as soon},
};
use crate::{
    auth::api_key::{KeyHash, tests::KEY},
    channels::nats::{self, Door},
};
use prost::Message as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use slipway_bus::{Bus, DeadLetter, InboundRequest, Principal, topology};
use slipway_kernel::{DeploymentId, RequestId, RevisionId, Service};
use slipway_oip::reply::{ERROR, ERROR_CODE, FAILURE, LENGTH_OF_DOCUMENT};
use slipway_proto::{
    inference::{ModelInferRequest, ModelInferResponse},
    oip::{Tensor, raw_request, raw_response, response_tensors},
    slipway::inference::v1::{InferenceRequest, InferenceResult, inference_result::Outcome},
};
use slipway_testkit::{Heard, ModelClient, NatsServer, eventually};
use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering, time::Duration};

const LONG: Duration = Duration::from_secs(30);
const KEYED: (&str, &str) = ("slipway-api-key", KEY);
const JSON: (&str, &str) = ("content-type", "application/json");

fn id(text: &str) -> DeploymentId {
    text.parse().unwrap()
}

/// Where requests for the one deployment are left.
fn leave() -> String {
    topology::inbound(&id("default.digits"))
}

/// Where it is asked.
fn ask() -> String {
    topology::asked(&id("default.digits"))
}

/// Where no client may make anything be said.
fn intake() -> String {
    topology::intake(&id("default.digits").namespace, "deploy")
}

struct Doors {
    world: World,
    nats: NatsServer,
    bus: Bus,
    client: ModelClient,
    worker: Worker,
}

impl Doors {
    /// One released revision that wants an API key, with both doors open and a worker behind it.
    async fn open() -> Self {
        let doors = Self::closed(|setting| setting.history.nats = true).await;
        doors.serve();
        doors
    }

    /// The same before the doors are served, with a setting changed.
    async fn closed(change: impl FnOnce(&mut Setting)) -> Self {
        let mut setting = Setting::default();
        setting.history.access = json!({ "apiKeys": true });
        change(&mut setting);
        setting.history.release(1, 1);
        let world = World::open(setting).await;
        let hash = KeyHash { sha256: Sha256::digest(KEY).into(), principal: "api-key:key-1".to_owned(), expires: None };
        world.ingress.authenticator.api_keys.set(BTreeMap::from([(world.history.id.clone(), vec![hash])]));
        let worker = world.worker(FIRST, "a");
        world.register(&[&worker]);
        let nats = NatsServer::secured_for(&["default.shop", "team.spy"]).await;
        let (bus, client) = (nats.bus_as(Service::Ingress).await, nats.model_client("default.shop").await);
        Self { world, nats, bus, client, worker }
    }

    fn serve(&self) {
        let ingress = Arc::clone(&self.world.ingress);
        tokio::spawn(nats::serve(ingress, self.bus.clone(), self.world.shutdown.clone()));
    }

    /// Asks as soon as somebody listens.
    async fn ask(&self, headers: &[(&str, &str)], payload: impl Into<bytes::Bytes>) -> Heard {
        let payload = payload.into();
        eventually(LONG, || async { self.client.ask(&ask(), headers, payload.clone()).await }).await
    }

    /// What was put into queues of revisions.
    fn queued(&self) -> Vec<(RevisionId, InferenceRequest)> {
        let queued = self.world.mailbox.queued.lock().unwrap();
        queued.iter().map(|(revision, queued)| (*revision, InferenceRequest::decode(queued.clone()).unwrap())).collect()
    }

    async fn until_queued(&self, count: usize) -> Vec<(RevisionId, InferenceRequest)> {
        soon("the requests are queued", || self.queued().len() >= count).await;
        self.queued()
    }

    /// The dead letters, once there are so many.
    async fn letters(&self, count: usize) -> Vec<(u64, DeadLetter)> {
        let operator = self.nats.bus(Principal::Operator).await;
        let ids = eventually(LONG, || async {
            let letters = operator.dead().list().await.unwrap();
            (letters.len() >= count).then(|| letters.iter().map(|letter| letter.id).collect::<Vec<_>>())
        })
        .await;
        let mut letters = Vec::new();
        for id in ids {
            letters.push((id, operator.dead().show(id).await.unwrap().unwrap()));
        }
        letters
    }

    /// How many requests the stream at the door has.
    async fn waiting(&self) -> u64 {
        self.nats.messages("INBOUND").await
    }

    fn record(&self, id: &str, outcome: Outcome) {
        let result = InferenceResult {
            revision: "1-1".to_owned(),
            request_id: id.to_owned(),
            outcome: Some(outcome),
            ..InferenceResult::default()
        };
        let key = (self.world.history.id.clone(), id.parse::<RequestId>().unwrap());
        self.world.mailbox.results.lock().unwrap().insert(key, result.encode_to_vec().into());
    }
}

fn message() -> Vec<u8> {
    request().encode_to_vec()
}

/// A request that nothing gives an id.
fn nameless() -> Vec<u8> {
    ModelInferRequest { id: String::new(), ..request() }.encode_to_vec()
}

fn request() -> ModelInferRequest {
    raw_request("digits", "mine", [Tensor::from_f32("x", vec![1, 2], &[0.5, 2.0]).unwrap()])
}

fn document() -> Vec<u8> {
    body().to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_answered_in_the_form_of_the_question() {
    let doors = Doors::open().await;
    let answered = doors.ask(&[KEYED, ("slipway-request-id", "r-1")], message()).await;
    let response = ModelInferResponse::decode(answered.payload.clone()).unwrap();
    assert_eq!((response.model_version.as_str(), response.id.as_str()), ("1-1", "mine"), "{answered:?}");
    assert_eq!((answered.header("slipway-request-id"), answered.header("slipway-revision")), ("r-1", "1-1"));
    assert_eq!(answered.header("content-type"), "application/protobuf");
    let captured = doors.world.captured(1).await;
    assert_eq!((captured[0].request_id.as_str(), captured[0].principal.as_str()), ("r-1", "api-key:key-1"));

    let answered = doors.ask(&[("authorization", &format!("Bearer {KEY}")), JSON], document()).await;
    assert_eq!(answered.json()["outputs"][0]["name"], "y", "{answered:?}");
    assert_eq!(answered.header("content-type"), "application/json");

    let asked = json!({
        "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": { "binary_data_size": 8 } }],
        "parameters": { "binary_data_output": true },
    });
    let mut binary = asked.to_string().into_bytes();
    let length = binary.len().to_string();
    binary.extend([0.5_f32, 2.0].iter().flat_map(|number| number.to_le_bytes()));
    let answered = doors.ask(&[KEYED, ("inference-header-content-length", &length)], binary).await;
    let split: usize = answered.header(LENGTH_OF_DOCUMENT).parse().unwrap();
    assert_eq!(answered.payload.len() - split, 8, "{answered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_kept_says_so() {
    let doors = Doors::closed(|setting| {
        setting.history.nats = true;
        setting.history.serving = json!({ "cache": {} });
    })
    .await;
    doors.serve();
    for told in ["miss", "hit"] {
        assert_eq!(doors.ask(&[KEYED], message()).await.header("slipway-cache"), told);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_is_refused_in_the_words_of_the_other_doors() {
    let doors = Doors::open().await;
    let strange = json!({ "inputs": [{ "name": "z", "datatype": "FP32", "shape": [1, 2], "data": [1, 2] }] });
    let wrong_key = KEY.replace('a', "b");
    let large = vec![b' '; 4 * 1_024 * 1_024 + 1];
    for (headers, payload, status, word) in [
        (&[][..], message(), "401", "unauthenticated"),
        (&[("slipway-api-key", wrong_key.as_str())], message(), "401", "unauthenticated"),
        (&[KEYED], b"\xff\xff".to_vec(), "400", "invalid-argument"),
        (&[KEYED, JSON], strange.to_string().into_bytes(), "400", "invalid-argument"),
        (&[KEYED, JSON], b"{".to_vec(), "400", "invalid-argument"),
        (&[KEYED, JSON], large, "413", "payload-too-large"),
        (&[KEYED, ("slipway-timeout-ms", "0")], message(), "400", "invalid-argument"),
        (&[KEYED, ("slipway-revision", "7-1")], message(), "404", "not-found"),
        (&[KEYED, ("prefer", "respond-async")], message(), "400", "invalid-argument"),
    ] {
        let refused = doors.ask(headers, payload).await;
        assert_eq!((refused.header(ERROR_CODE), refused.header(FAILURE)), (status, word), "{refused:?}");
        let told = refused.json();
        assert_eq!(
            (told["code"].as_str(), told["error"].as_str().unwrap().replace('\n', " ").as_str()),
            (Some(word), refused.header(ERROR))
        );
    }
    let unknown = doors.client.ask(&topology::asked(&id("default.nobody")), &[KEYED, JSON], document()).await.unwrap();
    assert_eq!(unknown.header(FAILURE), "not-found");
    doors.worker.set(Manner::After(LONG));
    let late = doors.ask(&[KEYED, ("slipway-timeout-ms", "50")], message()).await;
    assert_eq!(late.header(FAILURE), "deadline-exceeded");
    assert_eq!(doors.worker.calls(), 1, "only what was let in and fits went further");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_door_that_the_spec_does_not_open_is_closed_and_says_so() {
    let mut doors = Doors::closed(|_| ()).await;
    doors.serve();
    let refused = doors.ask(&[KEYED], message()).await;
    assert_eq!(refused.header(FAILURE), "permission-denied");
    assert_eq!(refused.header(ERROR), "deployment `default.digits` takes no requests over NATS (spec.inputs: nats)");
    assert_eq!(doors.ask(&[], message()).await.header(FAILURE), "unauthenticated", "a stranger is told nothing of it");
    // What is left there is told too, once it is certain that the log has nothing newer to say.
    let reply = doors.client.answers("a");
    doors.client.leave(&leave(), &[KEYED, ("slipway-reply-to", &reply)], message()).await.unwrap();
    assert_eq!(doors.client.hear().await.header(FAILURE), "permission-denied");
    assert!(doors.queued().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_is_in_the_queue_of_its_revision_and_out_of_the_stream() {
    let doors = Doors::open().await;
    let reply = doors.client.answers("a");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let headers = [
        KEYED,
        JSON,
        ("Nats-Msg-Id", "m-1"),
        ("slipway-reply-to", reply.as_str()),
        ("slipway-correlation-id", "c-1"),
        ("slipway-timeout-ms", "60000"),
        ("traceparent", trace),
    ];
    doors.client.leave(&leave(), &headers, document()).await.unwrap();
    let (revision, queued) = doors.until_queued(1).await.remove(0);
    assert_eq!((revision, queued.revision.as_str(), queued.request_id.as_str()), (FIRST, "1-1", "m-1"));
    assert_eq!((queued.principal.as_str(), queued.correlation_id.as_str()), ("api-key:key-1", "c-1"));
    assert_eq!(queued.deadline_unix_ms - queued.accepted_unix_ms, 60_000);
    assert!(queued.traceparent.contains("0af7651916cd43dd8448eb211c80319c"), "{}", queued.traceparent);
    assert_eq!(queued.body.unwrap().model_version, "1-1");
    let wanted = queued.reply_to.unwrap();
    assert_eq!((wanted.subject, wanted.json), (reply, true));
    eventually(LONG, || async { doors.waiting().await == 0 }).await;
    // Without an id it gets one by which its sender is known.
    doors.client.leave(&leave(), &[KEYED], nameless()).await.unwrap();
    let (_, queued) = doors.until_queued(2).await.remove(1);
    let id: RequestId = queued.request_id.parse().unwrap();
    let (tickets, deployment) = (&doors.world.ingress.tickets, &doors.world.history.id);
    assert!(tickets.accepted_at(&id, deployment, "api-key:key-1").is_some(), "{id}");
    assert!(queued.reply_to.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_again_is_one_request_and_another_under_its_id_is_refused() {
    let mut doors = Doors::open().await;
    let reply = doors.client.answers("a");
    let headers = [KEYED, ("slipway-request-id", "r"), ("slipway-reply-to", reply.as_str())];
    doors.client.leave(&leave(), &headers, message()).await.unwrap();
    doors.until_queued(1).await;
    let response = raw_response("digits", "1-1", "r", [Tensor::from_f32("y", vec![1], &[7.0]).unwrap()]);
    doors.record("r", Outcome::Response(response));
    doors.client.leave(&leave(), &headers, message()).await.unwrap();
    let answered = doors.client.hear().await;
    let tensors = response_tensors(&ModelInferResponse::decode(answered.payload.clone()).unwrap()).unwrap();
    assert_eq!(tensors[0].as_f32().unwrap(), [7.0]);
    assert_eq!(answered.header("slipway-request-id"), "r");
    assert_eq!(doors.queued().len(), 1, "it was answered by what was recorded");
    let other = raw_request("digits", "mine", [Tensor::from_f32("x", vec![1, 2], &[9.0, 9.0]).unwrap()]);
    doors.client.leave(&leave(), &headers, other.encode_to_vec()).await.unwrap();
    assert_eq!(doors.client.hear().await.header(FAILURE), "idempotency-conflict");
    assert_eq!(doors.queued().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_be_handled_is_told_and_kept_with_its_reason_but_without_its_credential() {
    let mut doors = Doors::open().await;
    let reply = doors.client.answers("a");
    let reply = ("slipway-reply-to", reply.as_str());
    let strange = json!({ "inputs": [{ "name": "z", "datatype": "FP32", "shape": [1, 2], "data": [1, 2] }] });
    for (n, (headers, payload, word, reason)) in [
        (&[reply][..], message(), "unauthenticated", "authentication failed"),
        (&[reply, KEYED], b"\xff\xff".to_vec(), "invalid-argument", "payload"),
        (&[reply, KEYED, JSON], strange.to_string().into_bytes(), "invalid-argument", "inputs[0].name: z"),
        (&[reply, KEYED, JSON], b"not json".to_vec(), "invalid-argument", "body"),
        (&[reply, KEYED, ("content-type", "text/plain")], message(), "invalid-argument", "header.content-type"),
        (&[reply, KEYED, ("slipway-request-id", "a.b")], message(), "invalid-argument", "header.slipway-request-id"),
        (&[reply, KEYED, ("slipway-revision", "7-1")], message(), "not-found", "no revision `7-1`"),
    ]
    .into_iter()
    .enumerate()
    {
        doors.client.leave(&leave(), headers, payload.clone()).await.unwrap();
        let told = doors.client.hear().await;
        assert_eq!(told.header(FAILURE), word, "{told:?}");
        let (_, letter) = doors.letters(n + 1).await.pop().unwrap();
        assert!(letter.reason.starts_with(&format!("{word}: ")) && letter.reason.contains(reason), "{letter:?}");
        assert_eq!((letter.service.as_str(), &letter.subject), ("ingress", &leave()));
        assert_eq!(letter.payload, payload);
        assert!(!format!("{letter:?}").contains(KEY), "{letter:?}");
    }
    // A reply that is no inbox: nobody is told, and nothing is published there.
    doors.client.leave(&leave(), &[KEYED, ("slipway-reply-to", &intake())], message()).await.unwrap();
    let (_, letter) = doors.letters(8).await.pop().unwrap();
    assert!(letter.reason.contains("header.slipway-reply-to"), "{letter:?}");
    assert_eq!(doors.nats.messages("INTAKE").await, 0);
    assert!(doors.queued().is_empty());
    eventually(LONG, || async { doors.waiting().await == 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_a_message_lies_in_the_store_of_the_namespace() {
    let mut doors = Doors::open().await;
    let bucket = topology::uploads(&id("default.digits").namespace);
    doors.client.put(&bucket, "mine", &message()).await.unwrap();
    let (named, reply) = (("ce-dataref", "mine"), doors.client.answers("a"));
    assert_eq!(doors.ask(&[KEYED, named], "").await.header("slipway-revision"), "1-1");
    doors.client.leave(&leave(), &[KEYED, named, ("slipway-request-id", "r")], "").await.unwrap();
    assert_eq!(doors.until_queued(1).await[0].1.request_id, "r");
    // The same id with other bytes under the same name is another request.
    doors.client.put(&bucket, "mine", &nameless()).await.unwrap();
    let headers = [KEYED, named, ("slipway-request-id", "r"), ("slipway-reply-to", &reply)];
    doors.client.leave(&leave(), &headers, "").await.unwrap();
    assert_eq!(doors.client.hear().await.header(FAILURE), "idempotency-conflict");

    let other = doors.nats.model_client("team.spy").await;
    assert!(other.put(&bucket, "theirs", b"x").await.is_err(), "it is the store of another namespace");
    let long = "x".repeat(200);
    for (headers, payload) in [
        (&[("ce-dataref", "nothing")][..], &b""[..]),
        (&[("ce-dataref", "")], b""),
        (&[("ce-dataref", long.as_str())], b""),
        (&[named, ("ce-dataref", "other")], b""),
        (&[named], b"x"),
    ] {
        let headers = [&[KEYED], headers].concat();
        let told = doors.ask(&headers, payload).await;
        let body = String::from_utf8_lossy(&told.payload);
        assert_eq!(told.header(FAILURE), "invalid-argument", "{headers:?}: {body}");
        assert!(body.contains("header.ce-dataref") || body.contains("\"payload\""), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_is_sent_again_is_let_in_as_whom_it_was() {
    let doors = Doors::closed(|_| ()).await;
    doors.serve();
    doors.client.leave(&leave(), &[KEYED, ("slipway-request-id", "r")], message()).await.unwrap();
    let (id, letter) = doors.letters(1).await.pop().unwrap();
    assert!(letter.reason.starts_with("permission-denied"), "{letter:?}");
    // The door is opened by a new generation; then a person sends the letter again.
    let Doors { mut world, nats, bus: _bus, client: _client, worker: _worker } = doors;
    world.history.nats = true;
    world.history.release(2, 1);
    world.apply();
    assert!(nats.bus(Principal::Operator).await.dead().redrive(id).await.unwrap());
    soon("it is queued", || world.mailbox.queued.lock().unwrap().len() == 1).await;
    let (revision, queued) = world.mailbox.queued.lock().unwrap()[0].clone();
    let queued = InferenceRequest::decode(queued).unwrap();
    assert_eq!((revision, queued.request_id.as_str()), (RevisionId::new(2, 1), "r"));
    assert_eq!(queued.principal, "api-key:key-1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_handled_now_waits_and_comes_again() {
    let mut doors = Doors::open().await;
    let mailbox = Arc::clone(&doors.world.mailbox);
    mailbox.full.store(true, Ordering::SeqCst);
    doors.client.leave(&leave(), &[KEYED, ("slipway-request-id", "full")], message()).await.unwrap();
    eventually(LONG, || async { doors.nats.redelivered().await > 0 }).await;
    assert_eq!((doors.waiting().await, doors.queued().len()), (1, 0));
    mailbox.full.store(false, Ordering::SeqCst);
    assert_eq!(doors.until_queued(1).await[0].1.request_id, "full");

    mailbox.away.store(true, Ordering::SeqCst);
    doors.client.leave(&leave(), &[KEYED, ("slipway-request-id", "away")], message()).await.unwrap();
    eventually(LONG, || async { doors.nats.redelivered().await > 0 }).await;
    mailbox.away.store(false, Ordering::SeqCst);
    assert_eq!(doors.until_queued(2).await[1].1.request_id, "away");

    // Until its deadline, and then it is told.
    mailbox.full.store(true, Ordering::SeqCst);
    let reply = doors.client.answers("a");
    let headers = [KEYED, ("slipway-reply-to", reply.as_str()), ("slipway-timeout-ms", "1000")];
    doors.client.leave(&leave(), &headers, message()).await.unwrap();
    assert_eq!(doors.client.hear().await.header(FAILURE), "deadline-exceeded");
    assert_eq!(doors.queued().len(), 2);
    eventually(LONG, || async { doors.waiting().await == 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_the_first_release() {
    let mut setting = Setting::default();
    setting.history.nats = true;
    setting.history.deploy(1, 1);
    let mut world = World::open(setting).await;
    let broker = NatsServer::secured_for(&["default.shop"]).await;
    let client = broker.model_client("default.shop").await;
    let bus = broker.bus_as(Service::Ingress).await;
    tokio::spawn(nats::serve(Arc::clone(&world.ingress), bus, world.shutdown.clone()));
    client.leave(&leave(), &[], message()).await.unwrap();
    eventually(LONG, || async { broker.redelivered().await > 0 }).await;
    assert!(world.mailbox.queued.lock().unwrap().is_empty());
    world.history.release(1, 1);
    world.apply();
    soon("it is queued", || world.mailbox.queued.lock().unwrap().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_ends_between_queue_and_acknowledgement_loses_nothing_and_makes_no_second_request() {
    let doors = Doors::closed(|setting| setting.history.nats = true).await;
    for headers in [&[KEYED][..], &[KEYED, ("slipway-request-id", "r")]] {
        doors.client.leave(&leave(), headers, nameless()).await.unwrap();
    }
    let queue = doors.bus.inbound().consume().await.unwrap();
    let door = || Door::new(Arc::clone(&doors.world.ingress), doors.bus.clone());
    let take = async || -> Vec<InboundRequest> {
        let mut taken = Vec::new();
        while taken.len() < 2 {
            taken.extend(queue.next(2, LONG).await.unwrap());
        }
        taken
    };
    let ids = |queued: Vec<(RevisionId, InferenceRequest)>| -> Vec<String> {
        let mut ids: Vec<String> = queued.into_iter().map(|(_, request)| request.request_id).collect();
        ids.sort();
        ids
    };
    let first = take().await;
    for request in &first {
        assert_eq!(door().settle(request).await, None);
    }
    let once = ids(doors.queued());
    assert_eq!(once.len(), 2);
    // It ends here: nothing was acknowledged.
    for request in first {
        request.give_back(Duration::ZERO).await.unwrap();
    }
    for request in take().await {
        assert_eq!(request.attempt, 2);
        assert_eq!(door().settle(&request).await, None);
        request.ack().await.unwrap();
    }
    // The queue knows the ids again, which the double here does not do.
    let mut twice = ids(doors.queued());
    twice.dedup();
    assert_eq!(twice, once);
    eventually(LONG, || async { doors.waiting().await == 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_reaches_its_namespace_and_hears_its_own_answers_and_no_others() {
    let doors = Doors::open().await;
    doors.ask(&[KEYED], message()).await;
    let spy = doors.nats.model_client("team.spy").await;
    let (queue, own_queue) =
        (topology::request_queue(&id("default.digits"), FIRST), topology::request_queue(&id("team.x"), FIRST));
    for subject in [ask(), leave(), queue, own_queue, "$JS.API.STREAM.DELETE.INBOUND".to_owned()] {
        spy.publish(&subject, None, &[], message()).await;
    }
    for subject in ["_SLIPWAY_CLIENT.>", "_SLIPWAY_CLIENT.default.shop.>", "_INBOX.>", topology::ASKED] {
        spy.subscribe(subject).await;
    }
    let complaints = eventually(LONG, || async {
        let complaints = spy.complaints();
        (complaints.len() >= 9).then_some(complaints)
    })
    .await;
    assert!(
        complaints.iter().all(|complaint| complaint.to_lowercase().contains("permissions violation")),
        "{complaints:?}"
    );
    // A reply that is no inbox of the namespace asked is answered nowhere.
    for reply in [&intake(), "_SLIPWAY_CLIENT.team.spy.x", "$JS.API.STREAM.PURGE.INBOUND"] {
        doors.client.publish(&ask(), Some(reply), &[KEYED], message()).await;
    }
    doors.ask(&[KEYED], message()).await;
    assert_eq!(doors.worker.calls(), 2, "what could not be answered was not computed");
    assert!(doors.queued().is_empty() && doors.nats.messages("INTAKE").await == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_what_was_asked_is_answered_and_nothing_new_is_heard() {
    let doors = Doors::closed(|setting| setting.history.nats = true).await;
    let ingress = Arc::clone(&doors.world.ingress);
    let serving = tokio::spawn(nats::serve(ingress, doors.bus.clone(), doors.world.shutdown.clone()));
    doors.ask(&[KEYED], message()).await;
    doors.worker.set(Manner::After(Duration::from_secs(4)));
    let asked = {
        let client = doors.nats.model_client("default.shop").await;
        tokio::spawn(async move { client.ask(&ask(), &[KEYED], message()).await })
    };
    soon("it is under way", || doors.worker.shared.under_way.load(Ordering::SeqCst) == 1).await;
    doors.world.shutdown.cancel();
    // A stranger is refused at once, for as long as somebody listens.
    eventually(LONG, || async { doors.client.ask(&ask(), &[], message()).await.is_err() }).await;
    assert!(!serving.is_finished());
    assert_eq!(asked.await.unwrap().unwrap().header("slipway-revision"), "1-1");
    serving.await.unwrap().unwrap();
}
