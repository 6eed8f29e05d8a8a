//! Keeps the figures of a run while it goes on.

use crate::{
    report::{Backlog, FailureClass, Report, Second, Summary, millis},
    run::{Limits, Shape},
    workload::Judgement,
};
use hdrhistogram::Histogram;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Three digits: a latency is kept to a thousandth of itself.
const DIGITS: u8 = 3;
/// Two digits for the seconds, of which there may be thousands.
const DIGITS_OF_A_SECOND: u8 = 2;
/// The longest time kept, in microseconds: two hours, twice the longest run.
const LONGEST_US: u64 = 7_200_000_000;

/// One request that came to its end.
pub(crate) struct Done {
    pub(crate) due: Instant,
    pub(crate) sent: Instant,
    pub(crate) finished: Instant,
    pub(crate) judgement: Judgement,
}

/// Times in microseconds.
struct Times(Histogram<u64>);

impl Times {
    fn new(digits: u8) -> Self {
        // Bounds and digits are constants inside what the histogram takes; growing from nothing is the lesser evil if not.
        let sized = Histogram::new_with_bounds(1, LONGEST_US, digits).or_else(|_| Histogram::new(DIGITS));
        Self(sized.unwrap_or_else(|_| unreachable!("three digits are allowed")))
    }

    fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    #[expect(clippy::cast_precision_loss, reason = "two hours in microseconds fit 53 bits")]
    fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1_000.0
    }

    #[expect(clippy::cast_precision_loss, reason = "two hours in microseconds fit 53 bits")]
    fn summary(&self) -> Summary {
        if self.0.is_empty() {
            return Summary::default();
        }
        Summary {
            count: self.0.len(),
            min_ms: self.0.min() as f64 / 1_000.0,
            mean_ms: self.0.mean() / 1_000.0,
            p50_ms: self.at(0.5),
            p90_ms: self.at(0.9),
            p95_ms: self.at(0.95),
            p99_ms: self.at(0.99),
            p999_ms: self.at(0.999),
            max_ms: self.0.max() as f64 / 1_000.0,
        }
    }
}

/// The figures so far.
pub(crate) struct Record {
    begin: Instant,
    shape: Shape,
    limits: Limits,
    sent: u64,
    shed: u64,
    ok: u64,
    failures: BTreeMap<FailureClass, u64>,
    latency: Times,
    service: Times,
    lag: Times,
    /// When the answers came, after the start.
    answers: Times,
    last_answer: Duration,
    sending: Option<Duration>,
    samples: Vec<usize>,
    under_way: usize,
    second: Second,
    second_latency: Times,
    seconds: Vec<Second>,
}

impl Record {
    pub(crate) fn new(begin: Instant, shape: Shape, limits: Limits) -> Self {
        Self {
            begin,
            shape,
            limits,
            sent: 0,
            shed: 0,
            ok: 0,
            failures: BTreeMap::new(),
            latency: Times::new(DIGITS),
            service: Times::new(DIGITS),
            lag: Times::new(DIGITS),
            answers: Times::new(DIGITS),
            last_answer: Duration::ZERO,
            sending: None,
            samples: Vec::new(),
            under_way: 0,
            second: Second::default(),
            second_latency: Times::new(DIGITS_OF_A_SECOND),
            seconds: Vec::new(),
        }
    }

    /// A request left, so much later than it was due.
    pub(crate) fn sent(&mut self, lag: Duration) {
        self.turn(Instant::now());
        self.sent += 1;
        self.under_way += 1;
        self.second.sent += 1;
        self.lag.add(lag);
    }

    /// So many requests were due and were not sent.
    pub(crate) fn shed(&mut self, count: u64) {
        self.shed += count;
        self.second.shed += count;
    }

