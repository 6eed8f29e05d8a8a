//! A worker's memory has a limit: without one, one model takes the machine from all others.

use super::{Policy, Subject, Violation};

pub(super) const NAME: &str = "memory-limit";

pub(super) fn check(subject: &Subject<'_>, policy: &Policy) -> Vec<Violation> {
    let memory = subject.plan.memory;
    if memory.0 > 0 && memory <= policy.max_memory {
        return Vec::new();
    }
    let allowed = format!("more than 0, at most {} (policy.max_memory)", policy.max_memory);
    vec![Violation::new(NAME, "plan.memory", &memory, allowed)]
}

#[cfg(test)]
mod tests {
    use super::{super::tests::found, *};
    use serde_json::json;
    use slipway_kernel::ByteSize;

    #[test]
    fn a_plan_has_a_limit_within_what_is_allowed() {
        let policy = Policy { max_memory: ByteSize::mebibytes(1_024), ..Policy::default() };
        for (memory, expected) in [(0, 1), (1, 0), (1_024, 0), (1_025, 1)] {
            let found = found(&json!({}), &policy, |plan, _, _| plan.memory = ByteSize::mebibytes(memory));
            assert_eq!(found.len(), expected, "{found:?}");
            assert!(found.iter().all(|violation| violation.rule == NAME));
        }
    }
}
