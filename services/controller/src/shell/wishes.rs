//! Tells the target which revisions must have workers, from the log alone. Every replica does; the one that keeps the
//! workers acts on it.
//!
//! What is new is told at once. What is no longer wanted is told when every live ingress replica routes by the facts
//! that say so: until then requests may still come, and a worker that is ended would lose them.

use crate::{
    domain::{invariants::breaches, manifest::Model, wanted},
    target::{Desired, Target},
    telemetry::Telemetry,
};
use slipway_bus::{Change, RouteReport, View, Watched};
use slipway_kernel::{Deployment, DeploymentId, Generation, RevisionId, Timestamp};
use slipway_runtime::{Clock, Frame};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// How long the ingress may take before workers are ended all the same: a replica that hangs is forgotten after 15 s,
/// and its clients are lost anyway.
const ROUTES: Duration = Duration::from_secs(15);
/// How often what waits is looked at while something waits.
const LOOK: Duration = Duration::from_millis(100);
/// How often everything is looked at, whatever was told.
const SWEEP: Duration = Duration::from_secs(30);

/// The model of a generation. Without a selected platform there is no plan, and nobody asks.
pub(super) fn model_of(deployment: &Deployment, generation: Generation) -> Model {
    let generation = deployment.generations.get(&generation);
    let known = generation.and_then(|generation| {
        generation.platform().map(|selected| Model::of(selected, generation.spec().infrastructure.gpu))
    });
    known.unwrap_or_default()
}

/// What was told about a deployment.
#[derive(Debug, Default)]
struct Told {
    desired: Vec<Desired>,
    /// Since when revisions wait that are told still and wanted no more.
    leaving: Option<Instant>,
    /// When time alone changes what is wanted.
    changes_at: Option<Timestamp>,
    /// Breaches that were reported.
    breaches: BTreeSet<String>,
}

/// Follows the log for the target.
pub(crate) struct Wisher {
    target: Arc<dyn Target>,
    view: View,
    routes: Watched<Vec<RouteReport>>,
    clock: Clock,
    telemetry: Telemetry,
    told: BTreeMap<DeploymentId, Told>,
}

impl Wisher {
    /// Ready to run.
    pub(crate) fn new(
        clock: Clock,
        view: View,
        target: Arc<dyn Target>,
        telemetry: Telemetry,
        routes: Watched<Vec<RouteReport>>,
    ) -> Self {
        Self { target, view, routes, clock, telemetry, told: BTreeMap::new() }
    }

    /// Runs until shutdown.
    pub(crate) async fn run(mut self, frame: Frame) {
        let mut changes = self.view.changes();
        self.look_at_all();
        self.target.all_told();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            let next = self.next_look();
            tokio::select! {
                () = frame.shutdown.cancelled() => return,
                change = changes.next() => match change {
                    Change::Deployment { id, .. } => self.look(&id),
                    Change::All => self.look_at_all(),
                },
                () = tokio::time::sleep(next) => self.look_at_those_that_wait(),
                _ = sweep.tick() => self.look_at_all(),
            }
        }
    }

    fn next_look(&self) -> Duration {
        if self.told.values().any(|told| told.leaving.is_some()) {
            return LOOK;
        }
        let now = self.clock.now();
        let next = self.told.values().filter_map(|told| told.changes_at).min();
        next.map_or(SWEEP, |at| at.since(now)).clamp(LOOK, SWEEP)
    }

    fn look_at_all(&mut self) {
        for id in self.view.ids() {
            self.look(&id);
        }
    }

    fn look_at_those_that_wait(&mut self) {
        let now = self.clock.now();
        let waits = |told: &Told| told.leaving.is_some() || told.changes_at.is_some_and(|at| at <= now);
        let waiting: Vec<DeploymentId> =
            self.told.iter().filter(|(_, told)| waits(told)).map(|(id, _)| id.clone()).collect();
        for id in waiting {
            self.look(&id);
        }
    }

    fn look(&mut self, id: &DeploymentId) {
        let Some(folded) = self.view.get(id) else { return };
        let (revisions, changes_at) = wanted(&folded.deployment, self.clock.now());
        let desired: Vec<Desired> = revisions
            .into_iter()
            .map(|wanted| Desired { model: model_of(&folded.deployment, wanted.revision.generation), wanted })
            .collect();
        let routed_at = folded.deployment.routed_at();
        let arrived = self.routes.get().iter().all(|report| report.applied >= routed_at);
        let told = self.told.entry(id.clone()).or_default();
        told.changes_at = changes_at;
        let (tell, leaving) = step(&told.desired, desired, told.leaving, arrived, Instant::now());
        told.leaving = leaving;
        if told.desired != tell {
            let names: Vec<String> = tell.iter().map(|one| one.wanted.revision.to_string()).collect();
            tracing::info!(deployment = %id, revisions = names.join(", "), "shall have workers");
            told.desired.clone_from(&tell);
            self.target.want(id, tell);
        }
        report(id, &folded.deployment, told, &self.telemetry);
    }
}

