//! Captured results: on their way to the outputs in batches, after the client had the answer.

use super::{QueueError, RecordedResult, results::Delivered, take};
use crate::{
    connect::Bus,
    error::BusError,
    react::open_consumer,
    topology::{MAX_INFERENCE_BYTES, WorkConsumer, capture, parse_capture},
    wire::{self, Stored},
};
use async_nats::{
    HeaderMap,
    jetstream::consumer::{Consumer, pull},
};
use bytes::Bytes;
use prost::Message as _;
use slipway_kernel::{DeploymentId, RequestId};
use std::{sync::Arc, time::Duration};

/// Batches fetched at once: at some hundred KiB each, what a sink-writer holds stays a few MiB.
const FETCH: usize = 8;

/// One result of a batch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Captured {
    /// Of which request.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// Its trace; empty without one.
    #[prost(string, tag = "2")]
    pub traceparent: String,
    /// `slipway.inference.v1.InferenceResult`.
    #[prost(bytes = "bytes", tag = "3")]
    pub result: Bytes,
}

/// `slipway.inference.v1.CapturedResults`, its results left as they are: whoever writes and reads batches need not know what is in them.
#[derive(Clone, PartialEq, prost::Message)]
struct Batch {
    #[prost(message, repeated, tag = "1")]
    results: Vec<Captured>,
}

/// The captured results.
#[derive(Clone, Debug)]
pub struct Captures {
    bus: Bus,
}

impl Captures {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Leaves a batch for the outputs of a deployment. Left twice, its results are still written once: the outputs tell them by
    /// their requests.
    ///
    /// # Errors
    /// [`QueueError::Full`] when the outputs of the deployment are too far behind, [`QueueError::TooLarge`], and when it is not
    /// known whether it is there.
    pub async fn publish(&self, id: &DeploymentId, results: Vec<Captured>) -> Result<(), QueueError> {
        let batch = Batch { results };
        let bytes = batch.encoded_len();
        if bytes > MAX_INFERENCE_BYTES {
            return Err(QueueError::TooLarge { bytes, limit: MAX_INFERENCE_BYTES });
        }
        Ok(self.put(id, batch.results).await?)
    }

    /// The same, whatever its size.
    pub(crate) async fn put(&self, id: &DeploymentId, results: Vec<Captured>) -> Result<(), BusError> {
        let payload = Batch { results }.encode_to_vec();
        wire::publish(&self.bus, capture(id), HeaderMap::new(), payload.into()).await.map(drop)
    }

    /// Opens the consumer of all captured results (sink-writer).
    ///
    /// # Errors
    /// When the broker does not answer or it is not allowed.
    pub async fn consume(&self) -> Result<CaptureQueue, BusError> {
        Ok(CaptureQueue { consumer: open_consumer(&self.bus, WorkConsumer::Captures).await? })
    }

    /// How many batches the sink-writer has not acknowledged.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn lag(&self) -> Result<u64, BusError> {
        super::results::lag(&self.bus, WorkConsumer::Captures).await
    }
}

/// All captured results, shared by the replicas of the sink-writer.
#[derive(Debug)]
pub struct CaptureQueue {
    consumer: Consumer<pull::Config>,
}

impl CaptureQueue {
    /// Takes the results of a few batches; returns as soon as there is one, or after `wait` with none. A batch is acknowledged when
    /// each of its results is; what cannot be read as a batch is one result that cannot be read either.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn next(&self, wait: Duration) -> Result<Vec<RecordedResult>, BusError> {
        let taken = take(&self.consumer, FETCH, wait).await?;
        Ok(taken.into_iter().flat_map(open).collect())
    }
}

fn open(message: async_nats::jetstream::Message) -> Vec<RecordedResult> {
    let Some((stored, delivery)) = Stored::of_delivery(&message) else { return Vec::new() };
    let Some(deployment) = parse_capture(&stored.subject) else { return Vec::new() };
    let acker = message.split().1;
    let unread = Captured { result: stored.payload.clone(), ..Captured::default() };
    let results = match Batch::decode(stored.payload.clone()) {
        Ok(batch) if !batch.results.is_empty() => batch.results,
        _ => vec![unread],
    };
    let delivered = Arc::new(Delivered::new(acker, results.len()));
    let of_batch = |captured: Captured| RecordedResult {
        deployment: deployment.clone(),
        request_id: captured.request_id.parse::<RequestId>().ok(),
        payload: captured.result,
        sequence: stored.sequence,
        at: stored.at,
        traceparent: Some(captured.traceparent).filter(|traceparent| !traceparent.is_empty()),
        attempt: delivery.count,
        captured: true,
        delivered: Arc::clone(&delivered),
    };
    results.into_iter().map(of_batch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_proto::slipway::inference::v1::{CapturedResult, CapturedResults, InferenceResult};

    #[test]
    fn a_batch_is_the_message_that_is_published_about_it() {
        let result = InferenceResult { request_id: "r1".into(), ..InferenceResult::default() };
        let published = CapturedResults {
            results: vec![CapturedResult {
                request_id: "r1".into(),
                traceparent: "t".into(),
                result: Some(result.clone()),
            }],
        };
        let batch = Batch::decode(published.encode_to_vec().as_slice()).unwrap();
        let captured =
            Captured { request_id: "r1".into(), traceparent: "t".into(), result: result.encode_to_vec().into() };
        assert_eq!(batch.results, [captured]);
    }
}
