//! Objects of the broker's stores: put by a user into a bucket of his own, or by `slipway deploy` among the blobs of the mesh.

use super::{FetchError, Fetched, Limit};
use slipway_bus::{BlobError, Bus, topology::BLOBS};
use slipway_kernel::Digest;
use std::path::Path;

/// Copies a blob of the mesh.
pub(super) async fn copy_blob(
    digest: &Digest,
    to: &Path,
    limit: Limit,
    bus: Option<&Bus>,
) -> Result<Fetched, FetchError> {
    let fetched = copy(BLOBS, digest.as_str(), to, limit, bus).await?;
    if fetched.digest == *digest {
        return Ok(fetched);
    }
    let reason = format!("what is stored there digests to {}", fetched.digest);
    Err(FetchError::not_allowed(reason, "hand the file in again: `slipway deploy`"))
}

/// Copies the object.
pub(super) async fn copy(
    bucket: &str,
    name: &str,
    to: &Path,
    limit: Limit,
    bus: Option<&Bus>,
) -> Result<Fetched, FetchError> {
    let Some(bus) = bus else {
        let what = "the broker that holds the object is not connected".to_owned();
        return Err(FetchError::Unavailable { what });
    };
    let digest = bus.blobs().fetch_object(bucket, name, to, limit.bytes).await;
    let digest = digest.map_err(|error| classify(error, bucket, limit))?;
    let metadata = tokio::fs::metadata(to).await.map_err(|source| FetchError::io(to, source))?;
    Ok(Fetched { path: to.to_owned(), digest, size_bytes: metadata.len() })
}

fn classify(error: BlobError, bucket: &str, limit: Limit) -> FetchError {
    match error {
        BlobError::NotFound { name } => {
            FetchError::NotFound { what: format!("there is no object `{name}` in `{bucket}`") }
        }
        BlobError::TooLarge { .. } => FetchError::TooLarge { limit: limit.bytes, key: limit.key },
        BlobError::Io { path, source } => FetchError::Io { path, source },
        BlobError::Corrupt { .. } => FetchError::not_allowed(error.to_string(), "put it into the bucket again"),
        BlobError::Store { .. } => FetchError::Unavailable { what: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { bytes: 5, key: "fetch.max_model" };

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let store = BlobError::Store { action: "open", name: "models".into(), reason: "no responders".into() };
        assert!(matches!(classify(store, "models", LIMIT), FetchError::Unavailable { .. }));
        let missing = BlobError::NotFound { name: "m.onnx".into() };
        assert!(classify(missing, "models", LIMIT).to_string().contains("no object `m.onnx` in `models`"));
        let large = BlobError::TooLarge { name: "m".into(), limit: 5 };
        assert!(matches!(classify(large, "models", LIMIT), FetchError::TooLarge { limit: 5, .. }));
        let corrupt = BlobError::Corrupt { name: "m".into(), found: "x".into() };
        assert!(matches!(classify(corrupt, "models", LIMIT), FetchError::NotAllowed { .. }));
    }

    #[tokio::test]
    async fn without_a_broker_it_is_unavailable() {
        let outcome = copy("models", "m", Path::new("/nowhere"), LIMIT, None).await;
        assert!(matches!(outcome, Err(FetchError::Unavailable { .. })));
    }
}
