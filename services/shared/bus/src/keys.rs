//! The keys of the principals: ed25519 pairs as NATS writes them. A seed never leaves its file.

use crate::principal::Principal;
use nkeys::KeyPair;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Why the keys could not be made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The folder or a file in it.
    #[error("`{}`", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that is there already holds no seed.
    #[error("`{}` holds no nkey seed", path.display())]
    Seed {
        /// Where.
        path: PathBuf,
    },
    /// The pair just made has no seed.
    #[error("making a key failed: {0}")]
    Make(String),
}

/// The public keys of all principals, and where their seeds lie.
#[derive(Clone, Debug)]
pub struct KeyRing {
    dir: PathBuf,
    public: BTreeMap<Principal, String>,
}

impl KeyRing {
    /// The public key of a principal (`U…`); empty for none, which no ring made here has.
    #[must_use]
    pub fn public(&self, principal: Principal) -> &str {
        self.public.get(&principal).map_or("", String::as_str)
    }

    /// The file with the seed of a principal.
    #[must_use]
    pub fn seed_file(&self, principal: Principal) -> PathBuf {
        seed_file(&self.dir, principal)
    }

    /// Every principal with its public key.
    pub fn iter(&self) -> impl Iterator<Item = (Principal, &str)> {
        self.public.iter().map(|(principal, key)| (*principal, key.as_str()))
    }
}

fn seed_file(dir: &Path, principal: Principal) -> PathBuf {
    dir.join(format!("{principal}.nk"))
}

/// Makes a key for every principal that has none in `dir`, readable by the owner only, and reads the others.
///
/// # Errors
/// When the folder cannot be written, or a file there is no seed.
pub fn make_all(dir: &Path) -> Result<KeyRing, KeyError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::Io { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    restrict(dir, 0o700).map_err(failed(dir))?;
    let mut public = BTreeMap::new();
    for principal in Principal::ALL {
        let path = seed_file(dir, principal);
        let pair = match fs::read_to_string(&path) {
            Ok(seed) => KeyPair::from_seed(seed.trim()).map_err(|_| KeyError::Seed { path })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pair = KeyPair::new_user();
                let seed = pair.seed().map_err(|error| KeyError::Make(error.to_string()))?;
                write_private(&path, &seed).map_err(failed(&path))?;
                pair
            }
            Err(source) => return Err(KeyError::Io { path, source }),
        };
        public.insert(principal, pair.public_key());
    }
    Ok(KeyRing { dir: dir.to_owned(), public })
}

/// Reads a seed from its file.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn read_seed(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map(|seed| seed.trim().to_owned())
}

#[cfg(unix)]
fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(unix)]
fn write_private(path: &Path, seed: &str) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    // The mode is set when the file is made: there is no moment in which others could open it.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(seed.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_made_once_and_are_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let first = make_all(dir.path()).unwrap();
        let again = make_all(dir.path()).unwrap();
        for principal in Principal::ALL {
            assert_eq!(first.public(principal), again.public(principal));
            assert!(first.public(principal).starts_with('U'));
            let mode = fs::metadata(first.seed_file(principal)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(first.iter().map(|(_, key)| key).collect::<std::collections::BTreeSet<_>>().len(), 12);
    }

    #[test]
    fn a_file_that_is_no_seed_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("client.nk"), "not a seed").unwrap();
        assert!(matches!(make_all(dir.path()), Err(KeyError::Seed { .. })));
        assert_eq!(fs::read_to_string(dir.path().join("client.nk")).unwrap(), "not a seed");
    }
}
