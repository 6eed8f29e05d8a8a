//! Carries out what is due: examine under a lease, decide, write the answer.

use crate::{
    domain::{
        choose::{self, Images, Question, choose},
        due::{Duty, due},
    },
    effects::{Effects, ExamineError, Examined, Order},
    engine::own_engines,
    telemetry::Telemetry,
};
use async_trait::async_trait;
use slipway_bus::{Actor, Done, DutyError, Scene};
use slipway_kernel::{
    Answer, Deployment, Due, FactKey, Finding, GenerationState, InfrastructureReady, PlatformRejected,
    PlatformSelected, Revision, RevisionId, Service, Slot, Timestamp,
};
use slipway_runtime::Frame;
use std::time::Duration;

/// How long a replica may be silent before another takes over; the lease is renewed for as long as a download takes.
const LEASE: Duration = Duration::from_secs(10);
/// The lease's work. What is fetched and pinned is known by its content, so two replicas would do no harm, only double work.
const WORK: &str = "select";
/// Downloads at once in this replica. Network and disk are shared; more would only make each slower.
const AT_ONCE: usize = 16;

pub(crate) struct PlatformSelector<E> {
    effects: E,
    images: Images,
    telemetry: Telemetry,
}

impl<E: Effects> PlatformSelector<E> {
    pub(crate) fn new(effects: E, images: Images, frame: &Frame) -> Self {
        Self { effects, images, telemetry: Telemetry::register(frame) }
    }

    async fn select(&self, state: &GenerationState, key: &FactKey, scene: &Scene) -> Result<Done, DutyError> {
        let Some(Answer::InfrastructureReady(ready)) = state.answer(Slot::Infrastructure) else {
            return Ok(Done::Again);
        };
        let Some(lease) = scene.lease(WORK, LEASE).await? else { return Ok(Done::Elsewhere) };
        let order = Order { deployment: scene.id.clone(), spec: state.spec().clone() };
        let examined = tokio::select! {
            examined = self.effects.examine(&order, &scene.bus) => examined,
            () = lease.lost() => return Ok(Done::Elsewhere),
        };
        match examined {
            Ok(examined) => self.decide(&order, ready, examined, key, scene).await,
            Err(ExamineError::Store(error)) => Err(error),
            Err(ExamineError::Findings(findings)) => {
                let rejected = PlatformRejected { findings, candidates: Vec::new(), model: None };
                self.reject(rejected, key, scene).await
            }
        }
    }

    async fn decide(
        &self,
        order: &Order,
        ready: &InfrastructureReady,
        examined: Examined,
        key: &FactKey,
        scene: &Scene,
    ) -> Result<Done, DutyError> {
        let Examined { model, facts, golden } = examined;
        let spec = &order.spec;
        let question = Question {
            spec,
            target: &ready.target,
            machine: &ready.machine,
            model: &model,
            engines: own_engines(),
            images: &self.images,
        };
        let choice = choose(&question);
        let Some(chosen) = choice.platform.clone() else {
            let findings = choose::findings(&choice, spec);
            let evidence = format!("sha256:{}", facts.digest);
            let findings =
                findings.into_iter().map(|finding: Finding| finding.with_evidence(evidence.clone())).collect();
            let rejected = PlatformRejected { findings, candidates: choice.candidates, model: Some(facts) };
            return self.reject(rejected, key, scene).await;
        };
        self.telemetry.selected(&scene.id, &chosen.name, &facts);
        let selected = PlatformSelected {
            platform: chosen.name,
            image: chosen.image,
            reason: chosen.reason,
            model: facts,
            candidates: choice.candidates,
            golden,
        };
        write(scene, key, Answer::PlatformSelected(selected)).await
    }

    async fn reject(&self, rejected: PlatformRejected, key: &FactKey, scene: &Scene) -> Result<Done, DutyError> {
        self.telemetry.rejected(&scene.id, &rejected.findings);
        write(scene, key, Answer::PlatformRejected(rejected)).await
    }
}

#[async_trait]
impl<E: Effects> Actor for PlatformSelector<E> {
    type Duty = Duty;

    fn service(&self) -> Service {
        Service::PlatformSelector
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Duty> {
        due(deployment, now)
    }

    async fn perform(&self, duty: Duty, scene: Scene) -> Result<Done, DutyError> {
        let Duty::Select { generation, attempt } = duty;
        let folded = scene.folded.clone();
        let Some(state) = folded.deployment.generations.get(&generation) else { return Ok(Done::Again) };
        let key = scene.key(RevisionId { generation, revision: Revision(0) }, Slot::Platform).at(attempt);
        self.select(state, &key, &scene).await
    }

    fn max_running(&self) -> usize {
        AT_ONCE
    }

    fn label(&self, _: &Duty) -> &'static str {
        "select"
    }
}

async fn write(scene: &Scene, key: &FactKey, answer: Answer) -> Result<Done, DutyError> {
    // Boxed: writing a fact is rare, and its future is large.
    Box::pin(scene.append(key, answer)).await?;
    Ok(Done::Wrote)
}
