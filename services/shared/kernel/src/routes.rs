//! Where requests go: folded from the log, so that every ingress replica comes to the same weights.

use crate::{
    fold::{Deployment, RevisionState},
    ids::RevisionId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A share of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Who gets it.
    pub revision: RevisionId,
    /// How much, in percent.
    pub percent: u8,
}

/// The routes of one deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// Shares that sum up to 100, or none if nothing serves.
    pub shares: Vec<Route>,
    /// Revisions whose results are refused.
    pub fenced: BTreeSet<RevisionId>,
    /// Revisions without a share that the validator may reach by name: deployed, not taken back, not ended.
    pub reachable: BTreeSet<RevisionId>,
}

impl Routes {
    /// The revision for a request whose id hashes to `hash`: the same id meets the same revision.
    #[must_use]
    pub fn pick(&self, hash: u64) -> Option<RevisionId> {
        let mut point = u8::try_from(hash % 100).unwrap_or(0);
        for route in &self.shares {
            if point < route.percent {
                return Some(route.revision);
            }
            point -= route.percent;
        }
        None
    }
}

impl Deployment {
    /// The sequence of the newest fact that can have changed where requests go: whoever has applied the log up to it routes by all of
    /// it.
    #[must_use]
    pub fn routed_at(&self) -> u64 {
        self.facts().filter(|fact| fact.key.slot.moves_routes()).map(|fact| fact.sequence).max().unwrap_or(0)
    }

    /// The revision that is on its way into production: the newest one of the newest generation, neither released nor
    /// taken back, of a generation that goes on.
    #[must_use]
    pub fn candidate(&self) -> Option<&RevisionState> {
        let generation = self.newest().filter(|g| !g.is_terminal() && !self.is_retiring(g.generation))?;
        generation.latest().filter(|revision| !revision.is_released() && !revision.is_rolled_back())
    }

    /// The weights that hold now.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let serving = self.serving();
        let shifting = self.candidate().and_then(|c| c.shifted().map(|percent| Route { revision: c.id, percent }));
        let shares = match (serving, shifting) {
            (None, None) => Vec::new(),
            (Some(revision), None) => vec![Route { revision, percent: 100 }],
            // The first generation has nobody to share with.
            (None, Some(route)) => vec![Route { percent: 100, ..route }],
            (Some(revision), Some(route)) => vec![route, Route { revision, percent: 100 - route.percent }],
        };
        let ended = |id: RevisionId| self.generations.get(&id.generation).is_none_or(|g| g.ended().is_some());
        let reachable = self
            .revisions()
            .filter(|r| r.is_deployed() && !r.is_rolled_back() && !self.is_retiring(r.id.generation))
            .map(|r| r.id)
            .filter(|id| !ended(*id) || Some(*id) == serving)
            .collect();
        Routes { shares, fenced: self.fenced(), reachable }
    }
}
