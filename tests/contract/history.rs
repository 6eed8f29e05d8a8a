//! Histories of a deployment that grow by facts which may follow what is there, from choices somebody else makes.

use slipway_kernel::{
    Abandoned, Annulled, Answer, Approved, Cause, CommandReason, Declined, Degraded, Deployed, Deployment,
    DeploymentId, Digest, Fact, FactKey, Failed, Finding, FindingKind, GenerationState, InfrastructureChosen,
    InfrastructureReady, IntakeReference, MachineFacts, ModelFacts, ModelFormat, Plan, Planned, PlatformRejected,
    PlatformSelected, Ready, Recovered, Released, Removed, Requested, Retired, RevisionId, RevisionState,
    RollbackRequested, RolledBack, Service, Shifted, Slot, Superseded, Timestamp, ValidationReport, fold,
    spec::ModelDeployment,
};
use std::sync::{Arc, LazyLock};

static ID: LazyLock<DeploymentId> = LazyLock::new(|| "default.digits".parse().unwrap());

/// Facts that a history is tried to be made longer by.
const STEPS: usize = 48;

/// One more fact.
pub struct Growth {
    pub slot: Slot,
    pub before: Deployment,
    pub after: Deployment,
    /// When it was appended.
    pub at: Timestamp,
}

/// A history as the choices say, fact by fact.
pub fn grow(choices: &[u32]) -> impl Iterator<Item = Growth> {
    let mut tape = Tape(choices.iter());
    let mut history = History::new();
    std::iter::repeat_n((), STEPS).filter_map(move |()| {
        let (key, answer) = history.next(&mut tape)?;
        let longer = history.with(&key, answer)?;
        let before = std::mem::replace(&mut history, longer);
        let at = Timestamp(history.facts.len() as u64 * 1_000);
        Some(Growth { slot: key.slot, before: before.deployment, after: history.deployment.clone(), at })
    })
}

/// Choices of a history, one number after the other; when they are used up, always the first.
struct Tape<'a>(std::slice::Iter<'a, u32>);

impl Tape<'_> {
    fn pick(&mut self, of: usize) -> usize {
        self.0.next().map_or(0, |number| *number as usize % of.max(1))
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.pick(n) == n - 1
    }
}

/// A history that grows by facts that may follow what is there.
struct History {
    facts: Vec<Arc<Fact>>,
    deployment: Deployment,
}

impl History {
    fn new() -> Self {
        Self { facts: Vec::new(), deployment: fold(&ID, []) }
    }

    /// The history with one more fact; `None` if the fold would set something aside.
    fn with(&self, key: &FactKey, answer: Answer) -> Option<Self> {
        let sequence = self.facts.len() as u64 + 1;
        let fact = Fact {
            key: key.clone(),
            id: sequence.to_string(),
            actor: "test".to_owned(),
            causation: None,
            correlation: "test".to_owned(),
            traceparent: None,
            at: Timestamp(sequence * 1_000),
            sequence,
            answer,
        };
        let mut facts = self.facts.clone();
        facts.push(Arc::new(fact));
        let deployment = fold(&ID, facts.iter().cloned());
        let annulling = matches!(facts.last().map(|fact| &fact.answer), Some(Answer::Annulled(_)));
        let counts = annulling || deployment.set_aside.len() == self.deployment.set_aside.len();
        counts.then_some(Self { facts, deployment })
    }

    /// A fact that may come next: its question is open, and what it answers to is there.
    fn next(&self, tape: &mut Tape<'_>) -> Option<(FactKey, Answer)> {
        let generations: Vec<&GenerationState> = self.deployment.generations.values().collect();
        // Mostly about the newest one; sometimes an older one is still being worked on.
        let generation = if tape.one_in(5) { tape.pick(generations.len()) } else { generations.len().wrapping_sub(1) };
        let Some(generation) = generations.get(generation) else {
            return Some((key(1, 0, Slot::Request), requested()));
        };
        let latest = generation.latest().map_or(0, |revision| revision.id.revision.0);
        let slot = match SLOTS[tape.pick(SLOTS.len())] {
            Slot::Request => return Some((key(generations.len() as u32 + 1, 0, Slot::Request), requested())),
            // Mostly the work goes on.
            _ if !tape.one_in(3) => self.open_question(generation)?,
            Slot::Command(_) => Slot::Command(generation.next_command()),
            other => other,
        };
        let at = match slot {
            Slot::Plan => latest + 1,
            slot if slot.fits_revision(0) && (!slot.fits_revision(1) || tape.one_in(4)) => 0,
            _ if latest > 1 && tape.one_in(4) => latest - 1,
            _ => latest,
        };
        let revision = generation.revisions.get(&slipway_kernel::Revision(at));
        let attempts = revision.map_or_else(|| generation.attempts(slot), |revision| revision.attempts(slot));
        let key = key(generation.generation.0, at, slot).at(attempts.next());
        self.has_cause(generation, revision, slot).then(|| (key, self.answer(slot, tape)))
    }

