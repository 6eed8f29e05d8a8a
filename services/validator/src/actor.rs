//! Does what is due: proves, or says who failed or is missing, and writes the answer once.

use crate::{
    domain::{
        assignment::Assignment,
        due::{Duty, due, findings_of_the_four},
        report::{Told, fit, missing_markdown},
        verdict::{Verdict, verdict},
    },
    effects::{Effects, Proof},
    telemetry::ValidatorMetrics,
};
use async_trait::async_trait;
use slipway_bus::{Actor, Done, DutyError, Scene};
use slipway_kernel::{
    Answer, Attempt, BlobReference, Check, Deployment, Due, Finding, RevisionId, Service, Slot, Timestamp,
    ValidationReport,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// The lease under which a proof runs.
const WORK: &str = "validate";
/// How long it outlives its holder: another replica takes over within this. A proof renews it far more often.
const LEASE: Duration = Duration::from_secs(10);
/// Proofs at once in one replica. Two would load the machine for each other, and find each other's noise.
const AT_ONCE: usize = 1;
/// Simulated proofs at once: what touches nothing disturbs nobody.
const SIMULATED_AT_ONCE: usize = 64;

/// The validator.
pub(crate) struct Validator {
    effects: Arc<dyn Effects>,
    metrics: ValidatorMetrics,
    /// The other duties are quick and never wait for a proof.
    proofs: Semaphore,
}

impl Validator {
    pub(crate) fn new(effects: Arc<dyn Effects>, metrics: ValidatorMetrics, simulated: bool) -> Self {
        Self { effects, metrics, proofs: Semaphore::new(if simulated { SIMULATED_AT_ONCE } else { AT_ONCE }) }
    }

    async fn prove(&self, scene: &Scene, revision: RevisionId, attempt: Attempt) -> Result<Done, DutyError> {
        let assignment = Assignment::of(&scene.folded.deployment, revision, attempt)
            .ok_or_else(|| DutyError::permanent(anyhow::anyhow!("revision {revision} has no plan or no platform")))?;
        let _turn = self.proofs.acquire().await.map_err(DutyError::transient)?;
        let Some(lease) = scene.lease(WORK, LEASE).await? else {
            return Ok(Done::Elsewhere);
        };
        self.metrics.running.inc();
        let guard = Running(&self.metrics);
        let proof = tokio::select! {
            proof = self.effects.prove(&assignment) => proof,
            // Another replica may hold it by now: two loads at once would spoil each other.
            () = lease.lost() => return Ok(Done::Elsewhere),
        };
        drop(guard);
        let written = Box::pin(self.write(scene, &assignment, &proof)).await;
        if let Err(error) = lease.release().await {
            tracing::debug!(%error, "the lease is left to expire");
        }
        written
    }

    async fn write(&self, scene: &Scene, assignment: &Assignment, proof: &Proof) -> Result<Done, DutyError> {
        let checks: Vec<Check> = proof.judged.iter().map(|judged| judged.check.clone()).collect();
        let mut findings: Vec<Finding> = proof.judged.iter().flat_map(|judged| judged.findings.clone()).collect();
        let verdict = verdict(&checks);
        let told = Told {
            assignment,
            run: &proof.run,
            verdict,
            checks: &checks,
            findings: &findings,
            repeats: &proof.repeats,
            took: proof.took,
        };
        let blobs = scene.bus.blobs();
        let report = blobs.put(told.markdown(), "text/markdown").await?;
        // Findings are what refers to them.
        if !findings.is_empty() {
            let figures = blobs.put(told.json().to_string(), "application/json").await?;
            for finding in &mut findings {
                finding.evidence.push(format!("figures sha256:{}", figures.digest));
            }
        }
        tracing::info!(
            deployment = %assignment.deployment, revision = %assignment.revision, %verdict,
            findings = findings.len(), seconds = proof.took.as_secs_f64(), "proof ended"
        );
        self.metrics.ended(verdict, &checks, proof.took);
        let (checks, findings) = fit(&checks, &findings);
        let plan_digest = Some(assignment.plan_digest.clone());
        let report = ValidationReport { checks, findings, missing: Vec::new(), report: Some(report), plan_digest };
        let answer = match verdict {
            Verdict::Validated => Answer::Validated(report),
            Verdict::Failed => Answer::ValidationFailed(report),
            Verdict::Inconclusive => Answer::ValidationInconclusive(report),
        };
        append(scene, assignment.revision, assignment.attempt, answer).await
    }
}

/// Counts a proof as ended however it ends.
struct Running<'a>(&'a ValidatorMetrics);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.dec();
    }
}

/// One of the four failed: the validation fails with the same findings, and nothing is measured.
async fn refuse(scene: &Scene, revision: RevisionId, attempt: Attempt) -> Result<Done, DutyError> {
    let state = scene.folded.deployment.revision(revision);
    let findings = state.map(findings_of_the_four).unwrap_or_default();
    let (_, findings) = fit(&[], &findings);
    let report = ValidationReport { findings, ..empty(&scene.folded.deployment, revision) };
    append(scene, revision, attempt, Answer::ValidationFailed(report)).await
}

async fn report_missing(
    scene: &Scene,
    revision: RevisionId,
    attempt: Attempt,
    missing: &[Slot],
) -> Result<Done, DutyError> {
    let text = missing_markdown(&scene.id.to_string(), &revision.to_string(), missing);
    let blob: BlobReference = scene.bus.blobs().put(text, "text/markdown").await?;
    let report = ValidationReport {
        missing: missing.iter().map(ToString::to_string).collect(),
        report: Some(blob),
        ..empty(&scene.folded.deployment, revision)
    };
    append(scene, revision, attempt, Answer::ValidationInconclusive(report)).await
}

fn empty(deployment: &Deployment, revision: RevisionId) -> ValidationReport {
    let planned = deployment.revision(revision).and_then(|revision| revision.planned());
    ValidationReport {
        checks: Vec::new(),
        findings: Vec::new(),
        missing: Vec::new(),
        report: None,
        plan_digest: planned.map(|planned| planned.digest.clone()),
    }
}

async fn append(scene: &Scene, revision: RevisionId, attempt: Attempt, answer: Answer) -> Result<Done, DutyError> {
    let key = scene.key(revision, Slot::Validation).at(attempt);
    // Whoever wrote it: the question has an answer.
    scene.append(&key, answer).await?;
    Ok(Done::Wrote)
}

#[async_trait]
impl Actor for Validator {
    type Duty = Duty;

    fn service(&self) -> Service {
        Service::Validator
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Duty> {
        due(deployment, now)
    }

    async fn perform(&self, duty: Duty, scene: Scene) -> Result<Done, DutyError> {
        match duty {
            Duty::Prove { revision, attempt } => Box::pin(self.prove(&scene, revision, attempt)).await,
            Duty::Refuse { revision, attempt } => refuse(&scene, revision, attempt).await,
            Duty::ReportMissing { revision, attempt, missing } => {
                report_missing(&scene, revision, attempt, &missing).await
            }
        }
    }

    fn label(&self, duty: &Duty) -> &'static str {
        match duty {
            Duty::Prove { .. } => "prove",
            Duty::Refuse { .. } => "refuse",
            Duty::ReportMissing { .. } => "report-missing",
        }
    }
}
