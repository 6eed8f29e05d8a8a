//! Inference that waits: bounded queues, redelivery, moving, results once.

use super::support::{LONG, deployment};
use bytes::Bytes;
use prost::Message as _;
use slipway_bus::{
    Accepted, AcceptedRequest, BlobError, CaptureBatch, DeadLetter, MAX_PAYLOAD_BYTES, Principal, QueueError, Recorded,
    ReplySubject,
    topology::{self, MAX_INBOUND_REQUESTS, MAX_QUEUED_REQUESTS, PAYLOADS},
};
use slipway_kernel::{Digest, RequestId, RevisionId, Service, Timestamp};
use slipway_proto::{
    failure::FailureCode,
    slipway::inference::v1::{InferenceResult, inference_result::Outcome},
};
use slipway_testkit::{NatsServer, eventually};
use std::time::Duration;
use tokio::time::timeout;

const ONE: RevisionId = RevisionId::new(1, 1);
const TWO: RevisionId = RevisionId::new(1, 2);

fn request(n: usize) -> RequestId {
    format!("request-{n}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_is_taken_and_comes_back_until_it_is_done() {
    let server = NatsServer::ready().await;
    let (ingress, worker) = (server.bus_as(Service::Ingress).await, server.bus_as(Service::InferenceWorker).await);
    let id = deployment("digits");
    for _ in 0..2 {
        // Repeated, it is one.
        ingress.requests().publish(&id, ONE, &request(1), Bytes::from_static(b"x"), Some("t")).await.unwrap();
    }
    let queue = worker.requests().pull(&id, ONE).await.unwrap();
    let mut taken = queue.next(10, LONG).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].attempt, taken[0].payload.as_ref()), (1, b"x".as_slice()));
    assert_eq!((taken[0].request_id.clone(), taken[0].traceparent.as_deref()), (request(1), Some("t")));
    taken[0].working().await.unwrap();
    taken.pop().unwrap().give_back().await.unwrap();
    let again = queue.next(10, LONG).await.unwrap().pop().unwrap();
    assert_eq!(again.attempt, 2);
    again.ack().await.unwrap();
    eventually(LONG, || async { ingress.requests().depth(&id, ONE).await.unwrap() == 0 }).await;
    assert!(queue.next(10, Duration::from_millis(100)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_fills_no_other() {
    let server = NatsServer::ready().await;
    let ingress = server.bus_as(Service::Ingress).await;
    let id = deployment("digits");
    let limit = usize::try_from(MAX_QUEUED_REQUESTS).unwrap();
    let numbers: Vec<usize> = (0..limit).collect();
    for chunk in numbers.chunks(100) {
        let queued = futures::future::join_all(chunk.iter().map(|n| {
            let (requests, id, request) = (ingress.requests(), id.clone(), request(*n));
            async move { requests.publish(&id, ONE, &request, Bytes::from_static(b"x"), None).await }
        }));
        assert!(queued.await.into_iter().all(|queued| queued.is_ok()));
    }
    let full = ingress.requests().publish(&id, ONE, &request(limit), Bytes::new(), None).await;
    assert!(matches!(full, Err(QueueError::Full)), "{full:?}");
    assert!(ingress.requests().publish(&id, TWO, &request(0), Bytes::new(), None).await.is_ok());
    let large = Bytes::from(vec![0; 5 << 20]);
    let large = ingress.requests().publish(&id, TWO, &request(1), large, None).await;
    assert!(matches!(large, Err(QueueError::TooLarge { .. })));
    let most = Bytes::from(vec![0; 4 << 20]);
    assert!(ingress.requests().publish(&id, TWO, &request(2), most, None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_for_a_message_lies_beside_the_queue_until_its_request_is_done() {
    let server = NatsServer::secured().await;
    let (ingress, worker) = (server.bus_as(Service::Ingress).await, server.bus_as(Service::InferenceWorker).await);
    let controller = server.bus_as(Service::Controller).await;
    let id = deployment("digits");
    let pieces = async || server.messages(&topology::objects_stream(PAYLOADS)).await;
    let data = Bytes::from((0..5 << 20).map(|n| u8::try_from(n % 251).unwrap()).collect::<Vec<u8>>());
    let envelope = Bytes::from_static(b"envelope");
    for _ in 0..2 {
        // Repeated, it is one, and so is its data.
        ingress.requests().publish_with_data(&id, ONE, &request(1), envelope.clone(), &data, None).await.unwrap();
        // In pieces of half a mebibyte, and what they are.
        assert_eq!(pieces().await, 11);
    }
    // What it lies in is nobody's who only reads requests, and moving it does not touch it.
    assert_eq!(controller.requests().move_all(&id, ONE, TWO).await.unwrap(), 1);
    let queue = worker.requests().pull(&id, TWO).await.unwrap();
    let taken = queue.next(1, LONG).await.unwrap().pop().unwrap();
    assert!(taken.payload == envelope && taken.data().await.unwrap() == data);
    assert!(taken.data_ref.is_some());
    taken.done().await.unwrap();
    eventually(LONG, || async { pieces().await == 0 }).await;

    // A request of which the data is gone says so; so does one that has none.
    ingress.requests().publish_with_data(&id, TWO, &request(2), envelope.clone(), &data, None).await.unwrap();
    ingress.requests().publish(&id, TWO, &request(3), envelope.clone(), None).await.unwrap();
    server.purge(&topology::objects_stream(PAYLOADS), ">").await;
    let mut taken = Vec::new();
    while taken.len() < 2 {
        taken.extend(queue.next(2, LONG).await.unwrap());
    }
    for taken in taken {
        assert_eq!(taken.data_ref.is_some(), taken.request_id == request(2));
        assert!(matches!(taken.data().await, Err(BlobError::NotFound { .. })));
        taken.done().await.unwrap();
    }

    // What has no room, in the store or in the queue, leaves nothing behind.
    let limit = usize::try_from(MAX_QUEUED_REQUESTS).unwrap();
    let large = Bytes::from(vec![0; MAX_PAYLOAD_BYTES]);
    let mut stored = 0;
    let full = loop {
        let sent =
            ingress.requests().publish_with_data(&id, ONE, &request(10 + stored), envelope.clone(), &large, None).await;
        match sent {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, QueueError::Full), "{full:?}");
    assert_eq!(stored, 3, "256 MiB, less what each message takes besides");
    let kept = pieces().await;
    assert_eq!(kept, 3 * 130, "129 pieces and a description each");
    for chunk in (10 + stored..10 + limit).collect::<Vec<_>>().chunks(100) {
        let (requests, id, envelope) = (ingress.requests(), &id, &envelope);
        let queued = chunk.iter().map(|n| {
            let (requests, request) = (requests.clone(), request(*n));
            async move { requests.publish(id, ONE, &request, envelope.clone(), None).await }
        });
        assert!(futures::future::join_all(queued).await.into_iter().all(|queued| queued.is_ok()));
    }
    let full = ingress.requests().publish_with_data(&id, ONE, &request(10 + limit), envelope, &data, None).await;
    assert!(matches!(full, Err(QueueError::Full)), "{full:?}");
    assert_eq!(pieces().await, kept);
    let too_large = Bytes::from(vec![0; MAX_PAYLOAD_BYTES + 1]);
    let refused = ingress.requests().publish_with_data(&id, TWO, &request(4), Bytes::new(), &too_large, None).await;
    assert!(matches!(refused, Err(QueueError::TooLarge { limit: MAX_PAYLOAD_BYTES, .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_leave_is_kept_until_it_is_dealt_with_and_a_full_door_refuses_and_fills_no_other() {
    let server = NatsServer::secured_for(&["default.shop"]).await;
    let (client, ingress) = (server.model_client("default.shop").await, server.bus_as(Service::Ingress).await);
    let (digits, cats) = (topology::inbound(&deployment("digits")), topology::inbound(&deployment("cats")));
    let limit = usize::try_from(MAX_INBOUND_REQUESTS).unwrap();
    let first = client.leave(&digits, &[("b", "2"), ("A", "1"), ("b", "3")], "x").await.unwrap();
    let numbers: Vec<usize> = (1..limit).collect();
    for chunk in numbers.chunks(100) {
        let left = futures::future::join_all(chunk.iter().map(|_| client.leave(&digits, &[], "x"))).await;
        assert!(left.into_iter().all(|left| left.is_ok()));
    }
    let full = client.leave(&digits, &[], "x").await.unwrap_err();
    assert!(full.contains("maximum messages per subject"), "{full}");
    client.leave(&cats, &[], "y").await.unwrap();
    let large = client.leave(&cats, &[], vec![0_u8; 5 << 20]).await.unwrap_err();
    assert!(large.contains("message size exceeds maximum"), "{large}");

    let queue = ingress.inbound().consume().await.unwrap();
    let taken = queue.next(1, LONG).await.unwrap().pop().unwrap();
    assert_eq!((taken.sequence, taken.attempt, taken.deployment.as_ref()), (first, 1, Some(&deployment("digits"))));
    let headers: Vec<_> = taken.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("A", "1"), ("b", "2"), ("b", "3")]);
    taken.give_back(Duration::ZERO).await.unwrap();
    // However much waits for one deployment, what is left for another is delivered.
    let (mut held, mut seen) = (Vec::new(), None);
    while seen.is_none() {
        held.extend(queue.next(1_000, LONG).await.unwrap());
        seen = held.iter().find(|request| request.deployment == Some(deployment("cats")));
    }
    assert!(held.iter().any(|request| request.sequence == first && request.attempt == 2));
    let before = server.messages("INBOUND").await;
    held.pop().unwrap().ack().await.unwrap();
    eventually(LONG, || async { server.messages("INBOUND").await == before - 1 }).await;
    client.leave(&digits, &[], "x").await.map_or_else(|error| assert!(error.contains("per subject")), drop);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_while_nobody_listens_is_told_so_at_once_and_an_answer_goes_to_an_inbox() {
    let server = NatsServer::secured_for(&["default.shop"]).await;
    let (client, ingress) = (server.model_client("default.shop").await, server.bus_as(Service::Ingress).await);
    let digits = topology::asked(&deployment("digits"));
    let nobody = client.ask(&digits, &[], "x").await.unwrap_err();
    assert!(nobody.contains("no responders"), "{nobody}");
    let mut asks = ingress.asks().await.unwrap();
    let asking = client.ask(&digits, &[("a", "1")], "x");
    let answering = async {
        let ask = timeout(LONG, asks.next()).await.expect("it is asked").unwrap();
        assert_eq!((ask.deployment, ask.payload.as_ref()), (Some(deployment("digits")), b"x".as_slice()));
        let to = ReplySubject::read(&ask.reply.unwrap(), &deployment("digits").namespace).unwrap();
        let large = Bytes::from(vec![0; 7 << 20]);
        let refused = ingress.replies().send(&to, &[], large).await;
        assert!(matches!(refused, Err(QueueError::TooLarge { .. })), "{refused:?}");
        ingress.replies().send(&to, &[("b", "2".to_owned())], Bytes::from_static(b"y")).await.unwrap();
    };
    let (answered, ()) = tokio::join!(asking, answering);
    let answered = answered.unwrap();
    assert_eq!((answered.header("b"), answered.payload.as_ref()), ("2", b"y".as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_bad_revision_moves_to_the_good_one() {
    let server = NatsServer::ready().await;
    let (ingress, worker) = (server.bus_as(Service::Ingress).await, server.bus_as(Service::InferenceWorker).await);
    let controller = server.bus_as(Service::Controller).await;
    let id = deployment("digits");
    for n in 0..120 {
        ingress.requests().publish(&id, TWO, &request(n), Bytes::from_static(b"x"), None).await.unwrap();
    }
    // One is at work; it is not moved.
    let busy = worker.requests().pull(&id, TWO).await.unwrap();
    let held = busy.next(1, LONG).await.unwrap();
    assert_eq!(controller.requests().move_all(&id, TWO, ONE).await.unwrap(), 119);
    assert_eq!(controller.requests().depth(&id, ONE).await.unwrap(), 119);
    for held in held {
        held.give_back().await.unwrap();
    }
    eventually(LONG, || async { controller.requests().move_all(&id, TWO, ONE).await.unwrap() == 1 }).await;
    controller.requests().remove(&id, TWO).await.unwrap();
    controller.requests().remove(&id, TWO).await.unwrap();
    assert_eq!(controller.requests().depth(&id, ONE).await.unwrap(), 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_fenced_revision_has_in_hand_is_moved_too_and_what_it_says_of_it_is_void() {
    let server = NatsServer::secured().await;
    let (ingress, worker) = (server.bus_as(Service::Ingress).await, server.bus_as(Service::InferenceWorker).await);
    let (controller, sink) = (server.bus_as(Service::Controller).await, server.bus_as(Service::SinkWriter).await);
    let id = deployment("digits");
    for n in 0..120 {
        ingress.requests().publish(&id, TWO, &request(n), Bytes::from_static(b"x"), None).await.unwrap();
    }
    let busy = worker.requests().pull(&id, TWO).await.unwrap();
    let mut held = Vec::new();
    while held.len() < 10 {
        held.extend(busy.next(10 - held.len(), LONG).await.unwrap());
    }
    // Two are answered before the fence, and so not moved; of the second the queue does not hear.
    let answer = async |n| {
        let answer = Bytes::from_static(b"bad");
        assert_eq!(worker.results().publish(&id, &request(n), answer, None).await.unwrap(), Recorded::Stored);
    };
    answer(0).await;
    held.remove(0).ack().await.unwrap();
    answer(1).await;
    drop(held.remove(0));
    assert_eq!(sink.results().fenced_at(&id, TWO).await.unwrap(), None);
    controller.requests().fence(&id, TWO).await.unwrap();
    let mark = sink.results().fenced_at(&id, TWO).await.unwrap().unwrap();

    // The others too late: said, and acknowledged to a consumer that is gone; a new one cannot be made.
    for (n, request) in (2..).zip(held) {
        answer(n).await;
        request.ack().await.unwrap();
    }
    // One was taken back by its sender while it waited.
    let taken_back = InferenceResult {
        outcome: Some(Outcome::Failure(FailureCode::Cancelled.with("taken back"))),
        ..InferenceResult::default()
    };
    let taken_back = Bytes::from(taken_back.encode_to_vec());
    ingress.results().publish(&id, &request(50), taken_back.clone(), None).await.unwrap();
    assert!(worker.requests().pull(&id, TWO).await.is_err(), "a fenced revision pulls no more");
    controller.requests().fence(&id, TWO).await.unwrap();
    assert_eq!(sink.results().fenced_at(&id, TWO).await.unwrap(), Some(mark), "the first mark counts");
    assert_eq!(controller.requests().move_fenced(&id, TWO, ONE).await.unwrap(), 117);
    let depth = async |revision| controller.requests().depth(&id, revision).await.unwrap();
    assert_eq!(depth(ONE).await, 117);
    eventually(LONG, || async { depth(TWO).await == 0 }).await;
    for n in 0..2 {
        assert!(ingress.results().get(&id, &request(n)).await.unwrap().is_some(), "{n}: it was answered in time");
    }
    for n in 2..10 {
        assert!(
            ingress.results().get(&id, &request(n)).await.unwrap().is_none(),
            "{n}: the good one's answer has room"
        );
    }
    assert_eq!(ingress.results().get(&id, &request(50)).await.unwrap(), Some(taken_back.clone()));
    // The sink-writer hears of results only.
    let queue = sink.results().consume().await.unwrap();
    let heard = queue.next(100, LONG).await.unwrap();
    assert!(
        heard.iter().all(|result| [b"bad".as_slice(), &taken_back].contains(&result.payload.as_ref())),
        "{heard:?}"
    );
    controller.requests().remove(&id, TWO).await.unwrap();
    assert!(worker.requests().pull(&id, TWO).await.is_ok(), "nothing is left of the fence but the mark");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_recorded_once_read_by_its_request_and_consumed() {
    let server = NatsServer::ready().await;
    let (worker, sink) = (server.bus_as(Service::InferenceWorker).await, server.bus_as(Service::SinkWriter).await);
    let id = deployment("digits");
    let publish = |payload: &'static [u8]| {
        let (results, id) = (worker.results(), id.clone());
        async move { results.publish(&id, &request(1), Bytes::from_static(payload), None).await.unwrap() }
    };
    assert_eq!(publish(b"first").await, Recorded::Stored);
    assert_eq!(publish(b"second").await, Recorded::Already);
    let ingress = server.bus_as(Service::Ingress).await;
    assert_eq!(ingress.results().get(&id, &request(1)).await.unwrap().unwrap().as_ref(), b"first");
    assert!(ingress.results().get(&id, &request(2)).await.unwrap().is_none());
    let queue = sink.results().consume().await.unwrap();
    let result = queue.next(10, LONG).await.unwrap().pop().unwrap();
    assert_eq!(
        (result.deployment.clone(), result.request_id.clone(), result.attempt),
        (id.clone(), Some(request(1)), 1)
    );
    assert_eq!(sink.results().lag().await.unwrap(), 1);
    result.ack().await.unwrap();
    eventually(LONG, || async { sink.results().lag().await.unwrap() == 0 }).await;
    assert_eq!(sink.results().trim().await.unwrap(), 0);
    assert!(queue.next(10, Duration::from_millis(50)).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_too_large_for_a_message_is_recorded_in_parts_and_read_whole() {
    let server = NatsServer::secured().await;
    let (worker, ingress) = (server.bus_as(Service::InferenceWorker).await, server.bus_as(Service::Ingress).await);
    let sink = server.bus_as(Service::SinkWriter).await;
    let id = deployment("digits");
    let large = |first: u8| -> Bytes {
        (0..9 << 20).map(|n| u8::try_from(n % 251).unwrap() ^ first).collect::<Vec<u8>>().into()
    };
    assert_eq!(worker.results().publish(&id, &request(1), large(0), None).await.unwrap(), Recorded::Stored);
    assert_eq!(server.messages("RESULTS").await, 3 + 1);
    assert_eq!(worker.results().publish(&id, &request(1), large(1), None).await.unwrap(), Recorded::Already);
    assert!(ingress.results().get(&id, &request(1)).await.unwrap() == Some(large(0)), "the first one counts");
    assert_eq!(sink.results().lag().await.unwrap(), 1, "parts are no results");
    let queue = sink.results().consume().await.unwrap();
    let taken = queue.next(10, LONG).await.unwrap().pop().unwrap();
    assert!(taken.damage.is_none() && taken.payload == large(0));
    taken.ack().await.unwrap();

    // What there is no memory for comes again.
    let most = Bytes::from(vec![7; MAX_PAYLOAD_BYTES]);
    for n in 2..4 {
        worker.results().publish(&id, &request(n), most.clone(), None).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let taken = queue.next(10, LONG).await.unwrap();
        assert!(taken.len() <= 1);
        for result in taken {
            assert!(result.payload == most);
            seen.push(result.request_id.clone().unwrap());
            result.ack().await.unwrap();
        }
    }
    let more = Bytes::from(vec![7; MAX_PAYLOAD_BYTES + 1]);
    let refused = worker.results().publish(&id, &request(4), more, None).await;
    assert!(matches!(refused, Err(QueueError::TooLarge { limit: MAX_PAYLOAD_BYTES, .. })), "{refused:?}");

    // A part that is gone is said.
    worker.results().publish(&id, &request(5), large(0), None).await.unwrap();
    server.purge("RESULTS", topology::RESULT_PARTS).await;
    let taken = queue.next(10, LONG).await.unwrap().pop().unwrap();
    assert!(taken.damage.as_ref().is_some_and(|damage| damage.ends_with("one is gone")), "{:?}", taken.damage);
    assert!(ingress.results().get(&id, &request(5)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_request_belongs_to_whom_it_was_accepted_for() {
    let server = NatsServer::ready().await;
    let ingress = server.bus_as(Service::Ingress).await;
    let id = deployment("digits");
    let accepted = |principal: &str| AcceptedRequest {
        principal: principal.to_owned(),
        body_digest: Digest::of(b"x"),
        at: Timestamp(1),
        detail: serde_json::Value::Null,
    };
    assert_eq!(ingress.accepted().create(&id, &request(1), &accepted("a")).await.unwrap(), Accepted::New);
    let second = ingress.accepted().create(&id, &request(1), &accepted("b")).await.unwrap();
    assert_eq!(second, Accepted::Existing(accepted("a")));
    assert_eq!(ingress.accepted().get(&id, &request(1)).await.unwrap(), Some(accepted("a")));
    ingress.accepted().remove(&id, &request(1)).await.unwrap();
    assert_eq!(ingress.accepted().get(&id, &request(1)).await.unwrap(), None);
    assert_eq!(ingress.accepted().create(&id, &request(1), &accepted("b")).await.unwrap(), Accepted::New);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_captured_batch_comes_again_until_all_of_it_is_settled() {
    let server = NatsServer::ready().await;
    let (ingress, sink) = (server.bus_as(Service::Ingress).await, server.bus_as(Service::SinkWriter).await);
    let id = deployment("digits");
    let mut batch = CaptureBatch::default();
    for n in 0..3 {
        batch.push(request(n).as_str(), if n == 1 { "t" } else { "" }, &"x".to_owned());
    }
    ingress.captures().publish(&id, batch.finish()).await.unwrap();
    let queue = sink.captures().consume().await.unwrap();
    let mut taken = queue.next(LONG).await.unwrap();
    let ids: Vec<_> = taken.iter().map(|result| result.request_id.clone().unwrap()).collect();
    assert_eq!(ids, [request(0), request(1), request(2)]);
    assert_eq!((taken[0].traceparent.as_deref(), taken[1].traceparent.as_deref()), (None, Some("t")));
    let last = taken.pop().unwrap();
    for result in taken {
        result.ack().await.unwrap();
    }
    assert_eq!(sink.captures().lag().await.unwrap(), 1, "one of it is open");
    last.give_back().await.unwrap();
    assert!(queue.next(Duration::from_millis(500)).await.unwrap().is_empty(), "others have their turn");
    let again = queue.next(LONG).await.unwrap();
    assert_eq!((again.len(), again[0].attempt), (3, 2));
    for result in again {
        result.ack().await.unwrap();
    }
    eventually(LONG, || async { sink.captures().lag().await.unwrap() == 0 }).await;
    let large = ingress.captures().publish(&id, Bytes::from(vec![0; 5 << 20])).await;
    assert!(matches!(large, Err(QueueError::TooLarge { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_batch_comes_as_one_result_without_a_request() {
    let server = NatsServer::ready().await;
    let sink = server.bus_as(Service::SinkWriter).await;
    let queue = sink.captures().consume().await.unwrap();
    let raw = async_nats::connect(server.url()).await.unwrap();
    raw.publish("slipway.captures.default.digits", Bytes::from_static(b"\xff\xff")).await.unwrap();
    raw.flush().await.unwrap();
    let taken = queue.next(LONG).await.unwrap();
    assert_eq!(
        (taken.len(), taken[0].request_id.clone(), taken[0].payload.as_ref()),
        (1, None, b"\xff\xff".as_slice())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_sent_again_by_an_operator_to_where_it_can_be_handled() {
    let server = NatsServer::secured().await;
    let (sink, worker) = (server.bus_as(Service::SinkWriter).await, server.bus_as(Service::InferenceWorker).await);
    let operator = server.bus(Principal::Operator).await;
    let id = deployment("digits");
    // Recorded as well: its subject is taken for good.
    worker.results().publish(&id, &request(1), Bytes::from_static(b"y"), None).await.unwrap();
    for subject in [topology::result(&id, &request(1)), topology::capture(&id), topology::request_queue(&id, ONE)] {
        let payload = Bytes::from(subject.clone());
        let headers = vec![("slipway-request-id".to_owned(), request(1).to_string())];
        let letter = DeadLetter { service: "sink-writer".into(), subject, headers, payload, reason: "x".into() };
        let letter = sink.dead().put(&letter).await.unwrap();
        assert!(operator.dead().redrive(letter).await.unwrap());
    }
    let queue = sink.captures().consume().await.unwrap();
    let mut taken = Vec::new();
    while taken.len() < 2 {
        for result in queue.next(LONG).await.unwrap() {
            taken.push(result.request_id.clone());
            result.ack().await.unwrap();
        }
    }
    assert_eq!(taken, [Some(request(1)), None]);
    let taken = worker.requests().pull(&id, ONE).await.unwrap().next(1, LONG).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert!(operator.dead().list().await.unwrap().is_empty());
}
