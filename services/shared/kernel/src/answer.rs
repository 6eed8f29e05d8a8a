//! The answers: what each fact says. The CloudEvent type is `dev.slipway.<answer>.v1`, the data is the struct's JSON.

use crate::{
    blob::{BlobReference, Digest},
    finding::Finding,
    ids::{Generation, RevisionId},
    model::ModelFacts,
    plan::{Change, Plan},
    slot::Slot,
    spec::ModelDeployment,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// Declares the enum of answers, its type names, the slots they answer, and reading and writing of their data.
macro_rules! answers {
    ($($(#[$doc:meta])* $variant:ident($data:ty) = $name:literal, $slot:pat,)*) => {
        /// The answer of a fact.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(clippy::large_enum_variant, reason = "facts are held behind an Arc; a box inside would be a second hop")]
        pub enum Answer { $($(#[$doc])* $variant($data),)* }

        impl Answer {
            /// Every type name.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The type name (`released`).
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)* }
            }

            /// Whether this is an answer to that question.
            #[must_use]
            pub const fn answers(&self, slot: Slot) -> bool {
                match self { $(Self::$variant(_) => matches!(slot, $slot),)* }
            }

            /// The data as JSON, which is the protobuf JSON mapping.
            ///
            /// # Errors
            /// If a number has no JSON (never for values made by this crate's types).
            pub fn to_json(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self { $(Self::$variant(data) => serde_json::to_value(data),)* }
            }

            /// Reads the data of the answer called `name`. Fields unknown to this version are skipped.
            ///
            /// # Errors
            /// [`UnknownAnswer::Type`] for a name this version does not know, [`UnknownAnswer::Data`] for data that does not fit.
            pub fn from_json(name: &str, data: &[u8]) -> Result<Self, UnknownAnswer> {
                let mut reader = serde_json::Deserializer::from_slice(data);
                match name {
                    $($name => serde_path_to_error::deserialize(&mut reader).map(Self::$variant)
                        .map_err(|error| UnknownAnswer::Data { name: name.to_owned(), reason: error.to_string() }),)*
                    _ => Err(UnknownAnswer::Type(name.chars().take(80).collect())),
                }
            }
        }
    };
}

answers! {
    /// What is wanted.
    Requested(Requested) = "requested", Slot::Request,
    /// Where it shall run.
    InfrastructureChosen(InfrastructureChosen) = "infrastructure-chosen", Slot::Choice,
    /// A person allowed it.
    Approved(Approved) = "approved", Slot::Approval,
    /// A person forbade it.
    Declined(Declined) = "declined", Slot::Approval,
    /// The infrastructure is there.
    InfrastructureReady(InfrastructureReady) = "infrastructure-ready", Slot::Infrastructure,
    /// It is not.
    InfrastructureFailed(Failed) = "infrastructure-failed", Slot::Infrastructure,
    /// What serves the model.
    PlatformSelected(PlatformSelected) = "platform-selected", Slot::Platform,
    /// Nothing can.
    PlatformRejected(PlatformRejected) = "platform-rejected", Slot::Platform,
    /// What is to be deployed.
    Planned(Planned) = "planned", Slot::Plan,
    /// It runs.
    Deployed(Deployed) = "deployed", Slot::Deployment,
    /// It does not.
    DeployFailed(Failed) = "deploy-failed", Slot::Deployment,
    /// The door is open.
    IngressReady(Ready) = "ingress-ready", Slot::Ingress,
    /// It is not.
    IngressFailed(Failed) = "ingress-failed", Slot::Ingress,
    /// Results are kept.
    OutputsReady(Ready) = "outputs-ready", Slot::Outputs,
    /// They are not.
    OutputsFailed(Failed) = "outputs-failed", Slot::Outputs,
    /// It can be seen.
    ObservabilityReady(Ready) = "observability-ready", Slot::Observability,
    /// It cannot.
    ObservabilityFailed(Failed) = "observability-failed", Slot::Observability,
    /// It is closed to everybody else.
    SecurityReady(Ready) = "security-ready", Slot::Security,
    /// It is not.
    SecurityFailed(Failed) = "security-failed", Slot::Security,
    /// It is what was asked for.
    Validated(ValidationReport) = "validated", Slot::Validation,
    /// It is not.
    ValidationFailed(ValidationReport) = "validation-failed", Slot::Validation,
    /// It could not be told.
    ValidationInconclusive(ValidationReport) = "validation-inconclusive", Slot::Validation,
    /// It has this share of the traffic.
    Shifted(Shifted) = "shifted", Slot::Shift(_),
    /// It is in production.
    Released(Released) = "released", Slot::Release,
    /// It no longer keeps its objectives.
    Degraded(Degraded) = "degraded", Slot::Degradation,
    /// It keeps them again.
    Recovered(Recovered) = "recovered", Slot::Degradation,
    /// It was taken back.
    RolledBack(RolledBack) = "rolled-back", Slot::Rollback,
    /// A person wants it taken back.
    RollbackRequested(RollbackRequested) = "rollback-requested", Slot::Command(_),
    /// A person holds the rollout.
    Paused(CommandReason) = "paused", Slot::Command(_),
    /// A person lets it go on.
    Resumed(CommandReason) = "resumed", Slot::Command(_),
    /// A person wants the proof again.
    RevalidationRequested(CommandReason) = "revalidation-requested", Slot::Command(_),
    /// A person wants it gone.
    RetireRequested(CommandReason) = "retire-requested", Slot::Command(_),
    /// A person takes a fact out of the fold.
    Annulled(Annulled) = "annulled", Slot::Command(_),
    /// What this service made is gone.
    Removed(Removed) = "removed", Slot::Removal(_),
    /// It is not.
    RemovalFailed(Failed) = "removal-failed", Slot::Removal(_),
    /// A newer generation took its place.
    Superseded(Superseded) = "superseded", Slot::End,
    /// It failed and there was nothing to go back to.
    Abandoned(Abandoned) = "abandoned", Slot::End,
    /// It is gone, as a person wanted.
    Retired(Retired) = "retired", Slot::End,
    /// Its facts were exported and purged.
    Archived(Archived) = "archived", Slot::End,
}

/// Why the data of a fact could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownAnswer {
    /// A type this version does not know: skipped, an upgraded replica may know it.
    #[error("`{0}` is an answer this version does not know")]
    Type(String),
    /// Known type, data that does not fit.
    #[error("data of `{name}` does not fit: {reason}")]
    Data {
        /// The type name.
        name: String,
        /// Path and reason.
        reason: String,
    },
}

/// The intake message that a gate's fact answers; the pair is the idempotency key of the intake.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntakeReference {
    /// `ce-source` of the message.
    pub source: String,
    /// `ce-id` of the message.
    pub id: String,
}

/// `requested`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requested {
    /// The spec, with its defaults filled in.
    pub deployment: ModelDeployment,
    /// SHA-256 of the spec's JSON.
    pub spec_digest: Digest,
    /// The message that asked.
    pub intake: IntakeReference,
}

