//! From a body to a message for a revision: the id, the revision it leads to, and what the revision's model says to it.

use super::{enter::Visit, head::Head, wire::Wire};
use crate::{
    error::RequestError,
    limits,
    table::{Table, Target},
};
use prost::Message as _;
use slipway_kernel::{DeploymentId, RequestId};
use slipway_oip::{Request, Signature};
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
    /// Which outputs are wanted as bytes, by their place in the answer.
    pub forms: Vec<bool>,
}

/// Reads the body, finds the revision, checks the one against the other. Large bodies are read on a thread that may block.
///
/// # Errors
/// [`RequestError::Invalid`], [`RequestError::NothingServes`], [`RequestError::Unservable`].
pub async fn prepare(
    visit: &Visit,
    head: &Head,
    known: Option<&RequestId>,
    wire: &Wire,
) -> Result<Prepared, RequestError> {
    // Bytes behind the document are only looked at, not read number by number.
    if wire.text_bytes() <= limits::DECODE_INLINE_BYTES {
        return read(visit, head, known, wire);
    }
    let (visit, head, known, wire) = (visit.clone(), head.clone(), known.cloned(), wire.clone());
    let span = Span::current();
    let reading = move || span.in_scope(|| read(&visit, &head, known.as_ref(), &wire));
    let done = tokio::task::spawn_blocking(reading).await;
    done.map_err(|error| RequestError::Internal(error.into()))?
}

fn read(visit: &Visit, head: &Head, known: Option<&RequestId>, wire: &Wire) -> Result<Prepared, RequestError> {
    let entry = &visit.door.entry;
    let reading = wire.reading()?;
    let request_id = match known {
        Some(id) => id.clone(),
        None => head.id(&entry.id, &visit.caller.principal, reading.id()),
    };
    let target = match &visit.named {
        Some(target) => Arc::clone(target),
        None => entry.pick(&request_id).cloned().ok_or_else(|| RequestError::NothingServes(entry.id.clone()))?,
    };
    let signature = target.signature.as_ref().map_err(|reason| RequestError::Unservable(reason.clone()))?;
    let mut request = reading.finish(signature)?;
    let prepared = prepared(&mut request, &request_id, &entry.id, Arc::clone(&target), signature);
    // Only text can grow: `0,` for an FP64 is a quarter of its bytes.
    if wire.text_bytes() > limits::MESSAGE_BYTES / 4 && prepared.message.encoded_len() > limits::MESSAGE_BYTES {
        return Err(RequestError::BodyTooLarge { limit: limits::MESSAGE_BYTES });
    }
    Ok(prepared)
}

/// The message for a worker of the revision that the request leads to.
fn prepared(
    request: &mut Request,
    request_id: &RequestId,
    id: &DeploymentId,
    target: Arc<Target>,
    signature: &Signature,
) -> Prepared {
    if request.id.is_empty() {
        request.id = request_id.to_string();
    }
    let message = request.message(signature, id.name.to_string(), target.revision.to_string());
    let forms = request.outputs.iter().map(|wanted| wanted.binary).collect();
    Prepared { request_id: request_id.clone(), target, message, forms }
}

/// Whether a request that was prepared for `target` leads elsewhere by now. One that names its revision never does; what is
/// under way to a retired deployment is finished where it is.
#[must_use]
pub fn has_moved(table: &Table, deployment: &DeploymentId, named: bool, id: &RequestId, target: &Target) -> bool {
    let picked = table.door(deployment).and_then(|door| door.entry.pick(id).map(|picked| picked.revision));
    !named && picked.is_some_and(|revision| revision != target.revision)
}
