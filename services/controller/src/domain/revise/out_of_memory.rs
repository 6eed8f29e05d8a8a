//! `out-of-memory`: the process passed its memory limit.

use super::{Case, Edit, Step, capacity};

/// More memory first; where the machine has none left, smaller batches, then fewer workers with more memory each.
pub(super) fn steps(case: &Case<'_>) -> Vec<Step> {
    let mut steps = capacity::more_memory(case);
    steps.extend(capacity::smaller_batch(case, "a smaller batch needs less memory"));
    let plan = case.plan();
    if plan.replicas > 1 {
        let memory = slipway_kernel::ByteSize(plan.memory.0.saturating_mul(2));
        let reason = format!("fewer workers leave more memory to each: {}", case.figures());
        let fewer = plan.replicas.div_ceil(2);
        steps.push(Step::of(Edit::Replicas(fewer), reason.clone()).and(Edit::Memory(memory), reason));
    }
    steps
}
