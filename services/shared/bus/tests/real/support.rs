//! Facts and deployments for the tests.

use serde_json::json;
use slipway_bus::{Draft, Log, Written};
use slipway_kernel::{
    Answer, Attempt, DeploymentId, FactKey, IntakeReference, Recovered, Requested, RevisionId, Slot,
    spec::ModelDeployment,
};
use std::time::Duration;

/// Longer than anything takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn deployment(name: &str) -> DeploymentId {
    format!("default.{name}").parse().unwrap()
}

pub(crate) fn key(name: &str, slot: Slot, attempt: u32) -> FactKey {
    let revision = u32::from(!slot.fits_revision(0));
    FactKey::new(deployment(name), RevisionId::new(1, revision), slot).at(Attempt(attempt))
}

pub(crate) fn recovered() -> Answer {
    Answer::Recovered(Recovered { measurements: Vec::new() })
}

pub(crate) fn requested(name: &str) -> Answer {
    let document = json!({ "metadata": { "name": name }, "spec": { "model": { "uri": "file:///m.onnx" } } });
    let deployment = ModelDeployment::read(&document).unwrap();
    Answer::Requested(Requested {
        deployment,
        spec_digest: slipway_kernel::Digest::of(name.as_bytes()),
        intake: IntakeReference { source: "test".to_owned(), id: name.to_owned() },
    })
}

pub(crate) fn draft(answer: Answer) -> Draft {
    Draft::new(answer, "test", "correlation")
}

/// Writes `requested` of a deployment.
pub(crate) async fn request(log: &Log, name: &str) -> Written {
    log.append(&key(name, Slot::Request, 0), draft(requested(name))).await.unwrap()
}
