//! Whether a batch that could run should wait for company, and how large it may get.
//!
//! Waiting costs those who are there, and saves the fixed cost of a run for whoever comes. Both are known here: what a run of so many
//! rows takes was measured at load, and how soon others come is seen all the time. So a batch waits only while the next row is
//! expected sooner than what it would save, and no longer than that: a caller who is alone is answered at once, and where many ask at
//! the same time their requests share runs. The configured delay is the most that is ever waited.

/// Weight of what was known before, against what is seen now: settled within some ten observations.
const KEPT: f64 = 7.0 / 8.0;
/// How far runs may be from what was measured at load. Beyond it the machine is so busy that their shape says nothing any more.
const DRIFT: std::ops::RangeInclusive<f64> = 0.1..=10.0;
/// Under a target, a request may have to wait for one run before its own: a run has half of it.
const RUNS_IN_TARGET: f64 = 2.0;

/// What a run of so many rows takes, in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Measured at load, ascending by rows.
    points: Vec<(usize, f64)>,
    /// How runs of late stand to what was measured.
    drift: f64,
}

impl Cost {
    /// From what was measured: rows, and microseconds of a run. None, where nothing was.
    #[must_use]
    pub fn of(points: impl IntoIterator<Item = (usize, f64)>) -> Option<Self> {
        let mut points: Vec<_> =
            points.into_iter().filter(|(rows, us)| *rows > 0 && us.is_finite() && *us > 0.0).collect();
        points.sort_unstable_by_key(|(rows, _)| *rows);
        points.dedup_by_key(|(rows, _)| *rows);
        (!points.is_empty()).then_some(Self { points, drift: 1.0 })
    }

    /// What a run of `rows` takes at the pace of late. Between two measured sizes it grows evenly; beyond the last, in proportion.
    #[must_use]
    pub fn us(&self, rows: usize) -> f64 {
        self.drift * self.measured(rows)
    }

    fn measured(&self, rows: usize) -> f64 {
        let above = self.points.partition_point(|(size, _)| *size < rows);
        match (above.checked_sub(1).and_then(|below| self.points.get(below)), self.points.get(above)) {
            (Some(&(low, low_us)), Some(&(high, high_us))) => {
                let part = (rows - low) as f64 / (high - low) as f64;
                low_us + part * (high_us - low_us)
            }
            (None, Some(&(_, us))) => us,
            (Some(&(size, us)), None) => us * rows as f64 / size as f64,
            (None, None) => 0.0,
        }
    }

    /// A run was seen.
    pub fn saw(&mut self, rows: usize, us: f64) {
        let seen = (us / self.measured(rows)).clamp(*DRIFT.start(), *DRIFT.end());
        self.drift = self.drift * KEPT + seen * (1.0 - KEPT);
    }

    /// What one more row saves: what it would cost by itself at the price that each of `rows` pays, less what it adds.
    #[must_use]
    pub fn saving_us(&self, rows: usize) -> f64 {
        let (now, then) = (self.us(rows), self.us(rows + 1));
        now * (rows + 1) as f64 / rows.max(1) as f64 - then
    }

    /// The most rows, of `most`, whose runs let a request that has to wait for one be answered within `target_us`; at least one.
    #[must_use]
    pub fn rows_within(&self, target_us: u64, most: usize) -> usize {
        let fits = |rows: &usize| RUNS_IN_TARGET * self.us(*rows) <= target_us as f64;
        (1..=most).rev().find(fits).unwrap_or(1)
    }

    /// What a batch of `rows` may wait, with one more row to come, and still be answered within `target_us`.
    #[must_use]
    pub fn slack_us(&self, target_us: u64, rows: usize) -> u64 {
        (target_us as f64 - RUNS_IN_TARGET * self.us(rows + 1)).max(0.0) as u64
    }
}

/// How soon others come while a batch is there.
///
/// Seen from when a batch could run to when its run has ended: what comes in that time could have been waited for. What comes later may be
/// its own callers with their next requests, who are no company.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Arrivals {
    rows: f64,
    us: f64,
}

impl Arrivals {
    /// Nothing was seen.
    pub const NONE: Self = Self { rows: 0.0, us: 0.0 };

    /// So many rows came within such a time.
    pub fn saw(&mut self, rows: usize, us: u64) {
        self.rows = self.rows * KEPT + rows as f64;
        // Two events within one microsecond are one apart.
        self.us = self.us * KEPT + us.max(1) as f64;
    }

    /// Expected time to the next row, in microseconds; infinite while none came.
    #[must_use]
    pub fn gap_us(&self) -> f64 {
        self.us / self.rows
    }
}

