//! Which clouds may hold something of a deployment.

use crate::domain::surroundings::{TARGETS, name};
use slipway_kernel::{Answer, Deployment, FindingKind, Generation, GenerationState, Slot, spec::Target};

/// A cloud that was chosen for a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub cloud: Target,
    /// Whether the log says that something was begun there. Where it does not, something may be there all the same: of a holder that ended
    /// before it wrote.
    pub is_begun: bool,
}

/// The clouds that were chosen for a deployment's generations up to `last`.
#[must_use]
pub fn clouds(deployment: &Deployment, last: Generation) -> Vec<Chosen> {
    let generations = || deployment.generations.values().filter(move |state| state.generation <= last);
    let chosen = |cloud: Target| {
        let mut there = generations().filter(move |state| cloud_of(state) == Some(cloud)).peekable();
        there.peek()?;
        Some(Chosen { cloud, is_begun: there.any(is_begun) })
    };
    TARGETS.into_iter().filter_map(chosen).collect()
}

/// The cloud that was chosen for a generation, if one was.
#[must_use]
pub fn cloud_of(state: &GenerationState) -> Option<Target> {
    let Some(Answer::InfrastructureChosen(chosen)) = state.answer(Slot::Choice) else { return None };
    let clouds = [Target::Aws, Target::Azure, Target::Gcp];
    clouds.into_iter().find(|cloud| name(*cloud) == chosen.target)
}

fn is_begun(state: &GenerationState) -> bool {
    match state.answer(Slot::Infrastructure) {
        Some(Answer::InfrastructureFailed(failed)) => {
            failed.findings.iter().any(|finding| finding.kind != FindingKind::ExecutorMissing)
        }
        answer => answer.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{
        Attempt, DeploymentId, Fact, FactKey, Failed, Finding, InfrastructureChosen, InfrastructureReady,
        IntakeReference, MachineFacts, Requested, RevisionId, Timestamp, fold, spec::ModelDeployment,
    };
    use std::sync::Arc;

    fn fact(generation: u32, slot: Slot, answer: Answer) -> Arc<Fact> {
        let id: DeploymentId = "default.digits".parse().unwrap();
        let key = FactKey::new(id, RevisionId::new(generation, 0), slot).at(Attempt(0));
        Arc::new(Fact {
            id: key.to_string(),
            key,
            actor: "test".into(),
            causation: None,
            correlation: "c".into(),
            traceparent: None,
            at: Timestamp(0),
            sequence: 0,
            answer,
        })
    }

    fn requested(generation: u32) -> Arc<Fact> {
        let document =
            serde_json::json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m" } } });
        let deployment = ModelDeployment::read(&document).unwrap();
        let spec_digest = deployment.digest();
        let intake = IntakeReference { source: "test".into(), id: "1".into() };
        fact(generation, Slot::Request, Answer::Requested(Requested { deployment, spec_digest, intake }))
    }

    fn chosen(generation: u32, target: &str) -> Arc<Fact> {
        let chosen = InfrastructureChosen {
            target: target.into(),
            reason: String::new(),
            candidates: Vec::new(),
            machine: MachineFacts::default(),
            needs_approval: false,
        };
        fact(generation, Slot::Choice, Answer::InfrastructureChosen(chosen))
    }

    fn failed(generation: u32, kind: FindingKind) -> Arc<Fact> {
        let failed = Failed { findings: vec![Finding::deterministic(kind, "")] };
        fact(generation, Slot::Infrastructure, Answer::InfrastructureFailed(failed))
    }

    fn ready(generation: u32) -> Arc<Fact> {
        let ready = InfrastructureReady { target: "aws".into(), machine: MachineFacts::default(), proofs: Vec::new() };
        fact(generation, Slot::Infrastructure, Answer::InfrastructureReady(ready))
    }

    fn found(last: u32, facts: &[Arc<Fact>]) -> Vec<(Target, bool)> {
        let folded = fold(&"default.digits".parse().unwrap(), facts.iter().cloned());
        clouds(&folded, Generation(last)).into_iter().map(|Chosen { cloud, is_begun }| (cloud, is_begun)).collect()
    }

    #[test]
    fn every_cloud_that_was_chosen_may_hold_something() {
        let first = [requested(1), chosen(1, "aws")];
        assert_eq!(found(1, &first), [(Target::Aws, false)]);
        assert_eq!(found(1, &[requested(1), chosen(1, "kubernetes")]), []);
        let begun = |answer| found(1, &[first[0].clone(), first[1].clone(), answer]);
        assert_eq!(begun(ready(1)), [(Target::Aws, true)]);
        assert_eq!(begun(failed(1, FindingKind::Unschedulable)), [(Target::Aws, true)]);
        assert_eq!(begun(failed(1, FindingKind::ExecutorMissing)), [(Target::Aws, false)]);
    }

    #[test]
    fn of_generations_up_to_the_one_that_retires() {
        let facts = [requested(1), chosen(1, "gcp"), ready(1), requested(2), chosen(2, "aws")];
        assert_eq!(found(1, &facts), [(Target::Gcp, true)]);
        assert_eq!(found(2, &facts), [(Target::Aws, false), (Target::Gcp, true)]);
    }
}
