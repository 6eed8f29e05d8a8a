//! What there is room for: the bounds of every remedy.

use crate::domain::history::History;
use slipway_kernel::{CpuMillis, Plan, spec::Spec};

/// The bounds of a plan, from the spec and the infrastructure.
#[derive(Clone, Copy, Debug)]
pub struct Room<'a> {
    spec: &'a Spec,
    /// 0 = unknown, which bounds nothing.
    cores: u32,
    /// 0 = unknown, which bounds nothing.
    memory_bytes: u64,
    /// What one thousandth of a core costs an hour.
    cost_per_milli: f64,
}

/// The largest batch the spec may ask for.
pub(super) const MAX_BATCH: u32 = 256;
/// Less processor time than this and a worker cannot answer its health checks.
pub(super) const MIN_CPU: CpuMillis = CpuMillis(50);

impl<'a> Room<'a> {
    /// The room a history leaves.
    #[must_use]
    pub fn of(history: &'a History) -> Self {
        let first = history.tried.first().map_or(0, |tried| millis(&tried.plan));
        let cost_per_milli = if first == 0 { 0.0 } else { history.cost_per_hour / super::super::plan::to_f64(first) };
        Self {
            spec: &history.spec,
            cores: history.machine.cores,
            memory_bytes: history.machine.memory_bytes,
            cost_per_milli,
        }
    }

    /// The most workers like those of `plan`.
    #[must_use]
    pub fn max_replicas(&self, plan: &Plan) -> u32 {
        let by_cores = match self.cores {
            0 => u32::MAX,
            cores => cores.saturating_mul(1_000) / plan.cpu.0.max(1),
        };
        let by_memory = match self.memory_bytes {
            0 => u32::MAX,
            bytes => u32::try_from(bytes / plan.memory.0.max(1)).unwrap_or(u32::MAX),
        };
        by_cores.min(by_memory).min(self.spec.scale.max)
    }

    /// The most processor time for each of its workers.
    #[must_use]
    pub fn max_cpu(&self, plan: &Plan) -> CpuMillis {
        match self.cores {
            0 => CpuMillis(u32::MAX),
            cores => CpuMillis(cores.saturating_mul(1_000) / plan.replicas.max(1)),
        }
    }

    /// The most memory in bytes for each of its workers.
    #[must_use]
    pub fn max_memory(&self, plan: &Plan) -> u64 {
        match self.memory_bytes {
            0 => u64::MAX,
            bytes => bytes / u64::from(plan.replicas.max(1)),
        }
    }

    /// Whether `after` is within every bound. Where `before` was outside one already, not making it worse suffices.
    #[must_use]
    pub fn admits(&self, before: &Plan, after: &Plan) -> bool {
        let not_worse = |now: u64, then: u64, limit: u64| now <= limit || now <= then;
        let cores = if self.cores == 0 { u64::MAX } else { u64::from(self.cores) * 1_000 };
        let memory = if self.memory_bytes == 0 { u64::MAX } else { self.memory_bytes };
        let batches = (1..=MAX_BATCH).contains(&after.max_batch);
        let replicas = (1..=self.spec.scale.max.max(before.replicas)).contains(&after.replicas);
        batches
            && replicas
            && after.cpu >= MIN_CPU.min(before.cpu)
            && not_worse(millis(after), millis(before), cores)
            && not_worse(bytes(after), bytes(before), memory)
            && self.affordable(before, after)
    }

    fn affordable(&self, before: &Plan, after: &Plan) -> bool {
        let Some(budget) = self.spec.infrastructure.budget_per_hour else { return true };
        let cost = |plan| super::super::plan::to_f64(millis(plan)) * self.cost_per_milli;
        cost(after) <= budget || millis(after) <= millis(before)
    }
}

fn millis(plan: &Plan) -> u64 {
    u64::from(plan.cpu.0) * u64::from(plan.replicas)
}

fn bytes(plan: &Plan) -> u64 {
    plan.memory.0.saturating_mul(u64::from(plan.replicas))
}
