//! The named errors of the gate: one for each way a demand can be wrong. The names are part of the contract with
//! senders; the table in the README says what each means and what to do.

use slipway_bus::IntakeAnswer;
use slipway_kernel::{Generation, Refusals, RevisionId};

/// Why a demand is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No credential, or one that does not hold.
    #[error("{0}")]
    Unauthenticated(String),
    /// The sender may not do this.
    #[error("{0}")]
    PermissionDenied(String),
    /// The data cannot be read at all.
    #[error("the data cannot be read: {0}")]
    Malformed(String),
    /// The data is read, and says what must not be said.
    #[error("the document is refused: {0}")]
    InvalidSpec(Refusals),
    /// The same for a command.
    #[error("the command is refused: {0}")]
    InvalidCommand(Refusals),
    /// The document belongs to another namespace than the subject.
    #[error("the document is for namespace `{document}`, the subject is for `{subject}`; they must be equal")]
    NamespaceMismatch {
        /// What the document says.
        document: String,
        /// What the subject says.
        subject: String,
    },
    /// There is no such deployment.
    #[error("there is no deployment `{0}`")]
    UnknownDeployment(String),
    /// It is gone.
    #[error("`{0}` is retired; deploy it again to have it back")]
    Retired(String),
    /// It is being taken down.
    #[error("`{0}` is being retired; wait until it is retired")]
    Retiring(String),
    /// The command names a generation that is not the newest.
    #[error("generation {named} is not the newest one, which is {newest}")]
    NotNewest {
        /// The one named.
        named: Generation,
        /// The newest.
        newest: Generation,
    },
    /// Nothing waits for an approval.
    #[error("nothing of `{0}` waits for approval")]
    NoPendingApproval(String),
    /// Nothing is under way that could be held.
    #[error("no rollout of `{0}` is under way")]
    NoRollout(String),
    /// It is held already.
    #[error("`{0}` is paused already")]
    AlreadyPaused(String),
    /// It is not held.
    #[error("`{0}` is not paused")]
    NotPaused(String),
    /// There is no such revision.
    #[error("there is no revision {0}")]
    UnknownRevision(RevisionId),
    /// It did not pass validation, was never released, or was taken back.
    #[error(
        "{0} is no good revision: only one that was validated, released and never taken back gets the traffic again"
    )]
    RevisionNotGood(RevisionId),
    /// It is the one that has, or would keep, the traffic.
    #[error("{0} is the one that would be taken back")]
    RevisionTakenBack(RevisionId),
    /// There is no good revision to go back to.
    #[error("there is no good revision of `{0}` to go back to")]
    NothingToGoBackTo(String),
    /// A rollback is under way.
    #[error("a rollback of `{0}` was demanded and is under way")]
    RollbackPending(String),
    /// Nothing was validated yet.
    #[error("`{0}` has no revision with a validation to repeat")]
    NothingToRevalidate(String),
    /// There is no such fact.
    #[error("`{0}` is no fact of this deployment that counts")]
    UnknownFact(String),
    /// An annulment stays.
    #[error("`{0}` is an annulment, and those stay")]
    NotAnnullable(String),
}

impl Refused {
    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unauthenticated(_) => "unauthenticated",
            Self::PermissionDenied(_) => "permission-denied",
            Self::Malformed(_) => "malformed-data",
            Self::InvalidSpec(_) => "invalid-spec",
            Self::InvalidCommand(_) => "invalid-command",
            Self::NamespaceMismatch { .. } => "namespace-mismatch",
            Self::UnknownDeployment(_) => "unknown-deployment",
            Self::Retired(_) => "retired",
            Self::Retiring(_) => "retiring",
            Self::NotNewest { .. } => "not-newest-generation",
            Self::NoPendingApproval(_) => "no-pending-approval",
            Self::NoRollout(_) => "no-rollout",
            Self::AlreadyPaused(_) => "already-paused",
            Self::NotPaused(_) => "not-paused",
            Self::UnknownRevision(_) => "unknown-revision",
            Self::RevisionNotGood(_) => "revision-not-good",
            Self::RevisionTakenBack(_) => "revision-taken-back",
            Self::NothingToGoBackTo(_) => "nothing-to-go-back-to",
            Self::RollbackPending(_) => "rollback-pending",
            Self::NothingToRevalidate(_) => "nothing-to-revalidate",
            Self::UnknownFact(_) => "unknown-fact",
            Self::NotAnnullable(_) => "not-annullable",
        }
    }

    /// The answer to the sender.
    #[must_use]
    pub fn answer(&self) -> IntakeAnswer {
        match self {
            Self::InvalidSpec(refusals) => {
                IntakeAnswer::refused(self.name(), "the document is refused").with_refusals(refusals.clone())
            }
            Self::InvalidCommand(refusals) => {
                IntakeAnswer::refused(self.name(), "the command is refused").with_refusals(refusals.clone())
            }
            other => IntakeAnswer::refused(other.name(), other.to_string()),
        }
    }
}
