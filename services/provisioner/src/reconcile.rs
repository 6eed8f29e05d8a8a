//! Carries out what is due: decide, act under a lease, write the answer.

use crate::{
    domain::{
        choose::{choose, region},
        demands::Demands,
        due::{Duty, due},
        stack::{Event, Progress, chosen::clouds},
        surroundings::name,
    },
    effects::Effects,
    local::{Claim, NotReady, Order},
    stack::Hears,
    telemetry::Telemetry,
};
use async_trait::async_trait;
use slipway_bus::{Actor, Bus, BusError, Done, DutyError, Lease, Scene};
use slipway_kernel::{
    Answer, Attempt, Deployment, DeploymentId, Due, FactKey, Failed, Finding, FindingKind, Generation, GenerationState,
    InfrastructureChosen, InfrastructureReady, Removed, Revision, RevisionId, Service, Slot, Timestamp, spec::Target,
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::sync::watch;

/// How long a replica may be silent before another takes over, however long what it does takes: ten seconds cover a broker that changes its
/// leader.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// The lease's work: making ready and cleaning up exclude each other. While a stack is made its value is the [`Progress`].
pub const WORK: &str = "provision";
/// How often the progress is told at most: who looks is a person.
const TELL: Duration = Duration::from_secs(1);
/// How soon it is looked again whether the last worker is gone. The controller stops them; nothing tells when it has.
const WORKERS_LEAVE: Duration = Duration::from_secs(1);

pub(crate) struct Provisioner<E> {
    effects: Arc<E>,
    telemetry: Telemetry,
}

impl<E: Effects> Provisioner<E> {
    pub(crate) const fn new(effects: Arc<E>, telemetry: Telemetry) -> Self {
        Self { effects, telemetry }
    }

    async fn choose(&self, state: &GenerationState, scene: &Scene) -> Result<Done, DutyError> {
        let surroundings = self.effects.surroundings(&state.spec().placement()).await;
        let chosen = choose(&Demands::of(state.spec()), &surroundings);
        self.telemetry.chosen(&scene.id, &chosen);
        let key = key(scene, state.generation, Slot::Choice, Attempt(0));
        write(scene, &key, Answer::InfrastructureChosen(chosen)).await
    }

    async fn refuse(&self, state: &GenerationState, scene: &Scene) -> Result<Done, DutyError> {
        let Some(chosen) = chosen(state) else { return Ok(Done::Again) };
        let message = format!("{}; change what spec.infrastructure and spec.resources demand", chosen.reason);
        let finding = Finding::deterministic(FindingKind::InfrastructureUnsuitable, message);
        let key = key(scene, state.generation, Slot::Infrastructure, Attempt(0));
        let finding = finding.with_evidence(self::key(scene, state.generation, Slot::Choice, Attempt(0)).to_string());
        self.fail(scene, &key, vec![finding]).await
    }

    async fn provision(&self, state: &GenerationState, attempt: Attempt, scene: &Scene) -> Result<Done, DutyError> {
        let Some(chosen) = chosen(state) else { return Ok(Done::Again) };
        let key = key(scene, state.generation, Slot::Infrastructure, attempt);
        let executors = self.effects.executors();
        let executor = executors.iter().copied().find(|target| name(*target) == chosen.target);
        let Some(executor) = executor else {
            return self.fail(scene, &key, vec![executor_missing(&chosen.target, &executors)]).await;
        };
        let Some(lease) = scene.lease(WORK, LEASE).await? else { return Ok(Done::Elsewhere) };
        let order = order(state, &scene.bus, &scene.id, &lease).await?;
        let (hears, progress) = self.hears(scene);
        let prepared = tokio::select! {
            prepared = self.effects.prepare(executor, &order, &hears) => prepared,
            () = lease.lost() => return Ok(Done::Elsewhere),
            never = tell(&lease, progress) => match never {},
        };
        match prepared {
            Ok(prepared) => {
                let ready = InfrastructureReady {
                    target: chosen.target.clone(),
                    machine: prepared.machine,
                    proofs: prepared.proofs,
                };
                write(scene, &key, Answer::InfrastructureReady(ready)).await
            }
            Err(NotReady::Findings(findings)) => self.fail(scene, &key, findings).await,
            Err(NotReady::Overtaken(newer)) => Ok(overtaken(scene, newer)),
        }
    }

    fn hears(&self, scene: &Scene) -> (Telling<'_>, watch::Receiver<Progress>) {
        let (progress, told) = watch::channel(Progress::default());
        (Telling { telemetry: &self.telemetry, deployment: scene.id.clone(), progress }, told)
    }

    async fn remove(&self, state: &GenerationState, attempt: Attempt, scene: &Scene) -> Result<Done, DutyError> {
        let workers = scene.bus.workers().list().await?;
        let retired = |revision: RevisionId| revision.generation <= state.generation;
        if workers.iter().any(|worker| worker.deployment == scene.id && retired(worker.revision)) {
            return Ok(Done::Later(WORKERS_LEAVE));
        }
        let Some(lease) = scene.lease(WORK, LEASE).await? else { return Ok(Done::Elsewhere) };
        let order = order(state, &scene.bus, &scene.id, &lease).await?;
        let clouds = clouds(&scene.folded.deployment, state.generation);
        let (hears, progress) = self.hears(scene);
        let removed = tokio::select! {
            removed = self.effects.remove(&order, &clouds, &hears) => removed,
            () = lease.lost() => return Ok(Done::Elsewhere),
            never = tell(&lease, progress) => match never {},
        };
        let key = key(scene, state.generation, Slot::Removal(Service::Provisioner), attempt);
        match removed {
            Ok(items) => write(scene, &key, Answer::Removed(Removed { items })).await,
            Err(NotReady::Overtaken(newer)) => Ok(overtaken(scene, newer)),
            Err(NotReady::Findings(findings)) => {
                self.telemetry.failed(&scene.id, &findings);
                // A removal is tried until it is done, whatever stands in its way.
                let findings = findings.into_iter().map(transient).collect();
                write(scene, &key, Answer::RemovalFailed(Failed { findings })).await
            }
        }
    }

    async fn fail(&self, scene: &Scene, key: &FactKey, findings: Vec<Finding>) -> Result<Done, DutyError> {
        self.telemetry.failed(&scene.id, &findings);
        write(scene, key, Answer::InfrastructureFailed(Failed { findings })).await
    }
}

#[async_trait]
impl<E: Effects> Actor for Provisioner<E> {
    type Duty = Duty;

    fn service(&self) -> Service {
        Service::Provisioner
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Duty> {
        due(deployment, now)
    }

    async fn perform(&self, duty: Duty, scene: Scene) -> Result<Done, DutyError> {
        let (Duty::Choose(generation)
        | Duty::Refuse(generation)
        | Duty::Provision { generation, .. }
        | Duty::Remove { generation, .. }) = duty;
        let folded = scene.folded.clone();
        let Some(state) = folded.deployment.generations.get(&generation) else { return Ok(Done::Again) };
        match duty {
            Duty::Choose(_) => self.choose(state, &scene).await,
            Duty::Refuse(_) => self.refuse(state, &scene).await,
            Duty::Provision { attempt, .. } => self.provision(state, attempt, &scene).await,
            Duty::Remove { attempt, .. } => self.remove(state, attempt, &scene).await,
        }
    }

    fn label(&self, duty: &Duty) -> &'static str {
        match duty {
            Duty::Choose(_) => "choose",
            Duty::Refuse(_) => "refuse",
            Duty::Provision { .. } => "provision",
            Duty::Remove { .. } => "remove",
        }
    }
}

fn chosen(state: &GenerationState) -> Option<&InfrastructureChosen> {
    match state.answer(Slot::Choice) {
        Some(Answer::InfrastructureChosen(chosen)) => Some(chosen),
        _ => None,
    }
}

fn key(scene: &Scene, generation: Generation, slot: Slot, attempt: Attempt) -> FactKey {
    scene.key(RevisionId { generation, revision: Revision(0) }, slot).at(attempt)
}

async fn write(scene: &Scene, key: &FactKey, answer: Answer) -> Result<Done, DutyError> {
    // Boxed: writing a fact is rare, and its future is large.
    Box::pin(scene.append(key, answer)).await?;
    Ok(Done::Wrote)
}

/// Hears what a program says of a deployment's stack.
struct Telling<'a> {
    telemetry: &'a Telemetry,
    deployment: DeploymentId,
    progress: watch::Sender<Progress>,
}

