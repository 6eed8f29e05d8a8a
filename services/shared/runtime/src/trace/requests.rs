//! Which requests are recorded, decided before anything is made for it: a span costs several microseconds, which is much beside a small
//! request, and nothing reads those of a request that is not recorded.

use super::is_sampled;
use std::{
    fmt::Write as _,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

/// Requests that are recorded in a second of their process. With the spans of worker and outputs that is what the queue before the
/// collector carries; past it whole traces are left out here, instead of pieces of all of them there.
const A_SECOND: u64 = 1_000;

/// Set where there is a collector.
static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// From here on requests are recorded: those whose caller says so, and this share of the others.
pub(crate) fn record_requests(share: f64) {
    let _ = RECORDER.set(Recorder { share, begun: Instant::now(), window: AtomicU64::new(0) });
}

/// The trace context of a request that comes in with `given`, a checked `traceparent`, or none; and whether spans are made for it. The
/// span of one that is recorded has a context of its own: give that on instead.
#[must_use]
pub fn of_request(given: Option<String>) -> (String, bool) {
    let recorder = RECORDER.get();
    match given {
        Some(given) => {
            let recorded = recorder.is_some() && is_sampled(&given);
            (given, recorded)
        }
        None => (unrecorded(), recorder.is_some_and(|recorder| recorder.admits(Instant::now(), rand::random()))),
    }
}

/// Whether spans are made for what belongs to this trace: it has been decided where the trace began.
#[must_use]
pub fn is_recorded(traceparent: &str) -> bool {
    RECORDER.get().is_some() && is_sampled(traceparent)
}

/// A new trace of which nothing is recorded: the row, the log and the client still name the request by it.
fn unrecorded() -> String {
    let mut text = String::with_capacity(55);
    // Zero is no id; writing to a text cannot fail.
    let _ = write!(text, "00-{:032x}-{:016x}-00", rand::random::<u128>().max(1), rand::random::<u64>().max(1));
    text
}

#[derive(Debug)]
struct Recorder {
    share: f64,
    begun: Instant,
    /// The second since the begin, in the upper half, and how many were admitted in it.
    window: AtomicU64,
}

impl Recorder {
    /// Admits a request with the chance that is configured, `dice` being from 0 to 1, and if there is room in this second.
    fn admits(&self, now: Instant, dice: f64) -> bool {
        if dice >= self.share {
            return false;
        }
        let second = now.saturating_duration_since(self.begun).as_secs() << 32;
        let count = |window: u64| {
            // Another thread may have looked at its clock a moment later.
            let window = if window < second { second } else { window };
            (window & u64::from(u32::MAX) < A_SECOND).then_some(window + 1)
        };
        self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn recorder(share: f64) -> Recorder {
        Recorder { share, begun: Instant::now(), window: AtomicU64::new(0) }
    }

    #[test]
    fn so_many_are_recorded_in_each_second_and_no_more() {
        let recorder = recorder(1.0);
        for second in 0..3 {
            let at = recorder.begun + Duration::from_secs(second);
            let admitted = (0..3 * A_SECOND).filter(|_| recorder.admits(at, 0.5)).count();
            assert_eq!(admitted as u64, A_SECOND);
        }
        assert!(!recorder.admits(recorder.begun, 0.5), "a late thread is counted in the second of the others");
    }

    #[test]
    fn the_share_that_is_configured_is_recorded() {
        let recorded = |share| {
            let recorder = recorder(share);
            (0..100_u8).filter(|n| recorder.admits(recorder.begun, f64::from(*n) / 100.0)).count()
        };
        assert_eq!([0.0, 0.25, 1.0].map(recorded), [0, 25, 100]);
    }

    #[test]
    fn a_request_that_is_not_recorded_has_a_trace_context_all_the_same() {
        let (own, recorded) = of_request(None);
        assert!(!recorded && !is_sampled(&own), "there is no collector here");
        assert_eq!(own.split('-').map(str::len).collect::<Vec<_>>(), [2, 32, 16, 2]);
        assert_ne!(own, of_request(None).0);
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(of_request(Some(given.to_owned())), (given.to_owned(), false));
    }
}
