//! What is due: the folded state of a deployment, turned into a duty.

use slipway_kernel::{Answer, Attempt, Deployment, Due, Generation, Slot, Timestamp};

/// Something the platform-selector has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Fetch and read the model, and say what serves it.
    Select {
        /// Of which generation.
        generation: Generation,
        /// Which try.
        attempt: Attempt,
    },
}

/// What is due for `deployment` at `now`.
#[must_use]
pub fn due(deployment: &Deployment, now: Timestamp) -> Due<Duty> {
    let Some(newest) = deployment.newest() else {
        return Due::Nothing;
    };
    let generation = newest.generation;
    if newest.is_terminal() || deployment.is_retiring(generation) {
        return Due::Nothing;
    }
    if !matches!(newest.answer(Slot::Infrastructure), Some(Answer::InfrastructureReady(_))) {
        return Due::Nothing;
    }
    newest.attempts(Slot::Platform).next_try(now).map(|attempt| Duty::Select { generation, attempt })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{
        CommandReason, DeploymentId, Fact, FactKey, Failed, Finding, FindingKind, InfrastructureReady, IntakeReference,
        MachineFacts, PlatformRejected, Requested, RevisionId, Superseded, fold, spec::ModelDeployment,
    };
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp(100_000);

    fn id() -> DeploymentId {
        "default.digits".parse().unwrap()
    }

    fn intake() -> IntakeReference {
        IntakeReference { source: "test".into(), id: "1".into() }
    }

    #[derive(Clone)]
    struct History(Vec<Arc<Fact>>);

    impl History {
        fn requested(generation: u32) -> Self {
            let document =
                serde_json::json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m" } } });
            let deployment = ModelDeployment::read(&document).unwrap();
            let spec_digest = deployment.digest();
            let requested = Requested { deployment, spec_digest, intake: intake() };
            Self(Vec::new()).with(generation, Slot::Request, 0, 0, Answer::Requested(requested))
        }

        fn ready() -> Self {
            let ready =
                InfrastructureReady { target: "local".into(), machine: MachineFacts::default(), proofs: Vec::new() };
            Self::requested(1).with(1, Slot::Infrastructure, 0, 0, Answer::InfrastructureReady(ready))
        }

        fn with(mut self, generation: u32, slot: Slot, attempt: u32, at: u64, answer: Answer) -> Self {
            let key = FactKey::new(id(), RevisionId::new(generation, 0), slot).at(Attempt(attempt));
            self.0.push(Arc::new(Fact {
                id: key.to_string(),
                key,
                actor: "test".into(),
                causation: None,
                correlation: "c".into(),
                traceparent: None,
                at: Timestamp(at),
                sequence: 0,
                answer,
            }));
            self
        }

        fn rejected(self, attempt: u32, at: u64, finding: Finding) -> Self {
            let rejected = PlatformRejected { findings: vec![finding], candidates: Vec::new(), model: None };
            self.with(1, Slot::Platform, attempt, at, Answer::PlatformRejected(rejected))
        }

        fn due(&self) -> Due<Duty> {
            due(&fold(&id(), self.0.iter().cloned()), NOW)
        }
    }

    fn select(attempt: u32) -> Due<Duty> {
        Due::Now(Duty::Select { generation: Generation(1), attempt: Attempt(attempt) })
    }

    fn away() -> Finding {
        Finding::transient(FindingKind::DependencyUnavailable, "away")
    }

    #[test]
    fn each_state_has_its_duty() {
        let failed = Answer::InfrastructureFailed(Failed { findings: vec![away()] });
        let retire = Answer::RetireRequested(CommandReason { reason: String::new(), intake: intake() });
        let superseded = Answer::Superseded(Superseded { by: Generation(2) });
        let foreign = Finding::deterministic(FindingKind::ArtifactInvalid, "a pickle");
        for (name, history, expected) in [
            ("nothing requested", History(Vec::new()), Due::Nothing),
            ("no infrastructure yet", History::requested(1), Due::Nothing),
            ("infrastructure failed", History::requested(1).with(1, Slot::Infrastructure, 0, 0, failed), Due::Nothing),
            ("infrastructure ready", History::ready(), select(0)),
            ("rejected for good", History::ready().rejected(0, 0, foreign), Due::Nothing),
            ("retiring", History::ready().with(1, Slot::Command(0), 0, 0, retire), Due::Nothing),
            ("superseded", History::ready().with(1, Slot::End, 0, 0, superseded), Due::Nothing),
        ] {
            assert_eq!(history.due(), expected, "{name}");
        }
    }

    #[test]
    fn a_source_that_is_away_is_asked_three_times_with_growing_pauses() {
        let once = History::ready().rejected(0, NOW.0, away());
        assert_eq!(once.due(), Due::Wait(Timestamp(NOW.0 + 1_000)));
        let later = History::ready().rejected(0, NOW.0 - 1_000, away());
        assert_eq!(later.due(), select(1));
        let twice = later.rejected(1, NOW.0, away());
        assert_eq!(twice.due(), Due::Wait(Timestamp(NOW.0 + 2_000)));
        assert_eq!(twice.rejected(2, 0, away()).due(), Due::Nothing);
    }
}
