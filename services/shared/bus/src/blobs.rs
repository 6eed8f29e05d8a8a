//! Blobs: what is too large for a fact, stored under its digest. Who has the digest can tell whether what he got is it.

use crate::{
    connect::Bus,
    topology::{BLOBS, MAX_INFERENCE_BYTES},
};
use async_nats::jetstream::object_store::{InfoErrorKind, ObjectMetadata, ObjectStore};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use slipway_kernel::{BlobReference, Digest};
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
};

/// The largest blob that is held in memory at once: manifests and reports are far smaller.
pub const MAX_BLOB_BYTES: usize = 64 << 20;
/// The largest artifact. Larger models do not fit the machines this is made for.
pub const MAX_FILE_BYTES: u64 = 8 << 30;
/// One message of an object. Larger ones would hold up everything else on the connection, smaller ones cost a round trip each.
const CHUNK: usize = 512 << 10;
/// How long one piece may take to arrive: a broker that is slower than this is not there.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);

const _: () = assert!(CHUNK < MAX_INFERENCE_BYTES);

/// What went wrong with a blob.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is none under this name.
    #[error("no blob `{name}`")]
    NotFound {
        /// Digest or name.
        name: String,
    },
    /// What is stored is not what it should be.
    #[error("blob `{name}` is damaged: found {found}")]
    Corrupt {
        /// Digest or name.
        name: String,
        /// What its content digests to, or what was missing.
        found: String,
    },
    /// It is larger than allowed.
    #[error("`{name}` is larger than {limit} bytes")]
    TooLarge {
        /// What.
        name: String,
        /// What is allowed.
        limit: u64,
    },
    /// A file on this machine.
    #[error("`{}`", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store did not do it.
    #[error("cannot {action} `{name}`: {reason}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// With what.
        name: String,
        /// Why.
        reason: String,
    },
}

impl BlobError {
    /// Whether trying again later can help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Store { .. })
    }
}

/// The store.
#[derive(Clone, Debug)]
pub struct Blobs {
    bus: Bus,
}

impl Blobs {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Stores bytes under their digest. Storing them again changes nothing.
    ///
    /// # Errors
    /// When they are too many, or the store fails.
    pub async fn put(&self, bytes: impl Into<Bytes> + Send, media: &str) -> Result<BlobReference, BlobError> {
        let bytes = bytes.into();
        if bytes.len() > MAX_BLOB_BYTES {
            return Err(BlobError::TooLarge { name: "blob".to_owned(), limit: MAX_BLOB_BYTES as u64 });
        }
        let digest = Digest::of(&bytes);
        if !self.exists(&digest).await? {
            self.upload(&digest, media, &mut bytes.as_ref()).await?;
        }
        Ok(BlobReference { digest, media_type: media.to_owned(), size_bytes: bytes.len() as u64 })
    }

    /// Stores a file under its digest, piece by piece.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or the store fails.
    pub async fn put_file(&self, path: &Path, media: &str) -> Result<BlobReference, BlobError> {
        let failed = |source| BlobError::Io { path: path.to_owned(), source };
        let mut file = File::open(path).await.map_err(failed)?;
        let (digest, size) = digest_of(&mut file).await.map_err(failed)?;
        if size > MAX_FILE_BYTES {
            return Err(BlobError::TooLarge { name: path.display().to_string(), limit: MAX_FILE_BYTES });
        }
        if !self.exists(&digest).await? {
            let mut file = File::open(path).await.map_err(failed)?;
            self.upload(&digest, media, &mut file).await?;
        }
        Ok(BlobReference { digest, media_type: media.to_owned(), size_bytes: size })
    }

