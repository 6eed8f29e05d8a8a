//! `throughput`: fewer requests a second than the target.

use super::{Case, Edit, Step, capacity};
use slipway_kernel::Span;

/// Shorter waits than this fill no batch of more than one row at the rates a spec asks for.
const FILLING_DELAY: Span = Span::millis(1);

/// A larger batch that gains less than this has found its end: the next one will gain less still.
const WORTHWHILE: f64 = 1.5;

/// Larger batches first, since they cost no machine; then more workers, then more processor time. Where the last larger
/// batch gained little, batches come last.
pub(super) fn steps(case: &Case<'_>) -> Vec<Step> {
    let batches = larger_batches(case);
    let mut capacity = capacity::more_replicas(case, case.gap());
    capacity.extend(capacity::more_cpu(case));
    let (first, then) = if batches_gain_little(case) { (capacity, batches) } else { (batches, capacity) };
    first.into_iter().chain(then).collect()
}

/// Whether the revision before differed by a smaller batch and was not much slower.
fn batches_gain_little(case: &Case<'_>) -> bool {
    let before = case.history.tried.iter().rev().nth(1);
    let Some((before, measured)) = before.zip(case.finding.measured) else { return false };
    before.plan.max_batch < case.plan().max_batch
        && before.plan.replicas == case.plan().replicas
        && before.throughput.is_some_and(|then| measured < then * WORTHWHILE)
}

/// Batches grow only where warm-up did not measure that larger ones gain nothing. It measures up to the plan's own
/// batch, so a useful batch as large as that says nothing about larger ones.
fn larger_batches(case: &Case<'_>) -> Vec<Step> {
    let plan = case.plan();
    let useful = case.tried.useful_batch.filter(|rows| *rows < plan.max_batch).unwrap_or(u32::MAX);
    capacity::larger_batch(plan.max_batch, case.gap())
        .into_iter()
        .map(|rows| rows.min(useful))
        .filter(|rows| *rows > plan.max_batch)
        .map(|rows| {
            let reason = format!("more rows in one run: {}", case.figures());
            let step = Step::of(Edit::MaxBatch(rows), reason);
            let fills = plan.max_delay >= FILLING_DELAY || Edit::MaxDelay(FILLING_DELAY).is_fixed(&case.history.spec);
            if fills {
                step
            } else {
                step.and(Edit::MaxDelay(FILLING_DELAY), format!("a batch of {rows} rows needs a moment to fill"))
            }
        })
        .collect()
}
