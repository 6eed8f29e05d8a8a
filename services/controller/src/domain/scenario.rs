//! Histories for tests, written as a person would tell them. Each line appends a fact at the scenario's time.

use slipway_kernel::{
    Abandoned, Answer, Attempt, ByteSize, Cause, Change, CommandReason, CpuMillis, Declined, Degraded, Deployed,
    Deployment, DeploymentId, Digest, Fact, FactKey, Failed, Finding, FindingKind, InfrastructureChosen,
    InfrastructureReady, IntakeReference, MachineFacts, ModelFacts, ModelFormat, Plan, Planned, PlatformSelected,
    Ready, Recovered, Released, Removed, Requested, Retired, RevisionId, RollbackRequested, RolledBack, Service,
    Shifted, Slot, Span, Superseded, Timestamp, ValidationReport, fold,
    spec::{ModelDeployment, Spec},
};
use std::sync::Arc;

pub(crate) fn id() -> DeploymentId {
    "default.digits".parse().unwrap()
}

pub(crate) fn document(part: &serde_json::Value) -> ModelDeployment {
    let mut document =
        serde_json::json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m.onnx" } } });
    for (key, value) in part.as_object().unwrap() {
        document["spec"][key] = value.clone();
    }
    ModelDeployment::read(&document).unwrap()
}

pub(crate) fn spec(part: &serde_json::Value) -> Spec {
    document(part).spec
}

pub(crate) fn plan() -> Plan {
    Plan {
        target: "local".into(),
        platform: "slipway".into(),
        model_digest: Digest::of(b"model"),
        replicas: 1,
        cpu: CpuMillis(1_000),
        memory: ByteSize::mebibytes(512),
        threads: 1,
        max_batch: 8,
        max_delay: Span::millis(2),
        queue_limit: 100,
        fixed_batching: false,
        latency_target: None,
    }
}

/// Eight cores and 16 GiB.
pub(crate) fn machine() -> MachineFacts {
    MachineFacts {
        cores: 8,
        memory_bytes: 16 << 30,
        memory_available_bytes: 12 << 30,
        disk_available_bytes: 100 << 30,
        architecture: "x86_64".into(),
        operating_system: "linux".into(),
        ..MachineFacts::default()
    }
}

pub(crate) fn infrastructure_ready() -> InfrastructureReady {
    InfrastructureReady { target: "local".into(), machine: machine(), proofs: Vec::new() }
}

pub(crate) fn platform_selected() -> PlatformSelected {
    PlatformSelected {
        platform: "slipway".into(),
        image: String::new(),
        reason: "the only one here".into(),
        model: ModelFacts {
            digest: Digest::of(b"model"),
            size_bytes: 1 << 20,
            format: ModelFormat::Onnx,
            inputs: Vec::new(),
            outputs: Vec::new(),
            operators: Vec::new(),
            parameters: 1_000,
            memory_estimate_bytes: 2 << 20,
            opset: 17,
            producer: "test".into(),
        },
        candidates: Vec::new(),
        golden: None,
    }
}

pub(crate) fn report(findings: Vec<Finding>) -> ValidationReport {
    ValidationReport { checks: Vec::new(), findings, missing: Vec::new(), report: None, plan_digest: None }
}

pub(crate) fn intake(n: usize) -> IntakeReference {
    IntakeReference { source: "test".into(), id: n.to_string() }
}

/// A history under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scenario {
    pub(crate) facts: Vec<Arc<Fact>>,
    pub(crate) now: u64,
    pub(crate) part: Option<serde_json::Value>,
}

impl Scenario {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With this under `spec`.
    pub(crate) fn with(part: serde_json::Value) -> Self {
        Self { part: Some(part), ..Self::default() }
    }

    pub(crate) fn fold(&self) -> Deployment {
        fold(&id(), self.facts.iter().cloned())
    }

    /// What follows happens at `now` ms.
    pub(crate) fn at(&mut self, now: u64) -> &mut Self {
        self.now = now;
        self
    }

    /// Appends an answer to the next attempt at its slot.
    pub(crate) fn put(&mut self, generation: u32, revision: u32, slot: Slot, answer: Answer) -> &mut Self {
        let key = FactKey::new(id(), RevisionId::new(generation, revision), slot);
        let attempt = self.facts.iter().filter(|f| f.key.clone().at(Attempt(0)) == key).count();
        self.write(key.at(Attempt(u32::try_from(attempt).unwrap())), answer, None)
    }

    pub(crate) fn write(&mut self, key: FactKey, answer: Answer, causation: Option<String>) -> &mut Self {
        self.facts.push(Arc::new(Fact {
            id: key.to_string(),
            key,
            actor: "test".into(),
            causation,
            correlation: "c".into(),
            traceparent: None,
            at: Timestamp(self.now),
            sequence: self.facts.len() as u64 + 1,
            answer,
        }));
        self
    }

    pub(crate) fn requested(&mut self, generation: u32) -> &mut Self {
        self.requested_by(generation, intake(self.facts.len()))
    }

