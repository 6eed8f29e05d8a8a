//! A result that is too large for one message: it is recorded in parts, and its message says which they are. They stand in the same stream just
//! before it, so they live as long as it does and make room with it.

use super::{DATA_REF, MAX_PAYLOAD_BYTES, QueueError};
use crate::{
    blobs::unique,
    connect::Bus,
    error::BusError,
    topology::{MAX_INFERENCE_BYTES, StreamName, result_part},
    wire,
};
use async_nats::HeaderMap;
use bytes::Bytes;
use slipway_kernel::Digest;

/// Which the parts of a result are, in the header of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    name: String,
    bytes: usize,
    digest: Digest,
}

impl Parts {
    /// Stores a result in parts.
    ///
    /// # Errors
    /// [`QueueError::TooLarge`], and when it is not known whether all of it is there.
    pub(super) async fn put(bus: &Bus, payload: &Bytes) -> Result<Self, QueueError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(QueueError::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD_BYTES });
        }
        let name = unique();
        for (number, begin) in (0..payload.len()).step_by(MAX_INFERENCE_BYTES).enumerate() {
            let part = payload.slice(begin..payload.len().min(begin + MAX_INFERENCE_BYTES));
            wire::publish(bus, result_part(&name, number), HeaderMap::new(), part).await?;
        }
        Ok(Self { name, bytes: payload.len(), digest: Digest::of(payload) })
    }

    /// As the header says it.
    pub(super) fn header(&self) -> String {
        format!("{}.{}.{}", self.name, self.bytes, self.digest)
    }

    /// What a message says of its parts; none if it is whole.
    pub(super) fn of(stored: &wire::Stored) -> Option<Self> {
        let mut words = stored.header(DATA_REF)?.split('.');
        let (name, bytes, digest) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { name: name.to_owned(), bytes, digest })
    }

    /// How large the result is.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts the result together.
    ///
    /// # Errors
    /// [`BusError::Unreadable`] when a part is gone or damaged; when the broker does not answer.
    pub(super) async fn get(&self, bus: &Bus) -> Result<Bytes, BusError> {
        let unreadable = |reason: &str| BusError::Unreadable {
            action: format!("read the parts of a result of {} bytes", self.bytes),
            reason: reason.to_owned(),
        };
        let mut whole = Vec::with_capacity(self.bytes.min(MAX_PAYLOAD_BYTES));
        for number in 0..self.bytes.min(MAX_PAYLOAD_BYTES).div_ceil(MAX_INFERENCE_BYTES) {
            let part =
                wire::direct_last_of(bus, StreamName::Results.as_str(), &result_part(&self.name, number)).await?;
            whole.extend_from_slice(&part.ok_or_else(|| unreadable("one is gone"))?.payload);
        }
        if Digest::of(&whole) == self.digest {
            Ok(whole.into())
        } else {
            Err(unreadable("they are not what was recorded"))
        }
    }
}
