//! More capacity: the steps that several remedies end with.

use super::{Case, Edit, Step, room::MAX_BATCH};
use slipway_kernel::{ByteSize, CpuMillis};

/// How much more capacity than the gap asks for: a worker that is exactly busy enough is late half of the time.
const HEADROOM: f64 = 1.2;

/// So many times more workers, as far as there is room; at least one more.
pub(super) fn more_replicas(case: &Case<'_>, factor: f64) -> Vec<Step> {
    let plan = case.plan();
    let most = case.room.max_replicas(plan);
    let ideal = times(plan.replicas, factor * HEADROOM).max(plan.replicas.saturating_add(1));
    if most <= plan.replicas {
        return Vec::new();
    }
    let replicas = ideal.min(most);
    vec![Step::of(Edit::Replicas(replicas), format!("{} worker(s) were not enough: {}", plan.replicas, case.figures()))]
}

/// Twice the processor time for each worker, as far as there is room.
pub(super) fn more_cpu(case: &Case<'_>) -> Vec<Step> {
    let plan = case.plan();
    let cpu = CpuMillis(plan.cpu.0.saturating_mul(2)).min(case.room.max_cpu(plan));
    if cpu <= plan.cpu {
        return Vec::new();
    }
    vec![Step::of(Edit::Cpu(cpu), format!("{} core(s) a worker were not enough: {}", plan.cpu, case.figures()))]
}

/// Twice the memory for each worker, else half as much again, as far as there is room.
pub(super) fn more_memory(case: &Case<'_>) -> Vec<Step> {
    more_memory_because(case, &format!("{} of memory were not enough", case.plan().memory))
}

/// The same for another reason.
pub(super) fn more_memory_because(case: &Case<'_>, because: &str) -> Vec<Step> {
    let plan = case.plan();
    let most = case.room.max_memory(plan);
    let reason = format!("{because}: {}", case.figures());
    let sizes = [plan.memory.0.saturating_mul(2), plan.memory.0.saturating_add(plan.memory.0 / 2)];
    sizes
        .into_iter()
        .filter(|bytes| *bytes <= most && *bytes > plan.memory.0)
        .map(|bytes| Step::of(Edit::Memory(ByteSize(bytes)), reason.clone()))
        .collect()
}

/// Half the batch, then a quarter.
pub(super) fn smaller_batch(case: &Case<'_>, because: &str) -> Vec<Step> {
    let rows = case.plan().max_batch;
    let smaller = [rows / 2, rows / 4];
    smaller
        .into_iter()
        .filter(|rows| *rows >= 1)
        .map(|rows| Step::of(Edit::MaxBatch(rows), format!("{because}: {}", case.figures())))
        .collect()
}

/// The batch so many times as large: the power of two that covers the gap, 2 to 8, at most 256 rows.
pub(super) fn larger_batch(rows: u32, gap: f64) -> Vec<u32> {
    let wanted = [2, 4, 8].into_iter().find(|factor| f64::from(*factor) >= gap * HEADROOM).unwrap_or(8);
    let mut sizes: Vec<u32> =
        [wanted, 2].into_iter().map(|factor| rows.saturating_mul(factor).min(MAX_BATCH)).collect();
    sizes.dedup();
    sizes.retain(|size| *size > rows);
    sizes
}

/// `n` times `factor`, rounded up, at most 1000: the most workers a spec may name.
pub(super) fn times(n: u32, factor: f64) -> u32 {
    let wanted = f64::from(n) * factor;
    (n..1_000).find(|m| f64::from(*m) >= wanted).unwrap_or(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_batch_grows_by_the_power_of_two_that_covers_the_gap() {
        assert_eq!(larger_batch(8, 1.1), [16]);
        assert_eq!(larger_batch(8, 3.0), [32, 16]);
        assert_eq!(larger_batch(8, 100.0), [64, 16]);
        assert_eq!(larger_batch(200, 4.0), [256]);
        assert_eq!(larger_batch(256, 4.0), [0_u32; 0]);
    }

    #[test]
    fn a_count_is_multiplied_and_rounded_up() {
        assert_eq!((times(1, 1.2), times(2, 1.5), times(3, 1.0), times(900, 9.0)), (2, 3, 3, 1_000));
    }
}
