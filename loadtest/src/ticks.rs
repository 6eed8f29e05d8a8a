//! The clock of an open loop: a thread that says when the next request is due.
//!
//! A thread and not a timer of the async runtime, because that one counts in milliseconds and waits behind the runtime's
//! other work: both would show up as latency of the server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Ticks that may wait for the sender: a third of a second at the highest rate. A sender that is further behind sends nothing
/// that is worth measuring; what it misses is counted as shed.
pub(crate) const WAITING: usize = 65_536;

/// One request that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    /// Its number in the run, from 0.
    pub(crate) n: u64,
    /// When it is due.
    pub(crate) at: Instant,
}

/// When the `n`-th request is due after the start of the run.
pub(crate) fn offset(n: u64, rate: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "2^53 requests are more than a run can hold")]
    Duration::from_secs_f64(n as f64 / rate)
}

/// How many requests are due in `duration`: those at 0, 1/rate, 2/rate… before its end.
pub(crate) fn total(rate: f64, duration: Duration) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked: at most 200,000/s for an hour"
    )]
    let total = (rate * duration.as_secs_f64()).ceil() as u64;
    total.max(1)
}

/// Dropping it ends the clock at once.
pub(crate) struct Running {
    _stop: SyncSender<()>,
    missed: Arc<AtomicU64>,
}

impl Running {
    /// Ticks that found no room, because the sender was too far behind.
    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

/// Starts the clock. It never waits for its reader: a clock that does is none.
///
/// # Errors
/// If the thread could not be started.
pub(crate) fn start(
    begin: Instant,
    rate: f64,
    duration: Duration,
    ticks: mpsc::Sender<Tick>,
) -> std::io::Result<Running> {
    // Nothing is ever sent through it: its end is the signal.
    let (stop, stopped) = sync_channel(1);
    let missed = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&missed);
    std::thread::Builder::new()
        .name("loadtest-clock".to_owned())
        .spawn(move || tick(begin, rate, total(rate, duration), &ticks, &stopped, &counter))?;
    Ok(Running { _stop: stop, missed })
}

fn tick(begin: Instant, rate: f64, total: u64, ticks: &mpsc::Sender<Tick>, stopped: &Receiver<()>, missed: &AtomicU64) {
    for n in 0..total {
        let at = begin + offset(n, rate);
        let ahead = at.saturating_duration_since(Instant::now());
        // Waiting on the channel is waiting on a futex: as precise as a sleep, and it ends when the run does.
        if !ahead.is_zero() && stopped.recv_timeout(ahead) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        match ticks.try_send(Tick { n, at }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                missed.fetch_add(1, Ordering::Relaxed);
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_spread_evenly_and_their_number_is_the_rate_times_the_duration() {
        assert_eq!(total(50.0, Duration::from_secs(3)), 150);
        assert_eq!(total(0.5, Duration::from_secs(1)), 1);
        assert_eq!(total(3.0, Duration::from_millis(500)), 2);
        assert_eq!(offset(0, 50.0), Duration::ZERO);
        assert_eq!(offset(50, 50.0), Duration::from_secs(1));
        assert_eq!(offset(1, 1_000.0), Duration::from_millis(1));
    }

    #[test]
    fn ticks_that_find_no_room_are_counted_and_the_clock_goes_on() {
        let (ticks, mut due) = mpsc::channel(2);
        let running = start(Instant::now(), 1_000.0, Duration::from_millis(10), ticks).unwrap();
        let mut seen = Vec::new();
        // The clock's own end closes the channel; nobody takes anything before.
        std::thread::sleep(Duration::from_millis(100));
        while let Some(tick) = due.blocking_recv() {
            seen.push(tick.n);
        }
        assert_eq!((seen, running.missed()), (vec![0, 1], 8));
    }
}
