//! What one repeat of the load measured: the evidence of several checks.

use crate::domain::noise::Value;
use serde::Serialize;

/// One repeat.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    /// Requests a second that were asked for.
    pub rate: f64,
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
    /// The generator itself was late.
    pub late: bool,
    /// Share of the machine that others used, 0 to 1; unknown on a system that does not tell.
    pub foreign: Option<f64>,
}

impl Repeat {
    /// Requests that failed or could not be sent because too many waited.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.iter().map(|(_, count)| count).sum::<u64>() + self.shed
    }

    /// Whether its bad figures may be somebody else's fault: others used more than `limit` of the machine, or the generator
    /// could not keep its own times.
    #[must_use]
    pub fn is_disturbed(&self, limit: f64) -> bool {
        self.late || self.foreign.is_some_and(|share| share > limit)
    }
}

/// One figure of each repeat.
pub(super) fn values(repeats: &[Repeat], limit: f64, figure: impl Fn(&Repeat) -> f64) -> Vec<Value> {
    repeats
        .iter()
        .map(|repeat| Value { figure: figure(repeat), disturbed: repeat.is_disturbed(limit) })
        .collect()
}

/// How busy others kept the machine, for people.
#[must_use]
pub fn contention(repeats: &[Repeat]) -> String {
    let foreign = repeats.iter().filter_map(|repeat| repeat.foreign).fold(0.0, f64::max);
    let late = repeats.iter().filter(|repeat| repeat.late).count();
    let mut text = format!("others used up to {:.0} % of the machine", foreign * 100.0);
    if late > 0 {
        text.push_str(&format!(", the generator was late in {late} of {} repeats", repeats.len()));
    }
    text
}
