//! The authority's keys and certificates in their folder: a pair of files each, named by the second it was made in.

use super::certificate::{CertificateError, Made, Signer};
use crate::{
    domain::authority::Term,
    files::{self, FileError, Readers},
};
use slipway_kernel::Timestamp;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why the authority cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in a file.
    #[error("{} cannot be used", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: CertificateError,
    },
}

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    mounted: bool,
}

/// What the files of one that was made in this second are called: certificate and key.
pub(super) fn names(seconds: u64) -> [String; 2] {
    [format!("{seconds}.pem"), format!("{seconds}.key")]
}

/// In which second a certificate of this name was made; none if it is none.
pub(super) fn made_in(name: &str) -> Option<u64> {
    name.strip_suffix(".pem").and_then(|stem| stem.parse().ok())
}

/// One of them, from what is in its files.
pub(super) fn read(name: &Path, pem: &str, key_pem: &str) -> Result<Signer, StoreError> {
    Signer::read(pem, key_pem).map_err(|source| StoreError::Content { path: name.to_owned(), source })
}

impl Store {
    /// The folder, made if it is not there. A mounted one is somebody else's: it is read, and nothing more.
    pub(crate) fn open(folder: &Path, mounted: bool) -> Result<Self, StoreError> {
        if !mounted {
            files::private_folder(folder)?;
        }
        Ok(Self { folder: folder.to_owned(), mounted })
    }

    /// Whether somebody else keeps it.
    pub(crate) const fn is_mounted(&self) -> bool {
        self.mounted
    }

    /// Everything in it, oldest first. A key without its certificate is one whose making was cut off: it has signed nothing.
    pub(crate) fn load(&self) -> Result<Vec<Arc<Signer>>, StoreError> {
        let readers = if self.mounted { Readers::Group } else { Readers::Owner };
        let mut signers = Vec::new();
        for since in self.seconds()? {
            let [certificate, key] = self.paths(since);
            let (Some(pem), Some(key_pem)) = (files::read_public(&certificate)?, files::read_secret(&key, readers)?)
            else {
                continue;
            };
            signers.push(Arc::new(read(&certificate, &pem, &key_pem)?));
        }
        Ok(signers)
    }

    /// Keeps a new one: the key first, so that a certificate that is there has its key.
    pub(crate) fn keep(&self, since: Timestamp, made: &Made) -> Result<(), StoreError> {
        let [certificate, key] = self.paths(since.0 / 1_000);
        files::write_secret(&key, &made.key_pem)?;
        files::write_public(&certificate, &made.pem)?;
        Ok(())
    }

    /// Forgets one, its key first.
    pub(crate) fn forget(&self, term: Term) -> Result<(), StoreError> {
        let [certificate, key] = self.paths(term.since.0 / 1_000);
        files::remove(&key)?;
        files::remove(&certificate)?;
        Ok(())
    }

    fn paths(&self, seconds: u64) -> [PathBuf; 2] {
        names(seconds).map(|name| self.folder.join(name))
    }

    fn seconds(&self) -> Result<Vec<u64>, StoreError> {
        let failed = |source| FileError::Io { path: self.folder.clone(), action: "read", source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            found.extend(name.to_str().and_then(made_in));
        }
        found.sort_unstable();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::certificate::make_authority, *};
    use std::{os::unix::fs::PermissionsExt as _, time::Duration};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn kept(store: &Store, since: Timestamp) {
        store.keep(since, &make_authority(since, DAY).unwrap()).unwrap();
    }

    #[test]
    fn what_was_kept_is_read_again_oldest_first_and_keys_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("ca"), false).unwrap();
        assert!(store.load().unwrap().is_empty());
        kept(&store, NOW.after(DAY));
        kept(&store, NOW);
        let since: Vec<Timestamp> = store.load().unwrap().iter().map(|signer| signer.term.since).collect();
        assert_eq!(since, [NOW, NOW.after(DAY)]);
        let mode = |name: &str| fs::metadata(folder.path().join("ca").join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("1800000000.key"), 0o600);
        assert_eq!(mode(""), 0o700);
        store.forget(store.load().unwrap()[0].term).unwrap();
        assert_eq!(store.load().unwrap().len(), 1);
    }

    #[test]
    fn a_mounted_folder_is_read_as_it_is_mounted() {
        let folder = tempfile::tempdir().unwrap();
        kept(&Store::open(folder.path(), false).unwrap(), NOW);
        let key = folder.path().join("1800000000.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o440)).unwrap();
        assert_eq!(Store::open(folder.path(), true).unwrap().load().unwrap().len(), 1);
        let missing = folder.path().join("missing");
        assert!(Store::open(&missing, true).unwrap().load().is_err() && !missing.exists());
    }

    #[test]
    fn a_making_that_was_cut_off_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), false).unwrap();
        kept(&store, NOW);
        fs::remove_file(folder.path().join("1800000000.pem")).unwrap();
        assert!(store.load().unwrap().is_empty());
        fs::write(folder.path().join("notes.pem"), "x").unwrap();
        assert!(store.load().unwrap().is_empty());
    }

    #[test]
    fn a_key_that_others_may_read_or_that_belongs_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), false).unwrap();
        kept(&store, NOW);
        let key = folder.path().join("1800000000.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(store.load(), Err(StoreError::File(FileError::Open { .. }))));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&key, make_authority(NOW, DAY).unwrap().key_pem).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Content { source: CertificateError::Mismatch, .. })));
    }
}
