//! `error-rate`: more failed requests than the target allows.

use super::{Case, Edit, Step, capacity};

/// Refusals by a full queue are the usual cause: more workers, then a longer queue, then memory.
pub(super) fn steps(case: &Case<'_>) -> Vec<Step> {
    let mut steps = capacity::more_replicas(case, 1.5);
    let queue = case.plan().queue_limit;
    let longer = queue.saturating_mul(2).min(crate::domain::plan::MAX_QUEUE);
    if longer > queue {
        let reason = format!("{queue} waiting requests filled the queue: {}", case.figures());
        steps.push(Step::of(Edit::QueueLimit(longer), reason));
    }
    steps.extend(capacity::more_cpu(case));
    steps.extend(capacity::more_memory(case));
    steps
}