/// A rule that excludes a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Veto {
    /// The rule's name (`residency`, `gpu`, `budget`…).
    pub rule: String,
    /// Why it applies, with the figures.
    pub reason: String,
}

/// One candidate infrastructure with all that spoke for and against it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// `local`, `kubernetes`, `aws`, `azure`, `gcp`, `bare-metal`.
    pub target: String,
    /// Weighted score, 0 to 1; 0 when vetoed.
    pub score: f64,
    /// The rules that exclude it; empty = eligible.
    #[serde(default)]
    pub vetoes: Vec<Veto>,
    /// What the score is made of.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// Estimated cost per hour, in the currency of the budget.
    #[serde(default)]
    pub cost_per_hour: f64,
}

/// A GPU that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GpuFacts {
    /// Product name.
    pub name: String,
    /// Memory in bytes.
    #[serde(with = "crate::wire::u64_string")]
    pub memory_bytes: u64,
    /// Compute capability (`8.0`), empty if unknown.
    #[serde(default)]
    pub compute_capability: String,
    /// Memory that nobody uses, in bytes; 0 if unknown.
    #[serde(with = "crate::wire::u64_string", default)]
    pub memory_free_bytes: u64,
    /// Identity (`GPU-…`, `MIG-…`), empty if unknown.
    #[serde(default)]
    pub uuid: String,
    /// Whether it is a part of a GPU, or one that is cut into parts (MIG).
    #[serde(default)]
    pub mig: bool,
}

