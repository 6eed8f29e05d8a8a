//! The duties of this service: what is due is the kernel's [`Step`], what is done to the world in [`Effects`].

use crate::{
    domain::policy::{Policy, RULES, Subject, violations},
    effects::{Effects, Place, Trouble},
    keys::{LEASE, WORK},
    telemetry::SecurityMetrics,
};
use async_trait::async_trait;
use slipway_bus::{Actor, Done, DutyError, Scene};
use slipway_kernel::{
    Answer, Attempt, Deployment, Due, Failed, Finding, Generation, Item, Proof, Ready, Removed, Revision, RevisionId,
    Service, Slot, Step, Timestamp,
};

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
            found.proofs.push(proof);
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
    type Duty = Step;

    fn service(&self) -> Service {
        Service::Security
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Step> {
        deployment.step(Service::Security, Slot::Security, now)
    }

    fn label(&self, duty: &Step) -> &'static str {
        match duty {
            Step::Configure { .. } => "secure",
            Step::Remove { .. } => "remove-security",
        }
    }

    async fn perform(&self, duty: Step, scene: Scene) -> Result<Done, DutyError> {
        // One lease for both: a key is not made while it is removed.
        let Some(lease) = scene.lease(WORK, LEASE).await? else { return Ok(Done::Elsewhere) };
        let deployment = &scene.folded.deployment;
        let doing = async {
            let (key, answer) = match duty {
                Step::Configure { revision, attempt } => {
                    (key_of(&scene, revision, Slot::Security, attempt), self.secure(deployment, revision).await?)
                }
                Step::Remove { generation, attempt } => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::History;
    use slipway_kernel::{DeploymentId, Digest, FindingKind};
    use slipway_runtime::Frame;
    use std::sync::Mutex;

    /// A world that notes what is done to it and fails where it is told to.
    #[derive(Default)]
    struct World {
        done: Mutex<Vec<&'static str>>,
        fails: &'static [&'static str],
        away: Option<&'static str>,
    }

    impl World {
        fn note<T>(&self, what: &'static str, value: T) -> Result<T, Trouble> {
            self.done.lock().unwrap().push(what);
            if self.away == Some(what) {
                return Err(Trouble::Later(anyhow::anyhow!("away")));
            }
            if self.fails.contains(&what) {
                return Err(Trouble::finding(Finding::transient(FindingKind::Timeout, what)));
            }
            Ok(value)
        }
    }

    fn proof(name: &str) -> Proof {
        Proof { name: name.to_owned(), detail: String::new() }
    }

    fn item(name: &str) -> Item {
        Item { name: name.to_owned(), value: String::new() }
    }

    #[async_trait]
    impl Effects for World {
        async fn verify_artifact(&self, digest: &Digest) -> Result<Proof, Trouble> {
            assert_eq!(*digest, Digest::of(b"model"));
            self.note("artifact", proof("artifact"))
        }

        async fn ensure_key(&self, _: &DeploymentId, wanted: bool) -> Result<Item, Trouble> {
            assert!(wanted);
            self.note("key", item("key"))
        }

        async fn prove_workers(&self, place: &Place) -> Result<Vec<Proof>, Trouble> {
            assert_eq!((place.revision, place.replicas, place.anonymous), (RevisionId::new(1, 1), 1, false));
            self.note("workers", vec![proof("workers")])
        }

        async fn prove_door(&self, _: &Place) -> Result<Vec<Proof>, Trouble> {
            self.note("door", vec![proof("door")])
        }

        async fn remove(&self, _: &DeploymentId) -> Result<Vec<Item>, Trouble> {
            self.note("remove", vec![item("key")])
        }
    }

    async fn secure(world: World, spec: serde_json::Value) -> (Result<Option<Answer>, DutyError>, Vec<&'static str>) {
        let history = History::new().requested_as(1, &spec).chosen(1).planned(1, 1).deployed(1, 1);
        let metrics = SecurityMetrics::register(&Frame::for_test("security").metrics);
        let guard = Guard::new(world, Policy::default(), metrics);
        let answer = guard.secure(&history.fold(), RevisionId::new(1, 1)).await;
        let done = guard.effects.done.lock().unwrap().clone();
        (answer, done)
    }

    fn findings(answer: Result<Option<Answer>, DutyError>) -> Vec<FindingKind> {
        match answer {
            Ok(Some(Answer::SecurityFailed(failed))) => failed.findings.iter().map(|finding| finding.kind).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn everything_is_done_in_its_order_and_told() {
        let (answer, done) = secure(World::default(), serde_json::json!({})).await;
        assert_eq!(done, ["artifact", "key", "workers", "door"]);
        let Ok(Some(Answer::SecurityReady(ready))) = answer else { panic!("{answer:?}") };
        let proofs: Vec<&str> = ready.proofs.iter().map(|proof| proof.name.as_str()).collect();
        assert_eq!(proofs, ["policy", "artifact", "workers", "door"]);
        let items: Vec<&str> = ready.configured.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(items, ["key", "mutual-tls"]);
    }

    #[tokio::test]
    async fn for_what_breaks_policy_or_artifact_no_key_is_made_and_no_door_tried() {
        let open = serde_json::json!({ "access": { "anonymous": true } });
        let (answer, done) = secure(World { fails: &["artifact"], ..World::default() }, open).await;
        assert_eq!(done, ["artifact"]);
        assert_eq!(findings(answer), [FindingKind::PolicyViolation, FindingKind::Timeout]);
    }

    #[tokio::test]
    async fn every_finding_is_told_at_once() {
        let world = World { fails: &["key", "workers", "door"], ..World::default() };
        let (answer, done) = secure(world, serde_json::json!({})).await;
        assert_eq!(done, ["artifact", "key", "workers", "door"]);
        assert_eq!(findings(answer), [FindingKind::Timeout; 3]);
    }

    #[tokio::test]
    async fn what_could_not_be_tried_is_tried_later_and_nothing_is_said() {
        for away in ["artifact", "key", "workers", "door"] {
            let (answer, _) = secure(World { away: Some(away), ..World::default() }, serde_json::json!({})).await;
            assert!(matches!(answer, Err(DutyError::Transient(_))), "{away}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn a_removal_tells_what_is_gone_or_why_not() {
        let deployment = History::new().requested(1).retire_requested(1).fold();
        let metrics = SecurityMetrics::register(&Frame::for_test("security").metrics);
        for (fails, name) in [(&[][..], "removed"), (&["remove"], "removal-failed")] {
            let guard = Guard::new(World { fails, ..World::default() }, Policy::default(), metrics.clone());
            let answer = guard.remove(&deployment).await.unwrap();
            assert_eq!(answer.name(), name);
            assert_eq!(answer.failed_transiently(), name == "removal-failed", "it is tried until it is done");
        }
    }
}
