//! Whether the worker may live on.
//!
//! The controller of a host holds a lease whose value lists the workers it wants. A worker that is not on the list goes; a
//! worker that nobody answers for goes after a while. That is also the fence against a controller that was replaced and
//! came back: its workers are on nobody's list.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use slipway_kernel::Timestamp;

/// How long a worker must be missing from the list without a break before it goes. A new holder of the lease reads what runs before
/// it lists it, and a list is written anew as a whole; neither takes seconds.
pub const MISSING_FOR: Duration = Duration::from_secs(5);

/// The value of the lease `host.<host>.workers`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WantedWorkers {
    /// Instance names.
    pub instances: Vec<String>,
}

/// What the worker sees of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Nobody holds it, or its holder has not said yet whom it wants.
    Silent,
    /// The worker is wanted.
    Listed,
    /// Others are wanted.
    Missing,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Live on; look again when the lease changes.
    Stay,
    /// Live on; look again at this time at the latest.
    StayUntil(Timestamp),
    /// Drain and end: the controller does not want the worker.
    NotWanted,
    /// Drain and end: nobody answers for the worker.
    Orphaned,
}

/// What a holder's list, or the lack of one, means for this instance.
#[must_use]
pub fn sight(wanted: Option<&WantedWorkers>, instance: &str) -> Sight {
    match wanted {
        None => Sight::Silent,
        Some(wanted) if wanted.instances.iter().any(|name| name == instance) => Sight::Listed,
        Some(_) => Sight::Missing,
    }
}

/// Decides. `since` is when the worker first saw what it sees now, without a break.
#[must_use]
pub fn verdict(sight: Sight, since: Timestamp, stop_unwanted_after: Duration, now: Timestamp) -> Verdict {
    let (end, over) = match sight {
        Sight::Listed => return Verdict::Stay,
        Sight::Missing => (since.after(MISSING_FOR), Verdict::NotWanted),
        Sight::Silent => (since.after(stop_unwanted_after), Verdict::Orphaned),
    };
    if now < end { Verdict::StayUntil(end) } else { over }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(30);

    #[test]
    fn every_sight_has_its_verdict() {
        let since = Timestamp(1_000);
        let cases = [
            (Sight::Listed, 99_000, Verdict::Stay),
            (Sight::Missing, 1_000, Verdict::StayUntil(Timestamp(6_000))),
            (Sight::Missing, 5_999, Verdict::StayUntil(Timestamp(6_000))),
            (Sight::Missing, 6_000, Verdict::NotWanted),
            (Sight::Silent, 30_999, Verdict::StayUntil(Timestamp(31_000))),
            (Sight::Silent, 31_000, Verdict::Orphaned),
        ];
        for (sight, now, expected) in cases {
            assert_eq!(verdict(sight, since, AFTER, Timestamp(now)), expected, "{sight:?} at {now}");
        }
    }

    #[test]
    fn a_list_names_instances_exactly_and_may_have_fields_of_newer_versions() {
        let value = serde_json::json!({ "instances": ["a.b", "c"], "since": "1" });
        let wanted: WantedWorkers = serde_json::from_value(value).unwrap();
        assert_eq!(sight(Some(&wanted), "a.b"), Sight::Listed);
        assert_eq!(sight(Some(&wanted), "a"), Sight::Missing);
        assert_eq!(sight(None, "a"), Sight::Silent);
    }
}
