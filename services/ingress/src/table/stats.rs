//! How a revision does since its share changed last: counts and a latency histogram, without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Buckets of the histogram. Each is a tenth wider than the one before; from 0.1 ms, 160 of them reach past the longest
/// timeout (0.1 ms * 1.1^160 = 420 s).
const BUCKETS: usize = 160;
const FIRST_MS: f64 = 0.1;
const GROWTH: f64 = 1.1;

/// Counts of one revision.
#[derive(Debug)]
pub struct RevisionCounts {
    requests: AtomicU64,
    failures: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Requests answered.
    pub requests: u64,
    /// Of these, failed by our fault (5xx).
    pub failures: u64,
    /// 99 of 100 were answered within this many milliseconds, at most a tenth too high.
    pub p99_ms: f64,
}

impl Default for RevisionCounts {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl RevisionCounts {
    /// Counts one answer.
    pub fn record(&self, failed: bool, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(u64::from(failed), Ordering::Relaxed);
        if let Some(bucket) = self.buckets.get(bucket(took)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted up to now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let rank = total - total / 100;
        let mut seen = 0;
        let at = counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Summary {
            requests: self.requests.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            p99_ms: if total == 0 { 0.0 } else { upper_edge_ms(at.unwrap_or(BUCKETS - 1)) },
        }
    }
}

fn bucket(took: Duration) -> usize {
    let ms = took.as_secs_f64() * 1_000.0;
    if ms <= FIRST_MS {
        return 0;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and cut to the last bucket")]
    let index = (ms / FIRST_MS).log(GROWTH).ceil().min(BUCKETS as f64 - 1.0) as usize;
    index
}

fn upper_edge_ms(bucket: usize) -> f64 {
    FIRST_MS * GROWTH.powi(i32::try_from(bucket).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_counted_is_nothing_measured() {
        assert_eq!(RevisionCounts::default().summary(), Summary { requests: 0, failures: 0, p99_ms: 0.0 });
    }

    #[test]
    fn one_slow_answer_in_a_hundred_does_not_move_the_p99_and_two_do() {
        let counts = RevisionCounts::default();
        (0..99).for_each(|_| counts.record(false, Duration::from_millis(1)));
        counts.record(true, Duration::from_millis(500));
        let summary = counts.summary();
        assert!(summary.p99_ms < 1.2, "{summary:?}");
        assert_eq!((summary.requests, summary.failures), (100, 1));
        counts.record(false, Duration::from_millis(500));
        assert!(counts.summary().p99_ms > 499.0);
    }

    proptest! {
        #[test]
        fn the_p99_is_at_most_a_tenth_above_the_true_one(mut micros in proptest::collection::vec(100_u64..300_000_000, 1..300)) {
            let counts = RevisionCounts::default();
            for micros in &micros {
                counts.record(false, Duration::from_micros(*micros));
            }
            micros.sort_unstable();
            let rank = micros.len() - micros.len() / 100;
            let true_ms = micros[rank - 1] as f64 / 1_000.0;
            let found = counts.summary().p99_ms;
            prop_assert!(found >= true_ms * 0.999_999 && found <= true_ms * 1.100_001, "{found} for {true_ms}");
        }
    }
}
