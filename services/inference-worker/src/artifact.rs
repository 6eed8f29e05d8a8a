//! The model's bytes, by digest. What is loaded is what was hashed: the digest is taken over the very bytes in memory that go to
//! the engine, wherever they came from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use slipway_bus::{BlobError, Bus};
use slipway_kernel::Digest;
use slipway_runtime::{CancellationToken, Clock};

use crate::error::WorkerError;

/// First pause after a failed fetch; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The store may be restarting; half a minute between tries is often enough to notice it coming back.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The artifact was stored before the worker was wanted, so that it is not there is no matter of waiting long; this many tries
/// bridge a replica of the store that lags.
const TRIES_WHEN_MISSING: u32 = 4;

/// The artifact's bytes, from the local folder or else from the store; `None` when the worker is to end first.
///
/// # Errors
/// [`WorkerError::Artifact`], [`WorkerError::Corrupt`], [`WorkerError::Disk`].
pub async fn fetch(
    bus: &Bus,
    clock: &Clock,
    shutdown: &CancellationToken,
    data_dir: &Path,
    digest: &Digest,
) -> Result<Option<Vec<u8>>, WorkerError> {
    let path = data_dir.join("artifacts").join(digest.as_str());
    if let Some(bytes) = kept(&path, digest).await? {
        return Ok(Some(bytes));
    }
    let folder = data_dir.join("artifacts");
    tokio::fs::create_dir_all(&folder).await.map_err(WorkerError::Disk)?;
    let mut pause = FIRST_PAUSE;
    let mut missing = 0;
    loop {
        match bus.blobs().get_file(digest, &path).await {
            Ok(_) => break,
            Err(error) => {
                missing += u32::from(matches!(error, BlobError::NotFound { .. }));
                if missing >= TRIES_WHEN_MISSING || matches!(error, BlobError::Corrupt { .. }) {
                    return Err(WorkerError::Artifact { digest: digest.clone(), source: error });
                }
                tracing::warn!(%error, "the artifact cannot be fetched yet");
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = clock.sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
    let bytes = tokio::fs::read(&path).await.map_err(WorkerError::Disk)?;
    verify(bytes, digest).await.map(Some)
}

/// What an earlier worker left; removed when it is not what its name says (a torn write, a bad disk).
async fn kept(path: &PathBuf, digest: &Digest) -> Result<Option<Vec<u8>>, WorkerError> {
    let bytes = match tokio::fs::read(path).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(WorkerError::Disk(error)),
    };
    match verify(bytes, digest).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => {
            tracing::warn!(%error, "the kept artifact is damaged and is fetched again");
            tokio::fs::remove_file(path).await.map_err(WorkerError::Disk)?;
            Ok(None)
        }
    }
}

async fn verify(bytes: Vec<u8>, wanted: &Digest) -> Result<Vec<u8>, WorkerError> {
    // Hashing gigabytes takes seconds, which the async runtime must not lose.
    let (bytes, found) = tokio::task::spawn_blocking(move || {
        let found = Digest::of(&bytes);
        (bytes, found)
    })
    .await
    .map_err(|_| WorkerError::LostThread)?;
    if found == *wanted { Ok(bytes) } else { Err(WorkerError::Corrupt { wanted: wanted.clone(), found }) }
}
