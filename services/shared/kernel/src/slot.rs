//! Slots: the questions of the log. One subject per question, so rival answers exclude each other.

use crate::ids::{Service, decimal};
use std::{fmt, str::FromStr};

/// A question that one fact answers. The order of the variants is the rank by which the fold orders facts of one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// What is wanted (revision 0).
    Request,
    /// Where it shall run (revision 0).
    Choice,
    /// May it run there? (revision 0).
    Approval,
    /// Is the infrastructure there? (revision 0).
    Infrastructure,
    /// What serves the model? (revision 0).
    Platform,
    /// What is to be deployed?
    Plan,
    /// Does it run?
    Deployment,
    /// Is the door open?
    Ingress,
    /// Are results kept?
    Outputs,
    /// Can it be seen?
    Observability,
    /// Is it closed to everybody else?
    Security,
    /// Is it what was asked for?
    Validation,
    /// May it have this share of the traffic, in percent?
    Shift(u8),
    /// Is it in production?
    Release,
    /// Does it still keep its objectives?
    Degradation,
    /// Was it taken back? (also revision 0, for a generation that failed before its first plan).
    Rollback,
    /// What a person demanded, counted up per generation (revision 0).
    Command(u32),
    /// Is what this service made gone? (revision 0).
    Removal(Service),
    /// How it ended (revision 0).
    End,
}

/// Why a token names no slot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no slot")]
pub struct SlotError(pub String);

impl Slot {
    /// Slots whose token has no variable part.
    pub const FIXED: [Self; 16] = [
        Self::Request,
        Self::Choice,
        Self::Approval,
        Self::Infrastructure,
        Self::Platform,
        Self::Plan,
        Self::Deployment,
        Self::Ingress,
        Self::Outputs,
        Self::Observability,
        Self::Security,
        Self::Validation,
        Self::Release,
        Self::Degradation,
        Self::Rollback,
        Self::End,
    ];

    /// The four that are configured in parallel on `deployed`, and joined by the validator.
    pub const PARALLEL: [Self; 4] = [Self::Ingress, Self::Outputs, Self::Observability, Self::Security];

    /// Who may answer. The permissions on the log are generated from this.
    #[must_use]
    pub const fn answered_by(self) -> Service {
        match self {
            Self::Choice | Self::Infrastructure => Service::Provisioner,
            Self::Platform => Service::PlatformSelector,
            Self::Ingress => Service::Ingress,
            Self::Outputs => Service::SinkWriter,
            Self::Observability | Self::Degradation => Service::Observability,
            Self::Security => Service::Security,
            Self::Validation => Service::Validator,
            Self::Removal(service) => service,
            // The gate lives in the controller.
            Self::Request
            | Self::Approval
            | Self::Command(_)
            | Self::Plan
            | Self::Deployment
            | Self::Shift(_)
            | Self::Release
            | Self::Rollback
            | Self::End => Service::Controller,
        }
    }

    /// Whether a fact in this slot can give `service` something to do. Its doorbell rings for no other, so what is not named here
    /// is found by a sweep only. The controller decides on everything that happens.
    #[must_use]
    pub fn concerns(self, service: Service) -> bool {
        match (service, self) {
            (Service::Controller, _) => true,
            // It annuls, retires, revalidates: whatever was decided may be open again.
            (_, Self::Command(_)) => service != Service::InferenceWorker,
            (Service::Provisioner, Self::Request | Self::Choice | Self::Approval) => true,
            (Service::PlatformSelector, Self::Infrastructure) => true,
            (
                Service::Ingress
                | Service::SinkWriter
                | Service::Observability
                | Service::Security
                | Service::Validator,
                Self::Deployment,
            ) => true,
            (Service::Validator, slot) if Self::PARALLEL.contains(&slot) => true,
            // What it noticed about a released revision is for the controller.
            (Service::Observability, Self::Degradation) => false,
            // A failure that may pass is tried again.
            (service, slot) => slot.answered_by() == service,
        }
    }

