//! The data folder: private, and owned by one mesh at a time.

use crate::failure::Failure;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// An opened data folder.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// Held as long as the process lives; the kernel lets go of it however the process ends.
    _lock: Option<File>,
}

impl Folder {
    /// Makes the folder with its parts, readable by its owner alone. With `exclusive`, nobody else may run a mesh in it.
    pub(super) fn open(data: &Path, exclusive: bool) -> Result<Self, Failure> {
        let refuse = |error: std::io::Error| Failure::local(format!("data folder {}: {error}", data.display()));
        for part in ["", "nats", "keys", "run", "artifacts", "observability", "security"] {
            DirBuilder::new().recursive(true).mode(0o700).create(data.join(part)).map_err(refuse)?;
        }
        let root = fs::canonicalize(data).map_err(refuse)?;
        let lock = exclusive.then(|| lock(&root)).transpose()?;
        Ok(Self { root, _lock: lock })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn path(&self, part: &str) -> PathBuf {
        self.root.join(part)
    }
}

fn lock(root: &Path) -> Result<File, Failure> {
    let file = root.join("run").join("up.lock");
    let refuse = |error: std::io::Error| Failure::local(format!("{}: {error}", file.display()));
    let handle = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&file).map_err(refuse)?;
    flock(&handle, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        Failure::local(format!("a mesh runs in {} already", root.display()))
            .hint("stop it first, or use another folder with `--data DIR`")
    })?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_mesh_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Folder::open(folder.path(), true).unwrap();
        assert!(Folder::open(folder.path(), true).is_err());
        assert!(Folder::open(folder.path(), false).is_ok());
        drop(first);
        assert!(Folder::open(folder.path(), true).is_ok());
    }
}
