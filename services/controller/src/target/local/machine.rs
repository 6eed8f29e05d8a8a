//! Whether the machine has room for one more worker, and what it is called.

use slipway_kernel::{Finding, FindingKind, Plan};
use std::fs;

/// Below this the machine has no room for anything: program, buffers and a small model.
const LEAST_FREE_BYTES: u64 = 96 << 20;

/// Memory of the machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// All there is.
    pub(super) total: u64,
    /// What could be had without swapping.
    pub(super) available: u64,
}

/// What the kernel says; `None` where it does not.
#[must_use]
pub(super) fn memory() -> Option<Memory> {
    parse(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse(meminfo: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kibibytes << 10)
    };
    Some(Memory { total: bytes("MemTotal")?, available: bytes("MemAvailable")? })
}

/// Why a worker of this plan has no room here. A limit is not a need: workers together may be allowed more than there
/// is, and what they really take is watched.
#[must_use]
pub(super) fn no_room(plan: &Plan, memory: Memory) -> Option<Finding> {
    let figures = |bytes: u64| u32::try_from(bytes >> 20).map(f64::from).unwrap_or(f64::MAX);
    if plan.memory.0 > memory.total {
        let message = format!("a worker may have {}, which is more than the machine has", plan.memory);
        let finding = Finding::deterministic(FindingKind::Unschedulable, message);
        return Some(finding.with_figures(figures(plan.memory.0), figures(memory.total), "MiB"));
    }
    if memory.available < LEAST_FREE_BYTES {
        let finding = Finding::transient(FindingKind::Unschedulable, "the machine has hardly any memory free");
        return Some(finding.with_figures(figures(memory.available), figures(LEAST_FREE_BYTES), "MiB"));
    }
    None
}

/// The name of this machine in the form of a DNS name, since it stands in keys and names.
#[must_use]
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let trimmed = plain.trim_matches(['-', '.']);
    if trimmed.is_empty() { "localhost".to_owned() } else { trimmed.chars().take(63).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scenario::plan;

    #[test]
    fn memory_is_read_from_the_kernel() {
        let text = "MemTotal:        2048 kB\nMemFree: 1 kB\nMemAvailable:    1024 kB\n";
        assert_eq!(parse(text), Some(Memory { total: 2 << 20, available: 1 << 20 }));
        assert_eq!(parse("MemTotal: 1 kB"), None);
        assert!(memory().is_some_and(|memory| memory.total >= memory.available));
    }

    #[test]
    fn a_worker_needs_a_machine_that_could_hold_it_and_has_something_left() {
        let kinds = |total: u64, available: u64| no_room(&plan(), Memory { total, available }).map(|f| f.cause);
        assert_eq!(kinds(1 << 30, 1 << 29), None);
        assert_eq!(kinds(1 << 28, 1 << 28), Some(slipway_kernel::Cause::Deterministic));
        assert_eq!(kinds(1 << 30, 1 << 20), Some(slipway_kernel::Cause::Transient));
    }

    #[test]
    fn the_host_has_a_name_that_may_stand_in_a_key() {
        let name = host_name();
        assert!(
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        );
    }
}
