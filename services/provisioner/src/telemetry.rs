//! The metrics and log events of the provisioner. Duties are counted by the bus.

use crate::domain::stack::{Action, Event};
use prometheus_client::{
    encoding::EncodeLabelSet, metrics::counter::Counter, metrics::family::Family, metrics::gauge::Gauge,
};
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

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Change {
    action: String,
    outcome: &'static str,
}

/// `slipway_provisioner_…`.
#[derive(Clone, Default)]
pub(crate) struct Telemetry {
    choices: Family<Target, Counter>,
    failures: Family<Kind, Counter>,
    resources: Family<Change, Counter>,
    drifted: Gauge,
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
            let resources = "Resources of stacks, by what was done to them and what came of it";
            registry.register("resources", resources, telemetry.resources.clone());
            registry.register("drifted_stacks", "Stacks that are not what they were made", telemetry.drifted.clone());
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

    /// A line of the program that makes a deployment's stack.
    pub(crate) fn heard(&self, deployment: &DeploymentId, event: &Event) {
        match event {
            Event::Planned { address, action, .. } => tracing::info!(%deployment, address, %action, "to be"),
            Event::Drifted { address, action } => tracing::warn!(%deployment, address, %action, "by others"),
            Event::Begun { address, action } => tracing::info!(%deployment, address, %action, "being"),
            Event::Going { address, seconds } => tracing::info!(%deployment, address, seconds, "not done yet"),
            Event::Done { address, action, seconds } => {
                self.resource(*action, "done");
                tracing::info!(%deployment, address, %action, seconds, "done");
            }
            Event::Failed { address, action, seconds } => {
                self.resource(*action, "failed");
                tracing::warn!(%deployment, address, %action, seconds, "failed");
            }
            Event::Said(diagnostic) => {
                tracing::warn!(%deployment, severity = diagnostic.severity, said = diagnostic.said(), "said of a stack");
            }
            Event::Summary(_) | Event::Outputs(_) => {}
        }
    }

    fn resource(&self, action: Action, outcome: &'static str) {
        self.resources.get_or_create(&Change { action: action.to_string(), outcome }).inc();
    }

    pub(crate) fn drifted(&self, stacks: usize) {
        self.drifted.set(i64::try_from(stacks).unwrap_or(i64::MAX));
    }
}
