//! What is due, and the answer to it.

use crate::effects::{Effects, Subject};
use async_trait::async_trait;
use slipway_bus::{Actor, Done, DutyError, Scene};
use slipway_kernel::{
    Answer, Attempt, Deployment, Due, Failed, Generation, Removed, Revision, RevisionId, Service, Slot, Step, Timestamp,
};

/// Answers `observability` and `removal-observability`.
pub(crate) struct ObservabilityActor<E> {
    effects: E,
}

impl<E: Effects> ObservabilityActor<E> {
    pub(crate) const fn new(effects: E) -> Self {
        Self { effects }
    }

    async fn configure(&self, revision: RevisionId, attempt: Attempt, scene: &Scene) -> Result<Done, DutyError> {
        let deployment = &scene.folded.deployment;
        let Some(state) = deployment.generations.get(&revision.generation) else { return Ok(Done::Again) };
        let subject = Subject { deployment: scene.id.clone(), revision, slo: state.spec().slo };
        let answer = match self.effects.show(&subject).await? {
            Ok(ready) => Answer::ObservabilityReady(ready),
            Err(finding) => Answer::ObservabilityFailed(Failed { findings: vec![finding] }),
        };
        scene.append(&scene.key(revision, Slot::Observability).at(attempt), answer).await?;
        Ok(Done::Wrote)
    }

    async fn remove(&self, generation: Generation, attempt: Attempt, scene: &Scene) -> Result<Done, DutyError> {
        let items = self.effects.remove(&scene.id).await?;
        let at = RevisionId { generation, revision: Revision(0) };
        let key = scene.key(at, Slot::Removal(Service::Observability)).at(attempt);
        scene.append(&key, Answer::Removed(Removed { items })).await?;
        Ok(Done::Wrote)
    }
}

#[async_trait]
impl<E: Effects> Actor for ObservabilityActor<E> {
    type Duty = Step;

    fn service(&self) -> Service {
        Service::Observability
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Step> {
        deployment.step(Service::Observability, Slot::Observability, now)
    }

    fn label(&self, duty: &Step) -> &'static str {
        match duty {
            Step::Configure { .. } => "configure-observability",
            Step::Remove { .. } => "remove-observability",
        }
    }

    async fn perform(&self, duty: Step, scene: Scene) -> Result<Done, DutyError> {
        match duty {
            Step::Configure { revision, attempt } => self.configure(revision, attempt, &scene).await,
            Step::Remove { generation, attempt } => self.remove(generation, attempt, &scene).await,
        }
    }
}
