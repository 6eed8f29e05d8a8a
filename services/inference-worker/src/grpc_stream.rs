//! Many requests on one stream of the public protocol, for whoever asks this worker. Ingress has a stream of its own kind for its
//! requests, [`crate::exchange`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, Stream};
use slipway_kernel::Timestamp;
use slipway_oip::stream::{self, Unanswered};
use slipway_proto::failure::FailureCode;
use slipway_proto::inference::{ModelInferRequest, ModelStreamInferResponse};
use slipway_runtime::CancellationToken;
use tonic::Status;

use crate::grpc::{Terms, answer};
use crate::inference::Inference;
use crate::refusal::Refusal;
use crate::telemetry::Path;

/// The answers to a stream.
pub(crate) type Answers = BoxStream<'static, Result<ModelStreamInferResponse, Status>>;

/// Answers a stream of the mesh. Each message names its request by its id, and all of them are of use until the same moment.
pub(crate) fn of_mesh(
    inference: Arc<Inference>,
    deadline: Option<Timestamp>,
    traceparent: Option<String>,
    incoming: impl Stream<Item = Result<ModelInferRequest, Status>> + Send + 'static,
    closing: CancellationToken,
) -> Answers {
    let traceparent = traceparent.map(Arc::<str>::from);
    stream::answers(incoming, closing.cancelled_owned(), move |message| {
        let (inference, traceparent) = (Arc::clone(&inference), traceparent.clone());
        async move {
            let request_id = message.id.parse().map_err(|allowed: String| {
                unanswered(Refusal::new(
                    FailureCode::InvalidArgument,
                    format!("id: `{}`; allowed: {allowed}", message.id),
                ))
            })?;
            let terms = Terms { request_id, deadline, attempt: 1 };
            answer(&inference, terms, traceparent.as_deref(), message).await.map_err(unanswered)
        }
    })
}

/// Answers a stream of anyone. A request may take `timeout`, and none may take longer than until the stream `ends`.
pub(crate) fn of_anyone(
    inference: Arc<Inference>,
    timeout: Duration,
    ends: Option<Instant>,
    incoming: impl Stream<Item = Result<ModelInferRequest, Status>> + Send + 'static,
    closing: CancellationToken,
) -> Answers {
    stream::answers(incoming, closing.cancelled_owned(), move |message| {
        let inference = Arc::clone(&inference);
        async move {
            let own = Instant::now().checked_add(timeout);
            let deadline = [own, ends].into_iter().flatten().min();
            let asked = inference.ask(&message, deadline, false);
            let answered = inference.compute(Path::Direct, asked).await;
            answered.map(slipway_oip::Response::into_message).map_err(unanswered)
        }
    })
}