    /// The first question, in the order of the work, that nobody has answered.
    fn open_question(&self, generation: &GenerationState) -> Option<Slot> {
        let latest = generation.latest();
        let open = |slot: &Slot| {
            let answered =
                generation.fact(*slot).is_some() || latest.is_some_and(|latest| latest.fact(*slot).is_some());
            !answered && self.has_cause(generation, latest, *slot)
        };
        let work = SLOTS.into_iter().filter(|slot| !matches!(slot, Slot::Rollback | Slot::Command(_) | Slot::End));
        work.filter(|slot| *slot != Slot::Plan || latest.is_none()).find(open)
    }

    /// Whether what a slot answers to is there.
    fn has_cause(&self, generation: &GenerationState, revision: Option<&RevisionState>, slot: Slot) -> bool {
        match slot {
            Slot::Request | Slot::Choice | Slot::Command(_) | Slot::End | Slot::Rollback => true,
            Slot::Approval => {
                matches!(generation.answer(Slot::Choice), Some(Answer::InfrastructureChosen(c)) if c.needs_approval)
            }
            Slot::Infrastructure => generation.fact(Slot::Choice).is_some(),
            Slot::Platform => {
                matches!(generation.answer(Slot::Infrastructure), Some(Answer::InfrastructureReady(_)))
            }
            // Nothing more is planned for a generation that was closed: the controller decides against the whole history.
            Slot::Plan => generation.platform().is_some() && !generation.is_terminal(),
            Slot::Deployment => revision.is_some(),
            Slot::Ingress | Slot::Outputs | Slot::Observability | Slot::Security | Slot::Validation => {
                revision.is_some_and(RevisionState::is_deployed)
            }
            Slot::Shift(_) | Slot::Release => revision.is_some_and(RevisionState::is_validated),
            Slot::Degradation => revision.is_some_and(RevisionState::is_released),
            Slot::Removal(_) => self.deployment.is_retiring(generation.generation),
        }
    }

    fn answer(&self, slot: Slot, tape: &mut Tape<'_>) -> Answer {
        let ready = || Ready { configured: Vec::new(), proofs: Vec::new() };
        let fails = tape.one_in(4);
        match slot {
            Slot::Request => requested(),
            Slot::Choice => Answer::InfrastructureChosen(InfrastructureChosen {
                target: if tape.one_in(6) { String::new() } else { "local".to_owned() },
                reason: String::new(),
                candidates: Vec::new(),
                machine: MachineFacts::default(),
                needs_approval: tape.one_in(3),
            }),
            Slot::Approval if fails => Answer::Declined(Declined { reason: String::new(), intake: intake() }),
            Slot::Approval => Answer::Approved(Approved { reason: String::new(), intake: intake() }),
            Slot::Infrastructure if fails => Answer::InfrastructureFailed(failed(tape)),
            Slot::Infrastructure => Answer::InfrastructureReady(InfrastructureReady {
                target: "local".to_owned(),
                machine: MachineFacts::default(),
                proofs: Vec::new(),
            }),
            Slot::Platform if fails => {
                let findings = failed(tape).findings;
                Answer::PlatformRejected(PlatformRejected { findings, candidates: Vec::new(), model: None })
            }
            Slot::Platform => Answer::PlatformSelected(platform()),
            Slot::Plan => planned(self.facts.len()),
            Slot::Deployment if fails => Answer::DeployFailed(failed(tape)),
            Slot::Deployment => {
                Answer::Deployed(Deployed { endpoints: Vec::new(), measurements: Vec::new(), fencing_token: 1 })
            }
            Slot::Ingress if fails => Answer::IngressFailed(failed(tape)),
            Slot::Ingress => Answer::IngressReady(ready()),
            Slot::Outputs if fails => Answer::OutputsFailed(failed(tape)),
            Slot::Outputs => Answer::OutputsReady(ready()),
            Slot::Observability if fails => Answer::ObservabilityFailed(failed(tape)),
            Slot::Observability => Answer::ObservabilityReady(ready()),
            Slot::Security if fails => Answer::SecurityFailed(failed(tape)),
            Slot::Security => Answer::SecurityReady(ready()),
            Slot::Validation => match tape.pick(3) {
                0 => Answer::Validated(report(Vec::new())),
                1 => Answer::ValidationFailed(report(failed(tape).findings)),
                _ => Answer::ValidationInconclusive(report(Vec::new())),
            },
            Slot::Shift(percent) => {
                Answer::Shifted(Shifted { percent: u32::from(percent), beside: None, measurements: Vec::new() })
            }
            Slot::Release => Answer::Released(Released { replaces: None, measurements: Vec::new() }),
            Slot::Degradation if fails => Answer::Recovered(Recovered { measurements: Vec::new() }),
            Slot::Degradation => Answer::Degraded(Degraded { findings: Vec::new() }),
            Slot::Rollback => Answer::RolledBack(RolledBack {
                to: RevisionId::new(1, 1),
                reason: String::new(),
                findings: Vec::new(),
            }),
            Slot::Command(_) => self.command(tape),
            Slot::Removal(_) if fails => Answer::RemovalFailed(failed(tape)),
            Slot::Removal(_) => Answer::Removed(Removed { items: Vec::new() }),
            Slot::End => match tape.pick(3) {
                0 => Answer::Superseded(Superseded { by: slipway_kernel::Generation(9) }),
                // The controller says so when every service has removed what it made.
                1 if self.is_removed() => Answer::Retired(Retired { removed: Vec::new() }),
                _ => {
                    Answer::Abandoned(Abandoned { reason: String::new(), advice: String::new(), findings: Vec::new() })
                }
            },
        }
    }

