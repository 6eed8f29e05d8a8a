//! The queued path.

use bytes::Bytes;
use prost::Message as _;
use slipway_bus::{
    Principal, WorkerState,
    topology::{self, PAYLOADS},
};
use slipway_kernel::RequestId;
use slipway_proto::failure::FailureCode;
use slipway_proto::inference::ModelInferResponse;
use slipway_proto::oip::response_tensors;
use slipway_proto::slipway::inference::v1::inference_result::Outcome;
use slipway_proto::slipway::inference::v1::{InferenceRequest, InferenceResult, ReplyTo};
use slipway_testkit::eventually;

use crate::harness::{Mesh, PATIENCE, body, deployment, golden, revision};

fn envelope(id: &str, rows: &[Vec<f32>]) -> InferenceRequest {
    InferenceRequest {
        namespace: "default".into(),
        deployment: "digits".into(),
        revision: "1-1".into(),
        request_id: id.into(),
        correlation_id: "c".into(),
        principal: "jane".into(),
        accepted_unix_ms: 5,
        body: Some(body(rows)),
        ..InferenceRequest::default()
    }
}

impl Mesh {
    async fn queue(&self, id: &str, payload: impl Into<Bytes>) {
        let id: RequestId = id.parse().unwrap();
        self.ingress.requests().publish(&deployment(), revision(), &id, payload.into(), None).await.unwrap();
    }

    async fn result(&self, id: &str) -> InferenceResult {
        let id: RequestId = id.parse().unwrap();
        let payload =
            eventually(PATIENCE, || async { self.ingress.results().get(&deployment(), &id).await.unwrap() }).await;
        InferenceResult::decode(payload).unwrap()
    }
}

