//! From a body to a message for a revision: the id, the revision it leads to, and what the revision's model says to it.

use super::{enter::Visit, head::Head};
use crate::{
    error::RequestError,
    limits,
    oip::{self, envelope::Envelope},
    table::{Door, Table, Target},
};
use bytes::Bytes;
use slipway_kernel::{DeploymentId, RequestId};
use slipway_proto::inference::ModelInferRequest;
use std::sync::Arc;
use tracing::Span;

/// A request that fits the revision it leads to.
#[derive(Debug)]
pub struct Prepared {
    /// The id under which its effect happens once.
    pub request_id: RequestId,
    /// The revision it leads to.
    pub target: Arc<Target>,
    /// What the worker gets.
    pub message: ModelInferRequest,
}

/// Reads the body, finds the revision, checks the one against the other. Large bodies are read on a thread that may block.
///
/// # Errors
/// [`RequestError::Invalid`], [`RequestError::NothingServes`], [`RequestError::Unservable`].
pub async fn prepare(
    visit: &Visit,
    head: &Head,
    known: Option<&RequestId>,
    body: &Bytes,
) -> Result<Prepared, RequestError> {
    let work = Work {
        door: Arc::clone(&visit.door),
        named: visit.named.clone(),
        principal: visit.caller.principal.clone(),
        head: head.clone(),
        known: known.cloned(),
        body: body.clone(),
    };
    if body.len() <= limits::DECODE_INLINE_BYTES {
        return work.run();
    }
    let span = Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(|| work.run())).await;
    done.map_err(|error| RequestError::Internal(error.into()))?
}

struct Work {
    door: Arc<Door>,
    named: Option<Arc<Target>>,
    principal: String,
    head: Head,
    known: Option<RequestId>,
    body: Bytes,
}

impl Work {
    fn run(self) -> Result<Prepared, RequestError> {
        let entry = &self.door.entry;
        let envelope = Envelope::read(&self.body)?;
        let request_id = match self.known {
            Some(id) => id,
            None => self.head.id(&entry.id, &self.principal, envelope.id.as_deref()),
        };
        let target = match self.named {
            Some(target) => target,
            None => entry.pick(&request_id).cloned().ok_or_else(|| RequestError::NothingServes(entry.id.clone()))?,
        };
        let signature = target.signature.as_ref().map_err(|reason| RequestError::Unservable(reason.clone()))?;
        let mut message = oip::decode(envelope, signature)?.message;
        if message.id.is_empty() {
            message.id = request_id.to_string();
        }
        message.model_name = entry.id.name.to_string();
        message.model_version = target.revision.to_string();
        Ok(Prepared { request_id, target, message })
    }
}

/// Whether a request that was prepared for `target` leads elsewhere by now. One that names its revision never does; what is
/// under way to a retired deployment is finished where it is.
#[must_use]
pub fn has_moved(table: &Table, deployment: &DeploymentId, named: bool, id: &RequestId, target: &Target) -> bool {
    let picked = table.door(deployment).and_then(|door| door.entry.pick(id).map(|picked| picked.revision));
    !named && picked.is_some_and(|revision| revision != target.revision)
}
