//! The keys of the principals: ed25519 pairs as NATS writes them. A seed never leaves its file.

use crate::principal::{InferenceClient, Principal};
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
    /// A file among those of clients is called by no name of one.
    #[error("`{}` is called by no client: {allowed}", path.display())]
    Client {
        /// Where.
        path: PathBuf,
        /// What it may be called.
        allowed: String,
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
    clients: BTreeMap<InferenceClient, String>,
}

impl KeyRing {
    /// The ring of keys whose seeds lie in `dir`, or in as many places as there are principals: seeds are not read.
    #[must_use]
    pub const fn of(
        dir: PathBuf,
        public: BTreeMap<Principal, String>,
        clients: BTreeMap<InferenceClient, String>,
    ) -> Self {
        Self { dir, public, clients }
    }

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

    /// Every client of models with its public key.
    pub fn clients(&self) -> impl Iterator<Item = (&InferenceClient, &str)> {
        self.clients.iter().map(|(client, key)| (client, key.as_str()))
    }
}

/// The folder of the seeds of clients, beside those of the principals.
const CLIENTS: &str = "clients";
/// How a file of a seed ends.
const ENDING: &str = "nk";

/// What the file with the seed of a principal, or of a client of models, is called.
#[must_use]
pub fn file_name(holder: &impl std::fmt::Display) -> String {
    format!("{holder}.{ENDING}")
}

fn seed_file(dir: &Path, principal: Principal) -> PathBuf {
    dir.join(file_name(&principal))
}

/// Makes a key and gives its seed. Whoever keeps seeds elsewhere than in a folder asks for this; the public key is [`public_of`] it.
///
/// # Errors
/// When the pair just made has no seed.
pub fn make_seed() -> Result<String, KeyError> {
    KeyPair::new_user().seed().map_err(|error| KeyError::Make(error.to_string()))
}

/// The public key of a seed; none if it is no seed.
#[must_use]
pub fn public_of(seed: &str) -> Option<String> {
    KeyPair::from_seed(seed.trim()).ok().map(|pair| pair.public_key())
}

/// Makes a key for every principal that has none in `dir`, readable by the owner only, and reads the others, with those of the clients of
/// models that were made there.
///
/// # Errors
/// When the folder cannot be written, or a file there is no seed.
pub fn make_all(dir: &Path) -> Result<KeyRing, KeyError> {
    private_folder(dir)?;
    let mut public = BTreeMap::new();
    for principal in Principal::ALL {
        public.insert(principal, read_or_make(seed_file(dir, principal))?);
    }
    Ok(KeyRing { dir: dir.to_owned(), public, clients: clients(&dir.join(CLIENTS))? })
}

/// Makes the key of a client of models, if it has none, and says in which file its seed is. The broker knows it once it has the configuration
/// that [`server_config`](crate::permissions::server_config) writes then.
///
/// # Errors
/// As [`make_all`].
pub fn make_client(dir: &Path, client: &InferenceClient) -> Result<PathBuf, KeyError> {
    let folder = dir.join(CLIENTS);
    private_folder(dir)?;
    private_folder(&folder)?;
    let path = folder.join(file_name(client));
    read_or_make(path.clone()).map(|_| path)
}

fn clients(folder: &Path) -> Result<BTreeMap<InferenceClient, String>, KeyError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(KeyError::Io { path: folder.to_owned(), source }),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|source| KeyError::Io { path: folder.to_owned(), source })?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = name.strip_suffix(ENDING).and_then(|name| name.strip_suffix('.')) else { continue };
        match name.parse() {
            Ok(client) => found.insert(client, read_or_make(path)?),
            // Left out in silence, the key would be refused and nobody would know why.
            Err(allowed) => return Err(KeyError::Client { path, allowed }),
        };
    }
    Ok(found)
}

fn private_folder(dir: &Path) -> Result<(), KeyError> {
    let made = fs::create_dir_all(dir).and_then(|()| restrict(dir, 0o700));
    made.map_err(|source| KeyError::Io { path: dir.to_owned(), source })
}

/// The public key of the seed in a file, which is made if it is not there.
fn read_or_make(path: PathBuf) -> Result<String, KeyError> {
    let seed = match fs::read_to_string(&path) {
        Ok(seed) => seed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let seed = make_seed()?;
            write_private(&path, &seed).map_err(|source| KeyError::Io { path: path.clone(), source })?;
            seed
        }
        Err(source) => return Err(KeyError::Io { path, source }),
    };
    public_of(&seed).ok_or(KeyError::Seed { path })
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
    fn a_key_made_apart_is_known_by_its_seed_and_a_ring_is_made_of_public_ones() {
        let seed = make_seed().unwrap();
        let public = public_of(&format!("{seed}\n")).unwrap();
        assert!(public.starts_with('U') && public_of("no seed").is_none());
        let ring = KeyRing::of("keys".into(), [(Principal::Client, public.clone())].into(), BTreeMap::new());
        assert_eq!((ring.public(Principal::Client), ring.public(Principal::Operator)), (public.as_str(), ""));
        assert_eq!(ring.seed_file(Principal::Client), Path::new("keys/client.nk"));
    }

    #[test]
    fn the_clients_of_models_are_those_that_have_a_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(make_all(dir.path()).unwrap().clients().count(), 0);
        let client: InferenceClient = "default.shop".parse().unwrap();
        let file = make_client(dir.path(), &client).unwrap();
        assert_eq!(make_client(dir.path(), &client).unwrap(), file);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let keys = make_all(dir.path()).unwrap();
        assert_eq!(keys.clients().map(|(client, _)| client).collect::<Vec<_>>(), [&client]);
        fs::write(file.with_file_name("Shop.nk"), "x").unwrap();
        assert!(matches!(make_all(dir.path()), Err(KeyError::Client { .. })));
    }

    #[test]
    fn a_file_that_is_no_seed_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("client.nk"), "not a seed").unwrap();
        assert!(matches!(make_all(dir.path()), Err(KeyError::Seed { .. })));
        assert_eq!(fs::read_to_string(dir.path().join("client.nk")).unwrap(), "not a seed");
    }
}
