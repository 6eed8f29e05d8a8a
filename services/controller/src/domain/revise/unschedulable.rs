//! `unschedulable`: the machine has no room for what was planned.

use super::{Case, Edit, Step};
use slipway_kernel::{ByteSize, CpuMillis};

/// Below this no worker runs: program, buffers and a small model (the least a spec may ask for).
const LEAST_MEMORY: u64 = 64 << 20;

/// Fewer workers, then less processor time, then less memory down to what the model is estimated to need.
pub(super) fn steps(case: &Case<'_>) -> Vec<Step> {
    let plan = case.plan();
    let mut steps = Vec::new();
    let half = plan.replicas / 2;
    for replicas in [plan.replicas.saturating_sub(1).max(half), half, 1] {
        if replicas >= 1 && replicas < plan.replicas {
            let reason = format!("no room for {} workers: {}", plan.replicas, case.figures());
            steps.push(Step::of(Edit::Replicas(replicas), reason));
        }
    }
    let cpu = CpuMillis(plan.cpu.0 / 2);
    if cpu.0 >= 250 {
        steps.push(Step::of(Edit::Cpu(cpu), format!("no room for {} core(s) a worker: {}", plan.cpu, case.figures())));
    }
    let estimate = case.history.model.as_ref().map_or(0, |model| model.memory_estimate_bytes);
    // Twice the estimate: the model, and as much again for its intermediate results.
    let memory = (plan.memory.0 / 2).max(estimate.saturating_mul(2)).max(LEAST_MEMORY);
    if memory < plan.memory.0 {
        let reason = format!("no room for {} a worker: {}", plan.memory, case.figures());
        steps.push(Step::of(Edit::Memory(ByteSize(memory)), reason));
    }
    steps
}
