//! Histories of facts for tests: a builder that keeps count of attempts.

use crate::domain::assignment::Assignment;
use serde_json::{Value, json};
use slipway_kernel::{
    Abandoned, Answer, Attempt, CommandReason, CpuMillis, Deployed, Deployment, DeploymentId, Digest, Fact, FactKey,
    Failed, Finding, FindingKind, IntakeReference, ModelFacts, ModelFormat, Plan, Planned, PlatformSelected, Ready,
    Released, Requested, RevisionId, RolledBack, Slot, Span, TensorSpec, Timestamp, ValidationReport, fold,
    spec::ModelDeployment,
};
use std::{collections::BTreeMap, sync::Arc};

/// Facts of `default.digits`, generation 1.
#[derive(Clone, Default)]
pub(crate) struct History {
    facts: Vec<Arc<Fact>>,
    attempts: BTreeMap<(RevisionId, Slot), u32>,
    commands: u32,
}

pub(crate) fn id() -> DeploymentId {
    "default.digits".parse().unwrap()
}

pub(crate) fn plan() -> Plan {
    Plan {
        target: "local".into(),
        platform: "slipway".into(),
        model_digest: Digest::of(b"model"),
        replicas: 1,
        cpu: CpuMillis(1_000),
        memory: slipway_kernel::ByteSize::mebibytes(512),
        threads: 1,
        max_batch: 8,
        max_delay: Span::millis(2),
        queue_limit: 64,
        fixed_batching: false,
        latency_target: None,
    }
}

/// The inputs of the test model: `X` FP32 [-1, 2].
pub(crate) fn inputs() -> Vec<TensorSpec> {
    vec![TensorSpec { name: "X".into(), datatype: "FP32".into(), shape: vec![-1, 2] }]
}

fn platform() -> PlatformSelected {
    PlatformSelected {
        platform: "slipway".into(),
        image: String::new(),
        reason: "it can".into(),
        model: ModelFacts {
            digest: Digest::of(b"model"),
            size_bytes: 5,
            format: ModelFormat::Onnx,
            inputs: inputs(),
            outputs: Vec::new(),
            operators: Vec::new(),
            parameters: 0,
            memory_estimate_bytes: 0,
            opset: 18,
            producer: String::new(),
        },
        candidates: Vec::new(),
        golden: None,
    }
}

fn document(spec: &Value) -> ModelDeployment {
    let mut document = json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m.onnx" } } });
    for (key, value) in spec.as_object().unwrap() {
        document["spec"][key] = value.clone();
    }
    ModelDeployment::read(&document).unwrap()
}

fn intake(n: usize) -> IntakeReference {
    IntakeReference { source: "test".into(), id: n.to_string() }
}

fn report() -> ValidationReport {
    ValidationReport { checks: Vec::new(), findings: Vec::new(), missing: Vec::new(), report: None, plan_digest: None }
}

pub(crate) fn inconclusive() -> Answer {
    Answer::ValidationInconclusive(report())
}

pub(crate) fn validated() -> Answer {
    Answer::Validated(report())
}

/// The assignment of revision 1-1 of a spec with all its defaults.
pub(crate) fn assignment() -> Assignment {
    assignment_with(&json!({}))
}

/// The same, with parts of the spec.
pub(crate) fn assignment_with(spec: &Value) -> Assignment {
    let history = History::new().requested_with(spec).platform_selected().planned().deployed(Timestamp(0));
    Assignment::of(&history.fold(), RevisionId::new(1, 1), Attempt(0)).unwrap()
}

impl History {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn add(mut self, revision: u32, slot: Slot, answer: Answer, at: Timestamp) -> Self {
        let revision = RevisionId::new(1, revision);
        let attempt = self.attempts.entry((revision, slot)).or_default();
        self.facts.push(Arc::new(Fact {
            key: FactKey::new(id(), revision, slot).at(Attempt(*attempt)),
            id: format!("{}", self.facts.len()),
            actor: "test".into(),
            causation: None,
            correlation: "c".into(),
            traceparent: None,
            at,
            sequence: self.facts.len() as u64,
            answer,
        }));
        *attempt += 1;
        self
    }

    fn now(self, revision: u32, slot: Slot, answer: Answer) -> Self {
        self.add(revision, slot, answer, Timestamp(100_000))
    }

