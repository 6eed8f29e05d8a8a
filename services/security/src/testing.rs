//! Histories for tests, fact by fact.

use slipway_kernel::{
    Abandoned, Answer, Attempt, ByteSize, Candidate, CommandReason, CpuMillis, Deployed, Deployment, DeploymentId,
    Digest, Fact, FactKey, Generation, InfrastructureChosen, IntakeReference, MachineFacts, ModelFacts, ModelFormat,
    Plan, Planned, PlatformSelected, Released, Requested, RevisionId, RolledBack, Slot, Span, Superseded, Timestamp,
    ValidationReport, fold, spec::ModelDeployment,
};
use std::sync::Arc;

pub(crate) fn id() -> DeploymentId {
    "default.digits".parse().unwrap()
}

pub(crate) fn document(spec: &serde_json::Value) -> ModelDeployment {
    let mut spec = spec.clone();
    if spec.get("model").is_none() {
        spec["model"] = serde_json::json!({ "uri": "file:///m.onnx" });
    }
    ModelDeployment::read(&serde_json::json!({ "metadata": { "name": "digits" }, "spec": spec })).unwrap()
}

pub(crate) fn plan() -> Plan {
    Plan {
        target: "local".to_owned(),
        platform: "slipway".to_owned(),
        model_digest: Digest::of(b"model"),
        replicas: 1,
        cpu: CpuMillis(1_000),
        memory: ByteSize::mebibytes(512),
        threads: 1,
        max_batch: 8,
        max_delay: Span::millis(2),
        queue_limit: 64,
        fixed_batching: false,
        latency_target: None,
    }
}

pub(crate) fn platform() -> PlatformSelected {
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

pub(crate) fn choice() -> InfrastructureChosen {
    let local = Candidate {
        target: "local".to_owned(),
        score: 1.0,
        vetoes: Vec::new(),
        reasons: Vec::new(),
        cost_per_hour: 0.0,
    };
    InfrastructureChosen {
        target: "local".to_owned(),
        reason: String::new(),
        candidates: vec![local],
        machine: MachineFacts::default(),
        needs_approval: false,
    }
}

fn intake() -> IntakeReference {
    IntakeReference { source: "test".to_owned(), id: "1".to_owned() }
}

fn report() -> ValidationReport {
    ValidationReport { checks: Vec::new(), findings: Vec::new(), missing: Vec::new(), report: None, plan_digest: None }
}

/// Facts of [`id`], each added by a word.
#[derive(Clone, Default)]
pub(crate) struct History(Vec<Arc<Fact>>);

impl History {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn fold(&self) -> Deployment {
        fold(&id(), self.0.iter().cloned())
    }

    pub(crate) fn with(mut self, at: (u32, u32), slot: Slot, attempt: u32, time: u64, answer: Answer) -> Self {
        let sequence = self.0.len() as u64 + 1;
        let key = FactKey::new(id(), RevisionId::new(at.0, at.1), slot).at(Attempt(attempt));
        self.0.push(Arc::new(Fact {
            key,
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

    pub(crate) fn requested(self, generation: u32) -> Self {
        self.requested_as(generation, &serde_json::json!({}))
    }

    pub(crate) fn requested_as(self, generation: u32, spec: &serde_json::Value) -> Self {
        let deployment = document(spec);
        let requested = Requested { spec_digest: deployment.digest(), deployment, intake: intake() };
        self.first((generation, 0), Slot::Request, Answer::Requested(requested))
    }

    pub(crate) fn chosen(self, generation: u32) -> Self {
        self.first((generation, 0), Slot::Choice, Answer::InfrastructureChosen(choice())).first(
            (generation, 0),
            Slot::Platform,
            Answer::PlatformSelected(platform()),
        )
    }

    pub(crate) fn planned(self, generation: u32, revision: u32) -> Self {
        let planned =
            Planned { digest: plan().digest(), plan: plan(), manifests: None, revises: None, changes: Vec::new() };
        self.first((generation, revision), Slot::Plan, Answer::Planned(planned))
    }

    pub(crate) fn deployed(self, generation: u32, revision: u32) -> Self {
        let deployed = Deployed { endpoints: Vec::new(), measurements: Vec::new(), fencing_token: 1 };
        self.first((generation, revision), Slot::Deployment, Answer::Deployed(deployed))
    }

    pub(crate) fn validated(self, generation: u32, revision: u32) -> Self {
        self.first((generation, revision), Slot::Validation, Answer::Validated(report()))
    }

    pub(crate) fn released(self, generation: u32, revision: u32) -> Self {
        let released = Released { replaces: None, measurements: Vec::new() };
        self.first((generation, revision), Slot::Release, Answer::Released(released))
    }

    pub(crate) fn rolled_back(self, from: (u32, u32), to: (u32, u32)) -> Self {
        let to = RevisionId::new(to.0, to.1);
        self.first(
            from,
            Slot::Rollback,
            Answer::RolledBack(RolledBack { to, reason: String::new(), findings: Vec::new() }),
        )
    }

    pub(crate) fn superseded(self, generation: u32) -> Self {
        let superseded = Superseded { by: Generation(generation + 1) };
        self.first((generation, 0), Slot::End, Answer::Superseded(superseded))
    }

    pub(crate) fn abandoned(self, generation: u32) -> Self {
        let abandoned = Abandoned { reason: String::new(), advice: String::new(), findings: Vec::new() };
        self.first((generation, 0), Slot::End, Answer::Abandoned(abandoned))
    }

    pub(crate) fn retire_requested(self, generation: u32) -> Self {
        let reason = CommandReason { reason: String::new(), intake: intake() };
        self.first((generation, 0), Slot::Command(0), Answer::RetireRequested(reason))
    }
}
