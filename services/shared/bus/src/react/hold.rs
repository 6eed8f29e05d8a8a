//! When a duty that did not work is tried again.

use super::{Done, DutyError};
use std::time::Duration;
use tokio::time::Instant;

/// A duty that is not to be begun before its time, unless the deployment asks for another one.
#[derive(Clone, Debug)]
pub(super) struct Hold<D> {
    pub(super) duty: D,
    /// `None`: not before the deployment changes.
    pub(super) until: Option<Instant>,
    /// How often it has ended like that.
    pub(super) times: u32,
    /// The deployment it was tried on.
    pub(super) last_sequence: u64,
}

/// How long to wait after the nth end of this kind; `None` = for a change.
pub(super) fn pause(outcome: &Result<Done, DutyError>, times: u32) -> Option<Duration> {
    let doubled = |first: Duration, most: Duration| first.saturating_mul(1 << times.min(16)).min(most);
    Some(match outcome {
        // The view has what was written in a moment, and then asks for something else; if it never does, the same duty again would be
        // a loop, so it becomes slow.
        Ok(Done::Wrote) => doubled(Duration::from_secs(2), Duration::from_secs(30)),
        Ok(Done::Again) => doubled(Duration::from_millis(20), Duration::from_secs(5)),
        Ok(Done::Elsewhere) => doubled(Duration::from_millis(500), Duration::from_secs(5)),
        Ok(Done::Later(after)) => *after,
        Err(DutyError::Transient(_)) => doubled(Duration::from_secs(1), Duration::from_secs(30)),
        Err(DutyError::Permanent(_)) => return None,
    })
}

impl<D: PartialEq> Hold<D> {
    /// Whether `duty` must wait.
    pub(super) fn applies(&self, duty: &D, last_sequence: u64, now: Instant) -> bool {
        if self.duty != *duty {
            return false;
        }
        match self.until {
            Some(until) => now < until,
            None => self.last_sequence == last_sequence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_bound() {
        let transient = Err(DutyError::transient(anyhow::anyhow!("x")));
        let pauses: Vec<_> = (0..7).filter_map(|n| pause(&transient, n)).map(|p| p.as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(pause(&Ok(Done::Elsewhere), 99), Some(Duration::from_secs(5)));
        assert_eq!(pause(&Ok(Done::Later(Duration::from_secs(77))), 3), Some(Duration::from_secs(77)));
        assert_eq!(pause(&Err(DutyError::permanent(anyhow::anyhow!("x"))), 0), None);
    }

    #[tokio::test]
    async fn a_hold_binds_the_same_duty_only() {
        let now = Instant::now();
        let until = Some(now + Duration::from_secs(1));
        let hold = Hold { duty: "a", until, times: 0, last_sequence: 7 };
        assert!(hold.applies(&"a", 8, now));
        assert!(!hold.applies(&"b", 7, now));
        assert!(!hold.applies(&"a", 7, now + Duration::from_secs(2)));
        let dead = Hold { until: None, ..hold };
        assert!(dead.applies(&"a", 7, now));
        assert!(!dead.applies(&"a", 8, now));
    }
}
