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
use prost::{
    Message,
    encoding::{self, WireType},
};
use slipway_kernel::{DeploymentId, RequestId};
use std::{sync::Arc, time::Duration};

/// Batches fetched at once: at some hundred KiB each, what a sink-writer holds stays a few MiB.
const FETCH: usize = 8;

/// `slipway.inference.v1.CapturedResult`, its result left as it is.
#[derive(Clone, PartialEq, prost::Message)]
struct Captured {
    #[prost(string, tag = "1")]
    request_id: String,
    #[prost(string, tag = "2")]
    traceparent: String,
    #[prost(bytes = "bytes", tag = "3")]
    result: Bytes,
}

/// `slipway.inference.v1.CapturedResults`.
#[derive(Clone, PartialEq, prost::Message)]
struct Batch {
    #[prost(message, repeated, tag = "1")]
    results: Vec<Captured>,
}

/// A batch in the making: each result is written into it as it comes, so that nothing is kept of a result but its bytes.
#[derive(Debug, Default)]
pub struct CaptureBatch {
    written: Vec<u8>,
    results: usize,
}

impl CaptureBatch {
    /// Adds a result: of which request, in which trace (empty: none).
    pub fn push(&mut self, request_id: &str, traceparent: &str, result: &impl Message) {
        self.add(request_id, traceparent, result.encoded_len(), |written| {
            // There is always room in a vector.
            let _ = result.encode(written);
        });
    }

    /// The same of a result that is bytes already.
    pub(crate) fn push_bytes(&mut self, request_id: &str, traceparent: &str, result: &[u8]) {
        self.add(request_id, traceparent, result.len(), |written| written.extend_from_slice(result));
    }

    fn add(&mut self, request_id: &str, traceparent: &str, bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let field = |bytes: usize| encoding::key_len(1) + encoding::encoded_len_varint(bytes as u64) + bytes;
        let texts = [(1, request_id), (2, traceparent)];
        // An empty text is no text in the wire format.
        let of_texts =
            texts.iter().filter(|(_, text)| !text.is_empty()).map(|(_, text)| field(text.len())).sum::<usize>();
        let written = &mut self.written;
        begin(written, 1, of_texts + field(bytes));
        for (tag, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            begin(written, tag, text.len());
            written.extend_from_slice(text.as_bytes());
        }
        begin(written, 3, bytes);
        write(written);
        self.results += 1;
    }

    /// How many results there are.
    #[must_use]
    pub const fn results(&self) -> usize {
        self.results
    }

    /// How many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.written.len()
    }

    /// The batch, as it is left for the outputs.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.written.into()
    }
}

/// The begin of a field that has so many bytes.
fn begin(written: &mut Vec<u8>, tag: u32, bytes: usize) {
    encoding::encode_key(tag, WireType::LengthDelimited, written);
    encoding::encode_varint(bytes as u64, written);
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
    pub async fn publish(&self, id: &DeploymentId, batch: Bytes) -> Result<(), QueueError> {
        if batch.len() > MAX_INFERENCE_BYTES {
            return Err(QueueError::TooLarge { bytes: batch.len(), limit: MAX_INFERENCE_BYTES });
        }
        Ok(self.put(id, batch).await?)
    }

    /// The same, whatever its size.
    pub(crate) async fn put(&self, id: &DeploymentId, batch: Bytes) -> Result<(), BusError> {
        wire::publish(&self.bus, capture(id), HeaderMap::new(), batch).await.map(drop)
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
        damage: None,
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
        let of = |request_id: &str, traceparent: &str| CapturedResult {
            request_id: request_id.into(),
            traceparent: traceparent.into(),
            result: Some(result.clone()),
        };
        // Lengths of one byte and of two.
        let published = CapturedResults { results: vec![of("r1", "t"), of("r2", ""), of("", &"t".repeat(300))] };
        let mut batch = CaptureBatch::default();
        for (n, one) in published.results.iter().enumerate() {
            match n {
                0 => batch.push_bytes(&one.request_id, &one.traceparent, &result.encode_to_vec()),
                _ => batch.push(&one.request_id, &one.traceparent, &result),
            }
        }
        assert_eq!((batch.results(), batch.bytes()), (3, published.encoded_len()));
        let written = batch.finish();
        assert_eq!(written, published.encode_to_vec());
        let read = Batch::decode(written).unwrap();
        assert_eq!(read.results[0].result, result.encode_to_vec());
    }
}
