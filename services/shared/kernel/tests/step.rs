//! What each of the four owes a deployment, and when it is tried again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use slipway_kernel::{
    Answer, Attempt, ByteSize, Cause, CommandReason, CpuMillis, Deployed, Deployment, DeploymentId, Digest, Due, Fact,
    FactKey, Failed, Finding, FindingKind, Generation, IntakeReference, Plan, Planned, Ready, Released, Removed,
    Requested, RevisionId, RolledBack, Service, Slot, Span, Step, Superseded, Timestamp, fold, spec::ModelDeployment,
};
use std::sync::Arc;

fn id() -> DeploymentId {
    "default.digits".parse().unwrap()
}

fn intake() -> IntakeReference {
    IntakeReference { source: "test".to_owned(), id: "1".to_owned() }
}

/// Facts, each added by a word: revision, slot, attempt and time.
#[derive(Clone, Default)]
struct History(Vec<Arc<Fact>>);

impl History {
    fn with(mut self, at: (u32, u32), slot: Slot, attempt: u32, time: u64, answer: Answer) -> Self {
        let sequence = self.0.len() as u64 + 1;
        self.0.push(Arc::new(Fact {
            key: FactKey::new(id(), RevisionId::new(at.0, at.1), slot).at(Attempt(attempt)),
            id: sequence.to_string(),
            actor: "test".to_owned(),
            causation: None,
            correlation: "c".to_owned(),
            traceparent: None,
            at: Timestamp(time),
            sequence,
            answer,
        }));
        self
    }

    fn first(self, at: (u32, u32), slot: Slot, answer: Answer) -> Self {
        self.with(at, slot, 0, 0, answer)
    }

    fn requested(self, generation: u32) -> Self {
        let document =
            serde_json::json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m" } } });
        let deployment = ModelDeployment::read(&document).unwrap();
        let requested = Requested { spec_digest: deployment.digest(), deployment, intake: intake() };
        self.first((generation, 0), Slot::Request, Answer::Requested(requested))
    }

    fn planned(self, at: (u32, u32)) -> Self {
        let plan = Plan {
            target: "local".to_owned(),
            platform: "slipway".to_owned(),
            model_digest: Digest::of(b"model"),
            replicas: 1,
            cpu: CpuMillis(1_000),
            memory: ByteSize::mebibytes(512),
            threads: 1,
            max_batch: at.1,
            max_delay: Span::millis(2),
            queue_limit: 64,
            fixed_batching: false,
            latency_target: None,
        };
        let planned = Planned { digest: plan.digest(), plan, manifests: None, revises: None, changes: Vec::new() };
        self.first(at, Slot::Plan, Answer::Planned(planned))
    }

    fn deployed(self, at: (u32, u32)) -> Self {
        let deployed = Deployed { endpoints: Vec::new(), measurements: Vec::new(), fencing_token: 1 };
        self.planned(at).first(at, Slot::Deployment, Answer::Deployed(deployed))
    }

    fn failed(self, attempt: u32, cause: Cause, time: u64) -> Self {
        let finding = Finding { cause, ..Finding::transient(FindingKind::Timeout, "late") };
        self.with((1, 1), Slot::Security, attempt, time, Answer::SecurityFailed(Failed { findings: vec![finding] }))
    }

    fn retire(self) -> Self {
        let command = CommandReason { reason: String::new(), intake: intake() };
        self.first((1, 0), Slot::Command(0), Answer::RetireRequested(command))
    }

    fn removal_failed(self, attempt: u32, time: u64) -> Self {
        let findings = vec![Finding::transient(FindingKind::DependencyUnavailable, "away")];
        let failed = Answer::RemovalFailed(Failed { findings });
        self.with((1, 0), Slot::Removal(Service::Security), attempt, time, failed)
    }

    fn fold(&self) -> Deployment {
        fold(&id(), self.0.iter().cloned())
    }

