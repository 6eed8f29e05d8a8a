//! What can go wrong with keys and artifacts, and what it means for the deployment.

use crate::{effects::Trouble, files::FileError};
use slipway_bus::{BlobError, BusError, LeaseError};
use slipway_kernel::{Digest, Finding, FindingKind};

/// The key of a deployment could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The table of digests.
    #[error("the table of API keys")]
    Table(#[from] BusError),
    /// The lease on the keys.
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl From<KeyError> for Trouble {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Table(error) if error.is_transient() => Self::Later(error.into()),
            // A full disk or a wrong owner: a person may mend it while it is tried again.
            KeyError::File(_) | KeyError::Table(_) | KeyError::Lease(_) => {
                Self::finding(Finding::transient(FindingKind::DependencyUnavailable, chain(&error)))
            }
        }
    }
}

/// The artifact is not what it should be, or cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The store of blobs.
    #[error("the artifact {digest} cannot be read back")]
    Read {
        /// Which.
        digest: Digest,
        /// Why.
        #[source]
        source: BlobError,
    },
    /// Its content is another.
    #[error("the artifact {wanted} has the digest {found}")]
    Differs {
        /// The digest it has in the log.
        wanted: Digest,
        /// The digest it has.
        found: Digest,
    },
    /// The folder it is read into.
    #[error(transparent)]
    Scratch(#[from] FileError),
}

impl From<ArtifactError> for Trouble {
    fn from(error: ArtifactError) -> Self {
        let finding = match &error {
            ArtifactError::Differs { .. }
            | ArtifactError::Read { source: BlobError::Corrupt { .. } | BlobError::TooLarge { .. }, .. } => {
                Finding::deterministic(FindingKind::ArtifactInvalid, chain(&error))
            }
            // A negative read decides nothing: it is tried again.
            ArtifactError::Read { source: BlobError::NotFound { .. }, .. } => {
                Finding::transient(FindingKind::ArtifactInvalid, chain(&error))
            }
            ArtifactError::Read { source: BlobError::Store { .. }, .. } => return Self::Later(error.into()),
            ArtifactError::Read { source: BlobError::Io { .. }, .. } | ArtifactError::Scratch(_) => {
                Finding::transient(FindingKind::DependencyUnavailable, chain(&error))
            }
        };
        Self::finding(finding)
    }
}

/// The error and what led to it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Cause;

    fn read(source: BlobError) -> Trouble {
        ArtifactError::Read { digest: Digest::of(b"a"), source }.into()
    }

    fn name() -> String {
        "a".to_owned()
    }

    #[test]
    fn each_trouble_with_an_artifact_is_classified() {
        let differs = ArtifactError::Differs { wanted: Digest::of(b"a"), found: Digest::of(b"b") };
        for (trouble, kind, cause) in [
            (differs.into(), FindingKind::ArtifactInvalid, Cause::Deterministic),
            (
                read(BlobError::Corrupt { name: name(), found: name() }),
                FindingKind::ArtifactInvalid,
                Cause::Deterministic,
            ),
            (read(BlobError::NotFound { name: name() }), FindingKind::ArtifactInvalid, Cause::Transient),
            (
                read(BlobError::Io { path: "a".into(), source: std::io::ErrorKind::StorageFull.into() }),
                FindingKind::DependencyUnavailable,
                Cause::Transient,
            ),
        ] {
            let Trouble::Findings(findings) = trouble else { panic!() };
            assert_eq!((findings[0].kind, findings[0].cause), (kind, cause));
        }
        let store = BlobError::Store { action: "read", name: name(), reason: name() };
        assert!(matches!(read(store), Trouble::Later(_)));
    }

    #[test]
    fn a_broker_that_is_away_is_waited_for_and_a_full_disk_is_a_finding() {
        let away = KeyError::Table(BusError::Connection("closed".to_owned()));
        assert!(matches!(Trouble::from(away), Trouble::Later(_)));
        let full =
            FileError::Io { path: "k".into(), action: "written", source: std::io::ErrorKind::StorageFull.into() };
        assert!(matches!(Trouble::from(KeyError::from(full)), Trouble::Findings(_)));
    }
}
