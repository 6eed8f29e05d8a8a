//! Where bytes arrive: a file of our own, hashed and counted while it is written.

use super::{FetchError, Fetched, Limit};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

/// A file being written. Blocking.
pub(super) struct Sink {
    file: BufWriter<File>,
    path: PathBuf,
    hasher: Sha256,
    size: u64,
    limit: Limit,
}

impl Sink {
    /// A new file at `path`, which must not exist.
    pub(super) fn create(path: &Path, limit: Limit) -> Result<Self, FetchError> {
        let file = File::create_new(path).map_err(|source| FetchError::io(path, source))?;
        // Large enough that a gigabyte is not a million system calls.
        let file = BufWriter::with_capacity(256 << 10, file);
        Ok(Self { file, path: path.to_owned(), hasher: Sha256::new(), size: 0, limit })
    }

    /// Takes some more bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.size += bytes.len() as u64;
        if self.size > self.limit.bytes {
            return Err(FetchError::TooLarge { limit: self.limit.bytes, key: self.limit.key });
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|source| FetchError::io(&self.path, source))
    }

    /// The file, complete.
    pub(super) fn finish(mut self) -> Result<Fetched, FetchError> {
        let failed = |source| FetchError::io(&self.path, source);
        self.file.flush().map_err(failed)?;
        let digest = hex::encode(self.hasher.finalize());
        let digest = digest.parse().map_err(|reason: String| failed(std::io::Error::other(reason)))?;
        Ok(Fetched { path: self.path.clone(), digest, size_bytes: self.size })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use slipway_kernel::Digest;

    pub(in crate::fetch) const SMALL: Limit = Limit { bytes: 10, key: "fetch.max_model" };

    #[test]
    fn what_arrives_is_hashed_counted_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let mut sink = Sink::create(&path, SMALL).unwrap();
        sink.write(b"abc").unwrap();
        sink.write(b"defghij").unwrap();
        let fetched = sink.finish().unwrap();
        assert_eq!((fetched.size_bytes, fetched.digest), (10, Digest::of(b"abcdefghij")));
        assert_eq!(std::fs::read(&path).unwrap(), b"abcdefghij");
        assert!(matches!(Sink::create(&path, SMALL), Err(FetchError::Io { .. })), "never over a file that is there");
        let mut sink = Sink::create(&folder.path().join("large"), SMALL).unwrap();
        assert!(matches!(sink.write(&[0; 11]), Err(FetchError::TooLarge { limit: 10, key: "fetch.max_model" })));
    }
}
