//! `overload`: under overload the service did not refuse politely, or fell over.

use super::{Case, Edit, Step, capacity};

/// A shorter queue refuses sooner; then more workers.
pub(super) fn steps(case: &Case<'_>) -> Vec<Step> {
    let plan = case.plan();
    let mut steps = Vec::new();
    // Two batches: less starves the batcher.
    let floor = plan.max_batch.saturating_mul(2).max(4);
    let shorter = (plan.queue_limit / 2).max(floor);
    if shorter < plan.queue_limit {
        let reason =
            format!("{} waiting requests were too many to refuse in time: {}", plan.queue_limit, case.figures());
        steps.push(Step::of(Edit::QueueLimit(shorter), reason));
    }
    steps.extend(capacity::more_replicas(case, 1.5));
    steps.extend(capacity::more_memory(case));
    steps
}