    /// A request came to its end; `None` if it was lost in the generator.
    pub(crate) fn finished(&mut self, done: Option<Done>) {
        self.under_way = self.under_way.saturating_sub(1);
        let Some(done) = done else {
            self.fail(FailureClass::Broken);
            return;
        };
        self.turn(done.finished);
        let after = done.finished.saturating_duration_since(self.begin);
        self.last_answer = self.last_answer.max(after);
        let latency = done.finished.saturating_duration_since(done.due);
        match done.judgement {
            Judgement::Answered => {
                self.ok += 1;
                self.second.ok += 1;
                self.answers.add(after);
            }
            Judgement::Failed(class) => {
                self.fail(class);
                if class != FailureClass::Timeout {
                    return;
                }
            }
        }
        self.latency.add(latency);
        self.second_latency.add(latency);
        self.service.add(done.finished.saturating_duration_since(done.sent));
    }

    fn fail(&mut self, class: FailureClass) {
        *self.failures.entry(class).or_default() += 1;
        self.second.failed += 1;
    }

    /// So many are under way now.
    pub(crate) fn sample(&mut self, under_way: usize, now: Instant) {
        self.turn(now);
        if self.sending.is_none() {
            self.samples.push(under_way);
        }
    }

    /// The last request has been sent.
    pub(crate) fn sending_ended(&mut self, now: Instant) {
        self.sample(self.under_way, now);
        self.sending = Some(now.saturating_duration_since(self.begin));
    }

    /// Closes every second that lies before `now`.
    fn turn(&mut self, now: Instant) {
        let current = now.saturating_duration_since(self.begin).as_secs();
        while self.second.second < current {
            let next = self.second.second + 1;
            self.close_second();
            self.second = Second { second: next, ..Second::default() };
        }
    }

    fn close_second(&mut self) {
        let latency = &self.second_latency;
        let empty = latency.0.is_empty();
        let figure = |value: f64| if empty { 0.0 } else { value };
        self.seconds.push(Second {
            in_flight: self.under_way as u64,
            p50_ms: figure(latency.at(0.5)),
            p99_ms: figure(latency.at(0.99)),
            max_ms: figure(latency.at(1.0)),
            ..self.second
        });
        self.second_latency.0.reset();
    }

    pub(crate) fn into_report(mut self, abandoned: usize, stopped: bool) -> Report {
        let elapsed = self.begin.elapsed();
        self.close_second();
        let sending = self.sending.unwrap_or(elapsed);
        let lag = self.lag.summary();
        Report {
            shape: match self.shape {
                Shape::Open { .. } => "open",
                Shape::Closed { .. } => "closed",
            },
            wanted_rate: match self.shape {
                Shape::Open { rate, .. } => Some(rate),
                Shape::Closed { .. } => None,
            },
            sending_s: sending.as_secs_f64(),
            elapsed_s: elapsed.as_secs_f64(),
            sent: self.sent,
            shed: self.shed,
            ok: self.ok,
            abandoned: abandoned as u64,
            throughput: self.throughput(sending, stopped),
            latency: self.latency.summary(),
            service: self.service.summary(),
            late: lag.p99_ms > millis(self.limits.max_lag),
            lag,
            stopped,
            backlog: backlog(&self.samples),
            failures: self.failures,
            seconds: self.seconds,
        }
    }

