//! Blobs: what is too large for a fact, stored under its digest. Who has the digest can tell whether what he got is it.

use crate::{
    connect::Bus,
    error::BusError,
    follow::{Course, Followed, Mode, follow},
    time::to_rfc3339,
    topology::{BLOBS, MAX_INFERENCE_BYTES, object_info, object_pieces, objects_stream},
    wire::{EXPECTED, MOVED, api, direct_last_of, publish},
};
use async_nats::{
    HeaderMap,
    datetime::parse_rfc3339,
    jetstream::object_store::{ObjectInfo, ObjectMetadata, ObjectOptions, ObjectStore},
};
use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
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
    sync::mpsc,
};

/// The largest blob that is held in memory at once: manifests and reports are far smaller.
pub(crate) const MAX_BLOB_BYTES: usize = 64 << 20;
/// The largest artifact. Larger models do not fit the machines this is made for.
pub(crate) const MAX_FILE_BYTES: u64 = 8 << 30;
/// One message of an object. Larger ones would hold up everything else on the connection, smaller ones cost a round trip each.
const CHUNK: usize = 512 << 10;
/// Pieces under way while an object is read: 8 MiB with our own pieces.
const PIECES: usize = 16;
/// Makes a description take the place of the one before.
const ROLLUP: &str = "Nats-Rollup";
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
        let (digest, size_bytes) = (Digest::of(&bytes), bytes.len() as u64);
        if bytes.len() <= CHUNK {
            self.put_at_once(&digest, media, bytes).await?;
        } else if !self.is_whole(&digest).await? {
            self.upload(&digest, media, &mut bytes.as_ref()).await?;
        }
        Ok(BlobReference { digest, media_type: media.to_owned(), size_bytes })
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
        if !self.is_whole(&digest).await? {
            let mut file = File::open(path).await.map_err(failed)?;
            self.upload(&digest, media, &mut file).await?;
        }
        Ok(BlobReference { digest, media_type: media.to_owned(), size_bytes: size })
    }

    /// Whether all of a blob is there. A crash in the middle of [`put_at_once`](Self::put_at_once) may have left a description
    /// without its piece.
    async fn is_whole(&self, digest: &Digest) -> Result<bool, BlobError> {
        let info = match self.find(BLOBS, digest.as_str(), MAX_FILE_BYTES).await {
            Ok(object) => object,
            Err(BlobError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        if info.chunks != 1 {
            return Ok(true);
        }
        let piece = direct_last_of(&self.bus, &objects_stream(BLOBS), &object_pieces(BLOBS, &info.nuid)).await;
        piece.map(|piece| piece.is_some()).map_err(|error| failed("look for", digest.as_str(), &error))
    }

    /// Reads a blob and checks that it is what its digest says.
    ///
    /// # Errors
    /// When it is not there, too large for memory, damaged, or the store fails.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let mut content = Vec::new();
        let object = self.find(BLOBS, digest.as_str(), MAX_BLOB_BYTES as u64).await?;
        let found = self.download(&object, &mut content).await?;
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
        let (found, size) = self.save(BLOBS, digest.as_str(), to, MAX_FILE_BYTES, Some(digest)).await?;
        debug_assert_eq!(found, *digest);
        Ok(size)
    }

    /// Writes an object of a user's own bucket into a file and returns its digest.
    ///
    /// # Errors
    /// As [`Blobs::get_file`]; larger than `max_bytes` is refused.
    pub async fn fetch_object(&self, bucket: &str, name: &str, to: &Path, max_bytes: u64) -> Result<Digest, BlobError> {
        self.save(bucket, name, to, max_bytes, None).await.map(|(digest, _)| digest)
    }

    async fn save(
        &self,
        bucket: &str,
        name: &str,
        to: &Path,
        limit: u64,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), BlobError> {
        let partial = to.with_extension(format!("{:08x}.partial", rand::random::<u32>()));
        let written = self.save_partial(bucket, name, &partial, limit, expected).await;
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

    async fn save_partial(
        &self,
        bucket: &str,
        name: &str,
        partial: &Path,
        limit: u64,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), BlobError> {
        let failed = |source| BlobError::Io { path: partial.to_owned(), source };
        let mut file = File::create(partial).await.map_err(failed)?;
        let digest = self.download(&self.find(bucket, name, limit).await?, &mut file).await?;
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(BlobError::Corrupt { name: expected.to_string(), found: digest.to_string() });
        }
        file.flush().await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        let size = file.metadata().await.map_err(failed)?.len();
        Ok((digest, size))
    }

    /// The store, opened once: opening is a question to the broker.
    async fn store(&self) -> Result<ObjectStore, BlobError> {
        let open = || async {
            self.bus.context().get_object_store(BLOBS).await.map_err(|error| failed("open", BLOBS, &error))
        };
        self.bus.blobs_cell().get_or_try_init(open).await.cloned()
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
            metadata: media_type(media),
            ..ObjectMetadata::default()
        };
        let stored = self.store().await?.put(metadata, content).await;
        stored.map(drop).map_err(|error| failed("store", digest.as_str(), &error))
    }

    /// Stores what fits one piece by sending it and its description together, as if it were new, which it nearly always is: one way to
    /// the broker, where the library takes four. The form is the library's.
    async fn put_at_once(&self, digest: &Digest, media: &str, piece: Bytes) -> Result<(), BlobError> {
        let nuid = unique();
        let of_piece = Sha256::digest(&piece);
        let info = ObjectInfo {
            metadata: media_type(media),
            ..self.info(BLOBS, &digest.to_string(), &nuid, piece.len(), &of_piece)
        };
        let failed = |error: &dyn std::fmt::Display| failed("store", digest.as_str(), error);
        let info: Bytes = serde_json::to_vec(&info).map_err(|error| failed(&error))?.into();
        let mut headers = HeaderMap::new();
        headers.insert(ROLLUP, "sub");
        let mut first = headers.clone();
        first.insert(EXPECTED, "0");
        let pieces = object_pieces(BLOBS, &nuid);
        let described = object_info(BLOBS, digest.as_str());
        // In this order: whoever finds the description finds the piece.
        let (stored, new) = tokio::join!(
            biased;
            publish(&self.bus, pieces.clone(), HeaderMap::new(), piece),
            publish(&self.bus, described.clone(), first, info.clone())
        );
        stored.map_err(|error| failed(&error))?;
        match new {
            Ok(_) => Ok(()),
            Err(BusError::Refused { code, .. }) if MOVED.contains(&code) => {
                if self.is_whole(digest).await? {
                    // Nobody knows of the second piece; if it stays, it only takes its place on the disk.
                    let purge = format!("STREAM.PURGE.{}", objects_stream(BLOBS));
                    if let Err(error) = api(&self.bus, &purge, &json!({ "filter": pieces })).await {
                        tracing::debug!(%digest, %error, "a piece is left over");
                    }
                    return Ok(());
                }
                publish(&self.bus, described, headers, info).await.map(drop).map_err(|error| failed(&error))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Stores bytes under a name that nobody has used before, as pieces of that name: with it alone they can be removed.
    ///
    /// # Errors
    /// When the broker refuses a piece, or does not answer: then there may be some.
    pub(crate) async fn put_new(&self, bucket: &str, name: &str, content: &Bytes) -> Result<(), BusError> {
        let pieces = object_pieces(bucket, name);
        for begin in (0..content.len()).step_by(CHUNK) {
            let piece = content.slice(begin..content.len().min(begin + CHUNK));
            publish(&self.bus, pieces.clone(), HeaderMap::new(), piece).await?;
        }
        // Last: whoever finds the description finds the pieces.
        let described = object_info(bucket, name);
        let info = self.info(bucket, name, name, content.len(), &Sha256::digest(content));
        let unreadable =
            |error: serde_json::Error| BusError::Unreadable { action: described.clone(), reason: error.to_string() };
        let info = serde_json::to_vec(&info).map_err(unreadable)?;
        publish(&self.bus, described.clone(), HeaderMap::new(), info.into()).await.map(drop)
    }

    /// Removes what [`put_new`](Self::put_new) stored, and all of it that is there.
    ///
    /// # Errors
    /// When the broker does not answer or it is not allowed.
    pub(crate) async fn remove(&self, bucket: &str, name: &str) -> Result<(), BusError> {
        let purge = format!("STREAM.PURGE.{}", objects_stream(bucket));
        for subject in [object_info(bucket, name), object_pieces(bucket, name)] {
            api(&self.bus, &purge, &json!({ "filter": subject })).await?;
        }
        Ok(())
    }

    /// The description of an object, in the form of the library.
    fn info(&self, bucket: &str, name: &str, nuid: &str, bytes: usize, sha256: &[u8]) -> ObjectInfo {
        ObjectInfo {
            name: name.to_owned(),
            description: None,
            metadata: HashMap::new(),
            headers: None,
            options: Some(ObjectOptions { link: None, max_chunk_size: Some(CHUNK) }),
            bucket: bucket.to_owned(),
            nuid: nuid.to_owned(),
            size: bytes,
            chunks: bytes.div_ceil(CHUNK),
            modified: parse_rfc3339(&to_rfc3339(self.bus.clock().now())).ok(),
            digest: Some(format!("SHA-256={}", URL_SAFE.encode(sha256))),
            deleted: false,
        }
    }

    /// Finds an object; one that was removed, or only points to another, is none.
    pub(crate) async fn find(&self, bucket: &str, name: &str, limit: u64) -> Result<Object, BlobError> {
        let found = direct_last_of(&self.bus, &objects_stream(bucket), &object_info(bucket, name)).await;
        let found = found.map_err(|error| failed("look for", name, &error))?;
        let described = found.ok_or_else(|| BlobError::NotFound { name: name.to_owned() })?;
        let info: Described = serde_json::from_slice(&described.payload).map_err(|error| BlobError::Corrupt {
            name: name.to_owned(),
            found: format!("a description that is none: {error}"),
        })?;
        if info.deleted || info.options.is_some_and(|options| options.link.is_some()) {
            return Err(BlobError::NotFound { name: name.to_owned() });
        }
        if info.size as u64 > limit {
            return Err(BlobError::TooLarge { name: name.to_owned(), limit });
        }
        let Described { nuid, size, chunks, digest, .. } = info;
        Ok(Object { bucket: bucket.to_owned(), name: name.to_owned(), nuid, size, chunks, digest, limit })
    }

    /// Reads an object that was found.
    ///
    /// # Errors
    /// When it is gone, damaged, larger than its description says and allowed, or the store fails.
    pub(crate) async fn read(&self, object: &Object) -> Result<Bytes, BlobError> {
        let mut content = Vec::with_capacity(object.size);
        self.download(object, &mut content).await.map(|_| content.into())
    }

    /// Reads the pieces of an object in order and returns their digest. The library would read them by a consumer whose request names
    /// no subject, which no permission could confine.
    async fn download(
        &self,
        object: &Object,
        to: &mut (impl tokio::io::AsyncWrite + Unpin + Send),
    ) -> Result<Digest, BlobError> {
        let Object { bucket, name, limit, .. } = object;
        let limit = *limit;
        let mut hasher = Sha256::new();
        let mut size = 0_u64;
        if object.chunks > 0 {
            let course = Course {
                stream: objects_stream(bucket),
                filter: object_pieces(bucket, &object.nuid),
                mode: Mode::Every { from: 1 },
                batch: PIECES,
            };
            let mut pieces = Pieces { told: follow(&self.bus, course), begun: false, name };
            for _ in 0..object.chunks {
                let piece = pieces.next().await?;
                size += piece.len() as u64;
                // What the description of an object says about its size is not what binds.
                if size > limit {
                    return Err(BlobError::TooLarge { name: name.to_owned(), limit });
                }
                hasher.update(&piece);
                to.write_all(&piece).await.map_err(|error| failed("write", name, &error))?;
            }
        }
        let digest = hasher.finalize();
        let described = object.digest.as_deref().and_then(|text| text.strip_prefix("SHA-256="));
        let whole = described.is_none_or(|text| text.trim_end_matches('=') == URL_SAFE_NO_PAD.encode(digest));
        let found = hex::encode(digest);
        if size != object.size as u64 || !whole {
            return Err(BlobError::Corrupt { name: name.to_owned(), found: format!("{size} bytes, sha256 {found}") });
        }
        found.parse().map_err(|reason| BlobError::Store { action: "digest", name: name.to_owned(), reason })
    }
}

/// An object that was found.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    bucket: String,
    name: String,
    nuid: String,
    size: usize,
    chunks: usize,
    digest: Option<String>,
    /// The most that may be read of it, in bytes.
    limit: u64,
}

impl Object {
    /// Its size in bytes, as it is described.
    pub(crate) const fn bytes(&self) -> usize {
        self.size
    }
}

/// What is needed of a description. The rest is left unread: libraries differ in it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Described {
    nuid: String,
    size: usize,
    chunks: usize,
    digest: Option<String>,
    deleted: bool,
    options: Option<ObjectOptions>,
}

