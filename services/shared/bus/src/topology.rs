//! Every subject, stream, consumer and bucket, each with its limits and the reason for them. No other file names a subject.

mod buckets;
mod consumers;
mod ensure;
mod streams;
mod subjects;

pub use buckets::{BLOBS, Bucket, PAYLOADS, ROUTE_TTL, WORKER_TTL, objects_stream, uploads};
pub use consumers::{
    MAX_ACK_PENDING_CAPTURES, MAX_ACK_PENDING_DUTIES, MAX_ACK_PENDING_RESULTS, WORK_ACK_WAIT, WorkConsumer,
};
pub use ensure::{TopologyConfig, VERSION, bounds, ensure};
pub use streams::{
    MAX_FACT_BYTES, MAX_INBOUND_REQUESTS, MAX_INFERENCE_BYTES, MAX_MESSAGE_BYTES, MAX_QUEUED_REQUESTS, MAX_REPLY_BYTES,
    StreamName,
};
pub use subjects::*;

pub(crate) use consumers::{moving_consumer, request_consumer, rings};
pub(crate) use ensure::version;
