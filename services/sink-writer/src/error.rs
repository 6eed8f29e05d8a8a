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
    /// Rows would be lost that were acknowledged.
    #[error(
        "{place} is gone with the pod of the sink-writer, and results with it: give it PostgreSQL (database.url) or a volume (embedded.lasting), or name an output that lasts"
    )]
    Fleeting {
        /// Where they would lie.
        place: String,
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
    /// A row that the sink has no place for.
    #[error("{sink}: a row cannot be kept: {reason}")]
    Row {
        /// Which sink.
        sink: String,
        /// What about it.
        reason: String,
    },
    /// An object that stands in the way of the rows: its keys must be known before anything can be appended.
    #[error("{sink}: {object} is no object of results, and must be moved away or repaired: {reason}")]
    Unreadable {
        /// Which sink.
        sink: String,
        /// Its name.
        object: String,
        /// What about it.
        reason: String,
    },
    /// Other writers were always first.
    #[error("{sink}: others have appended {races} times before this writer could")]
    Contended {
        /// Which sink.
        sink: String,
        /// How often.
        races: usize,
    },
    /// The store creates an object where one is, so that results could be kept twice or lost.
    #[error(
        "{sink}: the store does not honour `If-None-Match: *`: {winners} writers were each told that they created the same object"
    )]
    Unconditional {
        /// Which sink.
        sink: String,
        /// How many; one is right.
        winners: usize,
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
            Self::SecretMissing { .. }
            | Self::SecretUnusable { .. }
            | Self::Fleeting { .. }
            | Self::ProbeDiffers { .. }
            | Self::Row { .. }
            | Self::Unreadable { .. }
            | Self::Unconditional { .. } => Cause::Deterministic,
            Self::Path { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotADirectory => Cause::Deterministic,
                _ => Cause::Transient,
            },
            Self::Object { source, .. } => store_cause(source),
            Self::Contended { .. } | Self::Bus(_) => Cause::Transient,
            Self::Database { source, .. } => database_cause(source),
        }
    }

    /// Whether it is a row that cannot be kept, and not the sink that does not work. For a database by SQLSTATE: a value that it has no
    /// place for (22, for example a NUL in a text) or that is larger than it takes (54). The embedded database takes every row.
    #[must_use]
    pub fn is_the_rows(&self) -> bool {
        let source = match self {
            Self::Database { source, .. } => source,
            other => return matches!(other, Self::Row { .. }),
        };
        let code = source.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| code.len() == 5 && (code.starts_with("22") || code.starts_with("54")))
    }

    /// Whether the sink is to be opened anew before it is used again: its secret may have been replaced. Not for an object store that
    /// was away for a moment: what is known of its objects would have to be read again.
    #[must_use]
    pub fn spoils_the_sink(&self) -> bool {
        match self {
            Self::Object { .. } => self.cause() == Cause::Deterministic,
            Self::Row { .. } | Self::Contended { .. } => false,
            _ => true,
        }
    }

    /// The finding for `outputs-failed`.
    #[must_use]
    pub fn finding(&self, path: &str) -> Finding {
        let kind = match (self, self.cause()) {
            (Self::SecretMissing { .. }, _) => FindingKind::SecretMissing,
            (_, Cause::Deterministic) => FindingKind::Misconfigured,
            (_, Cause::Transient) => FindingKind::DependencyUnavailable,
        };
        let finding = match self.cause() {
            Cause::Transient => Finding::transient(kind, chain(self)),
            Cause::Deterministic => Finding::deterministic(kind, chain(self)),
        };
        finding.with_evidence(path)
    }
}

/// What a store answers about who asks and where (401, 403, 404) does not pass by itself.
fn store_cause(error: &object_store::Error) -> Cause {
    use object_store::Error::{
        InvalidPath, NotFound, NotImplemented, NotSupported, PermissionDenied, Unauthenticated, UnknownConfigurationKey,
    };
    match error {
        InvalidPath { .. }
        | NotFound { .. }
        | NotImplemented { .. }
        | NotSupported { .. }
        | PermissionDenied { .. }
        | Unauthenticated { .. }
        | UnknownConfigurationKey { .. } => Cause::Deterministic,
        _ => Cause::Transient,
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
