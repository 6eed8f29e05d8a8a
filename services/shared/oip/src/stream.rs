//! Many requests on one stream of gRPC, answered in the order in which they were asked.
//!
//! That order is Triton's for models with one answer per request, and clients that give their requests no id count on it. Requests
//! run side by side all the same. While as many as may be are under way or wait to be read, no further one is taken in, so a
//! client that reads slowly is held back by the window of its own stream.

use crate::grpc;
use futures::{
    FutureExt as _, StreamExt as _,
    stream::{self, BoxStream, Stream},
};
use slipway_proto::{
    failure::FailureCode,
    inference::{
        InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
        infer_parameter::ParameterChoice,
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tonic::Status;

/// Requests of one stream that may be under way: half of what a worker lets wait by default, so that one eager stream alone is held
/// back and never refused.
pub const UNDER_WAY: usize = 64;

/// The parameter by which Triton marks the last answer of a request.
const FINAL: &str = "triton_final_response";

/// Why a request of a stream has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// In a word, which stands in the parameter `slipway-failure`.
    pub code: FailureCode,
    /// In a sentence.
    pub sentence: String,
}

/// The answers of a stream. `closing`: from then on nothing more is read, what is under way is answered, and a client that has more
/// to ask is told to ask elsewhere. Dropping the stream drops what is under way.
pub fn answers<Incoming, Answer, Answering>(
    incoming: Incoming,
    closing: impl Future<Output = ()> + Send + 'static,
    answer: Answer,
) -> BoxStream<'static, Result<ModelStreamInferResponse, Status>>
where
    Incoming: Stream<Item = Result<ModelInferRequest, Status>> + Send + 'static,
    Answer: Fn(ModelInferRequest) -> Answering + Send + 'static,
    Answering: Future<Output = Result<ModelInferResponse, Unanswered>> + Send + 'static,
{
    let complete = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&complete);
    let ended = stream::once(async move { end.store(true, Ordering::Relaxed) }).filter_map(|()| async { None });
    let cut = stream::once(async move {
        let more = !complete.load(Ordering::Relaxed);
        more.then(|| Err(grpc::status(FailureCode::Unavailable, "the server is ending", Some(Duration::from_secs(1)))))
    });
    incoming
        .chain(ended)
        .take_until(closing)
        .map(move |message| match message {
            Ok(message) => {
                let (id, model) = (message.id.clone(), message.model_name.clone());
                answer(message).map(move |answered| Ok(response(id, model, answered))).boxed()
            }
            // The stream itself is broken: what was asked before is answered first.
            Err(status) => std::future::ready(Err(status)).boxed(),
        })
        .buffered(UNDER_WAY)
        .chain(cut.filter_map(std::future::ready))
        .boxed()
}

