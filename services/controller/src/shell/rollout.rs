//! Shares of the traffic: each is given when every live ingress replica routes by the one before, and held against its
//! measurements.

use super::{
    actor::{Controller, SOON},
    group_of,
};
use crate::{
    domain::{due::after_failure, duty::Duty, judge::Traffic, judge::judge},
    target::Status,
};
use slipway_bus::{Done, DutyError, RouteReport, Scene};
use slipway_kernel::{Answer, Finding, Released, RevisionId, Shifted, Slot};
use std::time::Duration;

/// How often a held share is looked at: as often as ingress replicas report while something shifts.
const LOOK: Duration = Duration::from_secs(1);

/// How long a share waits for the ingress at once, before it looks again at everything.
const ARRIVAL: Duration = Duration::from_secs(1);

/// What the ingress replicas say.
struct Reported {
    /// Replicas that do not route by the newest facts yet.
    behind: Vec<String>,
    traffic: Traffic,
}

impl Controller {
    /// Watches a share. Returns to look again, or stops the rollout.
    pub(super) async fn hold(&self, revision: RevisionId, scene: &Scene) -> Result<Done, DutyError> {
        match self.misses(revision, self.reported(revision, scene).traffic, scene) {
            findings if findings.is_empty() => Ok(Done::Later(next_look(revision, scene))),
            findings => self.stop(revision, findings, scene).await,
        }
    }

    /// Gives a larger share.
    pub(super) async fn shift(&self, revision: RevisionId, percent: u8, scene: &Scene) -> Result<Done, DutyError> {
        let reported = self.arrived(revision, scene).await;
        if let Some(done) = self.not_yet(revision, &reported, scene).await? {
            return Ok(done);
        }
        let shifted = Shifted {
            percent: u32::from(percent),
            beside: scene.folded.deployment.serving(),
            measurements: reported.traffic.measurements(),
        };
        self.write_as(&scene.key(revision, Slot::Shift(percent)), Answer::Shifted(shifted), None, scene).await
    }

    /// Gives all of it.
    pub(super) async fn release(&self, revision: RevisionId, scene: &Scene) -> Result<Done, DutyError> {
        let reported = self.arrived(revision, scene).await;
        if let Some(done) = self.not_yet(revision, &reported, scene).await? {
            return Ok(done);
        }
        let replaces = scene.folded.deployment.serving().filter(|serving| *serving != revision);
        let released = Released { replaces, measurements: reported.traffic.measurements() };
        self.write_as(&scene.key(revision, Slot::Release), Answer::Released(released), None, scene).await
    }

    fn reported(&self, revision: RevisionId, scene: &Scene) -> Reported {
        summed(&self.routes.get(), &scene.id.to_string(), revision, scene.folded.deployment.routed_at())
    }

    /// The same, after waiting a moment for replicas that are behind: they follow the log within milliseconds.
    async fn arrived(&self, revision: RevisionId, scene: &Scene) -> Reported {
        let sequence = scene.folded.deployment.routed_at();
        let all_there = |reports: &Vec<RouteReport>| reports.iter().all(|report| report.applied >= sequence);
        // Whoever is behind still is named by what follows.
        let _ = self.routes.clone().wait(ARRIVAL, all_there).await;
        self.reported(revision, scene)
    }

    /// What keeps the next share back, if something does.
    async fn not_yet(
        &self,
        revision: RevisionId,
        reported: &Reported,
        scene: &Scene,
    ) -> Result<Option<Done>, DutyError> {
        let findings = self.misses(revision, reported.traffic, scene);
        if !findings.is_empty() {
            return self.stop(revision, findings, scene).await.map(Some);
        }
        if !reported.behind.is_empty() {
            let behind = reported.behind.join(", ");
            tracing::debug!(deployment = %scene.id, behind, "a share waits for the ingress");
            return Ok(Some(Done::Later(SOON)));
        }
        Ok(None)
    }

