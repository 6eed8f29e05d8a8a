//! Many requests on one stream of gRPC.

use super::{
    worker::Manner,
    world::{FIRST, Setting, World, eventually},
};
use crate::limits;
use serde_json::json;
use slipway_oip::{grpc::FAILURE, stream::UNDER_WAY};
use slipway_proto::{
    inference::{
        ModelInferRequest, ModelStreamInferResponse, grpc_inference_service_client::GrpcInferenceServiceClient,
        infer_parameter::ParameterChoice,
    },
    oip::{Tensor, raw_request},
};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming, transport::Endpoint};

struct Open {
    requests: mpsc::Sender<ModelInferRequest>,
    answers: Streaming<ModelStreamInferResponse>,
}

async fn open(world: &World, metadata: &[(&'static str, &str)]) -> Result<Open, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{}", world.address)).unwrap();
    let mut client = GrpcInferenceServiceClient::new(endpoint.connect().await.unwrap());
    let (requests, outgoing) = mpsc::channel(1_024);
    let mut request = Request::new(ReceiverStream::new(outgoing));
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let answers = client.model_stream_infer(request).await?.into_inner();
    Ok(Open { requests, answers })
}

fn message(model: &str, id: &str) -> ModelInferRequest {
    raw_request(model, id, [Tensor::from_f32("x", vec![1, 2], &[0.5, 2.0]).unwrap()])
}

impl Open {
    fn ask(&self, message: ModelInferRequest) {
        self.requests.try_send(message).unwrap();
    }

    async fn answer(&mut self) -> Result<Option<ModelStreamInferResponse>, Status> {
        tokio::time::timeout(Duration::from_secs(10), self.answers.message()).await.expect("an answer comes")
    }
}

/// The id of an answer, and its word if it is none.
fn outcome(answer: ModelStreamInferResponse) -> (String, String) {
    let response = answer.infer_response.unwrap();
    let word = match response.parameters.get(FAILURE).and_then(|word| word.parameter_choice.clone()) {
        Some(ParameterChoice::StringParam(word)) => word,
        _ => String::new(),
    };
    assert_eq!(answer.error_message.is_empty(), word.is_empty(), "{}", answer.error_message);
    (response.id, word)
}

#[tokio::test]
async fn each_request_of_a_stream_is_answered_under_its_id_recorded_and_counted_for_itself() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let mut stream = open(&world, &[("x-request-id", "of-the-proxy")]).await.unwrap();
    for id in 0..40 {
        let mut message = message(if id == 3 { "cats" } else { "digits" }, &format!("r-{id}"));
        if id == 4 {
            message.inputs.clear();
        }
        stream.ask(message);
    }
    for id in 0..40 {
        let expected = match id {
            3 => "not-found",
            4 => "invalid-argument",
            _ => "",
        };
        assert_eq!(outcome(stream.answer().await.unwrap().unwrap()), (format!("r-{id}"), expected.to_owned()));
    }
    let mut captured: Vec<_> = world.captured(38).await.into_iter().map(|result| result.request_id).collect();
    captured.sort();
    captured.dedup();
    assert_eq!(captured.len(), 38, "each is recorded under an id of its own");
    let summary = world.ingress.routing.load().door(&world.history.id).unwrap().counts[&FIRST].summary();
    assert_eq!((summary.requests, summary.failures), (38, 0));
}

#[tokio::test]
async fn one_id_for_all_requests_of_a_stream_is_refused() {
    let world = World::released().await;
    for name in ["slipway-request-id", "idempotency-key"] {
        let status = open(&world, &[(name, "r-1")]).await.err().unwrap();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(name), "{}", status.message());
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_requests_with_it_and_none_beyond_the_bound_was_taken_in() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_secs(60)));
    world.register(&[&worker]);
    let stream = open(&world, &[]).await.unwrap();
    (0..4 * UNDER_WAY).for_each(|id| stream.ask(message("digits", &id.to_string())));
    let under_way = || worker.shared.under_way.load(Ordering::SeqCst) as usize;
    eventually("as many as may be are under way", || under_way() == UNDER_WAY).await;
    drop(stream);
    eventually("none is", || under_way() == 0).await;
    assert_eq!(worker.shared.cancelled.load(Ordering::SeqCst) as usize, UNDER_WAY);
    assert_eq!(worker.calls() as usize, UNDER_WAY, "the others were never taken in");
}

#[tokio::test]
async fn access_rate_and_size_are_those_of_each_request() {
    let mut setting = Setting::default();
    setting.history.access = json!({ "anonymous": true, "rateLimit": "2/h" });
    setting.history.http = json!({ "maxBody": "64Ki" });
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let mut stream = open(&world, &[]).await.unwrap();
    let rows = 10_000;
    let large = raw_request("digits", "large", [Tensor::from_f32("x", vec![rows, 2], &vec![0.5; 2 * rows]).unwrap()]);
    stream.ask(large);
    stream.ask(message("digits", "second"));
    for (id, word) in [("large", "payload-too-large"), ("second", "")] {
        assert_eq!(outcome(stream.answer().await.unwrap().unwrap()), (id.to_owned(), word.to_owned()));
    }
    stream.ask(message("digits", "third"));
    assert_eq!(outcome(stream.answer().await.unwrap().unwrap()), ("third".into(), "rate-limited".into()));
    let mut wrong = open(&world, &[("authorization", "Bearer x")]).await.unwrap();
    let begun = std::time::Instant::now();
    wrong.ask(message("digits", "stranger"));
    assert_eq!(outcome(wrong.answer().await.unwrap().unwrap()), ("stranger".into(), "unauthenticated".into()));
    assert!(begun.elapsed() >= limits::REFUSAL_AFTER);
}

#[tokio::test]
async fn a_deadline_of_a_request_is_its_own_and_one_of_the_stream_is_that_of_all() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_secs(60)));
    world.register(&[&worker]);
    let mut stream = open(&world, &[("slipway-timeout-ms", "200")]).await.unwrap();
    for id in ["first", "second"] {
        stream.ask(message("digits", id));
        assert_eq!(outcome(stream.answer().await.unwrap().unwrap()), (id.into(), "deadline-exceeded".into()));
    }
}

#[tokio::test]
async fn a_door_that_closes_answers_what_is_under_way_and_tells_who_has_more_to_ask() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_millis(300)));
    world.register(&[&worker]);
    let mut stream = open(&world, &[]).await.unwrap();
    stream.ask(message("digits", "last"));
    eventually("it is under way", || worker.shared.under_way.load(Ordering::SeqCst) == 1).await;
    world.shutdown.cancel();
    assert_eq!(outcome(stream.answer().await.unwrap().unwrap()), ("last".into(), String::new()));
    assert_eq!(stream.answer().await.unwrap_err().code(), Code::Unavailable);
    let ended = tokio::time::timeout(Duration::from_secs(5), world.server);
    ended.await.expect("the door does not wait for its bound").unwrap();
}