impl Hears for Telling<'_> {
    fn hear(&self, event: &Event) {
        self.telemetry.heard(&self.deployment, event);
        self.progress.send_if_modified(|progress| progress.hear(event));
    }
}

/// Tells with the lease how far it is, for as long as it is asked to.
async fn tell(lease: &Lease, mut progress: watch::Receiver<Progress>) -> Infallible {
    loop {
        if progress.changed().await.is_err() {
            return std::future::pending().await;
        }
        let now = progress.borrow_and_update().clone();
        // Nothing rests on it: who lost the lease is told so elsewhere.
        if let Err(error) = lease.set_value(&now).await {
            tracing::debug!(%error, "the progress could not be told");
        }
        tokio::time::sleep(TELL).await;
    }
}

/// What is to be made ready or removed, by the right of a lease.
///
/// # Errors
/// When the broker does not answer.
pub(crate) async fn order(
    state: &GenerationState,
    bus: &Bus,
    id: &DeploymentId,
    lease: &Lease,
) -> Result<Order, BusError> {
    Ok(Order {
        deployment: id.clone(),
        generation: state.generation,
        claim: Claim { log_created: bus.log().state().await?.created, token: lease.token() },
        demands: Demands::of(state.spec()),
        region: chosen(state).and_then(region).map(str::to_owned),
        placement: state.spec().placement(),
    })
}