/// A name that nobody has used.
pub(crate) fn unique() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The pieces of one object as they arrive.
struct Pieces<'a> {
    told: mpsc::Receiver<Followed>,
    begun: bool,
    name: &'a str,
}

impl Pieces<'_> {
    async fn next(&mut self) -> Result<Bytes, BlobError> {
        let stopped =
            |reason: &str| BlobError::Store { action: "read", name: self.name.to_owned(), reason: reason.to_owned() };
        loop {
            let told = tokio::time::timeout(PIECE_TIMEOUT, self.told.recv()).await;
            match told.map_err(|_| stopped("a piece does not come"))? {
                Some(Followed::Message(piece)) => return Ok(piece.payload),
                Some(Followed::Anew { .. }) if self.begun => return Err(stopped("the bucket was made anew")),
                Some(Followed::Anew { .. }) => self.begun = true,
                // It is told after the last piece there is, and this is asked only while there should be more.
                Some(Followed::CaughtUp { .. }) => {
                    return Err(BlobError::Corrupt {
                        name: self.name.to_owned(),
                        found: "pieces are missing".to_owned(),
                    });
                }
                None => return Err(stopped("the connection is closed")),
            }
        }
    }
}

fn failed(action: &'static str, name: &str, error: &dyn std::fmt::Display) -> BlobError {
    BlobError::Store { action, name: name.to_owned(), reason: error.to_string() }
}

fn media_type(media: &str) -> HashMap<String, String> {
    HashMap::from([("media-type".to_owned(), media.to_owned())])
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
