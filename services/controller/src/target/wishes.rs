//! What a target was told.

use super::{Desired, Group};
use slipway_kernel::DeploymentId;
use std::collections::{BTreeMap, BTreeSet};

/// What shall be.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    pub(super) desired: BTreeMap<DeploymentId, Vec<Desired>>,
    pub(super) told: BTreeSet<DeploymentId>,
    pub(super) all_told: bool,
}

impl Wishes {
    /// What shall run of a deployment from now on.
    pub(super) fn want(&mut self, deployment: &DeploymentId, revisions: Vec<Desired>) {
        self.told.insert(deployment.clone());
        if revisions.is_empty() {
            self.desired.remove(deployment);
        } else {
            self.desired.insert(deployment.clone(), revisions);
        }
    }

    /// The same by the try at each revision.
    pub(super) fn by_group(&self) -> BTreeMap<Group, Desired> {
        let all =
            self.desired.iter().flat_map(|(deployment, desired)| desired.iter().map(move |one| (deployment, one)));
        let group = |deployment: &DeploymentId, one: &Desired| Group {
            deployment: deployment.clone(),
            revision: one.wanted.revision,
            attempt: one.wanted.attempt,
        };
        all.map(|(deployment, one)| (group(deployment, one), one.clone())).collect()
    }

    /// What one try shall be, if it shall be.
    pub(super) fn of(&self, group: &Group) -> Option<&Desired> {
        let of_deployment = self.desired.get(&group.deployment)?;
        of_deployment.iter().find(|one| one.wanted.revision == group.revision && one.wanted.attempt == group.attempt)
    }
}
