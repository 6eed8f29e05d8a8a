//! What no manifest heals, and what a person should do about it.

use slipway_kernel::{Finding, FindingKind};

/// Whether a deterministic finding of this kind ends the loop at once.
pub(super) const fn concerns(kind: FindingKind) -> bool {
    match kind {
        FindingKind::TraceGap
        | FindingKind::SinkLoss
        | FindingKind::TelemetryGap
        | FindingKind::PolicyViolation
        | FindingKind::SecretMissing
        | FindingKind::ArtifactInvalid
        | FindingKind::PlatformUnsuitable
        | FindingKind::InfrastructureUnsuitable
        | FindingKind::ExecutorMissing
        | FindingKind::ImageUnavailable
        | FindingKind::Timeout
        | FindingKind::Declined
        | FindingKind::DependencyUnavailable
        | FindingKind::Misconfigured => true,
        FindingKind::Latency
        | FindingKind::Throughput
        | FindingKind::ErrorRate
        | FindingKind::OutOfMemory
        | FindingKind::Unschedulable
        | FindingKind::StartTimeout
        | FindingKind::Crashed
        | FindingKind::AutoscalerIdle
        | FindingKind::OutputMismatch
        | FindingKind::AuthHole
        | FindingKind::Overload
        | FindingKind::Resilience => false,
    }
}

/// What a person should do, one sentence for each kind that was found.
pub(super) fn advice(findings: &[Finding]) -> String {
    let mut sentences: Vec<&'static str> = findings.iter().map(|finding| sentence(finding.kind)).collect();
    sentences.sort_unstable();
    sentences.dedup();
    if sentences.is_empty() {
        "read the log of the deployment: `slipway explain`".to_owned()
    } else {
        sentences.join("; ")
    }
}

const fn sentence(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Latency => "raise slo.latencyP99, scale.max or resources.cpu, or use a faster machine",
        FindingKind::Throughput => "lower slo.throughput, or raise scale.max, or use a machine with more cores",
        FindingKind::ErrorRate => "look at the errors in the validation report; raise scale.max if they are refusals",
        FindingKind::OutOfMemory => "give the machine more memory, or raise resources.memory, or use a smaller model",
        FindingKind::Unschedulable => "free room on the machine, or lower resources or scale.min",
        FindingKind::ImageUnavailable => "make the program or image available to the machine that runs the workers",
        FindingKind::StartTimeout => "raise the deploy deadline or resources.cpu, or use a smaller model",
        FindingKind::Crashed => "read the tail of the worker's log in the finding's evidence",
        FindingKind::AutoscalerIdle => "raise scale.min, or choose another scale.signal",
        FindingKind::OutputMismatch => "check the model against its golden file: outputs or expectations are wrong",
        FindingKind::AuthHole => "check spec.access: somebody without the right was let in",
        FindingKind::TraceGap => "check that ingress, workers and sinks send traces to the same collector",
        FindingKind::SinkLoss => "check the outputs: a result was lost or written twice",
        FindingKind::TelemetryGap => "check that metrics of the deployment can be scraped",
        FindingKind::Overload => "lower validation.load or raise scale.max",
        FindingKind::Resilience => "raise scale.max to at least 2 and leave room for a second worker",
        FindingKind::PolicyViolation => "change the spec so that it fulfils the policy named in the finding",
        FindingKind::SecretMissing => "provide the secret that the finding names, then deploy again",
        FindingKind::ArtifactInvalid => "check spec.model.uri and sha256: the artifact is not what the spec says",
        FindingKind::PlatformUnsuitable => "export the model as ONNX, or change in it what the finding names",
        FindingKind::InfrastructureUnsuitable => {
            "relax the demands under spec.infrastructure that the choice names as vetoes"
        }
        FindingKind::ExecutorMissing => {
            "choose an infrastructure.target that this installation has an executor for, as the finding says"
        }
        FindingKind::Timeout => "look whether the service that the finding names runs, then deploy again",
        FindingKind::Declined => "deploy again when the person who declined agrees",
        FindingKind::DependencyUnavailable => "make the dependency that the finding names work, then deploy again",
        FindingKind::Misconfigured => "correct the channel or output that the finding names",
    }
}