/// What came out of one request. The sentence stands where clients look for it, and the id beside it tells whose it is.
fn response(id: String, model: String, answered: Result<ModelInferResponse, Unanswered>) -> ModelStreamInferResponse {
    let parameter = |choice| InferParameter { parameter_choice: Some(choice) };
    let (error_message, mut response) = match answered {
        Ok(response) => (String::new(), response),
        Err(Unanswered { code, sentence }) => {
            let mut response = ModelInferResponse { model_name: model, id, ..ModelInferResponse::default() };
            let word = parameter(ParameterChoice::StringParam(code.as_str().to_owned()));
            response.parameters.insert(grpc::FAILURE.to_owned(), word);
            (sentence, response)
        }
    };
    response.parameters.insert(FINAL.to_owned(), parameter(ParameterChoice::BoolParam(true)));
    ModelStreamInferResponse { error_message, infer_response: Some(response) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{channel::oneshot, future::BoxFuture};
    use std::sync::Mutex;

    fn asked(id: usize) -> Result<ModelInferRequest, Status> {
        Ok(ModelInferRequest { id: id.to_string(), model_name: "digits".into(), ..ModelInferRequest::default() })
    }

    fn id(response: &ModelStreamInferResponse) -> &str {
        &response.infer_response.as_ref().unwrap().id
    }

    type Waiting = Arc<Mutex<Vec<oneshot::Sender<()>>>>;

    /// Answers when told.
    fn when_told(
        waiting: &Waiting,
    ) -> impl Fn(ModelInferRequest) -> BoxFuture<'static, Result<ModelInferResponse, Unanswered>> + use<> {
        let waiting = Arc::clone(waiting);
        move |message| {
            let (sender, told) = oneshot::channel();
            waiting.lock().unwrap().push(sender);
            async move {
                told.await.unwrap();
                Ok(ModelInferResponse { id: message.id, ..ModelInferResponse::default() })
            }
            .boxed()
        }
    }

    #[tokio::test]
    async fn requests_run_side_by_side_and_are_answered_in_the_order_in_which_they_were_asked() {
        let waiting = Waiting::default();
        let incoming = stream::iter((0..3).map(asked).collect::<Vec<_>>());
        let mut answers = answers(incoming, std::future::pending(), when_told(&waiting));
        assert!(answers.next().now_or_never().is_none());
        let mut told: Vec<_> = waiting.lock().unwrap().drain(..).collect();
        assert_eq!(told.len(), 3, "all are under way");
        told.pop().unwrap().send(()).unwrap();
        assert!(answers.next().now_or_never().is_none(), "the last is answered, and waits for the first");
        told.into_iter().for_each(|told| told.send(()).unwrap());
        let answers = answers.map(Result::unwrap).collect::<Vec<_>>().await;
        assert_eq!(answers.iter().map(id).collect::<Vec<_>>(), ["0", "1", "2"]);
    }

    #[tokio::test]
    async fn no_more_are_taken_in_than_may_be_under_way_and_a_dropped_stream_drops_them() {
        let waiting = Waiting::default();
        let taken = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&taken);
        let incoming = stream::iter((0..1_000).map(move |id| {
            *counter.lock().unwrap() += 1;
            asked(id)
        }));
        let mut answers = answers(incoming, std::future::pending(), when_told(&waiting));
        assert!(answers.next().now_or_never().is_none());
        assert_eq!((*taken.lock().unwrap(), waiting.lock().unwrap().len()), (UNDER_WAY, UNDER_WAY));
        drop(answers);
        assert!(waiting.lock().unwrap().iter().all(oneshot::Sender::is_canceled), "nobody waits for them any more");
    }

    #[tokio::test]
    async fn a_request_that_fails_is_answered_under_its_id_and_harms_no_other() {
        let incoming = stream::iter((0..3).map(asked).collect::<Vec<_>>());
        let answers = answers(incoming, std::future::pending(), |message: ModelInferRequest| async move {
            if message.id == "1" {
                Err(Unanswered { code: FailureCode::InvalidArgument, sentence: "it does not fit".into() })
            } else {
                Ok(ModelInferResponse { id: message.id, ..Default::default() })
            }
        });
        let answers = answers.map(Result::unwrap).collect::<Vec<_>>().await;
        let told: Vec<_> = answers.iter().map(|answer| (id(answer), answer.error_message.as_str())).collect();
        assert_eq!(told, [("0", ""), ("1", "it does not fit"), ("2", "")]);
        assert!(answers.iter().all(|answer| answer.infer_response.as_ref().unwrap().parameters.contains_key(FINAL)));
    }

    #[tokio::test]
    async fn a_server_that_ends_answers_what_is_under_way_and_says_so_to_who_has_more_to_ask() {
        let echo = |message: ModelInferRequest| async move {
            Ok::<_, Unanswered>(ModelInferResponse { id: message.id, ..ModelInferResponse::default() })
        };
        let (close, closed) = oneshot::channel::<()>();
        let incoming = stream::iter([asked(0)]).chain(futures::stream::pending());
        let mut cut = answers(incoming, closed.map(|_| ()), echo);
        assert_eq!(id(&cut.next().await.unwrap().unwrap()), "0");
        assert!(cut.next().now_or_never().is_none());
        close.send(()).unwrap();
        assert_eq!(cut.next().await.unwrap().unwrap_err().code(), tonic::Code::Unavailable);
        assert!(cut.next().await.is_none());
        // Who has asked all is not told.
        let whole = answers(stream::iter([asked(0)]), std::future::pending(), echo);
        assert_eq!(whole.collect::<Vec<_>>().await.len(), 1);
    }

    #[tokio::test]
    async fn a_broken_stream_ends_after_the_answers_to_what_was_asked_before() {
        let broken = Err(Status::invalid_argument("no message"));
        let answers = answers(
            stream::iter([asked(0), broken]),
            std::future::pending(),
            |message: ModelInferRequest| async move {
                Ok::<_, Unanswered>(ModelInferResponse { id: message.id, ..ModelInferResponse::default() })
            },
        );
        let answers = answers.collect::<Vec<_>>().await;
        assert_eq!((id(answers[0].as_ref().unwrap()), answers[1].as_ref().unwrap_err().message()), ("0", "no message"));
    }
}