fn failure(result: &InferenceResult) -> (&str, &str) {
    match &result.outcome {
        Some(Outcome::Failure(failure)) => (&failure.code, &failure.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_queued_request_gets_its_result_whatever_it_is() {
    let (mesh, config) = Mesh::start("digits-v2").await;
    let (rows, labels) = golden(40);
    // Queued before there is a worker: the queue's consumer is made by whoever comes first.
    for (index, row) in rows.iter().enumerate() {
        let id = format!("q-{index}");
        mesh.queue(&id, envelope(&id, std::slice::from_ref(row)).encode_to_vec()).await;
    }
    let late = InferenceRequest { deadline_unix_ms: 1_000, ..envelope("late", &rows[..1]) };
    mesh.queue("late", late.encode_to_vec()).await;
    let mut wrong = envelope("wrong", &rows[..1]);
    wrong.body.as_mut().unwrap().inputs[0].name = "Y".into();
    mesh.queue("wrong", wrong.encode_to_vec()).await;
    // Moved here from a revision that was rolled back: it names the old version and is answered all the same.
    let mut moved = envelope("moved", &rows[..1]);
    moved.revision = "1-7".into();
    moved.body.as_mut().unwrap().model_version = "1-7".into();
    mesh.queue("moved", moved.encode_to_vec()).await;
    mesh.queue("garbage", Bytes::from_static(b"\xff\xff\xff")).await;
    let foreign = InferenceRequest { deployment: "cats".into(), ..envelope("foreign", &rows[..1]) };
    mesh.queue("foreign", foreign.encode_to_vec()).await;

    let running = mesh.run(config);
    mesh.grant();
    mesh.until(WorkerState::Ready).await;

    let mut right = 0;
    for (index, label) in labels.iter().enumerate() {
        let result = mesh.result(&format!("q-{index}")).await;
        assert_eq!((result.principal.as_str(), result.accepted_unix_ms, result.attempt), ("jane", 5, 1));
        let Some(Outcome::Response(response)) = &result.outcome else {
            panic!("{result:?}");
        };
        right += i32::from(response_tensors(response).unwrap()[0].as_i64().unwrap() == [*label]);
    }
    assert!(right >= 38, "{right} of 40");
    assert_eq!(failure(&mesh.result("late").await).0, "deadline-exceeded");
    let wrong = mesh.result("wrong").await;
    let (word, message) = failure(&wrong);
    assert_eq!(word, "invalid-argument");
    assert!(message.contains("inputs[0].name: Y is not accepted; allowed: X"), "{message}");
    let moved = mesh.result("moved").await;
    assert!(matches!(moved.outcome, Some(Outcome::Response(_))), "{moved:?}");
    assert_eq!(moved.revision, "1-1");

    // What nobody can answer lies with its reason among the dead letters, and the queue is empty.
    let operator = mesh.nats.bus(Principal::Operator).await;
    let letters = eventually(PATIENCE, || async {
        let letters = operator.dead().list().await.unwrap();
        (letters.len() == 2).then_some(letters)
    })
    .await;
    let reasons: Vec<_> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert!(reasons.iter().any(|reason| reason.starts_with("not an inference request")), "{reasons:?}");
    assert!(reasons.contains(&"a request for default.cats in the queue of default.digits"), "{reasons:?}");
    assert!(letters.iter().all(|letter| letter.service == "inference-worker"));
    eventually(PATIENCE, || async { mesh.ingress.requests().depth(&deployment(), revision()).await.unwrap() == 0 })
        .await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tensors_that_lie_in_the_object_store_are_read_and_removed_and_what_is_gone_is_said() {
    let (mesh, config) = Mesh::start("digits-v1").await;
    let (rows, labels) = golden(1);
    let queue = async |id: &str, deadline_unix_ms: i64, data: Vec<u8>| {
        let envelope = InferenceRequest { body: None, deadline_unix_ms, ..envelope(id, &rows) }.encode_to_vec();
        let (id, requests) = (id.parse::<RequestId>().unwrap(), mesh.ingress.requests());
        requests.publish_with_data(&deployment(), revision(), &id, envelope.into(), &data.into(), None).await.unwrap();
    };
    let store = topology::objects_stream(PAYLOADS);
    queue("gone", 0, body(&rows).encode_to_vec()).await;
    mesh.nats.purge(&store, ">").await;
    queue("there", 0, body(&rows).encode_to_vec()).await;
    queue("late", 1_000, body(&rows).encode_to_vec()).await;
    queue("none", 0, b"\xff\xff".to_vec()).await;

    let running = mesh.run(config);
    mesh.grant();
    mesh.until(WorkerState::Ready).await;
    let there = mesh.result("there").await;
    let Some(Outcome::Response(response)) = &there.outcome else { panic!("{there:?}") };
    assert_eq!(response_tensors(response).unwrap()[0].as_i64().unwrap(), labels);
    let (gone, late, none) = (mesh.result("gone").await, mesh.result("late").await, mesh.result("none").await);
    assert!(
        failure(&gone).0 == "internal" && failure(&gone).1.starts_with("its tensors cannot be read: no blob"),
        "{gone:?}"
    );
    assert_eq!(failure(&late), ("deadline-exceeded", "the deadline was over before its tensors were read"));
    assert!(failure(&none).0 == "internal" && failure(&none).1.starts_with("its tensors are none"), "{none:?}");
    eventually(PATIENCE, || async { mesh.nats.messages(&store).await == 0 }).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_delivered_again_is_run_alone_and_an_answered_one_is_not_run_again() {
    let (mesh, config) = Mesh::start("digits-v1").await;
    let (rows, _) = golden(1);
    mesh.queue("again", envelope("again", &rows).encode_to_vec()).await;
    let mut client = mesh.nats.model_client("default.shop").await;
    let reply_to = Some(ReplyTo { subject: client.answers("answered"), json: true });
    let answered = InferenceRequest { reply_to, ..envelope("answered", &rows) };
    mesh.queue("answered", answered.encode_to_vec()).await;
    // A worker that took both, answered one of them and gave both back before its sender had heard of it.
    let worker = mesh.nats.bus_as(slipway_kernel::Service::InferenceWorker).await;
    let queue = worker.requests().pull(&deployment(), revision()).await.unwrap();
    let mut taken = Vec::new();
    while taken.len() < 2 {
        taken.extend(queue.next(10, PATIENCE).await.unwrap());
    }
    let earlier = InferenceResult {
        request_id: "answered".into(),
        worker: "an earlier one".into(),
        ..InferenceResult::default()
    };
    let id: RequestId = "answered".parse().unwrap();
    worker.results().publish(&deployment(), &id, earlier.encode_to_vec().into(), None).await.unwrap();
    for request in taken {
        request.give_back().await.unwrap();
    }

    let running = mesh.run(config);
    mesh.grant();
    mesh.until(WorkerState::Ready).await;
    let again = mesh.result("again").await;
    assert_eq!((again.attempt, again.worker.as_str()), (2, "w-0"));
    eventually(PATIENCE, || async { mesh.ingress.requests().depth(&deployment(), revision()).await.unwrap() == 0 })
        .await;
    assert_eq!(mesh.result("answered").await.worker, "an earlier one");
    assert_eq!(client.hear().await.header("slipway-request-id"), "answered");
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_wants_to_hear_the_answer_hears_what_was_recorded_in_the_form_of_the_question() {
    let (mesh, config) = Mesh::start("digits-v1").await;
    let (rows, labels) = golden(1);
    let mut client = mesh.nats.model_client("default.shop").await;
    let wanting = |id: &str, subject: String, json: bool| {
        let reply_to = Some(ReplyTo { subject, json });
        InferenceRequest { reply_to, ..envelope(id, &rows) }
    };
    let (message, document) = (client.answers("message"), client.answers("document"));
    mesh.queue("a", wanting("a", message.clone(), false).encode_to_vec()).await;
    mesh.queue("b", wanting("b", document, true).encode_to_vec()).await;
    let late = InferenceRequest { deadline_unix_ms: 1_000, ..wanting("late", message.clone(), true) };
    mesh.queue("late", late.encode_to_vec()).await;
    // Answered by an earlier try, which ended before it could say so.
    mesh.queue("answered", wanting("answered", message, true).encode_to_vec()).await;
    let failure = FailureCode::Cancelled.with("taken back by its sender");
    let earlier = InferenceResult {
        request_id: "answered".into(),
        outcome: Some(Outcome::Failure(failure)),
        ..InferenceResult::default()
    };
    let worker = mesh.nats.bus_as(slipway_kernel::Service::InferenceWorker).await;
    let id: RequestId = "answered".parse().unwrap();
    worker.results().publish(&deployment(), &id, earlier.encode_to_vec().into(), None).await.unwrap();
    // No mistake at the door makes a worker publish anywhere else.
    let intake = topology::intake(&deployment().namespace, "deploy");
    mesh.queue("astray", wanting("astray", intake, true).encode_to_vec()).await;

    let running = mesh.run(config);
    mesh.grant();
    let mut heard = std::collections::BTreeMap::new();
    while heard.len() < 4 {
        let answer = client.hear().await;
        heard.insert(answer.header("slipway-request-id").to_owned(), answer);
    }
    let response = ModelInferResponse::decode(heard["a"].payload.clone()).unwrap();
    assert_eq!(response_tensors(&response).unwrap()[0].as_i64().unwrap(), labels);
    assert_eq!(heard["b"].json()["outputs"][0]["data"], serde_json::json!(labels));
    assert_eq!(heard["b"].header("slipway-revision"), "1-1");
    assert_eq!(heard["late"].header("slipway-failure"), "deadline-exceeded");
    assert_eq!(heard["answered"].header("slipway-failure"), "cancelled", "what counts, not what was computed");
    mesh.result("astray").await;
    eventually(PATIENCE, || async { mesh.ingress.requests().depth(&deployment(), revision()).await.unwrap() == 0 })
        .await;
    assert_eq!(mesh.nats.messages("INTAKE").await, 0);
    running.stop().await.unwrap();
}