    /// Whether there is a blob under this digest.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn exists(&self, digest: &Digest) -> Result<bool, BlobError> {
        match self.store(BLOBS).await?.info(digest.as_str()).await {
            Ok(info) => Ok(!info.deleted),
            Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("look for", digest.as_str(), &error)),
        }
    }

    /// Reads a blob and checks that it is what its digest says.
    ///
    /// # Errors
    /// When it is not there, too large for memory, damaged, or the store fails.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let mut content = Vec::new();
        let found = self.download(BLOBS, digest.as_str(), MAX_BLOB_BYTES as u64, &mut content).await?;
        if found == *digest {
            Ok(content.into())
        } else {
            Err(BlobError::Corrupt { name: digest.to_string(), found: found.to_string() })
        }
    }

    /// Writes a blob into a file: under another name first, so that the file is either whole and right or not there.
    ///
    /// # Errors
    /// As [`Blobs::get`], and when the file cannot be written.
    pub async fn get_file(&self, digest: &Digest, to: &Path) -> Result<u64, BlobError> {
        let (found, size) = self.into_file(BLOBS, digest.as_str(), to, MAX_FILE_BYTES, Some(digest)).await?;
        debug_assert_eq!(found, *digest);
        Ok(size)
    }

    /// Writes an object of a user's own bucket into a file and returns its digest.
    ///
    /// # Errors
    /// As [`Blobs::get_file`]; larger than `max_bytes` is refused.
    pub async fn fetch_object(&self, bucket: &str, name: &str, to: &Path, max_bytes: u64) -> Result<Digest, BlobError> {
        self.into_file(bucket, name, to, max_bytes, None).await.map(|(digest, _)| digest)
    }

    async fn into_file(
        &self,
        bucket: &str,
        name: &str,
        to: &Path,
        limit: u64,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), BlobError> {
        let partial = to.with_extension(format!("{:08x}.partial", rand::random::<u32>()));
        let written = self.into_partial(bucket, name, &partial, limit, expected).await;
        let failed = |source| BlobError::Io { path: to.to_owned(), source };
        match written {
            Ok(done) => {
                tokio::fs::rename(&partial, to).await.map_err(failed)?;
                Ok(done)
            }
            Err(error) => {
                // What is left of a failed download is of no use; if it cannot be removed, the first error still says more.
                let _ = tokio::fs::remove_file(&partial).await;
                Err(error)
            }
        }
    }

    async fn into_partial(
        &self,
        bucket: &str,
        name: &str,
        partial: &Path,
        limit: u64,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), BlobError> {
        let failed = |source| BlobError::Io { path: partial.to_owned(), source };
        let mut file = File::create(partial).await.map_err(failed)?;
        let digest = self.download(bucket, name, limit, &mut file).await?;
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(BlobError::Corrupt { name: expected.to_string(), found: digest.to_string() });
        }
        file.flush().await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        let size = file.metadata().await.map_err(failed)?.len();
        Ok((digest, size))
    }

    async fn store(&self, bucket: &str) -> Result<ObjectStore, BlobError> {
        self.bus.context().get_object_store(bucket).await.map_err(|error| failed("open", bucket, &error))
    }

    async fn upload(
        &self,
        digest: &Digest,
        media: &str,
        content: &mut (impl AsyncRead + Unpin + Send),
    ) -> Result<(), BlobError> {
        let metadata = ObjectMetadata {
            name: digest.to_string(),
            chunk_size: Some(CHUNK),
            metadata: HashMap::from([("media-type".to_owned(), media.to_owned())]),
            ..ObjectMetadata::default()
        };
        let stored = self.store(BLOBS).await?.put(metadata, content).await;
        stored.map(drop).map_err(|error| failed("store", digest.as_str(), &error))
    }

    async fn download(
        &self,
        bucket: &str,
        name: &str,
        limit: u64,
        to: &mut (impl tokio::io::AsyncWrite + Unpin + Send),
    ) -> Result<Digest, BlobError> {
        let store = self.store(bucket).await?;
        let info = match store.info(name).await {
            Ok(info) if !info.deleted => info,
            Ok(_) => return Err(BlobError::NotFound { name: name.to_owned() }),
            Err(error) if error.kind() == InfoErrorKind::NotFound => {
                return Err(BlobError::NotFound { name: name.to_owned() });
            }
            Err(error) => return Err(failed("look for", name, &error)),
        };
        if info.size as u64 > limit {
            return Err(BlobError::TooLarge { name: name.to_owned(), limit });
        }
        let mut object = store.get(name).await.map_err(|error| failed("open", name, &error))?;
        let mut hasher = Sha256::new();
        let mut piece = vec![0; CHUNK];
        let mut size = 0;
        loop {
            let read = tokio::time::timeout(PIECE_TIMEOUT, object.read(&mut piece)).await;
            let read = read.map_err(|_| BlobError::Store {
                action: "read",
                name: name.to_owned(),
                reason: format!("nothing for {PIECE_TIMEOUT:?} after {size} of {} bytes", info.size),
            })?;
            match read {
                Ok(0) => break,
                Ok(read) => {
                    size += read as u64;
                    // What the description of an object says about its size is not what binds.
                    if size > limit {
                        return Err(BlobError::TooLarge { name: name.to_owned(), limit });
                    }
                    hasher.update(&piece[..read]);
                    to.write_all(&piece[..read]).await.map_err(|error| failed("write", name, &error))?;
                }
                // The store's own check of what it wrote.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(BlobError::Corrupt { name: name.to_owned(), found: error.to_string() });
                }
                Err(error) => return Err(failed("read", name, &error)),
            }
        }
        let digest = hex::encode(hasher.finalize());
        digest.parse().map_err(|reason| BlobError::Store { action: "digest", name: name.to_owned(), reason })
    }
}

fn failed(action: &'static str, name: &str, error: &dyn std::fmt::Display) -> BlobError {
    BlobError::Store { action, name: name.to_owned(), reason: error.to_string() }
}

async fn digest_of(file: &mut File) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let read = file.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        size += read as u64;
        hasher.update(&piece[..read]);
    }
    let digest = hex::encode(hasher.finalize()).parse().map_err(io::Error::other)?;
    Ok((digest, size))
}
