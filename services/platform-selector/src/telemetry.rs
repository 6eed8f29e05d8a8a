//! The metrics and log events of the platform-selector. Duties are counted by the bus.

use prometheus_client::{encoding::EncodeLabelSet, metrics::counter::Counter, metrics::family::Family};
use slipway_kernel::{DeploymentId, Finding, ModelFacts};
use slipway_runtime::Frame;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Platform {
    platform: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: String,
}

/// `slipway_selector_…`.
#[derive(Clone, Default)]
pub(crate) struct Telemetry {
    selections: Family<Platform, Counter>,
    findings: Family<Kind, Counter>,
    fetched: Counter,
}

impl Telemetry {
    pub(crate) fn register(frame: &Frame) -> Self {
        let telemetry = Self::default();
        frame.metrics.with(|registry| {
            let registry = registry.sub_registry_with_prefix("selector");
            registry.register("selections", "Platforms selected", telemetry.selections.clone());
            registry.register("findings", "Findings written, by kind", telemetry.findings.clone());
            registry.register("artifact_bytes", "Bytes of artifacts pinned", telemetry.fetched.clone());
        });
        telemetry
    }

    pub(crate) fn selected(&self, deployment: &DeploymentId, platform: &str, model: &ModelFacts) {
        self.selections.get_or_create(&Platform { platform: platform.to_owned() }).inc();
        self.fetched.inc_by(model.size_bytes);
        tracing::info!(%deployment, platform, digest = model.digest.short(), format = %model.format, parameters = model.parameters, "platform selected");
    }

    pub(crate) fn rejected(&self, deployment: &DeploymentId, findings: &[Finding]) {
        for finding in findings {
            self.findings.get_or_create(&Kind { kind: finding.kind.to_string() }).inc();
            tracing::warn!(%deployment, kind = %finding.kind, cause = ?finding.cause, message = %finding.message, "no platform");
        }
    }
}
