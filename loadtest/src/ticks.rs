//! The clock of an open loop: a thread that says when the next request is due.
//!
//! A thread and not a timer of the async runtime, because that one counts in milliseconds and waits behind the runtime's
//! other work: both would show up as latency of the server.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, Sender},
    time::{Duration, Instant},
};
use tokio::sync::mpsc::UnboundedSender;

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
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: at most 200,000/s for an hour")]
    let total = (rate * duration.as_secs_f64()).ceil() as u64;
    total.max(1)
}

/// Dropping it ends the clock at once.
pub(crate) struct Running {
    _stop: Sender<()>,
}

/// Starts the clock. The ticks go into an unbounded channel, because a clock that waits for its reader is no clock; their
/// number is bounded by the run.
///
/// # Errors
/// If the thread could not be started.
pub(crate) fn start(
    begin: Instant,
    rate: f64,
    duration: Duration,
    ticks: UnboundedSender<Tick>,
) -> std::io::Result<Running> {
    let (stop, stopped) = std::sync::mpsc::channel();
    std::thread::Builder::new()
        .name("loadtest-clock".to_owned())
        .spawn(move || tick(begin, rate, total(rate, duration), &ticks, &stopped))?;
    Ok(Running { _stop: stop })
}

fn tick(begin: Instant, rate: f64, total: u64, ticks: &UnboundedSender<Tick>, stopped: &Receiver<()>) {
    for n in 0..total {
        let at = begin + offset(n, rate);
        let ahead = at.saturating_duration_since(Instant::now());
        // Waiting on the channel is waiting on a futex: as precise as a sleep, and it ends when the run does.
        if !ahead.is_zero() && stopped.recv_timeout(ahead) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        if ticks.send(Tick { n, at }).is_err() {
            return;
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
}