    /// What the share clearly misses, by its traffic or because its workers do not stay.
    fn misses(&self, revision: RevisionId, traffic: Traffic, scene: &Scene) -> Vec<Finding> {
        let deployment = &scene.folded.deployment;
        let Some(generation) = deployment.generations.get(&revision.generation) else { return Vec::new() };
        match self.target.status(&group_of(deployment, revision)) {
            Status::Failed(findings) => findings,
            _ => judge(&generation.spec().slo, traffic),
        }
    }

    /// Ends the rollout: another revision, or back.
    async fn stop(&self, revision: RevisionId, findings: Vec<Finding>, scene: &Scene) -> Result<Done, DutyError> {
        let deployment = &scene.folded.deployment;
        let Some(generation) = deployment.generations.get(&revision.generation) else { return Ok(Done::Again) };
        let kinds: Vec<String> = findings.iter().map(|finding| finding.kind.to_string()).collect();
        tracing::warn!(deployment = %scene.id, %revision, findings = kinds.join(", "), "the rollout is stopped");
        match after_failure(deployment, generation, Some(revision), findings) {
            Some(duty @ Duty::Plan { .. }) => self.plan(&duty, scene).await,
            Some(duty @ Duty::RollBack { .. }) => self.roll_back(&duty, scene).await,
            Some(duty) => self.write(&duty, scene).await,
            None => Ok(Done::Later(LOOK)),
        }
    }
}

/// When to look again: as often as there are new reports, and when the hold is over.
fn next_look(revision: RevisionId, scene: &Scene) -> Duration {
    let deployment = &scene.folded.deployment;
    let hold = deployment.generations.get(&revision.generation).map(|generation| generation.spec().rollout.hold.0);
    let shift = deployment.revision(revision).and_then(|revision| revision.fact(Slot::Shift(revision.shifted()?)));
    match (hold, shift) {
        (Some(hold), Some(shift)) => {
            let left = shift.at.after(hold).since(scene.now());
            // Over already: a person holds it.
            if left.is_zero() { LOOK } else { left.min(LOOK) }
        }
        _ => LOOK,
    }
}

fn summed(reports: &[RouteReport], deployment: &str, revision: RevisionId, sequence: u64) -> Reported {
    let behind = reports.iter().filter(|report| report.applied < sequence).map(|report| report.instance.clone());
    let stats = reports.iter().flat_map(|report| &report.stats);
    let mine = stats.filter(|stats| stats.deployment == deployment && stats.revision == revision);
    let traffic =
        mine.map(|stats| Traffic { requests: stats.requests, failures: stats.failures, p99_ms: stats.p99_ms });
    Reported { behind: behind.collect(), traffic: traffic.fold(Traffic::default(), Traffic::plus) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_bus::RevisionStats;
    use slipway_kernel::Timestamp;

    #[test]
    fn the_replicas_are_summed_up_for_one_revision_and_those_behind_are_named() {
        let stats = |deployment: &str, revision, requests| RevisionStats {
            deployment: deployment.into(),
            revision,
            requests,
            failures: 1,
            p99_ms: 3.0,
        };
        let (one, two) = (RevisionId::new(1, 1), RevisionId::new(2, 1));
        let report = |instance: &str, applied, stats| RouteReport {
            instance: instance.into(),
            applied,
            at: Timestamp(0),
            stats,
        };
        let reports = [
            report("a", 9, vec![stats("default.digits", two, 10), stats("default.digits", one, 90)]),
            report("b", 10, vec![stats("default.digits", two, 5), stats("team.digits", two, 7)]),
        ];
        let reported = summed(&reports, "default.digits", two, 10);
        assert_eq!(reported.behind, ["a"]);
        assert_eq!((reported.traffic.requests, reported.traffic.failures), (15, 2));
        assert!(summed(&[], "default.digits", two, 10).behind.is_empty(), "nobody routes, so nobody is behind");
    }
}
