//! The artifact, read back from the store and digested anew: what workers load is what the log names.

use crate::{
    error::ArtifactError,
    files::{self, FileError},
};
use sha2::{Digest as _, Sha256};
use slipway_bus::Blobs;
use slipway_kernel::{Digest, Proof};
use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A verification takes minutes at most; what is older was left by a process that died.
const LEFT_BEHIND: Duration = Duration::from_secs(3_600);
/// How much is digested at once.
const PIECE: usize = 256 << 10;

/// Reads the artifact into `scratch` and compares what it digests to.
pub(crate) async fn verify(blobs: &Blobs, digest: &Digest, scratch: &Path) -> Result<Proof, ArtifactError> {
    let place = Scratch::new(scratch)?;
    let file = place.0.join("artifact");
    let read = blobs.get_file(digest, &file).await;
    let size = read.map_err(|source| ArtifactError::Read { digest: digest.clone(), source })?;
    let found = digest_of(file.clone()).await.map_err(|source| FileError::Io { path: file, action: "read", source })?;
    if found != *digest {
        return Err(ArtifactError::Differs { wanted: digest.clone(), found });
    }
    Ok(Proof { name: "artifact-digest".to_owned(), detail: format!("{size} bytes read back, sha256 {found}") })
}

/// Off the async runtime: a large model takes seconds.
async fn digest_of(file: PathBuf) -> io::Result<Digest> {
    let digesting = tokio::task::spawn_blocking(move || {
        let (mut file, mut hasher, mut piece) = (fs::File::open(file)?, Sha256::new(), vec![0; PIECE]);
        loop {
            match file.read(&mut piece)? {
                0 => return hex::encode(hasher.finalize()).parse().map_err(io::Error::other),
                read => hasher.update(&piece[..read]),
            }
        }
    });
    digesting.await.map_err(io::Error::other)?
}

/// A folder of its own, gone when this is dropped, however the verification ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path) -> Result<Self, FileError> {
        let folder = parent.join(format!("{:016x}", rand::random::<u64>()));
        files::private_folder(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a copy of an artifact is left behind until the next start");
        }
    }
}

/// Removes what processes that died have left in `scratch`.
pub(crate) fn sweep(scratch: &Path) {
    let Ok(entries) = fs::read_dir(scratch) else { return };
    let is_left = |entry: &fs::DirEntry| {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > LEFT_BEHIND))
    };
    for entry in entries.flatten().filter(is_left) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::warn!(folder = %entry.path().display(), %error, "an old copy of an artifact cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_digests_to_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let content = vec![7; PIECE * 2 + 1];
        fs::write(&file, &content).unwrap();
        assert_eq!(digest_of(file).await.unwrap(), Digest::of(&content));
    }

    #[test]
    fn a_scratch_folder_goes_with_whoever_made_it_and_fresh_ones_are_not_swept() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path()).unwrap();
        fs::write(scratch.0.join("artifact"), "x").unwrap();
        sweep(folder.path());
        assert!(scratch.0.exists());
        drop(scratch);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        sweep(&folder.path().join("never made"));
    }
}
