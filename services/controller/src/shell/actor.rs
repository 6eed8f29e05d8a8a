//! The controller as an actor of the bus.

use super::{decide, group_of, manifests::Renderer, wishes::model_of};
use crate::{
    domain::{Deadlines, due, duty::Duty},
    target::{Status, Target},
    telemetry::Telemetry,
};
use async_trait::async_trait;
use slipway_bus::{Actor, Done, DutyError, RouteReport, Scene, Watched};
use slipway_kernel::{Answer, Deployment, Due, FactKey, Generation, RevisionId, RevisionState, Service, Timestamp};
use std::{sync::Arc, time::Duration};

/// How soon to look again at something that other processes are about to finish.
pub(super) const SOON: Duration = Duration::from_millis(200);
/// How long a revision that gets the traffic back may take to be ready. Kept warm it is ready already; one from long
/// ago must be started. After this it gets the traffic all the same: whoever took the other one back knows why.
const READY_AGAIN: Duration = Duration::from_secs(90);
/// How often the alarm about a removal is raised anew.
const ALARM: Duration = Duration::from_secs(60);

/// Acts for the controller.
pub(crate) struct Controller {
    pub(super) target: Arc<dyn Target>,
    pub(super) deadlines: Deadlines,
    pub(super) telemetry: Telemetry,
    pub(super) routes: Watched<Vec<RouteReport>>,
    renderer: Renderer,
}

impl Controller {
    pub(crate) fn new(
        target: Arc<dyn Target>,
        deadlines: Deadlines,
        telemetry: Telemetry,
        routes: Watched<Vec<RouteReport>>,
        renderer: Renderer,
    ) -> Self {
        Self { target, deadlines, telemetry, routes, renderer }
    }

    /// Writes the fact that a duty comes to.
    pub(super) async fn write(&self, duty: &Duty, scene: &Scene) -> Result<Done, DutyError> {
        let Some((key, answer)) = duty.fact(&scene.folded.deployment) else { return Ok(Done::Again) };
        let cause = match duty {
            Duty::RollBack { command, .. } => command.as_ref(),
            _ => None,
        };
        self.write_as(&key, answer, cause, scene).await
    }

    pub(super) async fn write_as(
        &self,
        key: &FactKey,
        answer: Answer,
        cause: Option<&FactKey>,
        scene: &Scene,
    ) -> Result<Done, DutyError> {
        let name = answer.name();
        let done = decide(scene, key, answer, cause).await?;
        if done == Done::Wrote {
            self.telemetry.decision(name);
            tracing::info!(deployment = %scene.id, %key, "{name}");
        }
        Ok(done)
    }

    /// The plan with its manifests, which are stored before the fact names them.
    pub(super) async fn plan(&self, duty: &Duty, scene: &Scene) -> Result<Done, DutyError> {
        let Some((key, Answer::Planned(mut planned))) = duty.fact(&scene.folded.deployment) else {
            return Ok(Done::Again);
        };
        let deployment = &scene.folded.deployment;
        let Some(generation) = deployment.generations.get(&key.generation) else { return Ok(Done::Again) };
        let (model, spec) = (model_of(deployment, key.generation), generation.spec());
        let (document, media) = self.renderer.render(&scene.id, key.revision_id(), &planned.plan, &model, spec);
        let text = serde_json::to_vec_pretty(&document).map_err(DutyError::permanent)?;
        planned.manifests = Some(scene.bus.blobs().put(text, media).await?);
        self.write_as(&key, Answer::Planned(planned), None, scene).await
    }

    /// Gives the traffic back, once its new bearer can bear it.
    pub(super) async fn roll_back(&self, duty: &Duty, scene: &Scene) -> Result<Done, DutyError> {
        let Duty::RollBack { revision, to, .. } = duty else { return Ok(Done::Again) };
        let deployment = &scene.folded.deployment;
        let bears = |id: &RevisionId| deployment.routes().shares.iter().any(|share| share.revision == *id);
        // Where the traffic is on `to` already, or on nobody, there is nothing to wait for.
        if bears(revision) && !self.wait_until_running(deployment, *to).await {
            return Ok(Done::Elsewhere);
        }
        self.write(duty, scene).await
    }

    /// Waits until a revision runs, at most [`READY_AGAIN`]. `false`: another replica knows.
    async fn wait_until_running(&self, deployment: &Deployment, revision: RevisionId) -> bool {
        let group = group_of(deployment, revision);
        let deadline = tokio::time::Instant::now() + READY_AGAIN;
        while tokio::time::Instant::now() < deadline {
            match self.target.status(&group) {
                Status::Running(_) => return true,
                Status::Elsewhere => return false,
                Status::Gone | Status::Starting { .. } | Status::Failed(_) => self.target.changed(SOON).await,
            }
        }
        tracing::warn!(deployment = %group.deployment, %revision, "gets the traffic back though it is not ready");
        true
    }

    /// Ends a generation once its workers are gone.
    async fn retire(&self, generation: Generation, duty: &Duty, scene: &Scene) -> Result<Done, DutyError> {
        let deployment = &scene.folded.deployment;
        let revisions = deployment.generations.get(&generation).into_iter().flat_map(|g| g.revisions.values());
        for revision in revisions.filter(|revision| may_have_workers(revision)) {
            match self.target.status(&group_of(deployment, revision.id)) {
                Status::Gone => {}
                Status::Elsewhere => return Ok(Done::Elsewhere),
                Status::Starting { .. } | Status::Running(_) | Status::Failed(_) => return Ok(Done::Later(SOON)),
            }
        }
        self.write(duty, scene).await
    }

    fn report_stuck(&self, generation: Generation, missing: &[Service], scene: &Scene) -> Done {
        let missing: Vec<&str> = missing.iter().map(|service| service.name()).collect();
        let missing = missing.join(", ");
        tracing::error!(deployment = %scene.id, %generation, missing, "retire-stuck: not all have removed");
        self.telemetry.stuck();
        Done::Later(ALARM)
    }
}

fn may_have_workers(revision: &RevisionState) -> bool {
    revision.planned().is_some()
}

#[async_trait]
impl Actor for Controller {
    type Duty = Duty;

    fn service(&self) -> Service {
        Service::Controller
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Duty> {
        due(deployment, now, &self.deadlines)
    }

    async fn perform(&self, duty: Duty, scene: Scene) -> Result<Done, DutyError> {
        match &duty {
            Duty::Plan { .. } => self.plan(&duty, &scene).await,
            Duty::Deploy { revision, attempt, deadline } => self.deploy(*revision, *attempt, *deadline, &scene).await,
            Duty::Hold { revision, .. } => self.hold(*revision, &scene).await,
            Duty::Shift { revision, percent } => self.shift(*revision, *percent, &scene).await,
            Duty::Release { revision } => self.release(*revision, &scene).await,
            Duty::RollBack { .. } => self.roll_back(&duty, &scene).await,
            Duty::Retire { generation } => self.retire(*generation, &duty, &scene).await,
            Duty::ReportStuck { generation, missing } => Ok(self.report_stuck(*generation, missing, &scene)),
            Duty::FailDeploy { .. } | Duty::Supersede { .. } | Duty::Abandon { .. } => self.write(&duty, &scene).await,
        }
    }

    /// A deploy waits for processes for minutes, a hold for its time: many wait at once, and none costs anything.
    fn max_running(&self) -> usize {
        512
    }

    fn label(&self, duty: &Duty) -> &'static str {
        duty.name()
    }
}
