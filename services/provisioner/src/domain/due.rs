//! What is due: the folded state of a deployment, turned into a duty.

use slipway_kernel::{Answer, Attempt, Deployment, Due, Generation, GenerationState, Service, Slot, Timestamp};

/// Something the provisioner has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Decide where it shall run.
    Choose(Generation),
    /// Say that nothing fulfils the demands.
    Refuse(Generation),
    /// Make the chosen infrastructure ready.
    Provision {
        /// Of which generation.
        generation: Generation,
        /// Which try.
        attempt: Attempt,
    },
    /// Take away what was made for the deployment.
    Remove {
        /// The generation whose retirement was demanded.
        generation: Generation,
        /// Which try.
        attempt: Attempt,
    },
}

/// What is due for `deployment` at `now`.
#[must_use]
pub fn due(deployment: &Deployment, now: Timestamp) -> Due<Duty> {
    let removal = deployment.removal(Service::Provisioner, now);
    if removal != Due::Nothing {
        return removal.map(|(generation, attempt)| Duty::Remove { generation, attempt });
    }
    let Some(newest) = deployment.newest() else {
        return Due::Nothing;
    };
    if newest.is_terminal() || deployment.is_retiring(newest.generation) {
        return Due::Nothing;
    }
    provisioning(newest, now)
}

