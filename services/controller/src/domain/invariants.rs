//! What must hold in every history the controller writes. Checked by the property tests after every step, and by the
//! service on each deployment it looks at: a breach there is a fault of ours, and is reported, not acted upon.

use slipway_kernel::{Answer, Attempts, Deployment, GenerationState, Plan, RevisionState, Slot, spec::Spec};

/// Every breach, in words.
#[must_use]
pub fn breaches(deployment: &Deployment) -> Vec<String> {
    let mut breaches = Vec::new();
    for generation in deployment.generations.values() {
        in_generation(generation, &mut breaches);
    }
    routes(deployment, &mut breaches);
    breaches
}

fn in_generation(generation: &GenerationState, breaches: &mut Vec<String>) {
    let number = generation.generation;
    let most = generation.spec().validation.max_revisions;
    if generation.revisions.len() > usize::try_from(most).unwrap_or(usize::MAX) {
        breaches.push(format!("generation {number} has {} revisions, {most} allowed", generation.revisions.len()));
    }
    let mut burnt: Vec<(&RevisionState, &Plan)> = Vec::new();
    for revision in generation.revisions.values() {
        let Some(planned) = revision.planned() else { continue };
        if planned.digest != planned.plan.digest() {
            breaches.push(format!("{}: the digest is not that of the plan", revision.id));
        }
        if let Some((before, _)) = burnt.iter().find(|(_, plan)| **plan == planned.plan) {
            breaches.push(format!("{} tries the plan again that failed as {}", revision.id, before.id));
        }
        if failed_for_good(revision) {
            burnt.push((revision, &planned.plan));
        }
        let first = generation.revisions.values().next().and_then(RevisionState::planned);
        if let Some(first) = first {
            fixed_paths(generation.spec(), &first.plan, &planned.plan, revision, breaches);
        }
        shares(revision, breaches);
    }
}

fn failed_for_good(revision: &RevisionState) -> bool {
    let deterministic = |attempts: &Attempts| {
        attempts.last().is_some_and(|fact| match &fact.answer {
            Answer::DeployFailed(_) | Answer::ValidationFailed(_) => !fact.answer.failed_transiently(),
            _ => false,
        })
    };
    deterministic(revision.attempts(Slot::Deployment)) || deterministic(revision.attempts(Slot::Validation))
}

fn fixed_paths(spec: &Spec, first: &Plan, plan: &Plan, revision: &RevisionState, breaches: &mut Vec<String>) {
    for (field, path) in Plan::SPEC_PATHS {
        let same = match field {
            "replicas" => first.replicas == plan.replicas,
            "cpu" => first.cpu == plan.cpu,
            "memory" => first.memory == plan.memory,
            "maxBatch" => first.max_batch == plan.max_batch,
            _ => first.max_delay == plan.max_delay,
        };
        if !same && spec.fixed.iter().any(|fixed| fixed == path) {
            breaches.push(format!("{}: {path} is fixed and was changed", revision.id));
        }
    }
    if plan.replicas > spec.scale.max {
        breaches.push(format!("{}: {} workers, {} allowed", revision.id, plan.replicas, spec.scale.max));
    }
}

fn shares(revision: &RevisionState, breaches: &mut Vec<String>) {
    let moved = revision.shifted().is_some() || revision.is_released();
    if moved && revision.attempts(Slot::Validation).iter().all(|f| !matches!(f.answer, Answer::Validated(_))) {
        breaches.push(format!("{} has traffic and was never validated", revision.id));
    }
    if moved && !revision.is_deployed() {
        breaches.push(format!("{} has traffic and was never deployed", revision.id));
    }
}

fn routes(deployment: &Deployment, breaches: &mut Vec<String>) {
    for share in deployment.routes().shares {
        if deployment.is_retiring(share.revision.generation) {
            breaches.push(format!("{} has traffic and is retired", share.revision));
        }
        if deployment.revision(share.revision).is_some_and(RevisionState::is_rolled_back) {
            breaches.push(format!("{} has traffic and was taken back", share.revision));
        }
    }
}