    fn command(mut self, answer: impl FnOnce(CommandReason) -> Answer) -> Self {
        let slot = Slot::Command(self.commands);
        self.commands += 1;
        let reason = CommandReason { reason: String::new(), intake: intake(self.facts.len()) };
        self.now(0, slot, answer(reason))
    }

    pub(crate) fn fold(&self) -> Deployment {
        let deployment = fold(&id(), self.facts.iter().cloned());
        assert_eq!(deployment.set_aside, [], "a test's history must count");
        deployment
    }

    pub(crate) fn requested(self) -> Self {
        self.requested_with(&json!({}))
    }

    pub(crate) fn requested_with(self, spec: &Value) -> Self {
        let deployment = document(spec);
        let spec_digest = deployment.digest();
        let intake = intake(0);
        self.now(0, Slot::Request, Answer::Requested(Requested { deployment, spec_digest, intake }))
    }

    pub(crate) fn platform_selected(self) -> Self {
        self.now(0, Slot::Platform, Answer::PlatformSelected(platform()))
    }

    pub(crate) fn planned(self) -> Self {
        let plan = plan();
        let digest = plan.digest();
        let planned = Planned { plan, digest, manifests: None, revises: None, changes: Vec::new() };
        self.now(1, Slot::Plan, Answer::Planned(planned))
    }

    pub(crate) fn deployed(self, at: Timestamp) -> Self {
        let deployed = Deployed { endpoints: Vec::new(), measurements: Vec::new(), fencing_token: 1 };
        self.add(1, Slot::Deployment, Answer::Deployed(deployed), at)
    }

    pub(crate) fn deploy_failed(self) -> Self {
        let failed = Failed { findings: vec![Finding::deterministic(FindingKind::Crashed, "it crashed")] };
        self.now(1, Slot::Deployment, Answer::DeployFailed(failed))
    }

    pub(crate) fn ready(&self, slot: Slot) -> Self {
        let ready = Ready { configured: Vec::new(), proofs: Vec::new() };
        let answer = match slot {
            Slot::Ingress => Answer::IngressReady(ready),
            Slot::Outputs => Answer::OutputsReady(ready),
            Slot::Observability => Answer::ObservabilityReady(ready),
            Slot::Security => Answer::SecurityReady(ready),
            other => panic!("{other} is none of the four"),
        };
        self.clone().now(1, slot, answer)
    }

    pub(crate) fn four_ready(&self) -> Self {
        Slot::PARALLEL.into_iter().fold(self.clone(), |history, slot| history.ready(slot))
    }

    pub(crate) fn failed(self, slot: Slot, kind: FindingKind) -> Self {
        self.failed_with(slot, Finding::deterministic(kind, "it does not work"))
    }

    pub(crate) fn failed_for_now(self, slot: Slot) -> Self {
        self.failed_with(slot, Finding::transient(FindingKind::DependencyUnavailable, "not now"))
    }

    fn failed_with(self, slot: Slot, finding: Finding) -> Self {
        let failed = Failed { findings: vec![finding] };
        let answer = match slot {
            Slot::Ingress => Answer::IngressFailed(failed),
            Slot::Outputs => Answer::OutputsFailed(failed),
            Slot::Observability => Answer::ObservabilityFailed(failed),
            Slot::Security => Answer::SecurityFailed(failed),
            other => panic!("{other} is none of the four"),
        };
        self.now(1, slot, answer)
    }

    pub(crate) fn validation(self, answer: Answer, at: Timestamp) -> Self {
        self.add(1, Slot::Validation, answer, at)
    }

    pub(crate) fn released(self) -> Self {
        self.now(1, Slot::Release, Answer::Released(Released { replaces: None, measurements: Vec::new() }))
    }

    pub(crate) fn rolled_back(self) -> Self {
        let back = RolledBack { to: RevisionId::new(1, 1), reason: String::new(), findings: Vec::new() };
        self.now(1, Slot::Rollback, Answer::RolledBack(back))
    }

    pub(crate) fn abandoned(self) -> Self {
        let abandoned = Abandoned { reason: String::new(), advice: String::new(), findings: Vec::new() };
        self.now(0, Slot::End, Answer::Abandoned(abandoned))
    }

    pub(crate) fn revalidation_requested(&self) -> Self {
        self.clone().command(Answer::RevalidationRequested)
    }

    pub(crate) fn retire_requested(self) -> Self {
        self.command(Answer::RetireRequested)
    }
}
