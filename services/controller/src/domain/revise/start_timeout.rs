//! `start-timeout`: not ready in time.

use super::{Case, Edit, Step, capacity};

/// More processor time loads and warms up faster; fewer workers at once leave each more of the machine; smaller batches
/// warm up sooner.
pub(super) fn steps(case: &Case<'_>) -> Vec<Step> {
    let mut steps = capacity::more_cpu(case);
    let replicas = case.plan().replicas;
    if replicas > 1 {
        let reason = format!("{replicas} workers starting at once compete for the machine: {}", case.figures());
        steps.push(Step::of(Edit::Replicas(replicas.div_ceil(2)), reason));
    }
    steps.extend(capacity::smaller_batch(case, "a smaller batch warms up sooner"));
    steps
}