fn provisioning(newest: &GenerationState, now: Timestamp) -> Due<Duty> {
    let generation = newest.generation;
    let Some(Answer::InfrastructureChosen(chosen)) = newest.answer(Slot::Choice) else {
        return Due::Now(Duty::Choose(generation));
    };
    if chosen.target.is_empty() {
        return if newest.fact(Slot::Infrastructure).is_none() {
            Due::Now(Duty::Refuse(generation))
        } else {
            Due::Nothing
        };
    }
    let allowed = !chosen.needs_approval || matches!(newest.answer(Slot::Approval), Some(Answer::Approved(_)));
    if !allowed {
        return Due::Nothing;
    }
    newest.attempts(Slot::Infrastructure).next_try(now).map(|attempt| Duty::Provision { generation, attempt })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{
        Abandoned, Approved, CommandReason, Declined, DeploymentId, Fact, FactKey, Failed, Finding, FindingKind,
        InfrastructureChosen, InfrastructureReady, IntakeReference, MachineFacts, Removed, Requested, RevisionId, fold,
        spec::ModelDeployment,
    };
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp(100_000);

    fn id() -> DeploymentId {
        "default.digits".parse().unwrap()
    }

    fn intake() -> IntakeReference {
        IntakeReference { source: "test".into(), id: "1".into() }
    }

    struct History(Vec<Arc<Fact>>);

    impl History {
        fn requested() -> Self {
            Self(Vec::new()).and_requested(1)
        }

        fn and_requested(self, generation: u32) -> Self {
            let document =
                serde_json::json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m" } } });
            let deployment = ModelDeployment::read(&document).unwrap();
            let spec_digest = deployment.digest();
            let requested = Requested { deployment, spec_digest, intake: intake() };
            self.with(generation, Slot::Request, 0, 0, Answer::Requested(requested))
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

        fn chosen(self, target: &str, needs_approval: bool) -> Self {
            let chosen = InfrastructureChosen {
                target: target.into(),
                reason: String::new(),
                candidates: Vec::new(),
                machine: MachineFacts::default(),
                needs_approval,
            };
            self.with(1, Slot::Choice, 0, 0, Answer::InfrastructureChosen(chosen))
        }

        fn ready(self) -> Self {
            let ready =
                InfrastructureReady { target: "local".into(), machine: MachineFacts::default(), proofs: Vec::new() };
            self.with(1, Slot::Infrastructure, 0, 0, Answer::InfrastructureReady(ready))
        }

        fn failed(self, attempt: u32, at: u64, finding: Finding) -> Self {
            let failed = Failed { findings: vec![finding] };
            self.with(1, Slot::Infrastructure, attempt, at, Answer::InfrastructureFailed(failed))
        }

        fn retire(self) -> Self {
            let command = CommandReason { reason: String::new(), intake: intake() };
            self.with(1, Slot::Command(0), 0, 0, Answer::RetireRequested(command))
        }

        fn due(&self) -> Due<Duty> {
            due(&fold(&id(), self.0.iter().cloned()), NOW)
        }
    }

    fn full() -> Finding {
        Finding::transient(FindingKind::Unschedulable, "full")
    }

    fn provision(attempt: u32) -> Due<Duty> {
        Due::Now(Duty::Provision { generation: Generation(1), attempt: Attempt(attempt) })
    }

    fn remove(attempt: u32) -> Due<Duty> {
        Due::Now(Duty::Remove { generation: Generation(1), attempt: Attempt(attempt) })
    }

    #[test]
    fn each_state_has_its_duty() {
        let declined = Declined { reason: String::new(), intake: intake() };
        let approved = Approved { reason: String::new(), intake: intake() };
        let abandoned = Abandoned { reason: String::new(), advice: String::new(), findings: Vec::new() };
        let requested = History::requested;
        for (name, history, expected) in [
            ("nothing requested", History(Vec::new()), Due::Nothing),
            ("requested", requested(), Due::Now(Duty::Choose(Generation(1)))),
            ("chosen", requested().chosen("local", false), provision(0)),
            ("nothing eligible", requested().chosen("", false), Due::Now(Duty::Refuse(Generation(1)))),
            ("nothing eligible, approval asked", requested().chosen("", true), Due::Now(Duty::Refuse(Generation(1)))),
            (
                "nothing eligible and said so",
                requested().chosen("", false).failed(0, 0, Finding::deterministic(FindingKind::Timeout, "")),
                Due::Nothing,
            ),
            ("waits for a person", requested().chosen("local", true), Due::Nothing),
            (
                "a person declined",
                requested().chosen("local", true).with(1, Slot::Approval, 0, 0, Answer::Declined(declined)),
                Due::Nothing,
            ),
            (
                "a person approved",
                requested().chosen("local", true).with(1, Slot::Approval, 0, 0, Answer::Approved(approved)),
                provision(0),
            ),
            ("ready", requested().chosen("local", false).ready(), Due::Nothing),
            (
                "failed for good",
                requested().chosen("aws", false).failed(0, 0, Finding::deterministic(FindingKind::ExecutorMissing, "")),
                Due::Nothing,
            ),
            ("ended", requested().with(1, Slot::End, 0, 0, Answer::Abandoned(abandoned)), Due::Nothing),
            (
                "a newer generation",
                requested().chosen("local", false).and_requested(2),
                Due::Now(Duty::Choose(Generation(2))),
            ),
        ] {
            assert_eq!(history.due(), expected, "{name}");
        }
    }

    #[test]
    fn a_transient_failure_is_tried_again_with_growing_pauses_and_three_times_in_all() {
        let once = History::requested().chosen("local", false).failed(0, NOW.0, full());
        assert_eq!(once.due(), Due::Wait(Timestamp(NOW.0 + 1_000)));
        let later = History::requested().chosen("local", false).failed(0, NOW.0 - 1_000, full());
        assert_eq!(later.due(), provision(1));
        let twice = later.failed(1, NOW.0, full());
        assert_eq!(twice.due(), Due::Wait(Timestamp(NOW.0 + 2_000)));
        assert_eq!(twice.failed(2, 0, full()).due(), Due::Nothing);
    }

    #[test]
    fn what_was_made_is_removed_when_retirement_is_demanded_and_nothing_else_is_begun() {
        let retiring = History::requested().retire();
        assert_eq!(retiring.due(), remove(0));
        let slot = Slot::Removal(Service::Provisioner);
        let removed = Answer::Removed(Removed { items: Vec::new() });
        assert_eq!(History::requested().retire().with(1, slot, 0, 0, removed.clone()).due(), Due::Nothing);
        let failed = Answer::RemovalFailed(Failed { findings: vec![full()] });
        let tried = History::requested().retire().with(1, slot, 0, NOW.0, failed);
        assert_eq!(tried.due(), Due::Wait(Timestamp(NOW.0 + 1_000)));
        assert_eq!(tried.with(1, slot, 1, 0, removed).due(), Due::Nothing);
    }

    #[test]
    fn a_generation_requested_after_the_retirement_is_served_once_the_old_one_is_removed() {
        let again = History::requested().retire().and_requested(2);
        assert_eq!(again.due(), remove(0));
        let removed = Answer::Removed(Removed { items: Vec::new() });
        let again = again.with(1, Slot::Removal(Service::Provisioner), 0, 0, removed);
        assert_eq!(again.due(), Due::Now(Duty::Choose(Generation(2))));
    }
}
