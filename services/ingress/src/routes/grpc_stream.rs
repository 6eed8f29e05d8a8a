//! `ModelStreamInfer`: many requests on one stream, each of them let in, limited, counted and recorded as if it had come alone.

use super::grpc::Caller;
use crate::{
    error::RequestError,
    observe, respond,
    stack::Ingress,
    trail::{REQUEST_ID, Trail},
};
use futures::stream::{BoxStream, Stream};
use prost::Message as _;
use slipway_oip::stream::{self, Unanswered};
use slipway_proto::inference::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

/// The answers to a stream.
pub(super) type Answers = BoxStream<'static, Result<ModelStreamInferResponse, Status>>;

/// Answers a stream, which `ends` then at the latest.
///
/// # Errors
/// When it names one id for all its requests.
pub(super) fn answers(
    ingress: Arc<Ingress>,
    mut caller: Caller,
    ends: Option<Duration>,
    incoming: impl Stream<Item = Result<ModelInferRequest, Status>> + Send + 'static,
) -> Result<Answers, RequestError> {
    for name in [REQUEST_ID.as_str(), "idempotency-key"] {
        if caller.headers.contains_key(name) {
            let allowed = "none on a stream: each of its messages names its request by its id";
            return Err(RequestError::invalid(format!("metadata.{name}"), "given", allowed));
        }
    }
    // What a proxy calls the stream is the name of none of its requests.
    caller.headers.remove("x-request-id");
    let ends = ends.and_then(|timeout| Instant::now().checked_add(timeout));
    let (closing, caller) = (ingress.closing.clone(), Arc::new(caller));
    Ok(stream::answers(incoming, closing.cancelled_owned(), move |message| {
        let (ingress, caller) = (Arc::clone(&ingress), Arc::clone(&caller));
        async move {
            let trail = Arc::new(observe::trail_on(&caller.trail));
            let work = answer(&ingress, &caller, &trail, ends, message);
            observe::one(&ingress.metrics, &trail, work).await.map_err(|error| unanswered(&error))
        }
    }))
}

async fn answer(
    ingress: &Ingress,
    caller: &Caller,
    trail: &Trail,
    ends: Option<Instant>,
    message: ModelInferRequest,
) -> Result<ModelInferResponse, RequestError> {
    let mut held = ingress.admission.bodies.share();
    held.cover(message.encoded_len())?;
    let answering = caller.infer(ingress, trail, None, message);
    match ends {
        Some(ends) => timeout_at(ends, answering).await.map_err(|_| RequestError::DeadlineExceeded)?,
        None => answering.await,
    }
}

fn unanswered(error: &RequestError) -> Unanswered {
    let (code, sentence) = respond::word(error);
    Unanswered { code, sentence }
}
