//! The intake: the one door for people, CI and custom resources. Nobody but the gate behind it writes what came of it.

mod answer;
mod client;
mod gate;
mod keyed;
mod signature;

pub use answer::IntakeAnswer;
pub use client::{Command, IntakeError};
pub use gate::{Gate, IntakeMessage};
pub use signature::{Credential, VerifiedKey};

use crate::connect::Bus;
use std::{fmt, str::FromStr};

/// What can be demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// A new generation.
    Deploy,
    /// Yes to what waits for approval.
    Approve,
    /// No to it.
    Decline,
    /// Hold the rollout.
    Pause,
    /// Let it go on.
    Resume,
    /// Back to a good revision.
    Rollback,
    /// Prove it again.
    Revalidate,
    /// Take it down.
    Retire,
    /// Take a fact out of the fold.
    Annul,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 9] = [
        Self::Deploy,
        Self::Approve,
        Self::Decline,
        Self::Pause,
        Self::Resume,
        Self::Rollback,
        Self::Revalidate,
        Self::Retire,
        Self::Annul,
    ];

    /// The token in the subject.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Approve => "approve",
            Self::Decline => "decline",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Rollback => "rollback",
            Self::Revalidate => "revalidate",
            Self::Retire => "retire",
            Self::Annul => "annul",
        }
    }

    /// `ce-type` of the message.
    #[must_use]
    pub fn kind(self) -> String {
        format!("dev.slipway.{self}.v1")
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|verb| verb.as_str() == text)
            .ok_or_else(|| format!("one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// The intake, as this principal may use it.
#[derive(Clone, Debug)]
pub struct Intake {
    bus: Bus,
}

impl Intake {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }
}
