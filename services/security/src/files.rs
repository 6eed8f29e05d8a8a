//! Secrets in files: written whole or not at all, readable by their owner alone.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Who may read a secret.
const OWNER_ALONE: u32 = 0o600;
/// Who may read a secret besides its owner: nobody, or the group, as Kubernetes gives the files of a mounted Secret to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// The owner alone.
    Owner,
    /// The owner and the group.
    Group,
}

impl Readers {
    /// Permissions of anybody else.
    const fn others(self) -> u32 {
        match self {
            Self::Owner => 0o077,
            Self::Group => 0o007,
        }
    }
}

/// A file or folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("{} cannot be {action}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// `read`, `written`…
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} may be read by others (mode {mode:o}); make it private: chmod 600", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

impl FileError {
    fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }
}

/// Makes a folder that only its owner can enter; one that is there stays as it is.
pub(crate) fn private_folder(folder: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(FileError::io(folder, "made"))
}

/// Writes a secret under another name first and puts it in its place when it is on the disk.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), FileError> {
    write(path, text, OWNER_ALONE)
}

/// Writes what everybody may read, in the same way.
pub(crate) fn write_public(path: &Path, text: &str) -> Result<(), FileError> {
    write(path, text, 0o644)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), FileError> {
    let partial = path.with_extension(format!("{:08x}.partial", rand::random::<u32>()));
    let written =
        write_whole(&partial, text, mode).and_then(|()| fs::rename(&partial, path)).and_then(|()| sync_parent(path));
    written.map_err(|source| {
        // What is left of it is of no use; if it cannot be removed, the first error still says more.
        let _ = fs::remove_file(&partial);
        FileError::io(path, "written")(source)
    })
}

fn write_whole(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A name is on the disk when its folder is.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Reads a secret that nobody but `readers` may read; `None` if it is not there.
pub(crate) fn read_secret(path: &Path, readers: Readers) -> Result<Option<String>, FileError> {
    let Some(metadata) = found(fs::metadata(path), path, "read")? else { return Ok(None) };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & readers.others() != 0 {
        return Err(FileError::Open { path: path.to_owned(), mode });
    }
    read_public(path)
}

/// Reads a file; `None` if it is not there.
pub(crate) fn read_public(path: &Path) -> Result<Option<String>, FileError> {
    found(fs::read_to_string(path), path, "read")
}

/// Removes a file; whether it was there.
pub(crate) fn remove(path: &Path) -> Result<bool, FileError> {
    Ok(found(fs::remove_file(path), path, "removed")?.is_some())
}

fn found<T>(result: io::Result<T>, path: &Path, action: &'static str) -> Result<Option<T>, FileError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Io { path: path.to_owned(), action, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_private_and_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        private_folder(&inner).unwrap();
        private_folder(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        let path = inner.join("x.key");
        assert_eq!(read_secret(&path, Readers::Owner).unwrap(), None);
        write_secret(&path, "one").unwrap();
        write_secret(&path, "two").unwrap();
        assert_eq!(read_secret(&path, Readers::Owner).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 1, "nothing is left beside it");
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }

    #[test]
    fn a_secret_that_others_may_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.key");
        write_secret(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_secret(&path, Readers::Owner), Err(FileError::Open { mode: 0o640, .. })));
        assert_eq!(read_secret(&path, Readers::Group).unwrap().as_deref(), Some("one"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(read_secret(&path, Readers::Group), Err(FileError::Open { mode: 0o644, .. })));
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write_secret(&path, "one").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