    /// For a spec of a custom resource.
    pub(crate) fn demanded(&mut self, generation: u32, uid: &str, spec: u64) -> &mut Self {
        let id = super::bridge::own::demand_id(uid, spec);
        self.requested_by(generation, IntakeReference { source: super::bridge::own::SOURCE.into(), id })
    }

    pub(crate) fn requested_by(&mut self, generation: u32, intake: IntakeReference) -> &mut Self {
        let deployment = document(self.part.as_ref().unwrap_or(&serde_json::json!({})));
        let requested = Requested { spec_digest: deployment.digest(), deployment, intake };
        self.put(generation, 0, Slot::Request, Answer::Requested(requested))
    }

    pub(crate) fn chosen(&mut self, generation: u32, needs_approval: bool) -> &mut Self {
        let chosen = InfrastructureChosen {
            target: "local".into(),
            reason: "it is here".into(),
            candidates: Vec::new(),
            machine: machine(),
            needs_approval,
        };
        self.put(generation, 0, Slot::Choice, Answer::InfrastructureChosen(chosen))
    }

    pub(crate) fn declined(&mut self, generation: u32) -> &mut Self {
        let declined = Declined { reason: "too dear".into(), intake: intake(self.facts.len()) };
        self.put(generation, 0, Slot::Approval, Answer::Declined(declined))
    }

    pub(crate) fn infrastructure_ready(&mut self, generation: u32) -> &mut Self {
        self.put(generation, 0, Slot::Infrastructure, Answer::InfrastructureReady(infrastructure_ready()))
    }

    /// Requested, chosen, provisioned, platform selected.
    pub(crate) fn ready(&mut self, generation: u32) -> &mut Self {
        self.requested(generation).chosen(generation, false).infrastructure_ready(generation);
        self.put(generation, 0, Slot::Platform, Answer::PlatformSelected(platform_selected()))
    }

    pub(crate) fn planned(&mut self, generation: u32, revision: u32) -> &mut Self {
        // Another queue limit for each, so that no two plans are equal.
        let plan = Plan { queue_limit: 100 + revision, ..plan() };
        self.planned_as(generation, revision, plan, Vec::new())
    }

    pub(crate) fn planned_as(&mut self, generation: u32, revision: u32, plan: Plan, changes: Vec<Change>) -> &mut Self {
        let planned = Planned { digest: plan.digest(), plan, manifests: None, revises: None, changes };
        self.put(generation, revision, Slot::Plan, Answer::Planned(planned))
    }

    pub(crate) fn deployed(&mut self, generation: u32, revision: u32) -> &mut Self {
        let deployed = Deployed { endpoints: Vec::new(), measurements: Vec::new(), fencing_token: 1 };
        self.put(generation, revision, Slot::Deployment, Answer::Deployed(deployed))
    }

    pub(crate) fn deploy_failed(&mut self, generation: u32, revision: u32, finding: Finding) -> &mut Self {
        self.put(generation, revision, Slot::Deployment, Answer::DeployFailed(Failed { findings: vec![finding] }))
    }

    pub(crate) fn deploy_failed_transiently(&mut self, generation: u32, revision: u32) -> &mut Self {
        let finding = Finding::transient(FindingKind::DependencyUnavailable, "the blob store was away");
        self.deploy_failed(generation, revision, finding)
    }

    pub(crate) fn four_ready(&mut self, generation: u32, revision: u32) -> &mut Self {
        let ready = Ready { configured: Vec::new(), proofs: Vec::new() };
        self.put(generation, revision, Slot::Ingress, Answer::IngressReady(ready.clone()));
        self.put(generation, revision, Slot::Outputs, Answer::OutputsReady(ready.clone()));
        self.put(generation, revision, Slot::Observability, Answer::ObservabilityReady(ready.clone()));
        self.put(generation, revision, Slot::Security, Answer::SecurityReady(ready))
    }

    pub(crate) fn validated(&mut self, generation: u32, revision: u32) -> &mut Self {
        self.put(generation, revision, Slot::Validation, Answer::Validated(report(Vec::new())))
    }

    pub(crate) fn inconclusive(&mut self, generation: u32, revision: u32) -> &mut Self {
        self.put(generation, revision, Slot::Validation, Answer::ValidationInconclusive(report(Vec::new())))
    }

    pub(crate) fn validation_failed(&mut self, generation: u32, revision: u32) -> &mut Self {
        let finding = Finding::deterministic(FindingKind::Latency, "slow").with_figures(80.0, 50.0, "ms");
        self.validation_failed_with(generation, revision, vec![finding])
    }

    pub(crate) fn validation_failed_with(&mut self, generation: u32, revision: u32, f: Vec<Finding>) -> &mut Self {
        self.put(generation, revision, Slot::Validation, Answer::ValidationFailed(report(f)))
    }