    fn is_removed(&self) -> bool {
        let retiring = self.deployment.retiring().and_then(|generation| self.deployment.generations.get(&generation));
        retiring.is_some_and(|generation| Service::REMOVERS.into_iter().all(|service| generation.removed(service)))
    }

    fn command(&self, tape: &mut Tape<'_>) -> Answer {
        let reason = || CommandReason { reason: String::new(), intake: intake() };
        match tape.pick(6) {
            0 => Answer::Paused(reason()),
            1 => Answer::Resumed(reason()),
            2 => Answer::RevalidationRequested(reason()),
            3 => Answer::RetireRequested(reason()),
            4 => {
                let to = Some(RevisionId::new(1, 1));
                Answer::RollbackRequested(RollbackRequested { to, reason: String::new(), intake: intake() })
            }
            _ => {
                let fact = self.facts[tape.pick(self.facts.len())].key.to_string();
                Answer::Annulled(Annulled { fact, reason: "wrong".to_owned(), intake: intake() })
            }
        }
    }
}

/// What a history may go on with.
pub const SLOTS: [Slot; 23] = [
    Slot::Choice,
    Slot::Approval,
    Slot::Infrastructure,
    Slot::Platform,
    Slot::Plan,
    Slot::Deployment,
    Slot::Ingress,
    Slot::Outputs,
    Slot::Observability,
    Slot::Security,
    Slot::Validation,
    Slot::Shift(50),
    Slot::Release,
    Slot::Degradation,
    Slot::Rollback,
    Slot::Command(0),
    Slot::Removal(Service::Provisioner),
    Slot::Removal(Service::Ingress),
    Slot::Removal(Service::SinkWriter),
    Slot::Removal(Service::Observability),
    Slot::Removal(Service::Security),
    Slot::End,
    Slot::Request,
];

fn key(generation: u32, revision: u32, slot: Slot) -> FactKey {
    FactKey::new(ID.clone(), RevisionId::new(generation, revision), slot)
}

fn intake() -> IntakeReference {
    IntakeReference { source: "test".to_owned(), id: "1".to_owned() }
}

fn requested() -> Answer {
    let document =
        serde_json::json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m.onnx" } } });
    let deployment = ModelDeployment::read(&document).unwrap();
    Answer::Requested(Requested { spec_digest: deployment.digest(), deployment, intake: intake() })
}

fn platform() -> PlatformSelected {
    PlatformSelected {
        platform: "slipway".to_owned(),
        image: String::new(),
        reason: String::new(),
        model: ModelFacts {
            digest: Digest::of(b"model"),
            size_bytes: 5,
            format: ModelFormat::Onnx,
            inputs: Vec::new(),
            outputs: Vec::new(),
            operators: Vec::new(),
            parameters: 0,
            memory_estimate_bytes: 0,
            opset: 0,
            producer: String::new(),
        },
        candidates: Vec::new(),
        golden: None,
    }
}

/// Each plan is another one, since a burnt one may not come again.
fn planned(number: usize) -> Answer {
    let plan = Plan {
        target: "local".to_owned(),
        platform: "slipway".to_owned(),
        model_digest: Digest::of(b"model"),
        replicas: 1,
        cpu: slipway_kernel::CpuMillis(1_000),
        memory: slipway_kernel::ByteSize::mebibytes(512),
        threads: 1,
        max_batch: number as u32 + 1,
        max_delay: slipway_kernel::Span::millis(2),
        queue_limit: 64,
        fixed_batching: false,
        latency_target: None,
    };
    Answer::Planned(Planned { digest: plan.digest(), plan, manifests: None, revises: None, changes: Vec::new() })
}

fn failed(tape: &mut Tape<'_>) -> Failed {
    let cause = if tape.one_in(2) { Cause::Deterministic } else { Cause::Transient };
    Failed { findings: vec![Finding { cause, ..Finding::transient(FindingKind::Timeout, "late") }] }
}

fn report(findings: Vec<Finding>) -> ValidationReport {
    ValidationReport { checks: Vec::new(), findings, missing: Vec::new(), report: None, plan_digest: None }
}