fn overtaken(scene: &Scene, newer: crate::local::Overtaken) -> Done {
    tracing::warn!(deployment = %scene.id, token = newer.by.token, "a newer holder of the lease was here; nothing was done");
    Done::Elsewhere
}

fn executor_missing(target: &str, executors: &[Target]) -> Finding {
    let there: Vec<String> = executors.iter().map(|target| format!("`{}`", name(*target))).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(" and ") };
    // Machines are made a cluster once, and not for a deployment.
    let instead = if target == name(Target::BareMetal) {
        "; of machines of your own infra/bare-metal makes a cluster, which is the target `kubernetes`"
    } else {
        ""
    };
    let message = format!(
        "`{target}` was chosen, and this installation has no executor for `{target}` (it has: {there}): nothing was provisioned; set spec.infrastructure.target to one that it has, or relax what excludes that (see the choice){instead}"
    );
    Finding::deterministic(FindingKind::ExecutorMissing, message).with_evidence("spec.infrastructure.target")
}

fn transient(finding: Finding) -> Finding {
    Finding { cause: slipway_kernel::Cause::Transient, ..finding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Cause;

    #[test]
    fn a_target_without_executor_is_said_plainly_and_for_good() {
        let finding = executor_missing("aws", &[Target::Local, Target::Kubernetes]);
        assert_eq!((finding.kind, finding.cause), (FindingKind::ExecutorMissing, Cause::Deterministic));
        assert!(
            finding.message.contains("no executor for `aws` (it has: `local` and `kubernetes`)"),
            "{}",
            finding.message
        );
        assert!(executor_missing("aws", &[]).message.contains("(it has: none)"));
        assert!(executor_missing("bare-metal", &[]).message.ends_with("the target `kubernetes`"));
    }

    #[test]
    fn a_removal_never_fails_for_good() {
        let lasting = Finding::deterministic(FindingKind::Misconfigured, "no right");
        assert_eq!(transient(lasting).cause, Cause::Transient);
    }
}
