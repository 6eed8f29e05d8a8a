//! Which deployments are visible, and by what objectives: a replica that starts with an empty folder makes their files again.

use slipway_kernel::{Answer, Deployment, Service, Slot, spec::Slo};

/// The objectives of a deployment that was made visible and not removed since; `None` for any other.
#[must_use]
pub fn shown(deployment: &Deployment) -> Option<Slo> {
    let is_shown = |answer: Option<&Answer>| matches!(answer, Some(Answer::ObservabilityReady(_)));
    let newest = deployment.generations.values().rev().find(|generation| {
        generation.revisions.values().any(|revision| is_shown(revision.answer(Slot::Observability)))
    })?;
    // A removal covers every generation up to its own.
    let later = deployment.generations.range(newest.generation..);
    let removed = later.into_iter().any(|(_, generation)| generation.removed(Service::Observability));
    (!removed).then(|| newest.spec().slo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{
        Attempt, ByteSize, CommandReason, CpuMillis, DeploymentId, Digest, Fact, FactKey, Failed, Finding, FindingKind,
        IntakeReference, Plan, Planned, Ready, Removed, Requested, RevisionId, Span, Timestamp, fold,
        spec::ModelDeployment,
    };
    use std::sync::Arc;

    fn intake() -> IntakeReference {
        IntakeReference { source: "test".into(), id: "1".into() }
    }

    fn fact(generation: u32, revision: u32, slot: Slot, attempt: u32, answer: Answer) -> Arc<Fact> {
        let id: DeploymentId = "default.digits".parse().unwrap();
        Arc::new(Fact {
            key: FactKey::new(id, RevisionId::new(generation, revision), slot).at(Attempt(attempt)),
            id: String::new(),
            actor: "test".into(),
            causation: None,
            correlation: "c".into(),
            traceparent: None,
            at: Timestamp(0),
            sequence: 0,
            answer,
        })
    }

    /// The two facts without which a generation has no revision that could be made visible.
    fn begun(generation: u32) -> [Arc<Fact>; 2] {
        let document =
            serde_json::json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m" } } });
        let deployment = ModelDeployment::read(&document).unwrap();
        let requested = Requested { spec_digest: deployment.digest(), deployment, intake: intake() };
        let plan = Plan {
            target: "local".into(),
            platform: "slipway".into(),
            model_digest: Digest::of(b"model"),
            replicas: 1,
            cpu: CpuMillis(1_000),
            memory: ByteSize::mebibytes(512),
            threads: 1,
            max_batch: 1,
            max_delay: Span::millis(2),
            queue_limit: 1,
            fixed_batching: false,
            latency_target: None,
        };
        let planned = Planned { digest: plan.digest(), plan, manifests: None, revises: None, changes: Vec::new() };
        [
            fact(generation, 0, Slot::Request, 0, Answer::Requested(requested)),
            fact(generation, 1, Slot::Plan, 0, Answer::Planned(planned)),
        ]
    }

    fn ready(generation: u32, attempt: u32) -> Arc<Fact> {
        let ready = Ready { configured: Vec::new(), proofs: Vec::new() };
        fact(generation, 1, Slot::Observability, attempt, Answer::ObservabilityReady(ready))
    }

    fn is_shown(facts: impl IntoIterator<Item = Arc<Fact>>) -> bool {
        shown(&fold(&"default.digits".parse().unwrap(), facts)).is_some()
    }

    #[test]
    fn what_was_made_visible_is_so_until_it_is_removed() {
        let finding = Finding::transient(FindingKind::TelemetryGap, "not yet");
        let failed = Answer::ObservabilityFailed(Failed { findings: vec![finding] });
        let first = || begun(1).into_iter();
        assert!(!is_shown(first()));
        assert!(!is_shown(first().chain([fact(1, 1, Slot::Observability, 0, failed.clone())])));
        assert!(is_shown(first().chain([fact(1, 1, Slot::Observability, 0, failed), ready(1, 1)])));
        let retire = CommandReason { reason: String::new(), intake: intake() };
        let retired = || {
            first().chain([
                ready(1, 0),
                fact(1, 0, Slot::Command(0), 0, Answer::RetireRequested(retire.clone())),
                fact(1, 0, Slot::Removal(Service::Observability), 0, Answer::Removed(Removed { items: Vec::new() })),
            ])
        };
        assert!(!is_shown(retired()));
        assert!(is_shown(retired().chain(begun(2)).chain([ready(2, 0)])));
    }
}
