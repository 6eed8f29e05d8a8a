//! What is too large for a message of NATS: its client put it into the object store of its namespace, and the message names it.

use crate::{admission::BodyShare, error::RequestError};
use bytes::Bytes;
use http::HeaderMap;
use slipway_bus::{BlobError, Bus, DATA_REF, topology::uploads};
use slipway_kernel::DeploymentId;

/// The payload of a request: what its message carries, or the object that it names.
///
/// # Errors
/// [`RequestError::Invalid`] when there is no such object; what may be over soon when the store or the memory for bodies fails.
pub(super) async fn payload(
    bus: &Bus,
    deployment: &DeploymentId,
    headers: &HeaderMap,
    carried: Bytes,
    held: &mut BodyShare,
) -> Result<Bytes, RequestError> {
    held.cover(carried.len())?;
    let mut names = headers.get_all(DATA_REF).iter();
    let Some(name) = names.next() else { return Ok(carried) };
    let path = format!("header.{DATA_REF}");
    let found = String::from_utf8_lossy(name.as_bytes()).into_owned();
    if names.next().is_some() {
        return Err(RequestError::invalid(path, "given twice", "the name of one object"));
    }
    if !carried.is_empty() {
        return Err(RequestError::invalid(
            "payload",
            format!("{} bytes", carried.len()),
            format!("none beside {DATA_REF}"),
        ));
    }
    let refused = |error: BlobError| match error {
        BlobError::TooLarge { limit, .. } => {
            RequestError::BodyTooLarge { limit: usize::try_from(limit).unwrap_or(usize::MAX) }
        }
        error if error.is_transient() => RequestError::QueueUnavailable(error.into()),
        error => {
            let bucket = uploads(&deployment.namespace);
            let allowed =
                format!("the name of an object of the store `{bucket}`, whole and not older than two hours ({error})");
            RequestError::invalid(&path, &found, allowed)
        }
    };
    let upload = bus.uploads().find(&deployment.namespace, &found).await.map_err(refused)?;
    held.cover(upload.bytes())?;
    upload.read().await.map_err(refused)
}

/// What stands for the payload of a request where somebody vouches for it: its bytes, or which object it names.
pub(super) fn vouched(payload: &Bytes, headers: &HeaderMap) -> Bytes {
    match headers.get(DATA_REF) {
        Some(name) => Bytes::from([DATA_REF.as_bytes(), b": ", name.as_bytes()].concat()),
        None => payload.clone(),
    }
}
