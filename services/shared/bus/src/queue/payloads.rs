//! What is too large for the message of a request: it lies in an object store, and the message says under which name. There is one store for
//! what the ingress queues, and one for the clients of each namespace.

use super::QueueError;
use crate::{
    blobs::{BlobError, Object, unique},
    connect::Bus,
    topology::{PAYLOADS, uploads},
    wire::is_refused_by_store,
};
use bytes::Bytes;
use slipway_kernel::{Namespace, spec::MAX_BODY_BYTES};

/// The header that says where the rest of a message is: the name of an object, as a reference relative to the store that belongs to the
/// stream (`dataref`, an extension of CloudEvents).
pub const DATA_REF: &str = "ce-dataref";
/// The largest payload: a body of HTTP may be as large, and its tensors have the names and shapes beside them.
pub const MAX_PAYLOAD_BYTES: usize = MAX_BODY_BYTES + (64 << 10);
/// The longest name of an object; names are made by clients too.
const MAX_NAME_BYTES: usize = 128;

/// The payloads of queued requests.
#[derive(Clone, Debug)]
pub(super) struct Payloads {
    bus: Bus,
}

impl Payloads {
    pub(super) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Stores a payload; under which name.
    ///
    /// # Errors
    /// [`QueueError::Full`] when there is no room, [`QueueError::TooLarge`], and when it is not known whether all of it is there.
    pub(super) async fn put(&self, payload: &Bytes) -> Result<String, QueueError> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(QueueError::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD_BYTES });
        }
        let name = unique();
        let Err(error) = self.bus.blobs().put_new(PAYLOADS, &name, payload).await else { return Ok(name) };
        self.remove(&name).await;
        Err(if is_refused_by_store(&error) { QueueError::Full } else { error.into() })
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is gone, damaged, or the store does not answer.
    pub(super) async fn get(&self, name: &str) -> Result<Bytes, BlobError> {
        let blobs = self.bus.blobs();
        blobs.read(&blobs.find(PAYLOADS, name, MAX_PAYLOAD_BYTES as u64).await?).await
    }

    /// Removes a payload that nobody needs. If that fails it goes when its time is over.
    pub(super) async fn remove(&self, name: &str) {
        if let Err(error) = self.bus.blobs().remove(PAYLOADS, name).await {
            tracing::debug!(%error, name, "a payload is left over");
        }
    }
}

/// What the clients of models put into the object stores of their namespaces.
#[derive(Clone, Debug)]
pub struct Uploads {
    bus: Bus,
}

/// An object that a client has put there.
#[derive(Debug)]
pub struct Upload {
    bus: Bus,
    object: Object,
}

impl Uploads {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Finds an object.
    ///
    /// # Errors
    /// [`BlobError::NotFound`] also for what is no name, [`BlobError::TooLarge`], [`BlobError::Store`] when the store does not answer or the
    /// namespace has none.
    pub async fn find(&self, namespace: &Namespace, name: &str) -> Result<Upload, BlobError> {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(BlobError::NotFound { name: name.chars().take(MAX_NAME_BYTES).collect() });
        }
        let object = self.bus.blobs().find(&uploads(namespace), name, MAX_PAYLOAD_BYTES as u64).await?;
        Ok(Upload { bus: self.bus.clone(), object })
    }
}

impl Upload {
    /// Its size in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.object.bytes()
    }

    /// All of it.
    ///
    /// # Errors
    /// When it is gone or damaged meanwhile, or the store does not answer.
    pub async fn read(&self) -> Result<Bytes, BlobError> {
        self.bus.blobs().read(&self.object).await
    }
}