    /// Whether a fact in this slot can change where requests go or by which rules: [`Deployment::routes`](crate::Deployment::routes),
    /// and the spec and model of those who are in them.
    #[must_use]
    pub const fn moves_routes(self) -> bool {
        match self {
            Self::Request
            | Self::Platform
            | Self::Plan
            | Self::Deployment
            | Self::Shift(_)
            | Self::Release
            | Self::Rollback
            | Self::Command(_)
            | Self::End => true,
            Self::Choice
            | Self::Approval
            | Self::Infrastructure
            | Self::Ingress
            | Self::Outputs
            | Self::Observability
            | Self::Security
            | Self::Validation
            | Self::Degradation
            | Self::Removal(_) => false,
        }
    }

    /// Whether the slot may stand at revision 0 (`false`: only at 1 and above).
    #[must_use]
    pub const fn fits_revision(self, revision: u32) -> bool {
        match self {
            Self::Request
            | Self::Choice
            | Self::Approval
            | Self::Infrastructure
            | Self::Platform
            | Self::Command(_)
            | Self::Removal(_)
            | Self::End => revision == 0,
            Self::Rollback => true,
            Self::Plan
            | Self::Deployment
            | Self::Ingress
            | Self::Outputs
            | Self::Observability
            | Self::Security
            | Self::Validation
            | Self::Shift(_)
            | Self::Release
            | Self::Degradation => revision > 0,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("request"),
            Self::Choice => f.write_str("choice"),
            Self::Approval => f.write_str("approval"),
            Self::Infrastructure => f.write_str("infrastructure"),
            Self::Platform => f.write_str("platform"),
            Self::Plan => f.write_str("plan"),
            Self::Deployment => f.write_str("deployment"),
            Self::Ingress => f.write_str("ingress"),
            Self::Outputs => f.write_str("outputs"),
            Self::Observability => f.write_str("observability"),
            Self::Security => f.write_str("security"),
            Self::Validation => f.write_str("validation"),
            Self::Shift(percent) => write!(f, "shift-{percent}"),
            Self::Release => f.write_str("release"),
            Self::Degradation => f.write_str("degradation"),
            Self::Rollback => f.write_str("rollback"),
            Self::Command(number) => write!(f, "command-{number}"),
            Self::Removal(service) => write!(f, "removal-{service}"),
            Self::End => f.write_str("end"),
        }
    }
}

impl FromStr for Slot {
    type Err = SlotError;

    fn from_str(token: &str) -> Result<Self, Self::Err> {
        let unknown = || SlotError(token.chars().take(80).collect());
        if let Some(slot) = Self::FIXED.into_iter().find(|slot| slot.to_string() == token) {
            return Ok(slot);
        }
        if let Some(percent) = token.strip_prefix("shift-") {
            let percent = decimal(percent).and_then(|p| u8::try_from(p).ok());
            return percent.filter(|p| (1..=99).contains(p)).map(Self::Shift).ok_or_else(unknown);
        }
        if let Some(number) = token.strip_prefix("command-") {
            return decimal(number).map(Self::Command).ok_or_else(unknown);
        }
        if let Some(service) = token.strip_prefix("removal-") {
            let service: Service = service.parse().map_err(|_| unknown())?;
            return if Service::REMOVERS.contains(&service) { Ok(Self::Removal(service)) } else { Err(unknown()) };
        }
        Err(unknown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_reads_back_as_its_slot() {
        let varied = [Slot::Shift(5), Slot::Shift(99), Slot::Command(0), Slot::Command(17)];
        let removals = Service::REMOVERS.map(Slot::Removal);
        for slot in Slot::FIXED.into_iter().chain(varied).chain(removals) {
            assert_eq!(slot.to_string().parse::<Slot>().unwrap(), slot);
        }
    }

    #[test]
    fn other_tokens_name_no_slot() {
        for token in
            ["", "Request", "shift-0", "shift-100", "shift-05", "command-", "command-01", "removal-validator", "end "]
        {
            assert!(token.parse::<Slot>().is_err(), "{token}");
        }
    }
}