    /// Answers a second.
    ///
    /// The lesser of two figures. Answers over the time that was planned for sending: what failed or was shed lowers it.
    /// And the pace at which the middle 90 % of the answers came: answers that pile up and come long after lower it, while
    /// the time the first one took, or a single straggler, does not.
    #[expect(clippy::cast_precision_loss, reason = "no run answers 2^53 requests")]
    fn throughput(&self, sending: Duration, stopped: bool) -> f64 {
        let ok = self.ok as f64;
        let planned = match self.shape {
            Shape::Open { rate, .. } if !stopped => (self.sent + self.shed) as f64 / rate,
            _ => sending.as_secs_f64(),
        };
        let overall = ok / planned.max(1e-6);
        // With fewer answers the two ends of the middle are single requests, and say nothing.
        if self.ok < 20 {
            return overall.min(ok / self.last_answer.as_secs_f64().max(planned).max(1e-6));
        }
        let middle = (self.answers.at(0.95) - self.answers.at(0.05)) / 1_000.0;
        overall.min(0.9 * ok / middle.max(1e-6))
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most 16,384 requests are under way")]
fn backlog(samples: &[usize]) -> Backlog {
    let mean = |part: &[usize]| part.iter().sum::<usize>() as f64 / part.len().max(1) as f64;
    let (first, second) = samples.split_at(samples.len() / 2);
    Backlog {
        first_half: mean(first),
        second_half: mean(second),
        peak: samples.iter().max().copied().unwrap_or(0) as u64,
        at_end: samples.last().copied().unwrap_or(0) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn open(rate: f64, duration: Duration) -> Record {
        Record::new(Instant::now(), Shape::Open { rate, duration }, Limits::default())
    }

    fn answer(record: &mut Record, due: Duration, took: Duration, judgement: Judgement) {
        let due = record.begin + due;
        record.sent += 1;
        record.finished(Some(Done { due, sent: due, finished: due + took, judgement }));
    }

    #[test]
    fn a_server_that_keeps_the_pace_has_the_throughput_of_the_rate_whatever_its_latency() {
        for latency in [1, 50, 400] {
            let mut record = open(100.0, SECOND);
            for n in 0..100 {
                answer(&mut record, SECOND / 100 * n, Duration::from_millis(latency), Judgement::Answered);
            }
            let report = record.into_report(0, false);
            assert!((report.throughput - 100.0).abs() < 1.5, "{latency} ms: {}", report.throughput);
        }
    }

    #[test]
    fn a_server_with_half_the_capacity_has_half_the_throughput() {
        let mut record = open(100.0, SECOND);
        for n in 0..100u32 {
            let due = SECOND / 100 * n;
            answer(&mut record, due, SECOND / 50 * n - due, Judgement::Answered);
        }
        let throughput = record.into_report(0, false).throughput;
        assert!((throughput - 50.0).abs() < 2.0, "{throughput}");
    }

    #[test]
    fn failed_and_shed_requests_are_no_throughput() {
        let mut record = open(100.0, SECOND);
        for n in 0..80 {
            let judgement = if n % 4 == 0 { Judgement::Failed(FailureClass::Status(503)) } else { Judgement::Answered };
            answer(&mut record, SECOND / 100 * n, Duration::from_millis(5), judgement);
        }
        record.shed(20);
        let report = record.into_report(0, false);
        assert!((report.throughput - 60.0).abs() < 2.0, "{}", report.throughput);
        assert_eq!((report.failed(), report.shed, report.due()), (20, 20, 100));
    }

    #[test]
    fn a_timeout_is_a_latency_and_a_quick_refusal_is_not() {
        let mut record = open(10.0, SECOND);
        answer(&mut record, Duration::ZERO, SECOND, Judgement::Failed(FailureClass::Timeout));
        answer(&mut record, Duration::ZERO, SECOND / 1_000, Judgement::Failed(FailureClass::Status(429)));
        let report = record.into_report(0, false);
        assert_eq!(report.latency.count, 1);
        assert!((report.latency.max_ms - 1_000.0).abs() < 5.0);
    }

    #[test]
    fn a_backlog_grows_when_its_second_half_is_more_than_twice_the_first() {
        assert!(backlog(&[1, 2, 3, 4, 20, 30, 40, 50]).grew());
        assert!(!backlog(&[0, 1, 0, 1, 1, 2, 1, 1]).grew());
        assert!(!backlog(&[30, 31, 29, 30, 33, 30]).grew());
        assert!(!backlog(&[]).grew());
    }

    #[test]
    fn seconds_without_anything_are_still_seconds() {
        let mut record = open(1.0, SECOND * 4);
        answer(&mut record, Duration::ZERO, SECOND / 2, Judgement::Answered);
        answer(&mut record, SECOND * 3, SECOND / 10, Judgement::Answered);
        let seconds = record.into_report(0, false).seconds;
        let counted: Vec<(u64, u64)> = seconds.iter().map(|second| (second.second, second.ok)).collect();
        assert_eq!(counted, [(0, 1), (1, 0), (2, 0), (3, 1)]);
    }
}
