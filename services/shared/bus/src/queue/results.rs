//! Recorded results that can be asked for: each request id has one, written before the client has it.

use super::{DATA_REF, Held, MAX_PAYLOAD_BYTES, QueueError, parts::Parts, take};
use crate::{
    connect::Bus,
    error::BusError,
    react::open_consumer,
    topology::{MAX_INFERENCE_BYTES, StreamName, WorkConsumer, parse_result, result},
    wire::{self, Stored},
};
use async_nats::{
    HeaderMap,
    jetstream::{
        AckKind,
        consumer::{Consumer, pull},
        message::Acker,
    },
};
use bytes::Bytes;
use serde_json::{Value, json};
use slipway_kernel::{DeploymentId, RequestId, Timestamp};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How long a result that could not be written stays away. The broker hands out what was given back before anything new: at once, the
/// results of one output that does not work would stand before those of all others.
const PAUSE: Duration = Duration::from_secs(3);

/// How a record came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is recorded.
    Stored,
    /// There was one for this request already; this one is dropped.
    Already,
}

/// The results.
#[derive(Clone, Debug)]
pub struct Results {
    pub(super) bus: Bus,
}

impl Results {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Records a result, once per request.
    ///
    /// # Errors
    /// When it is too large ([`MAX_PAYLOAD_BYTES`]) or it is not known whether it is recorded: then the client must not have it.
    pub async fn publish(
        &self,
        id: &DeploymentId,
        request: &RequestId,
        payload: Bytes,
        traceparent: Option<&str>,
    ) -> Result<Recorded, QueueError> {
        let mut headers = HeaderMap::new();
        crate::envelope::insert(&mut headers, "traceparent", traceparent);
        let payload = if payload.len() > MAX_INFERENCE_BYTES {
            let parts = Parts::put(&self.bus, &payload).await?;
            crate::envelope::insert(&mut headers, DATA_REF, Some(&parts.header()));
            Bytes::new()
        } else {
            payload
        };
        match wire::publish(&self.bus, result(id, request), headers, payload).await {
            Ok(_) => Ok(Recorded::Stored),
            Err(error) if wire::is_taken(&error) => Ok(Recorded::Already),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the result of a request.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn get(&self, id: &DeploymentId, request: &RequestId) -> Result<Option<Bytes>, BusError> {
        let stored = wire::direct_last_of(&self.bus, StreamName::Results.as_str(), &result(id, request)).await?;
        let Some(stored) = stored else { return Ok(None) };
        match Parts::of(&stored) {
            Some(parts) => parts.get(&self.bus).await.map(Some),
            None => Ok(Some(stored.payload)),
        }
    }

    /// Opens the consumer of all results (sink-writer).
    ///
    /// # Errors
    /// When the broker does not answer or it is not allowed.
    pub async fn consume(&self) -> Result<ResultQueue, BusError> {
        Ok(ResultQueue { consumer: open_consumer(&self.bus, WorkConsumer::Results).await?, bus: self.bus.clone() })
    }

    /// How many results the sink-writer has not acknowledged.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn lag(&self) -> Result<u64, BusError> {
        lag(&self.bus, WorkConsumer::Results).await
    }

    /// Makes room when the stream is more than half full: drops the older half of what the sinks have (sink-writer, after a batch).
    /// Returns how many were dropped. A dropped result can no longer be fetched by an asynchronous client; the sinks have it.
    ///
    /// # Errors
    /// When the broker does not answer or it is not allowed.
    pub async fn trim(&self) -> Result<u64, BusError> {
        let stream = StreamName::Results.as_str();
        let info = wire::api(&self.bus, &format!("STREAM.INFO.{stream}"), &json!({})).await?;
        let number = |info: &Value, path: &str| info.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        if number(&info, "/state/bytes") * 2 <= number(&info, "/config/max_bytes") {
            return Ok(0);
        }
        let acknowledged = number(&consumer_info(&self.bus, WorkConsumer::Results).await?, "/ack_floor/stream_seq");
        let first = number(&info, "/state/first_seq");
        // At least one, as soon as one is acknowledged; up to the middle, so that the newest can still be asked for.
        let before = first + (acknowledged + 1).saturating_sub(first).div_ceil(2);
        if before <= first {
            return Ok(0);
        }
        let purged = wire::api(&self.bus, &format!("STREAM.PURGE.{stream}"), &json!({ "seq": before })).await?;
        Ok(number(&purged, "/purged"))
    }
}

/// How much a consumer has not acknowledged.
pub(super) async fn lag(bus: &Bus, consumer: WorkConsumer) -> Result<u64, BusError> {
    let info = consumer_info(bus, consumer).await?;
    let number = |path: &str| info.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    Ok(number("/num_pending") + number("/num_ack_pending"))
}

async fn consumer_info(bus: &Bus, consumer: WorkConsumer) -> Result<Value, BusError> {
    let what = format!("CONSUMER.INFO.{}.{}", consumer.stream().as_str(), consumer.as_str());
    wire::api(bus, &what, &json!({})).await
}

/// All results, shared by the replicas of the sink-writer.
#[derive(Debug)]
pub struct ResultQueue {
    consumer: Consumer<pull::Config>,
    bus: Bus,
}

impl ResultQueue {
    /// Takes up to `max` results; returns as soon as there is one, or after `wait` with none. Of those in parts it puts together what
    /// the memory for them holds; the others come again. One that cannot be put together says so.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn next(&self, max: usize, wait: Duration) -> Result<Vec<RecordedResult>, BusError> {
        let taken = take(&self.consumer, max, wait).await?;
        let mut results = Vec::with_capacity(taken.len());
        let mut room = MAX_PAYLOAD_BYTES;
        for message in taken {
            let Some((mut result, parts)) = RecordedResult::read(message) else { continue };
            if let Some(parts) = parts {
                if parts.bytes() > room {
                    result.give_back().await?;
                    continue;
                }
                room -= parts.bytes();
                match parts.get(&self.bus).await {
                    Ok(payload) => result.payload = payload,
                    Err(error) if error.is_transient() => {
                        result.give_back().await?;
                        continue;
                    }
                    Err(error) => result.damage = Some(error.to_string()),
                }
            }
            results.push(result);
        }
        Ok(results)
    }
}