/// What to tell, and what waits: those who are wanted, and those who were told and leave only when the routes have
/// arrived.
fn step(
    told: &[Desired],
    desired: Vec<Desired>,
    leaving: Option<Instant>,
    arrived: bool,
    now: Instant,
) -> (Vec<Desired>, Option<Instant>) {
    let wanted: BTreeSet<RevisionId> = desired.iter().map(|one| one.wanted.revision).collect();
    let gone: Vec<&Desired> = told.iter().filter(|one| !wanted.contains(&one.wanted.revision)).collect();
    if gone.is_empty() {
        return (desired, None);
    }
    let since = leaving.unwrap_or(now);
    if arrived || now.duration_since(since) >= ROUTES {
        return (desired, None);
    }
    let mut both: Vec<Desired> = desired;
    both.extend(gone.into_iter().cloned());
    both.sort_by_key(|one| one.wanted.revision);
    (both, Some(since))
}

fn report(id: &DeploymentId, deployment: &Deployment, told: &mut Told, telemetry: &Telemetry) {
    for breach in breaches(deployment) {
        if told.breaches.insert(breach.clone()) {
            telemetry.breach();
            tracing::error!(deployment = %id, breach, "an invariant does not hold");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Wanted, scenario::plan};

    fn desired(revision: u32) -> Desired {
        let wanted = Wanted { revision: RevisionId::new(1, revision), plan: plan(), attempt: 0, manifests: None };
        Desired { wanted, model: Model::default() }
    }

    #[test]
    fn what_is_new_is_told_at_once_and_what_leaves_waits_for_the_routes() {
        let now = Instant::now();
        let (tell, leaving) = step(&[desired(1)], vec![desired(1), desired(2)], None, false, now);
        assert_eq!((tell.len(), leaving), (2, None));
        let (tell, leaving) = step(&[desired(1), desired(2)], vec![desired(2)], None, false, now);
        assert_eq!((tell.len(), leaving), (2, Some(now)));
        let later = now + Duration::from_secs(1);
        let (tell, waits) = step(&tell, vec![desired(2)], leaving, false, later);
        assert_eq!((tell.len(), waits), (2, Some(now)), "the wait counts from its beginning");
        assert_eq!(step(&tell, vec![desired(2)], leaving, true, later), (vec![desired(2)], None));
        assert_eq!(step(&tell, vec![desired(2)], leaving, false, now + ROUTES), (vec![desired(2)], None));
    }

    #[test]
    fn another_try_of_the_same_revision_waits_for_nobody() {
        let again = Desired { wanted: Wanted { attempt: 1, ..desired(1).wanted }, ..desired(1) };
        let (tell, leaving) = step(&[desired(1)], vec![again.clone()], None, false, Instant::now());
        assert_eq!((tell, leaving), (vec![again], None));
    }
}
