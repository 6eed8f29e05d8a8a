//! A step of a remedy: edits to a plan, each with its reason.

use crate::domain::plan::{MAX_QUEUE, threads};
use slipway_kernel::{ByteSize, Change, CpuMillis, FindingKind, Plan, Span, spec::Spec};

/// One edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// So many workers.
    Replicas(u32),
    /// So much processor time for each; the kernel threads follow.
    Cpu(CpuMillis),
    /// So much memory for each.
    Memory(ByteSize),
    /// So many rows at once; the queue grows with it.
    MaxBatch(u32),
    /// So long a wait for company.
    MaxDelay(Span),
    /// So many requests waiting.
    QueueLimit(u32),
}

impl Edit {
    /// The path in the plan.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Replicas(_) => "replicas",
            Self::Cpu(_) => "cpu",
            Self::Memory(_) => "memory",
            Self::MaxBatch(_) => "maxBatch",
            Self::MaxDelay(_) => "maxDelay",
            Self::QueueLimit(_) => "queueLimit",
        }
    }

    /// Whether the spec forbids it.
    #[must_use]
    pub fn is_fixed(self, spec: &Spec) -> bool {
        let path = Plan::SPEC_PATHS.iter().find(|(plan, _)| *plan == self.path());
        path.is_some_and(|(_, path)| spec.fixed.iter().any(|fixed| fixed == path))
    }

    fn apply(self, plan: &mut Plan) {
        match self {
            Self::Replicas(replicas) => plan.replicas = replicas,
            Self::Cpu(cpu) => {
                plan.cpu = cpu;
                plan.threads = threads(cpu);
            }
            Self::Memory(memory) => plan.memory = memory,
            Self::MaxBatch(rows) => {
                plan.max_batch = rows;
                // A queue that holds less than two batches starves the batcher.
                plan.queue_limit = plan.queue_limit.max(rows.saturating_mul(2)).min(MAX_QUEUE);
            }
            Self::MaxDelay(delay) => plan.max_delay = delay,
            Self::QueueLimit(limit) => plan.queue_limit = limit.min(MAX_QUEUE),
        }
    }
}

/// Edits that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The edits, each with its reason.
    pub edits: Vec<(Edit, String)>,
}

impl Step {
    /// A step of one edit.
    #[must_use]
    pub fn of(edit: Edit, reason: impl Into<String>) -> Self {
        Self { edits: vec![(edit, reason.into())] }
    }

    /// The same step with one more edit.
    #[must_use]
    pub fn and(mut self, edit: Edit, reason: impl Into<String>) -> Self {
        self.edits.push((edit, reason.into()));
        self
    }

    /// The plan after the step; `None` if the spec forbids one of its edits.
    #[must_use]
    pub fn apply(&self, plan: &Plan, spec: &Spec) -> Option<Plan> {
        let mut next = plan.clone();
        for (edit, _) in &self.edits {
            if edit.is_fixed(spec) {
                return None;
            }
            edit.apply(&mut next);
        }
        Some(next)
    }

    /// What differs between `before` and `after`, with the reason of the edit that did it.
    #[must_use]
    pub fn changes(&self, before: &Plan, after: &Plan, finding: FindingKind) -> Vec<Change> {
        let differing = shown(before).into_iter().zip(shown(after)).filter(|(from, to)| from.1 != to.1);
        differing
            .map(|((path, from), (_, to))| {
                let own = self.edits.iter().find(|(edit, _)| edit.path() == path);
                let reason = own.map_or_else(|| follows(path).to_owned(), |(_, reason)| reason.clone());
                Change { path: path.to_owned(), from, to, finding, reason }
            })
            .collect()
    }
}

/// Why a figure changed that no edit names.
fn follows(path: &str) -> &'static str {
    match path {
        "threads" => "one kernel thread for each core the worker may use",
        "queueLimit" => "the queue holds at least two batches",
        _ => "follows from the other changes",
    }
}

/// The figures of a plan that a revision can change, as text.
fn shown(plan: &Plan) -> [(&'static str, String); 7] {
    [
        ("replicas", plan.replicas.to_string()),
        ("cpu", plan.cpu.to_string()),
        ("memory", plan.memory.to_string()),
        ("threads", plan.threads.to_string()),
        ("maxBatch", plan.max_batch.to_string()),
        ("maxDelay", plan.max_delay.to_string()),
        ("queueLimit", plan.queue_limit.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scenario::{plan, spec};

    #[test]
    fn a_change_names_path_values_finding_and_reason() {
        let step = Step::of(Edit::Cpu(CpuMillis(2_000)), "one core was saturated");
        let before = plan();
        let after = step.apply(&before, &spec(&serde_json::json!({}))).unwrap();
        let changes = step.changes(&before, &after, FindingKind::Throughput);
        let told: Vec<_> = changes.iter().map(|c| (c.path.as_str(), c.from.as_str(), c.to.as_str())).collect();
        assert_eq!(told, [("cpu", "1", "2"), ("threads", "1", "2")]);
        assert_eq!(changes[0].reason, "one core was saturated");
        assert_eq!(changes[1].reason, "one kernel thread for each core the worker may use");
    }

    #[test]
    fn an_edit_of_a_fixed_path_is_refused() {
        for (edit, path) in [
            (Edit::Replicas(2), "scale.min"),
            (Edit::Cpu(CpuMillis(500)), "resources.cpu"),
            (Edit::Memory(ByteSize::mebibytes(64)), "resources.memory"),
            (Edit::MaxBatch(1), "serving.batching.maxSize"),
            (Edit::MaxDelay(Span::millis(1)), "serving.batching.maxDelay"),
        ] {
            let spec = spec(&serde_json::json!({ "fixed": [path] }));
            assert_eq!(Step::of(edit, "").apply(&plan(), &spec), None, "{path}");
        }
    }
}
