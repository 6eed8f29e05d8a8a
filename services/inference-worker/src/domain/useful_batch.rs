//! From measured throughput to the batch size that is worth waiting for.

use serde::{Deserialize, Serialize};

/// Throughput measured at one batch size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchPoint {
    /// Rows per run.
    pub rows: usize,
    /// How many runs were timed.
    pub runs: usize,
    /// Median time of a run in microseconds.
    pub run_p50_us: f64,
    /// Rows per second of the fastest run, on one thread. A container that has used up its share of the processors stands still for some of the
    /// runs, and for those of one size more than for those of another; how sizes compare is told by the runs that nothing disturbed.
    pub rows_per_second: f64,
}

/// A batch within this share of the best throughput is as good: the rest is noise, and a smaller batch answers sooner.
const GOOD_ENOUGH: f64 = 0.9;

/// The smallest measured batch whose throughput is within a tenth of the best; 1 when nothing was measured.
///
/// Convolutions in tract lose throughput with every row added while small dense networks gain tenfold, so this cannot
/// be a constant.
#[must_use]
pub fn useful_batch(points: &[BatchPoint]) -> usize {
    let best = points.iter().map(|point| point.rows_per_second).fold(0.0, f64::max);
    points
        .iter()
        .filter(|point| point.rows_per_second >= best * GOOD_ENOUGH)
        .map(|point| point.rows)
        .min()
        .unwrap_or(1)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(rates: &[(usize, f64)]) -> Vec<BatchPoint> {
        rates
            .iter()
            .map(|&(rows, rows_per_second)| BatchPoint { rows, runs: 5, run_p50_us: 1.0, rows_per_second })
            .collect()
    }

    #[test]
    fn a_network_that_gains_by_batching_gets_its_knee() {
        assert_eq!(
            useful_batch(&points(&[(1, 350.0), (2, 650.0), (4, 1200.0), (8, 1950.0), (16, 2000.0), (32, 2010.0)])),
            8
        );
    }

    #[test]
    fn a_network_that_loses_by_batching_runs_row_by_row() {
        assert_eq!(useful_batch(&points(&[(1, 9.1), (8, 5.2), (32, 2.9)])), 1);
    }

    #[test]
    fn flat_throughput_means_no_batching() {
        assert_eq!(useful_batch(&points(&[(1, 22.0), (8, 21.7), (32, 23.0)])), 1);
    }

    #[test]
    fn nothing_measured_means_one() {
        assert_eq!(useful_batch(&[]), 1);
    }
}