fn unanswered(refusal: Refusal) -> Unanswered {
    Unanswered { code: refusal.code, sentence: refusal.message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batcher::BatcherOptions;
    use crate::grpc::Direct;
    use crate::inference::fixtures;
    use crate::telemetry::{Outcome, RequestLabels};
    use slipway_oip::grpc::FAILURE;
    use slipway_oip::stream::UNDER_WAY;
    use slipway_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
    use slipway_proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
    use slipway_proto::inference::infer_parameter::ParameterChoice;
    use slipway_runtime::Clock;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
    use tonic::metadata::MetadataMap;
    use tonic::transport::{Endpoint, Server};
    use tonic::{Code, Extensions, Request, Streaming};

    struct Open {
        inference: Arc<Inference>,
        requests: mpsc::Sender<ModelInferRequest>,
        answers: Streaming<ModelStreamInferResponse>,
        closing: CancellationToken,
    }

    /// A stream over a real connection.
    async fn open(mesh: bool) -> Open {
        open_with(mesh, BatcherOptions { queue_requests: UNDER_WAY, ..fixtures::OPTIONS }).await
    }

    async fn open_with(mesh: bool, options: BatcherOptions) -> Open {
        let inference = Arc::new(fixtures::serving_with(Clock::system(), options));
        let closing = CancellationToken::new();
        let direct = if mesh {
            Direct::new(Arc::clone(&inference), closing.clone())
        } else {
            Direct::open(Arc::clone(&inference), Duration::from_secs(10), closing.clone())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Server::builder().add_service(GrpcInferenceServiceServer::new(direct));
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let (requests, outgoing) = mpsc::channel(256);
        let request = Request::from_parts(MetadataMap::new(), Extensions::new(), ReceiverStream::new(outgoing));
        let answers = GrpcInferenceServiceClient::new(channel).model_stream_infer(request).await.unwrap().into_inner();
        Open { inference, requests, answers, closing }
    }

    impl Open {
        async fn ask(&self, id: &str, change: impl FnOnce(&mut ModelInferRequest)) {
            let mut message = fixtures::message(1);
            id.clone_into(&mut message.id);
            change(&mut message);
            self.requests.send(message).await.unwrap();
        }

        async fn answer(&mut self) -> Result<Option<ModelStreamInferResponse>, Status> {
            let next = tokio::time::timeout(Duration::from_secs(10), self.answers.message());
            next.await.expect("an answer comes")
        }
    }

    #[tokio::test]
    async fn each_request_of_a_stream_is_answered_under_its_id_and_a_bad_one_harms_no_other() {
        for mesh in [true, false] {
            let mut open = open(mesh).await;
            for id in 0..40 {
                open.ask(&format!("r-{id}"), |message| match id {
                    3 => message.inputs.clear(),
                    4 => message.model_name = "cats".into(),
                    _ => {}
                })
                .await;
            }
            for id in 0..40 {
                let answer = open.answer().await.unwrap().unwrap();
                let response = answer.infer_response.unwrap();
                assert_eq!(response.id, format!("r-{id}"));
                let word = response.parameters.get(FAILURE).map(|word| word.parameter_choice.clone().unwrap());
                let expected = match id {
                    3 => Some("invalid-argument"),
                    4 => Some("not-found"),
                    _ => None,
                };
                assert_eq!(word, expected.map(|word| ParameterChoice::StringParam(word.into())), "{id}");
                assert_eq!(answer.error_message.is_empty(), expected.is_none(), "{}", answer.error_message);
            }
        }
    }

    #[tokio::test]
    async fn a_request_of_the_mesh_without_a_name_is_refused_and_one_of_anyone_needs_none() {
        for (mesh, says) in [(true, "id: ``; allowed: "), (false, "")] {
            let mut open = open(mesh).await;
            open.ask("", |_| {}).await;
            let answer = open.answer().await.unwrap().unwrap();
            assert!(answer.error_message.starts_with(says), "{}", answer.error_message);
            assert_eq!(answer.error_message.is_empty(), says.is_empty());
        }
    }

    #[tokio::test]
    async fn a_stream_longer_than_the_queue_is_held_back_and_none_of_it_is_refused() {
        let mut open = open(false).await;
        let (requests, sent) = (open.requests.clone(), 10 * UNDER_WAY);
        tokio::spawn(async move {
            for id in 0..sent {
                requests.send(ModelInferRequest { id: id.to_string(), ..fixtures::message(1) }).await.unwrap();
            }
        });
        for id in 0..sent {
            let answer = open.answer().await.unwrap().unwrap();
            assert_eq!((answer.infer_response.unwrap().id, answer.error_message), (id.to_string(), String::new()));
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_takes_its_requests_with_it() {
        // Three rows wait for company that never comes.
        let patient = BatcherOptions { max_delay: Duration::from_secs(600), ..fixtures::OPTIONS };
        let open = open_with(false, patient).await;
        for id in ["r-1", "r-2", "r-3"] {
            open.ask(id, |_| {}).await;
        }
        let inference = Arc::clone(&open.inference);
        until(|| inference.waiting() == 3).await;
        drop(open);
        let cancelled = RequestLabels { path: Path::Direct, outcome: Outcome::Cancelled };
        until(|| inference.telemetry().requests.get_or_create(&cancelled).get() == 3).await;
    }

    async fn until(holds: impl Fn() -> bool) {
        let waiting = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("it comes true");
    }

    #[tokio::test]
    async fn a_worker_that_ends_answers_what_is_under_way_and_ends_the_stream_with_a_word() {
        let mut open = open(false).await;
        open.ask("r-1", |_| {}).await;
        assert_eq!(open.answer().await.unwrap().unwrap().infer_response.unwrap().id, "r-1");
        open.closing.cancel();
        let ended = open.answer().await.unwrap_err();
        assert_eq!(ended.code(), Code::Unavailable);
        assert_eq!(ended.metadata().get(FAILURE).unwrap(), "unavailable");
    }
}
