//! `resilience`: requests were lost when a worker died.

use super::{Case, Edit, Step, capacity};

/// One worker has nobody to take over; two have. Where two were not enough, one more.
pub(super) fn steps(case: &Case<'_>) -> Vec<Step> {
    let replicas = case.plan().replicas;
    let next = replicas.max(1).saturating_add(1);
    let mut steps = vec![Step::of(
        Edit::Replicas(next),
        format!(
            "when a worker dies {} must take over: {}",
            if next == 2 { "a second one" } else { "the others" },
            case.figures()
        ),
    )];
    // Two small workers survive where two large ones have no room.
    let halved = slipway_kernel::CpuMillis(case.plan().cpu.0 / 2);
    if halved.0 >= 250 {
        let reason = format!("two workers share the processor time of one: {}", case.figures());
        steps.push(Step::of(Edit::Replicas(next), reason.clone()).and(Edit::Cpu(halved), reason));
    }
    steps.extend(capacity::more_cpu(case));
    steps
}