/// What a machine or cluster has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MachineFacts {
    /// Processor cores usable by this installation (affinity and control groups counted).
    pub cores: u32,
    /// Memory in bytes.
    #[serde(with = "crate::wire::u64_string")]
    pub memory_bytes: u64,
    /// Memory not in use, in bytes.
    #[serde(with = "crate::wire::u64_string")]
    pub memory_available_bytes: u64,
    /// Free disk in bytes, in the data folder.
    #[serde(with = "crate::wire::u64_string")]
    pub disk_available_bytes: u64,
    /// GPUs.
    #[serde(default)]
    pub gpus: Vec<GpuFacts>,
    /// Why there are none, if there are none.
    #[serde(default)]
    pub gpu_note: String,
    /// Engines that workers have there: `tract`, `onnxruntime`, and on a GPU `tract-cuda`, `onnxruntime-cuda`. Empty where no worker was asked; then only what is part of every worker
    /// may be counted on.
    #[serde(default)]
    pub engines: Vec<String>,
    /// Why ONNX Runtime is not among them, if it is not.
    #[serde(default)]
    pub engine_note: String,
    /// `x86_64`, `aarch64`.
    pub architecture: String,
    /// `linux`.
    pub operating_system: String,
}

/// `infrastructure-chosen`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InfrastructureChosen {
    /// The chosen target, empty if every candidate was vetoed.
    pub target: String,
    /// One sentence.
    pub reason: String,
    /// Every candidate, best first.
    pub candidates: Vec<Candidate>,
    /// What was found on this machine, an input of the decision.
    pub machine: MachineFacts,
    /// Whether a person must approve before it is provisioned.
    pub needs_approval: bool,
}

/// `approved`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    /// What the person said.
    #[serde(default)]
    pub reason: String,
    /// The message.
    pub intake: IntakeReference,
}

/// `declined`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Declined {
    /// What the person said.
    #[serde(default)]
    pub reason: String,
    /// The message.
    pub intake: IntakeReference,
}

/// `infrastructure-ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InfrastructureReady {
    /// The target.
    pub target: String,
    /// What it has.
    pub machine: MachineFacts,
    /// What was prepared, and the proof of it.
    #[serde(default)]
    pub proofs: Vec<Proof>,
}

/// Any `…-failed`: the findings say why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// Why; never empty.
    pub findings: Vec<Finding>,
}

/// One candidate platform with all that spoke for and against it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformCandidate {
    /// `slipway`, `triton`, `tensorflow-serving`, `torchserve`, `vllm`.
    pub platform: String,
    /// Weighted score, 0 to 1; 0 when it cannot serve.
    pub score: f64,
    /// Why it cannot serve; empty = it can.
    #[serde(default)]
    pub vetoes: Vec<Veto>,
    /// What the score is made of.
    #[serde(default)]
    pub reasons: Vec<String>,
}

/// `platform-selected`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformSelected {
    /// The platform.
    pub platform: String,
    /// The image that carries it, empty on the local target.
    #[serde(default)]
    pub image: String,
    /// One sentence.
    pub reason: String,
    /// What was read from the model.
    pub model: ModelFacts,
    /// Every candidate, best first.
    pub candidates: Vec<PlatformCandidate>,
    /// The golden vectors, pinned in the blob store beside the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub golden: Option<BlobReference>,
}

/// `platform-rejected`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformRejected {
    /// Why.
    pub findings: Vec<Finding>,
    /// Every candidate, if it came to that.
    #[serde(default)]
    pub candidates: Vec<PlatformCandidate>,
    /// What was read from the model, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelFacts>,
}

/// `planned`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// Its digest.
    pub digest: Digest,
    /// The rendered manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<BlobReference>,
    /// The revision this one revises, if it revises one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revises: Option<RevisionId>,
    /// What differs from it and why.
    #[serde(default)]
    pub changes: Vec<Change>,
}

