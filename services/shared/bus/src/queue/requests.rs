//! The queue of one revision. Its bound is the stream's: past it a publish is refused, and the client is told to come back.

use super::{Held, MOVE_BATCH, QueueError, take};
use crate::{
    connect::Bus,
    error::BusError,
    topology::{MAX_INFERENCE_BYTES, StreamName, moving_consumer, request_consumer, request_queue},
    wire::{self, Stored},
};
use async_nats::{
    HeaderMap,
    jetstream::{
        AckKind,
        consumer::{Consumer, Info, IntoConsumerConfig, pull},
    },
};
use bytes::Bytes;
use serde_json::{Value, json};
use slipway_kernel::{DeploymentId, RequestId, RevisionId, Timestamp};
use std::time::Duration;

const ID: &str = "slipway-request-id";

/// The queues.
#[derive(Clone, Debug)]
pub struct Requests {
    pub(super) bus: Bus,
}

impl Requests {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Queues a request for one revision. Repeated within two minutes it is queued once.
    ///
    /// # Errors
    /// [`QueueError::Full`] when the revision's queue is; [`QueueError::Unavailable`] when it is not known whether it is queued.
    pub async fn publish(
        &self,
        id: &DeploymentId,
        revision: RevisionId,
        request: &RequestId,
        payload: Bytes,
        traceparent: Option<&str>,
    ) -> Result<(), QueueError> {
        if payload.len() > MAX_INFERENCE_BYTES {
            return Err(QueueError::TooLarge { bytes: payload.len(), limit: MAX_INFERENCE_BYTES });
        }
        let mut headers = HeaderMap::new();
        headers.insert(ID, request.as_str());
        // With the revision in it: a request that is moved to another one must not be swallowed.
        headers.insert("Nats-Msg-Id", format!("{id}.{revision}.{request}"));
        crate::envelope::insert(&mut headers, "traceparent", traceparent);
        wire::publish(&self.bus, request_queue(id, revision), headers, payload).await?;
        Ok(())
    }

    /// Opens the queue of a revision; its consumer is made if there is none.
    ///
    /// # Errors
    /// When the broker does not answer or it is not allowed.
    pub async fn pull(&self, id: &DeploymentId, revision: RevisionId) -> Result<RequestQueue, BusError> {
        open(&self.bus, request_consumer(id, revision)).await
    }

