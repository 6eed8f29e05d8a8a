//! `deployment`: does it run?

use super::{actor::Controller, group};
use crate::target::{Running, Status};
use slipway_bus::{Done, DutyError, Scene};
use slipway_kernel::{Answer, Attempt, Deployed, Failed, Finding, FindingKind, RevisionId, Slot, Timestamp};
use std::time::Duration;

/// How often the time is looked at while workers come up; a change of theirs is noticed at once.
const LOOK: Duration = Duration::from_millis(250);

impl Controller {
    /// Waits for the workers, which the wishes have begun, and says what came of it.
    pub(super) async fn deploy(
        &self,
        revision: RevisionId,
        attempt: Attempt,
        deadline: Timestamp,
        scene: &Scene,
    ) -> Result<Done, DutyError> {
        let group = group(&scene.id, revision, attempt.0);
        let answer = loop {
            match self.target.status(&group) {
                Status::Elsewhere => return Ok(Done::Elsewhere),
                Status::Running(running) => break deployed(running),
                Status::Failed(findings) => break failed(findings),
                Status::Gone if scene.now() >= deadline => break failed(vec![too_late("no worker was started")]),
                Status::Starting { ready, of, detail } if scene.now() >= deadline => {
                    break failed(vec![too_late(&format!("{ready} of {of} workers were ready; {detail}"))]);
                }
                Status::Gone | Status::Starting { .. } => self.target.changed(LOOK).await,
            }
        };
        let key = scene.key(revision, Slot::Deployment).at(attempt);
        let name = answer.name();
        scene.append(&key, answer).await?;
        self.telemetry.decision(name);
        Ok(Done::Wrote)
    }
}

fn deployed(running: Running) -> Answer {
    Answer::Deployed(Deployed {
        endpoints: running.endpoints,
        measurements: running.measurements,
        fencing_token: running.fencing_token,
    })
}

fn failed(findings: Vec<Finding>) -> Answer {
    let findings = if findings.is_empty() { vec![too_late("nobody knows why")] } else { findings };
    Answer::DeployFailed(Failed { findings })
}

fn too_late(detail: &str) -> Finding {
    let message = format!("the workers were not ready within the deploy deadline: {detail}");
    Finding::deterministic(FindingKind::StartTimeout, message)
}