    pub(crate) fn shifted(&mut self, generation: u32, revision: u32, percent: u8) -> &mut Self {
        let shifted = Shifted { percent: u32::from(percent), beside: None, measurements: Vec::new() };
        self.put(generation, revision, Slot::Shift(percent), Answer::Shifted(shifted))
    }

    /// Everything up to `validated`, of a generation that may exist already.
    pub(crate) fn proved(&mut self, generation: u32, revision: u32) -> &mut Self {
        if revision == 1 {
            self.ready(generation);
        }
        self.planned(generation, revision).deployed(generation, revision);
        self.four_ready(generation, revision).validated(generation, revision)
    }

    /// Everything up to `released`.
    pub(crate) fn released(&mut self, generation: u32, revision: u32) -> &mut Self {
        self.proved(generation, revision);
        let released = Released { replaces: None, measurements: Vec::new() };
        self.put(generation, revision, Slot::Release, Answer::Released(released))
    }

    /// The same, for a spec of a custom resource.
    pub(crate) fn demanded_until_released(&mut self, generation: u32, uid: &str, spec: u64) -> &mut Self {
        self.demanded(generation, uid, spec).planned(generation, 1).deployed(generation, 1);
        self.four_ready(generation, 1).validated(generation, 1);
        let released = Released { replaces: None, measurements: Vec::new() };
        self.put(generation, 1, Slot::Release, Answer::Released(released))
    }

    pub(crate) fn degraded(&mut self, generation: u32, revision: u32) -> &mut Self {
        let finding = Finding::deterministic(FindingKind::Latency, "slow").with_figures(80.0, 50.0, "ms");
        let degraded = Degraded { findings: vec![finding] };
        self.put(generation, revision, Slot::Degradation, Answer::Degraded(degraded))
    }

    pub(crate) fn recovered(&mut self, generation: u32, revision: u32) -> &mut Self {
        let recovered = Recovered { measurements: Vec::new() };
        self.put(generation, revision, Slot::Degradation, Answer::Recovered(recovered))
    }

    pub(crate) fn rolled_back(&mut self, generation: u32, revision: u32, to: RevisionId) -> &mut Self {
        let back = RolledBack { to, reason: "test".into(), findings: Vec::new() };
        self.put(generation, revision, Slot::Rollback, Answer::RolledBack(back))
    }

    fn next_command(&self, generation: u32) -> u32 {
        let of = |fact: &&Arc<Fact>| fact.key.generation.0 == generation && matches!(fact.key.slot, Slot::Command(_));
        u32::try_from(self.facts.iter().filter(of).count()).unwrap()
    }

    pub(crate) fn command(&mut self, generation: u32, answer: Answer) -> &mut Self {
        let number = self.next_command(generation);
        self.put(generation, 0, Slot::Command(number), answer)
    }

    pub(crate) fn reason(&self) -> CommandReason {
        CommandReason { reason: String::new(), intake: intake(self.facts.len()) }
    }

    pub(crate) fn paused(&mut self, generation: u32) -> &mut Self {
        self.command(generation, Answer::Paused(self.reason()))
    }

    pub(crate) fn resumed(&mut self, generation: u32) -> &mut Self {
        self.command(generation, Answer::Resumed(self.reason()))
    }

    pub(crate) fn retire_requested(&mut self, generation: u32) -> &mut Self {
        self.command(generation, Answer::RetireRequested(self.reason()))
    }

    pub(crate) fn rollback_requested(&mut self, generation: u32) -> &mut Self {
        let intake = intake(self.facts.len());
        let request = RollbackRequested { to: None, reason: "it smells".into(), intake };
        self.command(generation, Answer::RollbackRequested(request))
    }

    pub(crate) fn removed(&mut self, generation: u32, service: Service) -> &mut Self {
        self.put(generation, 0, Slot::Removal(service), Answer::Removed(Removed { items: Vec::new() }))
    }

    pub(crate) fn revalidation_requested(&mut self, generation: u32) -> &mut Self {
        self.command(generation, Answer::RevalidationRequested(self.reason()))
    }

    pub(crate) fn superseded(&mut self, generation: u32) -> &mut Self {
        let superseded = Superseded { by: slipway_kernel::Generation(generation + 1) };
        self.put(generation, 0, Slot::End, Answer::Superseded(superseded))
    }

    pub(crate) fn retired(&mut self, generation: u32) -> &mut Self {
        self.put(generation, 0, Slot::End, Answer::Retired(Retired { removed: Vec::new() }))
    }

    pub(crate) fn abandoned(&mut self, generation: u32) -> &mut Self {
        let abandoned = Abandoned { reason: "test".into(), advice: "none".into(), findings: Vec::new() };
        self.put(generation, 0, Slot::End, Answer::Abandoned(abandoned))
    }
}

/// A finding with a cause that fits its kind.
pub(crate) fn finding(kind: FindingKind, cause: Cause) -> Finding {
    let mut finding = Finding::deterministic(kind, "test").with_figures(80.0, 50.0, "ms");
    finding.cause = cause;
    finding
}
