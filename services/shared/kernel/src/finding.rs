//! Findings: what went wrong, typed, so that the loop can choose a remedy without reading prose.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of trouble it is. One remedy file in the controller per kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// Slower than the target.
    Latency,
    /// Fewer requests a second than the target.
    Throughput,
    /// More failed requests than the target allows.
    ErrorRate,
    /// The process passed its memory limit or was killed for memory.
    OutOfMemory,
    /// The machine has no room for what was planned.
    Unschedulable,
    /// A program, image or artifact could not be had.
    ImageUnavailable,
    /// Not ready in time.
    StartTimeout,
    /// The process ended by itself.
    Crashed,
    /// The autoscaler did not act.
    AutoscalerIdle,
    /// The outputs are not the golden ones.
    OutputMismatch,
    /// Somebody without the right was let in.
    AuthHole,
    /// A request cannot be followed from end to end.
    TraceGap,
    /// An accepted request is missing in, or doubled in, a sink.
    SinkLoss,
    /// A promised series, rule or dashboard is not there.
    TelemetryGap,
    /// Under overload the service did not refuse politely, or fell over.
    Overload,
    /// Requests were lost when a worker died.
    Resilience,
    /// The plan breaks a policy.
    PolicyViolation,
    /// A secret that is referred to is not there.
    SecretMissing,
    /// The artifact is not what the spec says it is.
    ArtifactInvalid,
    /// Nothing here can serve this model.
    PlatformUnsuitable,
    /// No infrastructure fulfils the demands.
    InfrastructureUnsuitable,
    /// What was chosen cannot be executed by this installation.
    ExecutorMissing,
    /// Nobody answered in time.
    Timeout,
    /// A person declined.
    Declined,
    /// A dependency (broker, database, disk) did not work.
    DependencyUnavailable,
    /// The configuration of a channel or sink does not work.
    Misconfigured,
}

impl FindingKind {
    /// Every kind.
    pub const ALL: [Self; 26] = [
        Self::Latency,
        Self::Throughput,
        Self::ErrorRate,
        Self::OutOfMemory,
        Self::Unschedulable,
        Self::ImageUnavailable,
        Self::StartTimeout,
        Self::Crashed,
        Self::AutoscalerIdle,
        Self::OutputMismatch,
        Self::AuthHole,
        Self::TraceGap,
        Self::SinkLoss,
        Self::TelemetryGap,
        Self::Overload,
        Self::Resilience,
        Self::PolicyViolation,
        Self::SecretMissing,
        Self::ArtifactInvalid,
        Self::PlatformUnsuitable,
        Self::InfrastructureUnsuitable,
        Self::ExecutorMissing,
        Self::Timeout,
        Self::Declined,
        Self::DependencyUnavailable,
        Self::Misconfigured,
    ];
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Whether trying the same again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It may pass by itself: same plan, next attempt.
    Transient,
    /// The same plan will fail again: its digest is burnt.
    Deterministic,
}

/// One typed finding with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What kind of trouble.
    pub kind: FindingKind,
    /// Whether trying again can help.
    pub cause: Cause,
    /// One sentence for a person.
    pub message: String,
    /// What was measured, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// What was wanted, in `unit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<f64>,
    /// The unit of both: `ms`, `requests/s`, `bytes`, `ratio`, `count`.
    #[serde(default)]
    pub unit: String,
    /// References to evidence: a subject, a blob digest, a metric name, a path in the spec.
    #[serde(default)]
    pub evidence: Vec<String>,
}

impl Finding {
    /// A deterministic finding without figures.
    #[must_use]
    pub fn deterministic(kind: FindingKind, message: impl Into<String>) -> Self {
        Self::new(kind, Cause::Deterministic, message)
    }

    /// A transient finding without figures.
    #[must_use]
    pub fn transient(kind: FindingKind, message: impl Into<String>) -> Self {
        Self::new(kind, Cause::Transient, message)
    }

    fn new(kind: FindingKind, cause: Cause, message: impl Into<String>) -> Self {
        Self {
            kind,
            cause,
            message: message.into(),
            measured: None,
            wanted: None,
            unit: String::new(),
            evidence: Vec::new(),
        }
    }

    /// The same finding with what was measured and what was wanted.
    #[must_use]
    pub fn with_figures(mut self, measured: f64, wanted: f64, unit: &str) -> Self {
        self.measured = Some(measured);
        self.wanted = Some(wanted);
        unit.clone_into(&mut self.unit);
        self
    }

    /// The same finding with one more piece of evidence.
    #[must_use]
    pub fn with_evidence(mut self, reference: impl Into<String>) -> Self {
        self.evidence.push(reference.into());
        self
    }
}
