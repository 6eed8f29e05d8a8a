//! What can go wrong, by what was tried.

use slipway_kernel::{Cause, Finding, FindingKind};

/// A sink that does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The secret that names the database is not there.
    #[error("the secret {reference} is not there")]
    SecretMissing {
        /// The reference, never the secret.
        reference: String,
    },
    /// The secret is no URL of a database.
    #[error("the secret {reference} holds no PostgreSQL URL")]
    SecretUnusable {
        /// The reference.
        reference: String,
    },
    /// The folder or file cannot be used.
    #[error("{path} cannot be used")]
    Path {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The object store refused.
    #[error("{sink}: an object could not be {action}")]
    Object {
        /// Which sink.
        sink: String,
        /// `written`, `read`.
        action: &'static str,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The database refused.
    #[error("{sink}: {action} failed")]
    Database {
        /// Which sink.
        sink: String,
        /// What was tried.
        action: &'static str,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The broker was asked something, and did not say.
    #[error(transparent)]
    Bus(#[from] slipway_bus::BusError),
    /// What was written is not what is read back.
    #[error("{sink}: the probe read back is not the one written")]
    ProbeDiffers {
        /// Which sink.
        sink: String,
    },
}

impl SinkError {
    /// Whether trying again can help.
    #[must_use]
    pub fn cause(&self) -> Cause {
        match self {
            Self::SecretMissing { .. } | Self::SecretUnusable { .. } | Self::ProbeDiffers { .. } => {
                Cause::Deterministic
            }
            Self::Path { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotADirectory => Cause::Deterministic,
                _ => Cause::Transient,
            },
            Self::Object { .. } | Self::Bus(_) => Cause::Transient,
            Self::Database { source, .. } => database_cause(source),
        }
    }

    /// Whether it is a row that cannot be kept, and not the sink that does not work: by SQLSTATE, a value that the database has no place
    /// for (22, for example a NUL in a text) or that is larger than it takes (54). The embedded database takes every row.
    #[must_use]
    pub fn is_the_rows(&self) -> bool {
        let Self::Database { source, .. } = self else { return false };
        let code = source.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| code.len() == 5 && (code.starts_with("22") || code.starts_with("54")))
    }

    /// The finding for `outputs-failed`.
    #[must_use]
    pub fn finding(&self, path: &str) -> Finding {
        let kind = match self {
            Self::SecretMissing { .. } => FindingKind::SecretMissing,
            Self::SecretUnusable { .. } | Self::ProbeDiffers { .. } => FindingKind::Misconfigured,
            Self::Path { .. } | Self::Object { .. } | Self::Database { .. } if self.cause() == Cause::Deterministic => {
                FindingKind::Misconfigured
            }
            Self::Path { .. } | Self::Object { .. } | Self::Database { .. } | Self::Bus(_) => {
                FindingKind::DependencyUnavailable
            }
        };
        let finding = match self.cause() {
            Cause::Transient => Finding::transient(kind, chain(self)),
            Cause::Deterministic => Finding::deterministic(kind, chain(self)),
        };
        finding.with_evidence(path)
    }
}

/// By SQLSTATE class: what depends on the moment (connection 08, resources 53, operator intervention 57, transaction rollback 40,
/// lock 55) passes; what depends on the configuration (authorization 28, catalog 3D, privilege and syntax 42) does not.
fn database_cause(error: &sqlx::Error) -> Cause {
    let Some(code) = error.as_database_error().and_then(sqlx::error::DatabaseError::code) else {
        return match error {
            sqlx::Error::Configuration(_) => Cause::Deterministic,
            _ => Cause::Transient,
        };
    };
    if ["28", "3D", "42", "22", "23"].iter().any(|class| code.starts_with(class)) {
        Cause::Deterministic
    } else {
        Cause::Transient
    }
}

/// The error and what led to it, in one line. Database errors carry no credentials: URLs are never part of them here.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
