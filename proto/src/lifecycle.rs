//! Which protobuf message carries the data of which answer.

/// The full name of the message that carries the data of the answer called `name` (`released` → `slipway.v1.Released`).
#[must_use]
pub fn message_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "requested" => "slipway.v1.Requested",
        "infrastructure-chosen" => "slipway.v1.InfrastructureChosen",
        "approved" => "slipway.v1.Approved",
        "declined" => "slipway.v1.Declined",
        "infrastructure-ready" => "slipway.v1.InfrastructureReady",
        "infrastructure-failed"
        | "deploy-failed"
        | "ingress-failed"
        | "outputs-failed"
        | "observability-failed"
        | "security-failed"
        | "removal-failed" => "slipway.v1.Failed",
        "platform-selected" => "slipway.v1.PlatformSelected",
        "platform-rejected" => "slipway.v1.PlatformRejected",
        "planned" => "slipway.v1.Planned",
        "deployed" => "slipway.v1.Deployed",
        "ingress-ready" | "outputs-ready" | "observability-ready" | "security-ready" => "slipway.v1.Ready",
        "validated" | "validation-failed" | "validation-inconclusive" => "slipway.v1.ValidationReport",
        "shifted" => "slipway.v1.Shifted",
        "released" => "slipway.v1.Released",
        "degraded" => "slipway.v1.Degraded",
        "recovered" => "slipway.v1.Recovered",
        "rolled-back" => "slipway.v1.RolledBack",
        "rollback-requested" => "slipway.v1.RollbackRequested",
        "paused" | "resumed" | "revalidation-requested" | "retire-requested" => "slipway.v1.CommandReason",
        "annulled" => "slipway.v1.Annulled",
        "removed" => "slipway.v1.Removed",
        "superseded" => "slipway.v1.Superseded",
        "abandoned" => "slipway.v1.Abandoned",
        "retired" => "slipway.v1.Retired",
        "archived" => "slipway.v1.Archived",
        _ => return None,
    })
}
