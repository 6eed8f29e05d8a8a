//! The clock of a service: the machine's, or one that a test moves by hand.

use slipway_kernel::Timestamp;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// The longest single sleep towards a point in time. The wall clock may be set meanwhile; it is looked at again after this.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// Where a service gets the time from. Cheap to clone; clones of a manual clock move together.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Moved>),
}

#[derive(Debug)]
struct Moved {
    start: Timestamp,
    origin: Instant,
    elapsed: watch::Sender<Duration>,
}

/// The hand that moves a manual clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Moved>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until it is moved.
    #[must_use]
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let moved = Arc::new(Moved { start, origin: Instant::now(), elapsed: watch::Sender::new(Duration::ZERO) });
        (Self(Source::Manual(Arc::clone(&moved))), ManualClock(moved))
    }

    /// Milliseconds since the Unix epoch; 0 on a machine whose clock stands before it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => Timestamp(u64::try_from(self.since_epoch().as_millis()).unwrap_or(u64::MAX)),
            Source::Manual(moved) => moved.now(),
        }
    }

    /// The same, as finely as the clock knows it: for measuring against a time of another process. Order and deadlines are
    /// [`now`](Self::now)'s.
    #[must_use]
    pub fn since_epoch(&self) -> Duration {
        match &self.0 {
            Source::System => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Source::Manual(moved) => Duration::from_millis(moved.now().0),
        }
    }

    /// A time that never goes back, for measuring.
    #[must_use]
    pub fn monotonic(&self) -> Instant {
        match &self.0 {
            Source::System => Instant::now(),
            Source::Manual(moved) => moved.origin + *moved.elapsed.borrow(),
        }
    }

    /// Waits this long.
    pub async fn sleep(&self, span: Duration) {
        match &self.0 {
            Source::System => tokio::time::sleep(span).await,
            Source::Manual(moved) => {
                let until = moved.elapsed.borrow().saturating_add(span);
                moved.reached(until).await;
            }
        }
    }

    /// Waits until `at`; at once if that is past.
    pub async fn sleep_until(&self, at: Timestamp) {
        match &self.0 {
            Source::System => loop {
                let left = at.since(self.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LONGEST_NAP)).await;
            },
            Source::Manual(moved) => moved.reached(at.since(moved.start)).await,
        }
    }
}

impl ManualClock {
    /// Moves the clock forward and wakes who waited for it.
    pub fn advance(&self, by: Duration) {
        self.0.elapsed.send_modify(|elapsed| *elapsed = elapsed.saturating_add(by));
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }
}

impl Moved {
    fn now(&self) -> Timestamp {
        self.start.after(*self.elapsed.borrow())
    }

    async fn reached(&self, elapsed: Duration) {
        // The sender lives in `self`, so the wait cannot end by its loss.
        let _ = self.elapsed.subscribe().wait_for(|now| *now >= elapsed).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_moves_only_by_hand_and_wakes_sleepers() {
        let (clock, hand) = Clock::manual(Timestamp(1_000));
        let before = clock.monotonic();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(10)).await;
                clock.sleep_until(Timestamp(31_000)).await;
                clock.now()
            }
        });
        tokio::task::yield_now().await;
        hand.advance(Duration::from_millis(9_999));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        hand.advance(Duration::from_millis(20_001));
        assert_eq!(sleeper.await.unwrap(), Timestamp(31_000));
        assert_eq!(clock.monotonic() - before, Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_point_in_the_past_is_not_waited_for() {
        Clock::system().sleep_until(Timestamp(1)).await;
        Clock::manual(Timestamp(5)).0.sleep_until(Timestamp(1)).await;
    }

    #[test]
    fn the_system_clock_shows_this_century() {
        assert!(Clock::system().now() > Timestamp(1_700_000_000_000));
    }
}
