//! The duties of this service: what is due is decided in [`crate::domain`], what is done to the world in [`Effects`].

use crate::{
    domain::{
        self, Duty,
        policy::{Policy, RULES, Subject, violations},
    },
    effects::{Effects, Place, Trouble},
    telemetry::SecurityMetrics,
};
use async_trait::async_trait;
use slipway_bus::{Actor, Done, Due, DutyError, Scene};
use slipway_kernel::{
    Answer, Attempt, Deployment, Failed, Finding, Generation, Item, Proof, Ready, Removed, Revision, RevisionId,
    Service, Slot, Timestamp,
};
use std::time::Duration;

/// How long a replica that died keeps the others from a deployment's keys.
const LEASE: Duration = Duration::from_secs(10);

/// Answers `security` and `removal-security`.
pub(crate) struct Guard<E> {
    effects: E,
    policy: Policy,
    metrics: SecurityMetrics,
}

/// What was found out so far.
#[derive(Default)]
struct Found {
    configured: Vec<Item>,
    proofs: Vec<Proof>,
    findings: Vec<Finding>,
}

impl Found {
    /// Takes a result in; findings are kept, so that everything is named at once.
    fn take<T>(&mut self, result: Result<T, Trouble>, keep: impl FnOnce(&mut Self, T)) -> Result<(), DutyError> {
        match result {
            Ok(value) => keep(self, value),
            Err(Trouble::Findings(findings)) => self.findings.extend(findings),
            Err(Trouble::Later(error)) => return Err(DutyError::transient(error)),
        }
        Ok(())
    }

    fn answer(self) -> Answer {
        if self.findings.is_empty() {
            Answer::SecurityReady(Ready { configured: self.configured, proofs: self.proofs })
        } else {
            Answer::SecurityFailed(Failed { findings: self.findings })
        }
    }
}

impl<E: Effects> Guard<E> {
    pub(crate) const fn new(effects: E, policy: Policy, metrics: SecurityMetrics) -> Self {
        Self { effects, policy, metrics }
    }

    /// Policy and artifact first: for what breaks them no key is made and no door tried.
    async fn secure(&self, deployment: &Deployment, revision: RevisionId) -> Result<Option<Answer>, DutyError> {
        let (Some(generation), Some(state)) =
            (deployment.generations.get(&revision.generation), deployment.revision(revision))
        else {
            return Ok(None);
        };
        let Some(subject) = Subject::of(generation, state) else { return Ok(None) };
        let mut found = Found::default();
        self.check_policy(&subject, &mut found);
        found.take(self.effects.verify_artifact(&subject.plan.model_digest).await, |found, proof| {
            found.proofs.push(proof)
        })?;
        if !found.findings.is_empty() {
            return Ok(Some(found.answer()));
        }
        let access = &subject.spec.access;
        let place = Place {
            deployment: deployment.id.clone(),
            revision,
            replicas: subject.plan.replicas,
            anonymous: access.anonymous,
        };
        let key = self.effects.ensure_key(&deployment.id, access.api_keys).await;
        found.take(key, |found, item| found.configured.push(item))?;
        found.configured.push(Item { name: "mutual-tls".to_owned(), value: "between ingress and workers".to_owned() });
        found.take(self.effects.prove_workers(&place).await, |found, proofs| found.proofs.extend(proofs))?;
        found.take(self.effects.prove_door(&place).await, |found, proofs| found.proofs.extend(proofs))?;
        Ok(Some(found.answer()))
    }

    fn check_policy(&self, subject: &Subject<'_>, found: &mut Found) {
        let broken = violations(subject, &self.policy);
        for violation in &broken {
            self.metrics.violation(violation.rule);
            found.findings.push(violation.finding());
        }
        if broken.is_empty() {
            let rules = RULES.map(|(name, _)| name).join(", ");
            found.proofs.push(Proof { name: "policy".to_owned(), detail: format!("nothing is against {rules}") });
        }
    }

    async fn remove(&self, deployment: &Deployment) -> Result<Answer, DutyError> {
        Ok(match self.effects.remove(&deployment.id).await {
            Ok(items) => Answer::Removed(Removed { items }),
            Err(Trouble::Findings(findings)) => Answer::RemovalFailed(Failed { findings }),
            Err(Trouble::Later(error)) => return Err(DutyError::transient(error)),
        })
    }
}

#[async_trait]
impl<E: Effects> Actor for Guard<E> {
    type Duty = Duty;

    fn service(&self) -> Service {
        Service::Security
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Duty> {
        match domain::due(deployment, now) {
            Ok(Some(duty)) => Due::Now(duty),
            Ok(None) => Due::Nothing,
            Err(at) => Due::Wait(at),
        }
    }

    fn label(&self, duty: &Duty) -> &'static str {
        match duty {
            Duty::Secure { .. } => "secure",
            Duty::Remove { .. } => "remove-security",
        }
    }

    async fn perform(&self, duty: Duty, scene: Scene) -> Result<Done, DutyError> {
        // One lease for both: a key is not made while it is removed.
        let Some(lease) = scene.lease("keys", LEASE).await? else { return Ok(Done::Elsewhere) };
        let deployment = &scene.folded.deployment;
        let doing = async {
            let (key, answer) = match duty {
                Duty::Secure { revision, attempt } => {
                    (key_of(&scene, revision, Slot::Security, attempt), self.secure(deployment, revision).await?)
                }
                Duty::Remove { generation, attempt } => {
                    (removal_key(&scene, generation, attempt), Some(self.remove(deployment).await?))
                }
            };
            // Without a plan there is nothing to answer; `due` asks for nothing then.
            let Some(answer) = answer else { return Ok(Done::Again) };
            scene.append(&key, answer).await?;
            Ok(Done::Wrote)
        };
        tokio::select! {
            done = doing => done,
            () = lease.lost() => Ok(Done::Elsewhere),
        }
    }
}

fn key_of(scene: &Scene, revision: RevisionId, slot: Slot, attempt: Attempt) -> slipway_kernel::FactKey {
    scene.key(revision, slot).at(attempt)
}

fn removal_key(scene: &Scene, generation: Generation, attempt: Attempt) -> slipway_kernel::FactKey {
    let at = RevisionId { generation, revision: Revision(0) };
    key_of(scene, at, Slot::Removal(Service::Security), attempt)
}
