//! Getting a file from where a spec says it is to a place of our own.
//!
//! The file is copied once and hashed on the way, into a folder nobody else writes to; whatever is read, checked or pinned
//! later is that copy, so a file that is swapped at its source afterwards changes nothing.

mod file;
mod https;
mod object;
mod sink;
mod source;

pub use https::{Resolve, SystemResolver};
pub use source::Source;
pub(crate) use source::shown;

use crate::config::Config;
use slipway_bus::Bus;
use slipway_kernel::{Digest, Finding, FindingKind};
use std::{io, path::Path, path::PathBuf, sync::Arc};

/// A file of our own.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// What its content digests to.
    pub digest: Digest,
    /// How large it is.
    pub size_bytes: u64,
}

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address is not one that may be asked.
    #[error("{reason}; {advice}")]
    NotAllowed {
        /// What is wrong with it.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// It is not there.
    #[error("{what}; see that the artifact is where the spec says")]
    NotFound {
        /// What was looked for, and the answer.
        what: String,
    },
    /// It is larger than what is taken.
    #[error("it is larger than {limit} bytes; use a smaller one, or raise {key}")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
        /// The configuration key that sets it.
        key: &'static str,
    },
    /// The other side did not do it, and may later.
    #[error("{what}; it is tried again, and then a person must look")]
    Unavailable {
        /// What was tried, and what happened.
        what: String,
    },
    /// A file on this side.
    #[error("cannot keep it in {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl FetchError {
    fn not_allowed(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::NotAllowed { reason: reason.into(), advice: advice.into() }
    }

    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// As a finding about the value at `path` of the spec.
    #[must_use]
    pub fn finding(&self, path: &str, uri: &str) -> Finding {
        let shown = source::shown(uri);
        let said = match self {
            Self::Io { source, .. } => format!("{self}: {source}; make room below common.data_dir"),
            _ => self.to_string(),
        };
        let message = format!("{path}: {shown}: {said}");
        let finding = match self {
            Self::NotAllowed { .. } | Self::NotFound { .. } | Self::TooLarge { .. } => {
                Finding::deterministic(FindingKind::ArtifactInvalid, message)
            }
            Self::Unavailable { .. } | Self::Io { .. } => {
                Finding::transient(FindingKind::DependencyUnavailable, message)
            }
        };
        finding.with_evidence(path).with_evidence(shown)
    }
}

/// How large a file may be, and who says so.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// In bytes.
    pub bytes: u64,
    /// The configuration key that sets it.
    pub key: &'static str,
}

/// Fetches files.
#[derive(Clone)]
pub struct Fetcher {
    roots: Vec<PathBuf>,
    https: https::Door,
}

impl Fetcher {
    /// A fetcher that may what `config` says.
    #[must_use]
    pub fn new(config: &Config, resolver: Arc<dyn Resolve>) -> Self {
        Self { roots: config.fetch.artifact_roots.clone(), https: https::Door::new(config.https.clone(), resolver) }
    }

    /// Copies what `uri` names to `to`. `bus` is needed for objects of the broker only.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(&self, uri: &str, to: &Path, limit: Limit, bus: Option<&Bus>) -> Result<Fetched, FetchError> {
        match Source::parse(uri)? {
            Source::File(path) => file::copy(path, self.roots.clone(), to, limit).await,
            Source::Https(url) => self.https.download(&url, to, limit).await,
            Source::Object { bucket, name } => object::copy(&bucket, &name, to, limit, bus).await,
            Source::Blob(digest) => object::copy_blob(&digest, to, limit, bus).await,
        }
    }
}