    fn due(&self, now: u64) -> Due<Step> {
        self.fold().step(Service::Security, Slot::Security, Timestamp(now))
    }
}

fn history() -> History {
    History::default().requested(1)
}

fn configure(at: (u32, u32), attempt: u32) -> Due<Step> {
    Due::Now(Step::Configure { revision: RevisionId::new(at.0, at.1), attempt: Attempt(attempt) })
}

fn remove(attempt: u32) -> Due<Step> {
    Due::Now(Step::Remove { generation: Generation(1), attempt: Attempt(attempt) })
}

#[test]
fn a_candidate_is_configured_once_when_its_workers_run() {
    assert_eq!(History::default().due(0), Due::Nothing);
    assert_eq!(history().due(0), Due::Nothing);
    assert_eq!(history().planned((1, 1)).due(0), Due::Nothing);
    let deployed = history().deployed((1, 1));
    assert_eq!(deployed.due(0), configure((1, 1), 0));
    let ready = Answer::SecurityReady(Ready { configured: Vec::new(), proofs: Vec::new() });
    assert_eq!(deployed.first((1, 1), Slot::Security, ready).due(0), Due::Nothing);
}

#[test]
fn only_the_newest_revision_of_the_newest_generation_is_configured_and_not_what_was_released_or_taken_back() {
    let first = history().deployed((1, 1));
    assert_eq!(first.clone().planned((1, 2)).due(0), Due::Nothing);
    assert_eq!(first.clone().deployed((1, 2)).due(0), configure((1, 2), 0));
    assert_eq!(first.clone().requested(2).due(0), Due::Nothing);
    let released = Answer::Released(Released { replaces: None, measurements: Vec::new() });
    let released = first.first((1, 1), Slot::Release, released);
    assert_eq!(released.due(0), Due::Nothing);
    let second = released.requested(2).deployed((2, 1));
    assert_eq!(second.due(0), configure((2, 1), 0));
    let back = RolledBack { to: RevisionId::new(1, 1), reason: String::new(), findings: Vec::new() };
    assert_eq!(second.first((2, 1), Slot::Rollback, Answer::RolledBack(back)).due(0), Due::Nothing);
}

#[test]
fn a_failure_that_may_pass_is_tried_three_times_with_growing_pauses_and_any_other_never_again() {
    let deployed = history().deployed((1, 1));
    let once = deployed.clone().failed(0, Cause::Transient, 10_000);
    assert_eq!(once.due(10_500), Due::Wait(Timestamp(11_000)));
    assert_eq!(once.due(11_000), configure((1, 1), 1));
    let twice = once.failed(1, Cause::Transient, 20_000);
    assert_eq!(twice.due(20_000), Due::Wait(Timestamp(22_000)));
    assert_eq!(twice.due(22_000), configure((1, 1), 2));
    assert_eq!(twice.failed(2, Cause::Transient, 30_000).due(99_000), Due::Nothing);
    assert_eq!(deployed.failed(0, Cause::Deterministic, 10_000).due(99_000), Due::Nothing);
}

#[test]
fn a_removal_comes_first_and_is_tried_until_it_is_done() {
    let retiring = history().deployed((1, 1)).retire();
    assert_eq!(retiring.due(0), remove(0));
    let mut failed = retiring.clone();
    for attempt in 0..8 {
        failed = failed.removal_failed(attempt, 1_000);
        assert_eq!(failed.due(90_000), remove(attempt + 1));
    }
    assert_eq!(failed.due(30_999), Due::Wait(Timestamp(31_000)));
    let removed = Answer::Removed(Removed { items: Vec::new() });
    let removed = failed.with((1, 0), Slot::Removal(Service::Security), 8, 0, removed);
    assert_eq!(removed.due(90_000), Due::Nothing);
    // What was superseded may have left things behind.
    let superseded = retiring.first((1, 0), Slot::End, Answer::Superseded(Superseded { by: Generation(2) }));
    assert_eq!(superseded.due(0), remove(0));
}
