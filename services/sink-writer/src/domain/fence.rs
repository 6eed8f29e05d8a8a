//! Whose results are refused.

use slipway_kernel::{Deployment, RevisionId};
use std::collections::BTreeSet;

/// The fence of one deployment: results of revisions that were taken back are refused, whatever they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    refused: BTreeSet<RevisionId>,
}

impl Fence {
    /// The fence as the facts draw it.
    #[must_use]
    pub fn of(deployment: &Deployment) -> Self {
        Self { refused: deployment.fenced() }
    }

    /// Whether results of `revision` are refused.
    #[must_use]
    pub fn refuses(&self, revision: RevisionId) -> bool {
        self.refused.contains(&revision)
    }

    /// The revisions whose earlier rows are suspect.
    pub fn suspects(&self) -> impl Iterator<Item = RevisionId> {
        self.refused.iter().copied()
    }
}
