//! A run: its shape, its limits, how it is stopped, and the thread it lives on.

use crate::{client::Target, drive, error::LoadError, report::Report, workload::Workload};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// The highest rate: above it the clock's own work is what is measured.
const MAX_RATE: f64 = 200_000.0;
/// The longest run: an hour fills 3,600 seconds of the time series, and latencies up to it are kept.
const MAX_DURATION: Duration = Duration::from_secs(3_600);
/// The most requests under way: a connection each, and there are about 28,000 local ports.
const MAX_IN_FLIGHT: usize = 16_384;

/// How requests are timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// At fixed times, whatever the answers do.
    Open {
        /// Requests a second.
        rate: f64,
        /// For how long requests are sent; answers are awaited after it.
        duration: Duration,
    },
    /// So many callers, each sending its next request when it has the answer to the last.
    Closed {
        /// How many callers.
        callers: usize,
        /// For how long requests are sent; answers are awaited after it.
        duration: Duration,
    },
}

/// What a run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long one request may take, from the moment it is sent. Also how long the end of a run may take.
    pub timeout: Duration,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// The most requests under way; what would be more is shed and counted.
    pub max_in_flight: usize,
    /// The longest answer that is read, in bytes.
    pub max_reply_bytes: usize,
    /// How late the generator may send (99 of 100 requests) before its figures are not to be trusted.
    pub max_lag: Duration,
}

impl Default for Limits {
    /// 10 s and 2 s: the patience of a usual client. 1,024 under way: more connections than that measure the kernel.
    /// 64 MiB: the largest body an ingress takes. 20 ms: two scheduling quanta of a busy machine.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            max_in_flight: 1_024,
            max_reply_bytes: 64 << 20,
            max_lag: Duration::from_millis(20),
        }
    }
}

/// How a run is ended early.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Stop at once: what is under way is dropped and counted as abandoned.
    pub now: CancellationToken,
    /// Send no more, and wait for what is under way.
    pub enough: CancellationToken,
}

impl Stop {
    /// A stop that follows `parent`: cancelling it stops the run at once.
    #[must_use]
    pub fn with_parent(parent: &CancellationToken) -> Self {
        Self { now: parent.child_token(), enough: CancellationToken::new() }
    }
}

impl Shape {
    const fn duration(&self) -> Duration {
        match self {
            Self::Open { duration, .. } | Self::Closed { duration, .. } => *duration,
        }
    }

    fn check(&self, limits: &Limits) -> Result<(), LoadError> {
        let duration = self.duration();
        if duration < Duration::from_millis(1) || duration > MAX_DURATION {
            return Err(LoadError::Duration { duration, most: MAX_DURATION });
        }
        let in_flight = match self {
            Self::Open { rate, .. } if !(*rate > 0.0 && *rate <= MAX_RATE) => {
                return Err(LoadError::Rate { rate: *rate, most: MAX_RATE });
            }
            Self::Open { .. } => limits.max_in_flight,
            Self::Closed { callers, .. } => *callers,
        };
        if (1..=MAX_IN_FLIGHT).contains(&in_flight) {
            Ok(())
        } else {
            Err(LoadError::InFlight { count: in_flight, most: MAX_IN_FLIGHT })
        }
    }
}

/// Sends `workload` to `target` and reports what came of it. Dropping the future stops the run at once.
///
/// # Errors
/// Only what keeps the run from starting; see [`LoadError`].
pub async fn run(
    target: &Target,
    workload: Arc<dyn Workload>,
    shape: Shape,
    limits: Limits,
    stop: &Stop,
) -> Result<Report, LoadError> {
    shape.check(&limits)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Thread)?;
    let (done, result) = tokio::sync::oneshot::channel();
    let dropped = stop.now.child_token();
    let guard = dropped.clone().drop_guard();
    let (target, stop) = (target.clone(), Stop { now: dropped, enough: stop.enough.clone() });
    std::thread::Builder::new()
        .name("loadtest".to_owned())
        .spawn(move || {
            let report = runtime.block_on(drive::drive(target, workload, shape, limits, stop));
            // Nobody listens any more when the caller's future was dropped.
            let _ = done.send(report);
            // A name lookup may still be in flight; it is not worth waiting for.
            runtime.shutdown_background();
        })
        .map_err(LoadError::Thread)?;
    let report = result.await.map_err(|_| LoadError::Lost)?;
    drop(guard);
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_that_cannot_be_run_is_refused_by_name() {
        let second = Duration::from_secs(1);
        let limits = Limits::default();
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            let refused = Shape::Open { rate, duration: second }.check(&limits);
            assert!(matches!(refused, Err(LoadError::Rate { .. })), "{rate}");
        }
        for duration in [Duration::ZERO, Duration::from_secs(7_200)] {
            let refused = Shape::Open { rate: 1.0, duration }.check(&limits);
            assert!(matches!(refused, Err(LoadError::Duration { .. })), "{duration:?}");
        }
        for callers in [0, 1_000_000] {
            let refused = Shape::Closed { callers, duration: second }.check(&limits);
            assert!(matches!(refused, Err(LoadError::InFlight { .. })), "{callers}");
        }
        assert!(Shape::Open { rate: 0.5, duration: second }.check(&limits).is_ok());
    }
}
