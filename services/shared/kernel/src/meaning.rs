//! What an answer means for whoever decides by it: its findings, whether trying again can help, whom it answers.

use crate::{
    answer::{Answer, IntakeReference},
    finding::{Cause, Finding},
};

impl Answer {
    /// The findings in the answer; empty for answers that carry none.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::InfrastructureFailed(f)
            | Self::DeployFailed(f)
            | Self::IngressFailed(f)
            | Self::OutputsFailed(f)
            | Self::ObservabilityFailed(f)
            | Self::SecurityFailed(f)
            | Self::RemovalFailed(f) => &f.findings,
            Self::PlatformRejected(r) => &r.findings,
            Self::ValidationFailed(r) | Self::ValidationInconclusive(r) | Self::Validated(r) => &r.findings,
            Self::Degraded(d) => &d.findings,
            Self::RolledBack(r) => &r.findings,
            Self::Abandoned(a) => &a.findings,
            _ => &[],
        }
    }

    /// Whether the answer says that something failed for a reason that may pass: the same question may be tried again.
    #[must_use]
    pub fn failed_transiently(&self) -> bool {
        let failed = matches!(
            self,
            Self::InfrastructureFailed(_)
                | Self::PlatformRejected(_)
                | Self::DeployFailed(_)
                | Self::IngressFailed(_)
                | Self::OutputsFailed(_)
                | Self::ObservabilityFailed(_)
                | Self::SecurityFailed(_)
                | Self::RemovalFailed(_)
                | Self::ValidationFailed(_)
        );
        failed && !self.findings().is_empty() && self.findings().iter().all(|f| f.cause == Cause::Transient)
    }
}

impl Answer {
    /// The intake message that this fact of the gate answers.
    #[must_use]
    pub const fn intake(&self) -> Option<&IntakeReference> {
        match self {
            Self::Requested(requested) => Some(&requested.intake),
            Self::Approved(approved) => Some(&approved.intake),
            Self::Declined(declined) => Some(&declined.intake),
            Self::RollbackRequested(command) => Some(&command.intake),
            Self::Paused(command)
            | Self::Resumed(command)
            | Self::RevalidationRequested(command)
            | Self::RetireRequested(command) => Some(&command.intake),
            Self::Annulled(annulled) => Some(&annulled.intake),
            _ => None,
        }
    }
}
