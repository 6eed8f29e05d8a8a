//! `crashed`: the process ended by itself.

use super::{Case, Step, capacity};

/// Most crashes of a worker that loaded its model are memory; what memory does not heal may be a batch too large for
/// the kernels. Beyond that it is the model or the program, and no manifest heals it.
pub(super) fn steps(case: &Case<'_>) -> Vec<Step> {
    let because = format!("what ends by itself may have found {} of memory too little", case.plan().memory);
    let mut steps = capacity::more_memory_because(case, &because);
    steps.truncate(1);
    steps.extend(capacity::smaller_batch(case, "a smaller batch may not break the kernels"));
    steps
}
