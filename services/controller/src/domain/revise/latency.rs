//! `latency`: slower than the target.

use super::{Case, Edit, Step, capacity};
use slipway_kernel::Span;
use std::time::Duration;

/// The wait for company may take this share of the latency target: the rest is for the queue, the run and the network.
const DELAY_SHARE: u32 = 10;
/// Below this a wait gathers nobody and costs a timer; no wait is as good.
const SHORTEST_DELAY: Duration = Duration::from_micros(100);
/// Beyond this gap requests queue up, and only capacity helps.
const QUEUEING: f64 = 3.0;

/// A shorter wait for company first, since it costs nothing; then more workers, more processor time, smaller batches.
/// When requests queue up, capacity comes with the shorter wait.
pub(super) fn steps(case: &Case<'_>) -> Vec<Step> {
    let shorter = shorter_delay(case);
    let mut capacity = capacity::more_replicas(case, case.gap().min(QUEUEING));
    capacity.extend(capacity::more_cpu(case));
    let mut steps = Vec::new();
    if case.gap() >= QUEUEING && !delay_explains(case) {
        steps.extend(shorter.iter().flat_map(|delay| capacity.iter().map(|more| joined(delay, more))));
        steps.extend(capacity.iter().cloned());
    }
    steps.extend(shorter);
    steps.extend(capacity);
    steps.extend(capacity::smaller_batch(case, "a large batch answers late"));
    steps
}

fn joined(one: &Step, other: &Step) -> Step {
    Step { edits: one.edits.iter().chain(&other.edits).cloned().collect() }
}

/// Whether the wait alone passes half of the target.
fn delay_explains(case: &Case<'_>) -> bool {
    target(case).is_some_and(|target| case.plan().max_delay.0 * 2 >= target)
}

fn target(case: &Case<'_>) -> Option<Duration> {
    let wanted = case.finding.wanted.filter(|wanted| case.finding.unit == "ms" && wanted.is_finite() && *wanted > 0.0);
    let found = wanted.and_then(|ms| Duration::try_from_secs_f64(ms / 1_000.0).ok());
    found.or(case.history.spec.slo.latency_p99.map(|target| target.0))
}

fn shorter_delay(case: &Case<'_>) -> Vec<Step> {
    let delay = case.plan().max_delay.0;
    if delay.is_zero() {
        return Vec::new();
    }
    let share = target(case).map_or(delay / 4, |target| target / DELAY_SHARE);
    let next = share.min(delay / 4);
    // Whole microseconds: a span is written with units, and the digest of the plan must not depend on nanoseconds.
    let next = Duration::from_micros(u64::try_from(next.as_micros()).unwrap_or(u64::MAX));
    let next = if next < SHORTEST_DELAY { Duration::ZERO } else { next };
    let reason = |next: Duration| {
        format!("a row waits up to {} for company: {}; now {}", Span(delay), case.figures(), Span(next))
    };
    let mut steps = vec![Step::of(Edit::MaxDelay(Span(next)), reason(next))];
    if !next.is_zero() {
        steps.push(Step::of(Edit::MaxDelay(Span(Duration::ZERO)), reason(Duration::ZERO)));
    }
    steps
}
