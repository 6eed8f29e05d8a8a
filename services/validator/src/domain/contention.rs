//! How much of the machine others used while something was measured.

use std::collections::BTreeMap;

/// Processor time so far, in clock ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// All of it, over all cores.
    pub total: u64,
    /// Of it, idle or waiting for a disk.
    pub idle: u64,
    /// Used by each process that belongs to what is measured: the mesh and the workers of the revision.
    pub ours: BTreeMap<u32, u64>,
}

/// Share of the machine that others used between two readings, 0 to 1. A hypervisor that takes time away is another, too.
/// `None` when no time passed.
#[must_use]
pub fn foreign_share(before: &Reading, after: &Reading) -> Option<f64> {
    let total = after.total.checked_sub(before.total).filter(|total| *total > 0)?;
    let busy = total.saturating_sub(after.idle.saturating_sub(before.idle));
    // A process that began in between counts from its beginning; what one used that ended in between is lost, and so counts
    // as foreign: a kill is not something to be measured beside.
    let ours: u64 =
        after.ours.iter().map(|(pid, ticks)| ticks.saturating_sub(before.ours.get(pid).copied().unwrap_or(0))).sum();
    #[expect(clippy::cast_precision_loss, reason = "ticks of a century fit 53 bits")]
    Some(busy.saturating_sub(ours) as f64 / total as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(total: u64, idle: u64, ours: &[(u32, u64)]) -> Reading {
        Reading { total, idle, ours: ours.iter().copied().collect() }
    }

    #[test]
    fn what_is_neither_idle_nor_ours_is_foreign() {
        let before = reading(1_000, 800, &[(1, 50), (2, 10)]);
        let after = reading(1_200, 850, &[(1, 100), (2, 30), (3, 20)]);
        // 200 ticks, of which 50 idle and 90 ours.
        assert_eq!(foreign_share(&before, &after), Some(60.0 / 200.0));
    }

    #[test]
    fn a_share_is_never_negative_and_no_time_is_no_share() {
        let before = reading(1_000, 800, &[(1, 0)]);
        assert_eq!(foreign_share(&before, &reading(1_100, 890, &[(1, 100)])), Some(0.0));
        assert_eq!(foreign_share(&before, &before), None);
    }
}