    /// How many requests wait for a revision, those at work included.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn depth(&self, id: &DeploymentId, revision: RevisionId) -> Result<u64, BusError> {
        let subject = request_queue(id, revision);
        let what = format!("STREAM.INFO.{}", StreamName::Requests.as_str());
        let info = wire::api(&self.bus, &what, &json!({ "subjects_filter": subject })).await?;
        let subjects = info.pointer("/state/subjects").and_then(Value::as_object);
        Ok(subjects.and_then(|subjects| subjects.get(&subject)).and_then(Value::as_u64).unwrap_or(0))
    }

    /// Moves everything that waits for one revision to another, through the same consumer its workers use, so that what one of them
    /// still runs is not moved. To be called after the revision is fenced and its workers have stopped to pull; what they gave back or
    /// let run out later needs another call. Returns how many were moved.
    ///
    /// # Errors
    /// When a queue does not answer or the other is full; what was not moved stays where it is.
    pub async fn move_all(&self, id: &DeploymentId, from: RevisionId, to: RevisionId) -> Result<u64, QueueError> {
        let queue = self.pull(id, from).await?;
        let mut moved = 0;
        loop {
            let batch = queue.next(MOVE_BATCH, Duration::ZERO).await?;
            if batch.is_empty() {
                return Ok(moved);
            }
            moved += self.pass_on(id, to, batch).await?;
        }
    }

    /// Queues what was taken from one queue in another, then takes it out of the first.
    pub(super) async fn pass_on(
        &self,
        id: &DeploymentId,
        to: RevisionId,
        batch: Vec<QueuedRequest>,
    ) -> Result<u64, QueueError> {
        let mut moved = 0;
        for request in batch {
            let payload = request.payload.clone();
            let sent = self.publish(id, to, &request.request_id, payload, request.traceparent.as_deref()).await;
            if let Err(error) = sent {
                // Back at once, for the next attempt; if that fails it comes back by itself.
                let _ = request.give_back().await;
                return Err(error);
            }
            request.ack().await?;
            moved += 1;
        }
        Ok(moved)
    }

    /// Removes the queue of a revision that is gone, with what is in it.
    ///
    /// # Errors
    /// When the broker does not answer or it is not allowed.
    pub async fn remove(&self, id: &DeploymentId, revision: RevisionId) -> Result<(), BusError> {
        self.delete(&request_consumer(id, revision).0).await?;
        self.delete(&moving_consumer(id, revision).0).await?;
        let stream = StreamName::Requests.as_str();
        let filter = json!({ "filter": request_queue(id, revision) });
        wire::api(&self.bus, &format!("STREAM.PURGE.{stream}"), &filter).await.map(drop)
    }

    /// Removes a consumer, if it is there.
    pub(super) async fn delete(&self, consumer: &str) -> Result<(), BusError> {
        let what = format!("CONSUMER.DELETE.{}.{consumer}", StreamName::Requests.as_str());
        match wire::api(&self.bus, &what, &json!({})).await {
            // 10014: no such consumer.
            Ok(_) | Err(BusError::Refused { code: 10_014, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Opens a queue by this consumer, which is made if it is not there.
pub(super) async fn open(bus: &Bus, (name, config): (String, pull::Config)) -> Result<RequestQueue, BusError> {
    let stream = StreamName::Requests.as_str();
    let what = format!("CONSUMER.CREATE.{stream}.{name}.{}", config.filter_subject);
    let body = json!({
        "stream_name": stream,
        "config": config.clone().into_consumer_config(),
        "action": "",
    });
    let info = wire::api(bus, &what, &body).await?;
    let info: Info = serde_json::from_value(info)
        .map_err(|error| BusError::Unreadable { action: what, reason: error.to_string() })?;
    Ok(RequestQueue { consumer: Consumer::new(config, info, bus.context().clone()) })
}

/// The queue of one revision, shared by all its workers.
#[derive(Debug)]
pub struct RequestQueue {
    consumer: Consumer<pull::Config>,
}

impl RequestQueue {
    /// Takes up to `max` requests; returns as soon as there is one, or after `wait` with none.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn next(&self, max: usize, wait: Duration) -> Result<Vec<QueuedRequest>, BusError> {
        let taken = take(&self.consumer, max, wait).await?;
        Ok(taken.into_iter().filter_map(QueuedRequest::read).collect())
    }
}

/// One request. It comes again, here or elsewhere, unless it is acknowledged within 30 s or kept alive.
#[derive(Debug)]
pub struct QueuedRequest {
    /// Its id.
    pub request_id: RequestId,
    /// `slipway.inference.v1.InferenceRequest`.
    pub payload: Bytes,
    /// Which delivery this is; 1 = the first. A later one runs alone.
    pub attempt: u64,
    /// When it was queued, by the broker's clock.
    pub at: Timestamp,
    /// Its trace.
    pub traceparent: Option<String>,
    held: Held,
}

impl QueuedRequest {
    fn read(message: async_nats::jetstream::Message) -> Option<Self> {
        let (stored, delivery) = Stored::of_delivery(&message)?;
        let Some(request_id) = stored.header(ID).and_then(|id| id.parse().ok()) else {
            tracing::warn!(subject = stored.subject, "a queued message without a request id is left to run out");
            return None;
        };
        Some(Self {
            request_id,
            attempt: delivery.count,
            at: stored.at,
            traceparent: stored.header("traceparent").map(str::to_owned),
            payload: stored.payload,
            held: Held::new(message.split().1),
        })
    }

    /// Done: its result is recorded.
    ///
    /// # Errors
    /// When the connection is gone; the request then comes again, and its result is there already.
    pub async fn ack(self) -> Result<(), BusError> {
        self.held.say(AckKind::Ack).await
    }

    /// Still at work: to be said at least each 10 s.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn working(&self) -> Result<(), BusError> {
        self.held.say(AckKind::Progress).await
    }

    /// Not done: another may have it at once.
    ///
    /// # Errors
    /// When the connection is gone; it then comes back by itself.
    pub async fn give_back(self) -> Result<(), BusError> {
        self.held.say(AckKind::Nak(None)).await
    }
}
