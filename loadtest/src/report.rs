//! What came of a run.

use serde::{Serialize, Serializer};
use std::{collections::BTreeMap, fmt, time::Duration};

/// Why a request has no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// Answered with this status.
    Status(u16),
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke before the answer was whole.
    Broken,
    /// The answer was longer than allowed.
    TooLarge,
    /// The workload says that the answer is wrong.
    Wrong,
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status-{status}"),
            Self::Connect => f.write_str("connect"),
            Self::Timeout => f.write_str("timeout"),
            Self::Broken => f.write_str("broken"),
            Self::TooLarge => f.write_str("too-large"),
            Self::Wrong => f.write_str("wrong"),
        }
    }
}

impl Serialize for FailureClass {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A distribution of times, in milliseconds. All are 0 when there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// The least.
    pub min_ms: f64,
    /// The mean.
    pub mean_ms: f64,
    /// Half are at most this.
    pub p50_ms: f64,
    /// 90 of 100 are at most this.
    pub p90_ms: f64,
    /// 95 of 100.
    pub p95_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1,000.
    pub p999_ms: f64,
    /// The most.
    pub max_ms: f64,
}

/// One second of a run. Answers count in the second in which they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Second {
    /// Which, from 0.
    pub second: u64,
    /// Requests sent.
    pub sent: u64,
    /// Requests answered.
    pub ok: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were due and not sent, because too many were under way.
    pub shed: u64,
    /// Requests under way when it ended.
    pub in_flight: u64,
    /// Median latency, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 latencies are at most this, in milliseconds.
    pub p99_ms: f64,
    /// Greatest latency, in milliseconds.
    pub max_ms: f64,
}

/// How many requests were under way while sending went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// Mean over the first half.
    pub first_half: f64,
    /// Mean over the second half.
    pub second_half: f64,
    /// The most.
    pub peak: u64,
    /// When the last request had been sent.
    pub at_end: u64,
}

impl Backlog {
    /// Whether it grew: the second half holds twice the first and at least four requests more. Fewer than that is the
    /// ordinary coming and going of a handful of requests.
    #[must_use]
    pub fn grew(&self) -> bool {
        self.second_half > 2.0 * self.first_half && self.second_half - self.first_half >= 4.0
    }
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `open` or `closed`.
    pub shape: &'static str,
    /// Requests a second that were asked for; absent for a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted_rate: Option<f64>,
    /// For how long requests were sent, in seconds.
    pub sending_s: f64,
    /// Until the last answer, in seconds.
    pub elapsed_s: f64,
    /// Requests sent.
    pub sent: u64,
    /// Requests that were due and not sent, because too many were under way. Not one of `sent`.
    pub shed: u64,
    /// Requests answered.
    pub ok: u64,
    /// Requests that failed, by class.
    pub failures: BTreeMap<FailureClass, u64>,
    /// Requests under way when the run was stopped at once.
    pub abandoned: u64,
    /// Answered requests a second, sustained; see [`Report::failed`] for the rest.
    pub throughput: f64,
    /// From the time a request was due to its answer. A request that timed out counts with the time it was waited for;
    /// other failures are not in it, because a quick refusal is not a quick answer.
    pub latency: Summary,
    /// The same from the time it was really sent: what a generator that forgives stalls would report.
    pub service: Summary,
    /// How late the generator itself sent.
    pub lag: Summary,
    /// The generator was so late that latencies are its own as much as the server's: do not trust the run.
    pub late: bool,
    /// It was stopped before its time.
    pub stopped: bool,
    /// Requests under way.
    pub backlog: Backlog,
    /// Second by second.
    pub seconds: Vec<Second>,
}

impl Report {
    /// Requests that failed, of whatever class.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Requests of one class of failure.
    #[must_use]
    pub fn failed_with(&self, class: FailureClass) -> u64 {
        self.failures.get(&class).copied().unwrap_or(0)
    }

    /// Requests that were due: sent and shed.
    #[must_use]
    pub const fn due(&self) -> u64 {
        self.sent + self.shed
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
