//! What the batcher has learnt of its model and its callers, and what follows from it for the batch that is being filled.

use std::time::Duration;

use super::batching::Limits;
use super::company::{Arrivals, Cost, patience_us};

/// How many runs fit between two requests where a model is idle most of the time. One caller who waits for each answer leaves room for some
/// six, of which the network has the most; eight callers for two.
const IDLE: f64 = 4.0;
/// The longest time between two requests that is told apart, in runs.
const LONGEST_GAP: f64 = 4.0 * IDLE;
/// Weight of what was known of the time between requests, against one that is seen now: settled within some ten.
const REMEMBERED: f64 = 8.0;

/// Learns from every arrival and every run. Times are microseconds of one monotonic clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    cost: Cost,
    arrivals: Arrivals,
    target_us: Option<u64>,
    last_arrival_us: u64,
    /// Smoothed time between requests, in microseconds.
    gap_us: f64,
    watched: Option<Watched>,
}

/// A batch whose company is counted. One at a time: of several threads' batches, one tells as much as all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Watched {
    since_us: u64,
    rows: usize,
    running: bool,
}

impl Pace {
    /// Of a model whose runs cost so much. With a target, requests are to be answered within it as far as batching goes.
    #[must_use]
    pub const fn new(cost: Cost, target_us: Option<u64>) -> Self {
        let arrivals = Arrivals::NONE;
        Self { cost, arrivals, target_us, last_arrival_us: 0, gap_us: 0.0, watched: None }
    }

    /// Rows arrived.
    pub fn came(&mut self, rows: usize, now_us: u64) {
        // A pause says that requests come seldom, and not how seldom: after it the pace must be found again within some ten of them.
        let gap_us = (now_us.saturating_sub(self.last_arrival_us) as f64).min(LONGEST_GAP * self.cost.us(rows));
        self.gap_us += (gap_us - self.gap_us) / REMEMBERED;
        self.last_arrival_us = now_us;
        if let Some(watched) = &mut self.watched {
            watched.rows += rows;
        }
    }

    /// Whether so many rows are expected to run no longer than `most`, and requests come so seldom that the model is idle most of the time.
    #[must_use]
    pub fn is_seldom_and_brief(&self, rows: usize, most: Duration) -> bool {
        let us = self.cost.us(rows);
        us <= most.as_secs_f64() * 1e6 && self.gap_us >= IDLE * us
    }

    /// The limits that hold now, never beyond those that are configured.
    #[must_use]
    pub fn limits(&self, configured: Limits) -> Limits {
        let within = |target| self.cost.rows_within(target, configured.max_rows);
        Limits { max_rows: self.target_us.map_or(configured.max_rows, within), ..configured }
    }

    /// Until when a batch of `rows`, which could run now, should wait for company. Past or now: it should run.
    pub fn until_us(&mut self, rows: usize, now_us: u64) -> u64 {
        let watched = self.watched.get_or_insert(Watched { since_us: now_us, rows: 0, running: false });
        let slack = self.target_us.map_or(u64::MAX, |target| self.cost.slack_us(target, rows));
        let patience = patience_us(&self.cost, &self.arrivals, rows).min(slack);
        // From the last arrival on, not from each look at the queue: else it would never be over.
        self.last_arrival_us.max(watched.since_us).saturating_add(patience)
    }

    /// A batch begins to run.
    pub fn begins(&mut self, now_us: u64) {
        let watched = self.watched.get_or_insert(Watched { since_us: now_us, rows: 0, running: true });
        watched.running = true;
    }

    /// A run of so many rows has ended after such a time.
    pub fn ran(&mut self, rows: usize, took_us: f64, now_us: u64) {
        self.cost.saw(rows, took_us);
        if let Some(watched) = self.watched.take_if(|watched| watched.running) {
            self.arrivals.saw(watched.rows, now_us.saturating_sub(watched.since_us));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_rows: 8, max_delay_us: 2_000 };

    /// 100 us for the run, 10 us for a row.
    fn pace(target_us: Option<u64>) -> Pace {
        Pace::new(Cost::of([1, 2, 4, 8].map(|rows| (rows, 100.0 + 10.0 * rows as f64))).unwrap(), target_us)
    }

    #[test]
    fn one_caller_who_asks_again_and_again_never_waits() {
        let (mut pace, mut now) = (pace(None), 0);
        for _ in 0..100 {
            pace.came(1, now);
            assert!(pace.until_us(1, now) <= now);
            pace.begins(now);
            now += 110;
            pace.ran(1, 110.0, now);
            now += 5;
        }
    }

    #[test]
    fn callers_who_come_while_a_run_is_under_way_are_waited_for_the_next_time() {
        let (mut pace, mut now) = (pace(None), 0);
        for _ in 0..20 {
            pace.came(1, now);
            pace.begins(now);
            for _ in 0..3 {
                pace.came(1, now + 20);
            }
            now += 110;
            pace.ran(1, 110.0, now);
        }
        pace.came(1, now);
        let until = pace.until_us(1, now);
        assert_eq!(until, now + 100, "as long as one more row saves");
        // Nobody came: it is not waited on and on.
        assert_eq!(pace.until_us(1, now + 50), until);
        assert!(pace.until_us(1, until) <= until);
        // They came: one more would save the four 25 us, and takes 37 to come.
        pace.came(3, now + 60);
        assert_eq!(pace.until_us(4, now + 60), now + 60);
    }

    #[test]
    fn requests_that_come_seldom_are_told_from_those_that_come_on_each_others_heels() {
        let brief = |pace: &Pace| pace.is_seldom_and_brief(1, Duration::from_micros(200));
        let (mut pace, mut now) = (pace(None), 0);
        assert!(!brief(&pace), "nothing is known yet");
        let mut come = |pace: &mut Pace, gap: u64| {
            for _ in 0..20 {
                now += gap;
                pace.came(1, now);
            }
        };
        come(&mut pace, 600);
        assert!(brief(&pace));
        assert!(!pace.is_seldom_and_brief(8, Duration::from_micros(150)), "eight rows take 180 us");
        come(&mut pace, 200);
        assert!(!brief(&pace));
        // After a pause of a minute the pace is found again as fast.
        come(&mut pace, 60_000_000);
        assert!(brief(&pace));
        come(&mut pace, 200);
        assert!(!brief(&pace));
    }

    #[test]
    fn a_target_limits_rows_and_waiting_and_nothing_else_does() {
        assert_eq!(pace(None).limits(LIMITS), LIMITS);
        assert_eq!(pace(Some(280)).limits(LIMITS), Limits { max_rows: 4, ..LIMITS });
        let mut tight = pace(Some(250));
        tight.begins(0);
        tight.came(10, 1);
        tight.ran(1, 110.0, 110);
        tight.came(1, 200);
        assert_eq!(tight.until_us(1, 200), 200 + 10, "two runs of two take 240 of the 250");
    }

    #[test]
    fn a_run_that_was_not_watched_says_nothing_of_company() {
        let mut pace = pace(None);
        pace.until_us(1, 0);
        // Another thread's.
        pace.ran(4, 140.0, 50);
        pace.came(7, 60);
        pace.begins(70);
        pace.ran(8, 180.0, 250);
        assert!((pace.arrivals.gap_us() - 250.0 / 7.0).abs() < 0.1);
    }
}
