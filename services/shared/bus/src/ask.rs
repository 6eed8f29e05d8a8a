//! Questions one service answers for another over core NATS: request and reply, nothing stored, a late answer is no answer.

use crate::{connect::Bus, error::BusError, topology::ask};
use async_nats::{Request, RequestErrorKind};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Serialize, de::DeserializeOwned};
use slipway_kernel::Service;
use slipway_runtime::Frame;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Questions answered at once by one replica. Each may read a database; more would only wait there instead of here.
const AT_ONCE: usize = 8;

/// Asks `service` and waits for its answer.
pub(crate) async fn question<Q: Serialize, A: DeserializeOwned>(
    bus: &Bus,
    service: Service,
    what: &str,
    question: &Q,
    timeout: Duration,
) -> Result<A, BusError> {
    let action = format!("{what} of {service}");
    let unreadable =
        |error: serde_json::Error| BusError::Unreadable { action: action.clone(), reason: error.to_string() };
    let body = serde_json::to_vec(question).map_err(unreadable)?;
    let request = Request::new().payload(body.into()).timeout(Some(timeout));
    let answer = bus.client().send_request(ask(service, what), request).await.map_err(|error| match error.kind() {
        RequestErrorKind::TimedOut => BusError::Timeout { action: action.clone(), waited: timeout },
        RequestErrorKind::NoResponders => BusError::NobodyAnswers { action: action.clone() },
        _ => BusError::Connection(error.to_string()),
    })?;
    serde_json::from_slice(&answer.payload).map_err(unreadable)
}

/// Answers questions until shutdown. Replicas share them out; a question that cannot be read, or whose answer fails, gets none.
pub(crate) async fn serve<Q, A, F, Fut>(
    bus: &Bus,
    frame: &Frame,
    service: Service,
    what: &'static str,
    answer: F,
) -> Result<(), BusError>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    F: Fn(Q) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<A>> + Send + 'static,
{
    let subscribed = bus.client().queue_subscribe(ask(service, what), service.name().to_owned()).await;
    let mut questions = subscribed.map_err(|error| BusError::Connection(error.to_string()))?;
    let (answer, room) = (Arc::new(answer), Arc::new(Semaphore::new(AT_ONCE)));
    loop {
        let question = tokio::select! {
            question = questions.next() => question,
            () = frame.shutdown.cancelled() => None,
        };
        let Some(question) = question else { return Ok(()) };
        let (Some(reply), Ok(asked)) = (question.reply, serde_json::from_slice::<Q>(&question.payload)) else {
            tracing::warn!(what, "a question that cannot be read is left unanswered");
            continue;
        };
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return Ok(()) };
        let (answer, client) = (Arc::clone(&answer), bus.client().clone());
        let answering = async move {
            if let Some(bytes) = answer(asked).await.and_then(|answer| serde_json::to_vec(&answer).ok()) {
                // Who asked may have gone; then nobody misses it.
                let _ = client.publish(reply, Bytes::from(bytes)).await;
            }
            drop(permit);
        };
        // Detached work ends with the process at the latest; its bound is the asker's patience.
        tokio::spawn(answering);
    }
}
