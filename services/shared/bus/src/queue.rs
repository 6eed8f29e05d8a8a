//! Inference over the broker: requests that clients leave or wait with, queues of requests per revision, accepted asynchronous requests,
//! recorded results, and answers at the inboxes of clients.

mod accepted;
mod asks;
mod captures;
mod fences;
mod inbound;
mod parts;
mod payloads;
mod replies;
mod requests;
mod results;

pub use accepted::{Accepted, AcceptedRequest, AcceptedRequests};
pub use asks::{Ask, Asks};
pub use captures::{CaptureBatch, CaptureQueue, Captures};
pub use inbound::{Inbound, InboundQueue, InboundRequest};
pub use payloads::{DATA_REF, MAX_PAYLOAD_BYTES, Upload, Uploads};
pub use replies::{Replies, ReplySubject};
pub use requests::{QueuedRequest, RequestQueue, Requests};
pub use results::{Recorded, RecordedResult, ResultQueue, Results};

use crate::{error::BusError, topology::WORK_ACK_WAIT, wire};
use async_nats::jetstream::{
    AckKind, Message,
    consumer::{Consumer, pull},
    message::Acker,
};
use futures::StreamExt as _;
use std::time::Duration;
use tokio::time::Instant;

/// Moved at once from one queue to another: a batch small enough that all of it is moved well within its time.
const MOVE_BATCH: usize = 50;

/// Why something could not be queued or recorded.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The queue has all it may have: 429.
    #[error("the queue is full")]
    Full,
    /// The broker does not answer: 503. It may be queued or not.
    #[error("the queue does not answer")]
    Unavailable(#[source] BusError),
    /// Larger than may be queued: 413.
    #[error("{bytes} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The broker refused.
    #[error(transparent)]
    Bus(BusError),
}

impl From<BusError> for QueueError {
    fn from(error: BusError) -> Self {
        if wire::is_taken(&error) {
            Self::Full
        } else if error.is_transient() {
            Self::Unavailable(error)
        } else {
            Self::Bus(error)
        }
    }
}

/// How long what was said of a delivery need not be said again.
const MOMENT: Duration = Duration::from_secs(5);

/// A delivery that is held: acknowledged by value when its effect is durable; dropped, it is delivered again.
struct Held {
    acker: Acker,
    beaten: std::sync::Mutex<Instant>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("beaten", &self.beaten).finish_non_exhaustive()
    }
}

impl Held {
    fn new(acker: Acker) -> Self {
        Self { acker, beaten: std::sync::Mutex::new(Instant::now()) }
    }

    /// Says that it is still at work, if that was not said a moment ago.
    async fn stay(&self) -> Result<(), BusError> {
        let beaten = *self.beaten.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if beaten.elapsed() < MOMENT { Ok(()) } else { self.say(AckKind::Progress).await }
    }

    /// Past its own time a delivery is another's: then nothing is said.
    async fn say(&self, kind: AckKind) -> Result<(), BusError> {
        let beaten = *self.beaten.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if beaten.elapsed() >= WORK_ACK_WAIT {
            return Ok(());
        }
        if matches!(kind, AckKind::Progress) {
            *self.beaten.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
        }
        self.acker.ack_with(kind).await.map_err(|error| BusError::Connection(error.to_string()))
    }
}

/// Longer than the broker takes to say that there is nothing.
const SLACK: Duration = Duration::from_secs(5);

/// Takes up to `max` deliveries; returns as soon as there is at least one and no more at hand, or after `wait`.
async fn take(consumer: &Consumer<pull::Config>, max: usize, wait: Duration) -> Result<Vec<Message>, BusError> {
    let mut taken = collect(consumer.fetch().max_messages(max).messages(), SLACK).await?;
    if taken.is_empty() && !wait.is_zero() {
        let first = consumer.batch().max_messages(1).expires(wait).messages();
        taken = collect(first, wait + SLACK).await?;
        if !taken.is_empty() && max > 1 {
            taken.extend(collect(consumer.fetch().max_messages(max - 1).messages(), SLACK).await?);
        }
    }
    Ok(taken)
}

async fn collect(
    batch: impl Future<Output = Result<pull::Batch, pull::BatchError>>,
    within: Duration,
) -> Result<Vec<Message>, BusError> {
    let mut taken = Vec::new();
    let collecting = async {
        let mut batch = batch.await.map_err(|error| BusError::Connection(error.to_string()))?;
        while let Some(message) = batch.next().await {
            taken.push(message.map_err(|error| BusError::Connection(error.to_string()))?);
        }
        Ok(())
    };
    let collected = tokio::time::timeout(within, collecting).await;
    // What came before a failure is held already; giving it up would only delay it.
    if !taken.is_empty() {
        return Ok(taken);
    }
    match collected {
        Ok(done) => done.map(|()| taken),
        Err(_) => Err(BusError::Timeout { action: "take from a queue".to_owned(), waited: within }),
    }
}