/// How long a batch of `rows` should wait from now on for the next row, in microseconds; 0 = run it.
#[must_use]
pub fn patience_us(cost: &Cost, arrivals: &Arrivals, rows: usize) -> u64 {
    let saving = cost.saving_us(rows);
    // Before anything was seen the gap is no number: nobody is expected.
    if arrivals.gap_us() < saving { saving as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 100 us for the run, 10 us for a row.
    fn cost() -> Cost {
        Cost::of([1, 2, 4, 8].map(|rows| (rows, 100.0 + 10.0 * rows as f64))).unwrap()
    }

    fn arrivals(gap_us: u64) -> Arrivals {
        let mut arrivals = Arrivals::default();
        arrivals.saw(10, gap_us * 10);
        arrivals
    }

    #[test]
    fn nobody_waits_for_company_that_is_not_expected() {
        assert_eq!(patience_us(&cost(), &Arrivals::default(), 1), 0);
        let mut alone = Arrivals::default();
        alone.saw(0, 500);
        assert_eq!(patience_us(&cost(), &alone, 1), 0);
        assert_eq!(patience_us(&cost(), &arrivals(101), 1), 0);
    }

    #[test]
    fn a_batch_waits_as_long_as_what_the_next_row_saves() {
        // Another run would be 110 us; in this one it is 10.
        assert_eq!(patience_us(&cost(), &arrivals(20), 1), 100);
        // Shared by four the run is 25 each.
        assert_eq!(patience_us(&cost(), &arrivals(20), 4), 25);
        assert_eq!(patience_us(&cost(), &arrivals(30), 4), 0);
    }

    #[test]
    fn where_rows_save_nothing_nobody_waits() {
        let even = Cost::of([1, 2, 4].map(|rows| (rows, 100.0 * rows as f64))).unwrap();
        assert_eq!(patience_us(&even, &arrivals(1), 1), 0);
    }

    #[test]
    fn what_came_of_late_counts_and_what_came_long_ago_does_not() {
        let mut arrivals = arrivals(10);
        for _ in 0..40 {
            arrivals.saw(0, 1_000);
        }
        assert!(arrivals.gap_us() > 10_000.0, "{}", arrivals.gap_us());
        for _ in 0..20 {
            arrivals.saw(10, 100);
        }
        assert!(arrivals.gap_us() < 100.0, "{}", arrivals.gap_us());
    }

    #[test]
    fn a_run_is_read_between_and_beyond_what_was_measured() {
        let us: Vec<f64> = [1, 3, 8, 16].map(|rows| cost().us(rows)).to_vec();
        assert_eq!(us, [110.0, 130.0, 180.0, 360.0]);
        assert_eq!(Cost::of([(4, 40.0)]).unwrap().us(1), 40.0);
        assert!(Cost::of([(0, 1.0), (1, f64::NAN), (2, 0.0)]).is_none());
    }

    #[test]
    fn runs_that_take_longer_than_measured_are_believed() {
        let mut cost = cost();
        for _ in 0..60 {
            cost.saw(4, 280.0);
        }
        assert!((cost.us(8) - 360.0).abs() < 1.0, "{}", cost.us(8));
        for _ in 0..200 {
            cost.saw(4, 1e12);
        }
        assert!(cost.us(1) <= 1_100.0 + 1.0);
    }

    #[test]
    fn under_a_target_a_batch_is_as_large_as_two_runs_allow() {
        assert_eq!(cost().rows_within(1_000, 8), 8);
        assert_eq!(cost().rows_within(280, 8), 4);
        assert_eq!(cost().rows_within(10, 8), 1);
        assert_eq!(cost().slack_us(1_000, 1), 760);
        assert_eq!(cost().slack_us(100, 1), 0);
    }

    proptest! {
        #[test]
        fn nobody_waits_longer_than_a_run_of_one_saves(
            fixed in 0.0_f64..1e6, each in 1.0_f64..1e6, seen in proptest::collection::vec((0_usize..50, 0_u64..100_000), 0..30),
            rows in 1_usize..64,
        ) {
            let cost = Cost::of([1, 2, 4, 8, 16, 32].map(|rows| (rows, fixed + each * rows as f64))).unwrap();
            let mut arrivals = Arrivals::default();
            for (rows, us) in seen {
                arrivals.saw(rows, us);
            }
            let patience = patience_us(&cost, &arrivals, rows);
            prop_assert!(patience as f64 <= fixed / rows as f64 + 1.0, "{patience}");
            prop_assert!(patience == 0 || arrivals.gap_us() < cost.saving_us(rows));
        }

        #[test]
        fn a_target_never_makes_batches_larger(target in 0_u64..1_000_000, more in 0_u64..1_000_000, most in 1_usize..64) {
            let (tight, wide) = (cost().rows_within(target, most), cost().rows_within(target + more, most));
            prop_assert!((1..=most).contains(&tight) && tight <= wide && wide <= most);
        }
    }
}
