//! The other services, played: each open question is answered as soon as it is seen.

use slipway_bus::{Bus, Change, Draft, View};
use slipway_kernel::{
    Answer, Deployment, DeploymentId, Digest, FactKey, GenerationState, InfrastructureChosen, InfrastructureReady,
    MachineFacts, ModelFacts, ModelFormat, Phase, Planned, PlatformSelected, Ready, Removed, RevisionId, RevisionState,
    Service, Slot, ValidationReport,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// What the validator says of a revision with this plan; `None` = nothing.
pub type Verdict = Box<dyn Fn(RevisionId, &Planned) -> Option<Answer> + Send + Sync>;

/// The double.
pub struct Others {
    buses: BTreeMap<Service, Bus>,
    verdict: Mutex<Verdict>,
    /// Whether a person must approve the choice.
    pub needs_approval: AtomicBool,
    /// Whether nobody says for now that what it made is removed.
    pub holds_removals: AtomicBool,
}

pub fn report() -> ValidationReport {
    ValidationReport { checks: vec![], findings: vec![], missing: vec![], report: None, plan_digest: None }
}

pub fn validated() -> Option<Answer> {
    Some(Answer::Validated(report()))
}

pub fn refused(findings: Vec<slipway_kernel::Finding>) -> Option<Answer> {
    Some(Answer::ValidationFailed(ValidationReport { findings, ..report() }))
}

impl Others {
    pub fn new(buses: BTreeMap<Service, Bus>) -> Arc<Self> {
        let verdict: Verdict = Box::new(|_, _| validated());
        Arc::new(Self {
            buses,
            verdict: Mutex::new(verdict),
            needs_approval: AtomicBool::new(false),
            holds_removals: AtomicBool::new(false),
        })
    }

    pub fn judge(&self, verdict: impl Fn(RevisionId, &Planned) -> Option<Answer> + Send + Sync + 'static) {
        *self.verdict.lock().unwrap() = Box::new(verdict);
    }

    /// Answers until the test ends.
    pub async fn play(self: Arc<Self>, view: View) {
        let mut changes = view.changes();
        loop {
            for id in view.ids() {
                self.answer_all(&view, &id).await;
            }
            match tokio::time::timeout(std::time::Duration::from_millis(500), changes.next()).await {
                Ok(Change::Deployment { .. } | Change::All) | Err(_) => {}
            }
        }
    }

    async fn answer_all(&self, view: &View, id: &DeploymentId) {
        let Some(folded) = view.get(id) else { return };
        for (key, answer) in self.answers(&folded.deployment) {
            self.append(&key, answer).await;
        }
    }

    pub async fn append(&self, key: &FactKey, answer: Answer) {
        let service = key.slot.answered_by();
        let draft = Draft::new(answer, service.name(), "test");
        self.buses[&service].log().append(key, draft).await.unwrap();
    }

    fn answers(&self, deployment: &Deployment) -> Vec<(FactKey, Answer)> {
        let mut answers = Vec::new();
        let mut put = |generation: &GenerationState, revision: Option<&RevisionState>, slot: Slot, answer: Answer| {
            let id = revision.map_or(RevisionId::new(generation.generation.0, 0), |revision| revision.id);
            let attempts = revision.map_or_else(|| generation.attempts(slot), |revision| revision.attempts(slot));
            answers.push((FactKey::new(deployment.id.clone(), id, slot).at(attempts.next()), answer));
        };
        let Some(newest) = deployment.newest() else { return answers };
        if deployment.is_retiring(newest.generation) {
            let holds = self.holds_removals.load(Ordering::Relaxed);
            for service in Service::REMOVERS.into_iter().filter(|service| !holds && !newest.removed(*service)) {
                put(newest, None, Slot::Removal(service), Answer::Removed(Removed { items: vec![] }));
            }
            return answers;
        }
        if newest.is_terminal() {
            return answers;
        }
        if newest.fact(Slot::Choice).is_none() {
            let needs_approval = self.needs_approval.load(Ordering::Relaxed);
            let chosen = InfrastructureChosen { needs_approval, ..chosen() };
            put(newest, None, Slot::Choice, Answer::InfrastructureChosen(chosen));
        } else if matches!(deployment.phase(), Phase::AwaitingApproval | Phase::Failed) {
            // A person's turn, or the controller's.
        } else if newest.fact(Slot::Infrastructure).is_none() {
            let ready = InfrastructureReady { target: "local".into(), machine: machine(), proofs: vec![] };
            put(newest, None, Slot::Infrastructure, Answer::InfrastructureReady(ready));
        } else if newest.fact(Slot::Platform).is_none() {
            put(newest, None, Slot::Platform, Answer::PlatformSelected(selected()));
        }
        let Some(revision) = newest.latest().filter(|revision| revision.is_deployed()) else { return answers };
        let ready = Ready { configured: vec![], proofs: vec![] };
        for (slot, answer) in [
            (Slot::Ingress, Answer::IngressReady(ready.clone())),
            (Slot::Outputs, Answer::OutputsReady(ready.clone())),
            (Slot::Observability, Answer::ObservabilityReady(ready.clone())),
            (Slot::Security, Answer::SecurityReady(ready)),
        ] {
            if revision.fact(slot).is_none() {
                put(newest, Some(revision), slot, answer);
            }
        }
        let open = matches!(revision.answer(Slot::Validation), None | Some(Answer::ValidationInconclusive(_)));
        if let Some(planned) = revision.planned().filter(|_| open)
            && let Some(answer) = self.verdict.lock().unwrap()(revision.id, planned)
        {
            put(newest, Some(revision), Slot::Validation, answer);
        }
        answers
    }
}

fn machine() -> MachineFacts {
    MachineFacts { cores: 8, memory_bytes: 16 << 30, ..MachineFacts::default() }
}

fn chosen() -> InfrastructureChosen {
    InfrastructureChosen {
        target: "local".into(),
        reason: "it is here".into(),
        candidates: vec![],
        machine: machine(),
        needs_approval: false,
    }
}

fn selected() -> PlatformSelected {
    PlatformSelected {
        platform: "slipway".into(),
        image: String::new(),
        reason: "the only one".into(),
        model: ModelFacts {
            digest: Digest::of(b"model"),
            size_bytes: 1,
            format: ModelFormat::Onnx,
            inputs: vec![],
            outputs: vec![],
            operators: vec![],
            parameters: 1,
            memory_estimate_bytes: 1 << 20,
            opset: 17,
            producer: "test".into(),
        },
        candidates: vec![],
        golden: None,
    }
}
