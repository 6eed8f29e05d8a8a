//! The queue of one revision. Its bound is the stream's: past it a publish is refused, and the client is told to come back.

use super::{DATA_REF, Held, MOVE_BATCH, QueueError, payloads::Payloads, take};
use crate::{
    blobs::BlobError,
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

    /// Queues a request for one revision. Repeated within a quarter of a minute it is queued once.
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
        self.put(id, revision, request, payload, None, traceparent).await.map(drop)
    }

    /// The same of one that is too large for a message: `data` is what the message leaves out, and is stored beside the queue.
    ///
    /// # Errors
    /// As [`Requests::publish`]; [`QueueError::Full`] also when the store is.
    pub async fn publish_with_data(
        &self,
        id: &DeploymentId,
        revision: RevisionId,
        request: &RequestId,
        payload: Bytes,
        data: &Bytes,
        traceparent: Option<&str>,
    ) -> Result<(), QueueError> {
        let payloads = Payloads::new(self.bus.clone());
        let name = payloads.put(data).await?;
        match self.put(id, revision, request, payload, Some(&name), traceparent).await {
            Ok(Queued::New) => Ok(()),
            // The one that is queued has its own.
            Ok(Queued::Already) => {
                payloads.remove(&name).await;
                Ok(())
            }
            Err(error) => {
                // Where it is not known whether the request is queued, its payload must stay.
                if !matches!(error, QueueError::Unavailable(_)) {
                    payloads.remove(&name).await;
                }
                Err(error)
            }
        }
    }

    async fn put(
        &self,
        id: &DeploymentId,
        revision: RevisionId,
        request: &RequestId,
        payload: Bytes,
        data_ref: Option<&str>,
        traceparent: Option<&str>,
    ) -> Result<Queued, QueueError> {
        if payload.len() > MAX_INFERENCE_BYTES {
            return Err(QueueError::TooLarge { bytes: payload.len(), limit: MAX_INFERENCE_BYTES });
        }
        let mut headers = HeaderMap::new();
        headers.insert(ID, request.as_str());
        // With the revision in it: a request that is moved to another one must not be swallowed.
        headers.insert("Nats-Msg-Id", format!("{id}.{revision}.{request}"));
        crate::envelope::insert(&mut headers, "traceparent", traceparent);
        crate::envelope::insert(&mut headers, DATA_REF, data_ref);
        let ack = wire::publish(&self.bus, request_queue(id, revision), headers, payload).await?;
        Ok(if ack.duplicate { Queued::Already } else { Queued::New })
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
            let (payload, traceparent) = (request.payload.clone(), request.traceparent.as_deref());
            let sent = self.put(id, to, &request.request_id, payload, request.data_ref.as_deref(), traceparent).await;
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

/// How queueing came out.
enum Queued {
    New,
    /// It was sent a moment ago.
    Already,
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
    let consumer = Consumer::new(config, info, bus.context().clone());
    Ok(RequestQueue { consumer, payloads: Payloads::new(bus.clone()) })
}

/// The queue of one revision, shared by all its workers.
#[derive(Debug)]
pub struct RequestQueue {
    consumer: Consumer<pull::Config>,
    payloads: Payloads,
}

impl RequestQueue {
    /// Takes up to `max` requests; returns as soon as there is one, or after `wait` with none.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn next(&self, max: usize, wait: Duration) -> Result<Vec<QueuedRequest>, BusError> {
        let taken = take(&self.consumer, max, wait).await?;
        Ok(taken.into_iter().filter_map(|message| QueuedRequest::read(message, &self.payloads)).collect())
    }
}

/// One request. It comes again, here or elsewhere, unless it is acknowledged within 30 s or kept alive.
#[derive(Debug)]
pub struct QueuedRequest {
    /// Its id.
    pub request_id: RequestId,
    /// `slipway.inference.v1.InferenceRequest`, without its [data](Self::data).
    pub payload: Bytes,
    /// Which delivery this is; 1 = the first. A later one runs alone.
    pub attempt: u64,
    /// When it was queued, by the broker's clock.
    pub at: Timestamp,
    /// Its trace.
    pub traceparent: Option<String>,
    /// Under which name the rest of it lies in the object store, if there is a rest.
    pub data_ref: Option<String>,
    payloads: Payloads,
    held: Held,
}

impl QueuedRequest {
    fn read(message: async_nats::jetstream::Message, payloads: &Payloads) -> Option<Self> {
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
            data_ref: stored.header(DATA_REF).map(str::to_owned),
            payload: stored.payload,
            payloads: payloads.clone(),
            held: Held::new(message.split().1),
        })
    }

    /// Reads what lies in the object store: up to [`MAX_PAYLOAD_BYTES`](super::MAX_PAYLOAD_BYTES).
    ///
    /// # Errors
    /// [`BlobError::NotFound`] when nothing does, or it is gone; when it is damaged, or the store does not answer.
    pub async fn data(&self) -> Result<Bytes, BlobError> {
        match &self.data_ref {
            Some(name) => self.payloads.get(name).await,
            None => Err(BlobError::NotFound { name: String::new() }),
        }
    }

    /// It is somewhere else now, and its data is needed there; or that may lie until its time is over.
    ///
    /// # Errors
    /// When the connection is gone; the request then comes again.
    pub async fn ack(self) -> Result<(), BusError> {
        self.held.say(AckKind::Ack).await
    }

    /// Done: its result is recorded. Its data is removed.
    ///
    /// # Errors
    /// When the connection is gone; the request then comes again, and its result is there already.
    pub async fn done(self) -> Result<(), BusError> {
        self.held.say(AckKind::Ack).await?;
        if let Some(name) = &self.data_ref {
            self.payloads.remove(name).await;
        }
        Ok(())
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
