//! What was tried in a generation and came of it, as the loop needs to know it.

use slipway_kernel::{
    Answer, Digest, FindingKind, GenerationState, MachineFacts, ModelFacts, Plan, RevisionId, RevisionState, Slot,
    spec::Spec,
};

/// One plan that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// As which revision.
    pub revision: RevisionId,
    /// The plan.
    pub plan: Plan,
    /// Its digest.
    pub digest: Digest,
    /// The useful batch size that warm-up measured, in rows.
    pub useful_batch: Option<u32>,
    /// Requests a second that validation measured, where that was too few.
    pub throughput: Option<f64>,
    /// Whether it failed for a reason of its own: never again.
    pub burnt: bool,
}

/// What the loop knows.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// What is wanted.
    pub spec: Spec,
    /// What the infrastructure has.
    pub machine: MachineFacts,
    /// What the chosen infrastructure costs an hour with the first plan; 0 = nothing.
    pub cost_per_hour: f64,
    /// The model, once it was read.
    pub model: Option<ModelFacts>,
    /// The plans, in order; the last one is the one that failed.
    pub tried: Vec<Tried>,
    /// Where the traffic goes back to.
    pub good: Option<RevisionId>,
}

impl History {
    /// Reads it from the log.
    #[must_use]
    pub fn of(generation: &GenerationState, good: Option<RevisionId>) -> Self {
        let machine = match generation.answer(Slot::Infrastructure) {
            Some(Answer::InfrastructureReady(ready)) => ready.machine.clone(),
            _ => MachineFacts::default(),
        };
        let cost_per_hour = match generation.answer(Slot::Choice) {
            Some(Answer::InfrastructureChosen(chosen)) => {
                chosen.candidates.iter().find(|c| c.target == chosen.target).map_or(0.0, |c| c.cost_per_hour)
            }
            _ => 0.0,
        };
        let last = generation.latest().map(|revision| revision.id);
        let tried = generation.revisions.values().filter_map(|revision| {
            let planned = revision.planned()?;
            Some(Tried {
                revision: revision.id,
                plan: planned.plan.clone(),
                digest: planned.plan.digest(),
                useful_batch: useful_batch(revision),
                throughput: throughput(revision),
                burnt: Some(revision.id) != last && !failed_transiently(revision),
            })
        });
        Self {
            spec: generation.spec().clone(),
            machine,
            cost_per_hour,
            model: generation.platform().map(|selected| selected.model.clone()),
            tried: tried.collect(),
            good,
        }
    }

    /// Whether the plan failed before for a reason of its own.
    #[must_use]
    pub fn is_burnt(&self, digest: &Digest) -> bool {
        self.tried.iter().any(|tried| tried.burnt && tried.digest == *digest)
    }

    /// How often the plan was tried.
    #[must_use]
    pub fn times_tried(&self, digest: &Digest) -> usize {
        self.tried.iter().filter(|tried| tried.digest == *digest).count()
    }
}

/// Whether an older revision gave way for a reason that may pass. One that was deployed and has no verdict gave way
/// because nobody gave one; one that never ran has used up its tries.
fn failed_transiently(revision: &RevisionState) -> bool {
    match revision.answer(Slot::Validation) {
        Some(answer @ Answer::ValidationFailed(_)) => answer.failed_transiently(),
        Some(_) => false,
        None => revision.is_deployed(),
    }
}

fn throughput(revision: &RevisionState) -> Option<f64> {
    let findings = revision.answer(Slot::Validation).map(Answer::findings)?;
    findings.iter().find(|finding| finding.kind == FindingKind::Throughput)?.measured
}

/// The measurement of warm-up, as the worker names it.
pub const USEFUL_BATCH: &str = "useful-batch";

fn useful_batch(revision: &RevisionState) -> Option<u32> {
    let Some(Answer::Deployed(deployed)) = revision.answer(Slot::Deployment) else { return None };
    let measured = deployed.measurements.iter().find(|m| m.name == USEFUL_BATCH)?.value;
    // Rows of a batch are at most 256; anything else is no measurement.
    (1..=256).rev().find(|rows| f64::from(*rows) <= measured)
}
