//! What one repeat of the load measured: the evidence of several checks.

use crate::domain::noise::Value;
use serde::Serialize;

/// The share of the wanted rate that counts as reached: the ends of a run of a second or two cost up to this much.
pub const REACHED: f64 = 0.98;
/// How much of a run the generator may be late before the pace of the answers is its own.
const LATE_SHARE: f64 = 0.05;

/// One repeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    /// Requests a second that were asked for.
    pub rate: f64,
    /// For how long requests were sent, in seconds.
    pub sending_s: f64,
    /// Requests sent.
    pub sent: u64,
    /// Requests answered.
    pub ok: u64,
    /// Requests due and not sent, because too many were under way.
    pub shed: u64,
    /// Requests that failed, by class.
    pub failures: Vec<(String, u64)>,
    /// Median latency in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 latencies are at most this, in milliseconds.
    pub p99_ms: f64,
    /// Answers a second, sustained.
    pub throughput: f64,
    /// Whether more and more requests were under way.
    pub backlog_grew: bool,
    /// The generator itself was so late that its figures are its own as much as the revision's.
    pub late: bool,
    /// How late it was at most, in milliseconds.
    pub lag_ms: f64,
    /// Share of the machine that others used, 0 to 1; unknown on a system that does not tell.
    pub foreign: Option<f64>,
}

impl Repeat {
    /// Requests that failed or could not be sent because too many waited.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.iter().map(|(_, count)| count).sum::<u64>() + self.shed
    }

    /// What the revision had of the machine, if others had so much that it matters.
    fn left(&self, limit: f64) -> Option<f64> {
        self.foreign.filter(|share| *share > limit).map(|share| 1.0 - share)
    }

    /// Whether others explain a latency above `target` (in milliseconds): with all of the machine it would have been that much
    /// less, or a backlog that made it would not have been there. Or the generator's own lag explains it.
    pub(super) fn explains_latency(&self, target: f64, limit: f64) -> bool {
        let by_others = self.left(limit).is_some_and(|left| {
            let saturated = self.backlog_grew || self.throughput < self.rate * REACHED;
            self.p99_ms * left <= target || (saturated && self.throughput / left >= self.rate)
        });
        by_others || (self.late && self.p99_ms - self.lag_ms <= target)
    }

    /// Whether others explain a throughput below `wanted` requests a second: with all of the machine it would have been that
    /// much more. Or the generator could not send at that pace.
    pub(super) fn explains_throughput(&self, wanted: f64, limit: f64) -> bool {
        let by_others = self.left(limit).is_some_and(|left| self.throughput / left >= wanted);
        by_others || self.lag_ms > self.sending_s * 1_000.0 * LATE_SHARE
    }

    /// Whether others explain the failures: all of them are of the kind that comes from too little machine.
    pub(super) fn explains_failures(&self, limit: f64) -> bool {
        let of_load = |class: &str| matches!(class, "timeout" | "connect" | "status-429" | "status-503" | "status-504");
        self.left(limit).is_some() && self.failures.iter().all(|(class, _)| of_load(class))
    }
}

/// One figure of each repeat, and whether it may be somebody else's fault.
pub(super) fn values(
    repeats: &[Repeat],
    figure: impl Fn(&Repeat) -> f64,
    explained: impl Fn(&Repeat) -> bool,
) -> Vec<Value> {
    repeats.iter().map(|repeat| Value { figure: figure(repeat), disturbed: explained(repeat) }).collect()
}

/// How busy others kept the machine, for people.
#[must_use]
pub fn contention(repeats: &[Repeat]) -> String {
    let foreign = repeats.iter().filter_map(|repeat| repeat.foreign).fold(0.0, f64::max);
    let lag = repeats.iter().map(|repeat| repeat.lag_ms).fold(0.0, f64::max);
    format!(
        "others used up to {:.0} % of the machine, and the generator was late by up to {lag:.0} ms",
        foreign * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeat() -> Repeat {
        Repeat { rate: 100.0, sending_s: 1.0, throughput: 100.0, p99_ms: 80.0, foreign: Some(0.5), ..Repeat::default() }
    }

    #[test]
    fn a_miss_that_more_of_the_machine_would_have_mended_is_explained_and_a_gross_one_is_not() {
        assert!(repeat().explains_latency(50.0, 0.25));
        assert!(!repeat().explains_latency(30.0, 0.25));
        assert!(!repeat().explains_latency(50.0, 0.6), "others used less than matters");
        assert!(!Repeat { foreign: None, ..repeat() }.explains_latency(50.0, 0.25));
    }

    #[test]
    fn a_backlog_that_more_of_the_machine_would_have_prevented_explains_any_latency() {
        let backlog = Repeat { throughput: 60.0, p99_ms: 900.0, backlog_grew: true, ..repeat() };
        assert!(backlog.explains_latency(50.0, 0.25));
        assert!(!Repeat { throughput: 40.0, ..backlog }.explains_latency(50.0, 0.25));
    }

    #[test]
    fn the_generators_lag_explains_what_it_is_large_enough_for() {
        let quiet = Repeat { foreign: None, late: true, lag_ms: 40.0, ..repeat() };
        assert!(quiet.explains_latency(50.0, 0.25));
        assert!(!Repeat { p99_ms: 200.0, ..quiet.clone() }.explains_latency(50.0, 0.25));
        assert!(!quiet.explains_throughput(100.0, 0.25));
        assert!(Repeat { lag_ms: 100.0, ..quiet }.explains_throughput(100.0, 0.25));
    }

    #[test]
    fn a_fault_is_not_explained_by_a_busy_machine_and_a_refusal_is() {
        let failing = |class: &str| Repeat { failures: vec![(class.to_owned(), 5)], ..repeat() };
        assert!(failing("status-503").explains_failures(0.25));
        assert!(!failing("status-500").explains_failures(0.25));
        assert!(!Repeat { foreign: None, ..failing("timeout") }.explains_failures(0.25));
    }
}