/// Where one worker answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The worker's instance id.
    pub instance: String,
    /// `host:port`.
    pub address: String,
}

/// A figure with its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// What (`latency-p99`, `load-time`).
    pub name: String,
    /// How much.
    pub value: f64,
    /// `ms`, `requests/s`, `bytes`, `ratio`, `count`.
    pub unit: String,
}

/// `deployed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployed {
    /// The workers that were ready at that moment; who lives now is in the registry.
    pub endpoints: Vec<Endpoint>,
    /// What warm-up measured.
    #[serde(default)]
    pub measurements: Vec<Measurement>,
    /// The fencing token under which the workers were started.
    #[serde(with = "crate::wire::u64_string", default)]
    pub fencing_token: u64,
}

/// Something that was configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What.
    pub name: String,
    /// How.
    pub value: String,
}

/// A check that was made on the spot, and what it showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// What was tried.
    pub name: String,
    /// What came of it.
    pub detail: String,
}

/// Any `…-ready` of the four: what was configured, and the proof that it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// What was configured.
    #[serde(default)]
    pub configured: Vec<Item>,
    /// The proof that it works.
    #[serde(default)]
    pub proofs: Vec<Proof>,
}

/// How a check of the validator came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// It could not be told.
    Inconclusive,
    /// Not asked for, or not applicable; the detail says which.
    Skipped,
}

/// One check of the validator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `golden-outputs`, `latency-p99`, `worker-killed`…
    pub name: String,
    /// How it came out.
    pub outcome: Outcome,
    /// One sentence.
    pub detail: String,
    /// Measured, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// Wanted, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<f64>,
    /// Half the width of the noise band of `measured`, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// Unit of the three.
    #[serde(default)]
    pub unit: String,
}

/// `validated`, `validation-failed`, `validation-inconclusive`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidationReport {
    /// Every check.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// What failed; empty if validated.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// The slots whose answer was missing at the deadline.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The report for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<BlobReference>,
    /// The plan that was validated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_digest: Option<Digest>,
}

/// `shifted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shifted {
    /// The new share in percent.
    pub percent: u32,
    /// Who has the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<RevisionId>,
    /// What allowed it.
    #[serde(default)]
    pub measurements: Vec<Measurement>,
}

/// `released`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// Whose place it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<RevisionId>,
    /// What allowed it.
    #[serde(default)]
    pub measurements: Vec<Measurement>,
}

/// `degraded`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Degraded {
    /// Which objectives are missed, and by how much.
    pub findings: Vec<Finding>,
}

/// `recovered`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovered {
    /// What shows it.
    #[serde(default)]
    pub measurements: Vec<Measurement>,
}

/// `rolled-back`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolledBack {
    /// The revision that has the traffic again.
    pub to: RevisionId,
    /// One sentence.
    pub reason: String,
    /// The findings that led to it.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// `rollback-requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackRequested {
    /// To which revision; the last good before this one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<RevisionId>,
    /// What the person said.
    #[serde(default)]
    pub reason: String,
    /// The message.
    pub intake: IntakeReference,
}

/// `paused`, `resumed`, `revalidation-requested`, `retire-requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandReason {
    /// What the person said.
    #[serde(default)]
    pub reason: String,
    /// The message.
    pub intake: IntakeReference,
}

/// `annulled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Annulled {
    /// The key of the fact that no longer counts.
    pub fact: String,
    /// What the person said.
    pub reason: String,
    /// The message.
    pub intake: IntakeReference,
}

/// `removed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// What is gone.
    #[serde(default)]
    pub items: Vec<Item>,
}

/// `superseded`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Superseded {
    /// The newer generation.
    pub by: Generation,
}

/// `abandoned`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Abandoned {
    /// One sentence.
    pub reason: String,
    /// What a person should do.
    pub advice: String,
    /// The findings that led to it.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// `retired`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retired {
    /// What each service removed.
    #[serde(default)]
    pub removed: Vec<Item>,
}

/// `archived`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Archived {
    /// The last generation, so that counting goes on after it.
    pub last_generation: Generation,
    /// Digest of the export.
    pub export: Digest,
    /// When it was retired.
    pub retired_at: Timestamp,
}
