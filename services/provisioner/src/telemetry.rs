//! The metrics and log events of the provisioner. Duties are counted by the bus.

use prometheus_client::{encoding::EncodeLabelSet, metrics::counter::Counter, metrics::family::Family};
use slipway_kernel::{DeploymentId, Finding, InfrastructureChosen};
use slipway_runtime::Frame;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Target {
    target: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: String,
}

/// `slipway_provisioner_…`.
#[derive(Clone, Default)]
pub(crate) struct Telemetry {
    choices: Family<Target, Counter>,
    failures: Family<Kind, Counter>,
}

impl Telemetry {
    pub(crate) fn register(frame: &Frame) -> Self {
        let telemetry = Self::default();
        frame.metrics.with(|registry| {
            let registry = registry.sub_registry_with_prefix("provisioner");
            registry.register(
                "choices",
                "Choices made, by target; `none` if every candidate was excluded",
                telemetry.choices.clone(),
            );
            registry.register("findings", "Findings written, by kind", telemetry.failures.clone());
        });
        telemetry
    }

    pub(crate) fn chosen(&self, deployment: &DeploymentId, chosen: &InfrastructureChosen) {
        let target = if chosen.target.is_empty() { "none" } else { chosen.target.as_str() };
        self.choices.get_or_create(&Target { target: target.to_owned() }).inc();
        tracing::info!(%deployment, target, reason = %chosen.reason, "infrastructure chosen");
    }

    pub(crate) fn failed(&self, deployment: &DeploymentId, findings: &[Finding]) {
        for finding in findings {
            self.failures.get_or_create(&Kind { kind: finding.kind.to_string() }).inc();
            tracing::warn!(%deployment, kind = %finding.kind, cause = ?finding.cause, message = %finding.message, "infrastructure is not ready");
        }
    }
}
