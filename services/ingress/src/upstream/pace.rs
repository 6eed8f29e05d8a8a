//! How fast a worker has answered lately, kept without a lock.

use crate::domain::balance::{average, faded};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// The average of one worker.
#[derive(Debug)]
pub struct Pace {
    begun: Instant,
    /// Microseconds as an `f32` above, below it milliseconds from the begin to the last answer; 0 before the first. Two answers at one
    /// moment may cost one of them its part in the average.
    kept: AtomicU64,
}

impl Pace {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new(begun: Instant) -> Self {
        Self { begun, kept: AtomicU64::new(0) }
    }

    /// Since when the worker is known.
    #[must_use]
    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }

    /// What a request took lately, in seconds; none before the first.
    #[must_use]
    pub fn latency_s(&self, now: Instant) -> Option<f64> {
        self.read(now).map(|(average_s, since)| faded(average_s, since))
    }

    /// A request was answered.
    pub fn answered(&self, now: Instant, took: Duration) {
        let (before, since) = self.read(now).unzip();
        let average_s = average(before, since.unwrap_or_default(), took.as_secs_f64());
        // A microsecond at least, since nothing is what stands for no answer.
        #[expect(clippy::cast_possible_truncation, reason = "seven digits of an average are enough")]
        let micros = (average_s * 1e6).max(1.0) as f32;
        let at = u32::try_from(self.age(now).as_millis()).unwrap_or(u32::MAX);
        self.kept.store(u64::from(micros.to_bits()) << 32 | u64::from(at), Ordering::Relaxed);
    }

    fn read(&self, now: Instant) -> Option<(f64, Duration)> {
        let kept = self.kept.load(Ordering::Relaxed);
        let [micros, at] = [kept >> 32, kept & u64::from(u32::MAX)].map(|half| u32::try_from(half).unwrap_or(0));
        let since = self.age(now).saturating_sub(Duration::from_millis(at.into()));
        (micros != 0).then(|| (f64::from(f32::from_bits(micros)) / 1e6, since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_kept_and_fades() {
        let begun = Instant::now();
        let pace = Pace::new(begun);
        assert_eq!(pace.latency_s(begun), None);
        let at = begun + Duration::from_secs(3_600);
        pace.answered(at, Duration::from_millis(20));
        assert!((pace.latency_s(at).unwrap() - 0.02).abs() < 1e-6);
        pace.answered(at, Duration::from_millis(80));
        assert!((pace.latency_s(at).unwrap() - 0.08).abs() < 1e-6, "a slow one counts at once");
        let later = at + Duration::from_secs(60);
        assert!(pace.latency_s(later).unwrap() < 0.001);
        pace.answered(later, Duration::ZERO);
        assert!(pace.latency_s(later).is_some());
        assert_eq!(pace.age(later), Duration::from_secs(3_660));
    }
}
