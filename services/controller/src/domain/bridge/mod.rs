//! Custom resources: what is to be done about one, and what it is told, from the resource and the log alone.
//!
//! - [`Resource`] is what stands in the cluster, [`Status`] what is written there.
//! - [`own`](own::own) finds what of a deployment came of a resource, and what of it came of others.
//! - [`step`](step::step) says what is to be done, [`status`](status::status) what is to be told.
//! - [`milestones`](milestones::milestones) are what is worth an event.

pub mod milestones;
pub mod own;
#[cfg(test)]
mod properties;
pub mod status;
pub mod step;
#[cfg(test)]
mod tests;
mod words;

use slipway_kernel::{DeploymentId, Generation, RevisionId, Timestamp};

/// A custom resource as it stands in the cluster. Its spec is for the gate alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The deployment that it stands for.
    pub id: DeploymentId,
    /// Which of all resources that ever had this name.
    pub uid: String,
    /// `metadata.generation`: which of its specs.
    pub generation: u64,
    /// Whether somebody removed it.
    pub is_leaving: bool,
    /// Whether it stays until the deployment is gone.
    pub is_held: bool,
    /// Whether it may take over a deployment that others made.
    pub adopts: bool,
    /// What it was told last.
    pub status: Option<Status>,
}

impl Resource {
    /// What it was told of a condition.
    #[must_use]
    pub fn told(&self, kind: ConditionKind) -> Option<&Condition> {
        self.status.as_ref()?.conditions.iter().find(|condition| condition.kind == kind)
    }
}

/// What a resource is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The `metadata.generation` that it is about.
    pub observed_generation: u64,
    /// The generation in the log that came of it.
    pub generation: Option<Generation>,
    /// `ce-id` of a demand that is, or is about to be, sent to the gate, until its answer is known.
    pub demand: Option<String>,
    /// Where that generation stands.
    pub phase: String,
    /// The revision that has the traffic.
    pub serving: Option<RevisionId>,
    /// The last thing that happened.
    pub message: String,
    /// Where requests go.
    pub url: Option<String>,
    /// When the log last said something of it.
    pub last_change: Option<Timestamp>,
    /// Each kind at most once.
    pub conditions: Vec<Condition>,
}

/// One thing that holds or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What.
    pub kind: ConditionKind,
    /// Whether.
    pub status: Truth,
    /// The `metadata.generation` that it is about.
    pub observed_generation: u64,
    /// Since when, to the second.
    pub since: Timestamp,
    /// Why, in one word.
    pub reason: String,
    /// Why, in one sentence.
    pub message: String,
}

/// What holds or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionKind {
    /// The gate let the spec in.
    Accepted,
    /// Something is being done about it.
    Progressing,
    /// The spec is in production.
    Ready,
    /// Nothing more will come of it by itself. Stands there only while it is true.
    Stalled,
}

impl ConditionKind {
    /// Every kind, in the order in which they are told.
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Progressing, Self::Ready, Self::Stalled];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Progressing => "Progressing",
            Self::Ready => "Ready",
            Self::Stalled => "Stalled",
        }
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Yes.
    True,
    /// No.
    False,
    /// It cannot be told yet.
    Unknown,
}

impl Truth {
    /// As the cluster writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}
