//! What others may believe of the workers.

use crate::target::{Group, Running, Status};
use slipway_kernel::{Endpoint, Finding, Measurement};
use std::collections::BTreeMap;

/// What is, as of the keeper's last round.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Published {
    /// Whether this replica holds the lease and knows what is there.
    pub(super) holds: bool,
    /// Why it holds the lease and knows nothing yet: the cluster could not be looked at.
    pub(super) blind: Option<String>,
    /// Those that shall be.
    pub(super) groups: BTreeMap<Group, GroupState>,
    /// Objects and pods of those that shall not, by the labels of deployment and revision.
    pub(super) leftovers: BTreeMap<(String, String), u32>,
}

impl Published {
    /// What is left of a revision.
    pub(super) fn left(&self, group: &Group) -> u32 {
        let key = (slipway_kernel::names::label(&group.deployment), group.revision.to_string());
        self.leftovers.get(&key).copied().unwrap_or(0)
    }
}

/// One group in a round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct GroupState {
    /// Workers that are ready.
    pub(super) ready: Vec<Endpoint>,
    /// Pods that are there.
    pub(super) present: u32,
    /// Workers that shall be.
    pub(super) of: u32,
    /// What the first ready one measured.
    pub(super) measurements: Vec<Measurement>,
    /// The largest token under which one was started.
    pub(super) token: u64,
    /// What is wrong.
    pub(super) findings: Vec<Finding>,
    /// Whether waiting is of no use any more.
    pub(super) is_settled: bool,
    /// Whether all were ready once.
    pub(super) was_whole: bool,
}

impl GroupState {
    /// One that no round has seen yet.
    pub(super) fn unseen(of: u32) -> Self {
        Self { of, ..Self::default() }
    }

    pub(super) fn status(&self) -> Status {
        let ready = u32::try_from(self.ready.len()).unwrap_or(u32::MAX);
        if ready >= self.of {
            return Status::Running(Running {
                endpoints: self.ready.clone(),
                measurements: self.measurements.clone(),
                fencing_token: self.token,
                trouble: self.findings.first().map(|finding| finding.message.clone()),
            });
        }
        // Who has served goes on with the workers that are left, and the cluster starts the others again for ever.
        if self.is_settled && (ready == 0 || !self.was_whole) {
            return Status::Failed(self.findings.clone());
        }
        let why = self.findings.first().map(|finding| format!("; {}", finding.message)).unwrap_or_default();
        Status::Starting { ready, of: self.of, detail: format!("{} pod(s) are there{why}", self.present) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::FindingKind;

    fn endpoint() -> Endpoint {
        Endpoint { instance: "a".into(), address: "10.0.0.1:8443".into() }
    }

    #[test]
    fn it_fails_when_waiting_is_of_no_use_but_not_while_it_serves() {
        let findings = vec![Finding::transient(FindingKind::ImageUnavailable, "no image")];
        let waits = GroupState { of: 2, findings, ..GroupState::default() };
        assert!(matches!(waits.status(), Status::Starting { ready: 0, of: 2, .. }));
        let settled = GroupState { is_settled: true, ..waits };
        assert!(matches!(settled.status(), Status::Failed(_)));
        let never_whole = GroupState { ready: vec![endpoint()], ..settled };
        assert!(matches!(never_whole.status(), Status::Failed(_)));
        let half = GroupState { was_whole: true, ..never_whole };
        assert!(matches!(half.status(), Status::Starting { ready: 1, .. }));
        let whole = GroupState { ready: vec![endpoint(), endpoint()], ..half };
        assert!(matches!(whole.status(), Status::Running(_)));
    }
}