/// One result. It comes again unless it, and what was delivered with it, is acknowledged within 30 s or kept alive.
#[derive(Debug)]
pub struct RecordedResult {
    /// Whose deployment.
    pub deployment: DeploymentId,
    /// Of which request; none if what is said of it cannot be read.
    pub request_id: Option<RequestId>,
    /// `slipway.inference.v1.InferenceResult`.
    pub payload: Bytes,
    /// Where it stands in the stream.
    pub sequence: u64,
    /// When it was recorded, by the broker's clock.
    pub at: Timestamp,
    /// Its trace.
    pub traceparent: Option<String>,
    /// Which delivery this is; 1 = the first.
    pub attempt: u64,
    /// It came with others, captured after its request was answered, and nobody can ask for it.
    pub captured: bool,
    /// Why its payload is not there, if it is not.
    pub damage: Option<String>,
    pub(super) delivered: Arc<Delivered>,
}

impl RecordedResult {
    fn read(message: async_nats::jetstream::Message) -> Option<(Self, Option<Parts>)> {
        let (stored, delivery) = Stored::of_delivery(&message)?;
        let (deployment, request_id) = parse_result(&stored.subject)?;
        let parts = Parts::of(&stored);
        let result = Self {
            deployment,
            request_id: Some(request_id),
            sequence: stored.sequence,
            at: stored.at,
            traceparent: stored.header("traceparent").map(str::to_owned),
            attempt: delivery.count,
            payload: stored.payload,
            captured: false,
            damage: None,
            delivered: Arc::new(Delivered::new(message.split().1, 1)),
        };
        Some((result, parts))
    }

    /// Durable in every required sink.
    ///
    /// # Errors
    /// When the connection is gone; it then comes again.
    pub async fn ack(self) -> Result<(), BusError> {
        self.delivered.settle(true).await
    }

    /// Still at work: to be said at least each 10 s. Of results that were delivered together it is enough to say it of each: the
    /// broker is told once.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn working(&self) -> Result<(), BusError> {
        self.delivered.held.stay().await
    }

    /// Not written: to be delivered again in a few seconds, with all that was delivered with it.
    ///
    /// # Errors
    /// When the connection is gone; it then comes back by itself.
    pub async fn give_back(self) -> Result<(), BusError> {
        self.delivered.settle(false).await
    }
}

/// One delivery with the results in it. The broker is told what became of it when all of them are settled.
#[derive(Debug)]
pub(super) struct Delivered {
    held: Held,
    open: AtomicUsize,
    given_back: AtomicBool,
}

impl Delivered {
    pub(super) fn new(acker: Acker, results: usize) -> Self {
        Self { held: Held::new(acker), open: AtomicUsize::new(results), given_back: AtomicBool::new(false) }
    }

    async fn settle(&self, done: bool) -> Result<(), BusError> {
        if !done {
            self.given_back.store(true, Ordering::Release);
        }
        if self.open.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        let given_back = self.given_back.load(Ordering::Acquire);
        self.held.say(if given_back { AckKind::Nak(Some(PAUSE)) } else { AckKind::Ack }).await
    }
}
