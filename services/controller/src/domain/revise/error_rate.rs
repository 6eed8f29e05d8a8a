//! `error-rate`: more failed requests than the target allows.

use super::{Case, Edit, Step, capacity};

/// How evidence names the kinds of failures.
const FAILURES: &str = "failures:";
/// Those that a full queue refused.
const REFUSED: &str = "failures:status-429";

/// Refusals by a full queue are the usual cause: more workers, then a longer queue, then memory. Where it is known that nothing was refused, a
/// longer queue would only let more of them wait.
pub(super) fn steps(case: &Case<'_>) -> Vec<Step> {
    let mut steps = capacity::more_replicas(case, 1.5);
    let queue = case.plan().queue_limit;
    let longer = queue.saturating_mul(2).min(crate::domain::plan::MAX_QUEUE);
    let evidence = &case.finding.evidence;
    let refused = evidence.iter().any(|one| one == REFUSED) || !evidence.iter().any(|one| one.starts_with(FAILURES));
    if longer > queue && refused {
        let reason = format!("{queue} waiting requests filled the queue: {}", case.figures());
        steps.push(Step::of(Edit::QueueLimit(longer), reason));
    }
    steps.extend(capacity::more_cpu(case));
    steps.extend(capacity::more_memory(case));
    steps
}
