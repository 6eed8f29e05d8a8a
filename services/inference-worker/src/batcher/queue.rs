//! The bounded queue between callers and pool threads.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

// Its condition variable makes no system call where nobody waits, which is the case for all but the first request of a batch.
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::{BatcherOptions, Computed, Refused, Unanswered, Work};
use crate::domain::batching::{self, Limits, Next, Waiting};
use crate::domain::pace::Pace;
use crate::telemetry::BatcherMetrics;

/// A request's time must hold each run up to its answer at the pace of late, and so many times what runs of late differ from that: of runs that
/// differ by chance, one in twenty takes longer. (TCP waits for four times as much, [RFC 6298](https://www.rfc-editor.org/rfc/rfc6298): there
/// too early costs a connection its speed, here one request its place.)
const DEVIATIONS: f64 = 2.0;
/// And this part of it for what is not measured: a pace that changes, the answer's way back. Without it all answers come at the last moment.
const UNKNOWN: u32 = 8;
/// How much earlier a request of one priority may have come and still run after one of the next. So nobody waits for ever behind a stream of
/// more urgent ones; and within the usual deadline of ten seconds, what is urgent goes first.
const PRIORITY_US: u64 = 1_000_000;

/// Jobs that run together, from the moment at which they were taken. The queue is told when they are [`Queue::done`].
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) jobs: Vec<Job>,
    pub(super) taken: Instant,
}

/// A request that was let in.
#[derive(Debug)]
pub(super) struct Entered {
    /// Where its answer will be.
    pub(super) reply: oneshot::Receiver<Result<Computed, Unanswered>>,
    /// The request itself where it is not to wait: whoever brought it runs it.
    pub(super) at_once: Option<Batch>,
}

/// A request in the queue.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) enqueued: Instant,
    pub(super) reply: oneshot::Sender<Result<Computed, Unanswered>>,
    row_shapes: Vec<Vec<usize>>,
    bytes: usize,
    /// When it is its turn, against the others': when it came, later by its priority.
    turn_us: u64,
}

impl Job {
    /// Whether it still makes sense to run it, with its answer there at `until`; answers the caller when not.
    pub(super) fn still_wanted(self, until: Instant, metrics: &BatcherMetrics) -> Option<Self> {
        if self.reply.is_closed() {
            metrics.cancelled.inc();
            return None;
        }
        if self.work.deadline.is_some_and(|deadline| deadline <= until) {
            metrics.expired.inc();
            // A caller that went away in this moment needs no answer.
            let _ = self.reply.send(Err(Unanswered::Late));
            return None;
        }
        Some(self)
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    options: BatcherOptions,
    pub(super) metrics: BatcherMetrics,
    started: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    phase: Phase,
    /// When the batches that run now were taken, at most one for each thread.
    running: Vec<Instant>,
    /// Smoothed time of a run, for telling refused callers when to come back.
    run_time: Duration,
    /// Smoothed distance of runs from it.
    run_deviation: Duration,
    /// What is known of runs and callers; without it every batch waits for its full delay.
    pace: Option<Pace>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// Nothing new; what is there is run without waiting for company.
    Closing,
    /// What is there fails.
    Stopped,
}

impl Queue {
    pub(super) fn new(limits: Limits, options: BatcherOptions, pace: Option<Pace>, metrics: BatcherMetrics) -> Self {
        let state = Mutex::new(State { pace, ..State::default() });
        Self { limits, options, metrics, started: Instant::now(), state, changed: Condvar::new() }
    }

    pub(super) const fn options(&self) -> BatcherOptions {
        self.options
    }

    /// The most rows of a run.
    pub(super) const fn max_rows(&self) -> usize {
        self.limits.max_rows
    }

    pub(super) fn push(&self, work: Work, now: Instant) -> Result<Entered, Refused> {
        if work.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Refused::Late);
        }
        let bytes = work.inputs.iter().map(|input| input.bytes().len()).sum();
        let row_shapes = work.inputs.iter().map(|input| input.shape().get(1..).unwrap_or_default().to_vec()).collect();
        let (reply, receiver) = oneshot::channel();
        let now_us = self.micros(now);
        let turn_us = now_us.saturating_add(work.priority.behind() * PRIORITY_US);
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Err(Refused::Draining);
        }
        self.make_room(&mut state, bytes, &work)?;
        // Of equal turns the earlier one is first; mostly the place is the last.
        let place = state.jobs.iter().rposition(|job| job.turn_us <= turn_us).map_or(0, |before| before + 1);
        self.check_time(&state, &work, place, now)?;
        if let Some(pace) = &mut state.pace {
            pace.came(work.rows, now_us);
        }
        let at_once = self.runs_at_once(&state, &work);
        let job = Job { work, enqueued: now, reply, row_shapes, bytes, turn_us };
        if at_once {
            return Ok(Entered { reply: receiver, at_once: Some(self.begin(&mut state, vec![job], now)) });
        }
        state.bytes += bytes;
        state.jobs.insert(place, job);
        self.metrics.queue_requests.inc();
        drop(state);
        self.changed.notify_one();
        Ok(Entered { reply: receiver, at_once: None })
    }

    /// Whether its run would be over before a thread that sleeps is awake, with nobody before it, and few who will want to share it.
    fn runs_at_once(&self, state: &State, work: &Work) -> bool {
        let free = state.jobs.is_empty() && state.running.len() < self.options.threads;
        let fits = !work.alone && work.rows <= self.limits.max_rows;
        free && fits
            && state.pace.as_ref().is_some_and(|pace| pace.is_seldom_and_brief(work.rows, self.options.at_once))
    }

    /// Refuses what there is no room for. In a full queue less urgent requests give way, the last first, if that makes room.
    fn make_room(&self, state: &mut State, bytes: usize, work: &Work) -> Result<(), Refused> {
        let (mut requests, mut held, mut giving_way) = (state.jobs.len(), state.bytes, Vec::new());
        let mut less_urgent = state.jobs.iter().enumerate().rev().filter(|(_, job)| job.work.priority > work.priority);
        while let Some((limit, unit)) = self.is_full(requests, held, bytes) {
            let Some((place, job)) = less_urgent.next() else {
                return Err(Refused::Full { limit, unit, retry_after: self.estimate(state, state.jobs.len()) });
            };
            giving_way.push(place);
            (requests, held) = (requests - 1, held.saturating_sub(job.bytes));
        }
        if giving_way.is_empty() {
            return Ok(());
        }
        let retry_after = self.estimate(state, state.jobs.len());
        for place in &giving_way {
            if let Some(job) = state.jobs.remove(*place) {
                // A caller that went away needs no answer.
                let _ = job.reply.send(Err(Unanswered::GaveWay { retry_after }));
            }
        }
        state.bytes = held;
        self.count_removed(giving_way.len());
        self.metrics.gave_way.inc_by(giving_way.len() as u64);
        Ok(())
    }

    /// The limit that so many requests with so many bytes meet, if `more` bytes come.
    fn is_full(&self, requests: usize, held: usize, more: usize) -> Option<(usize, &'static str)> {
        if requests >= self.options.queue_requests {
            return Some((self.options.queue_requests, "requests"));
        }
        // A single request beyond the limit is let in when it is alone: its own size is bounded at the door.
        let full = requests > 0 && held.saturating_add(more) > self.options.queue_bytes;
        full.then_some((self.options.queue_bytes, "bytes"))
    }

    /// Refuses what would be answered too late. Let in, it would be run just when its caller gives up, and so would all behind it: a queue
    /// full of those answers nobody. Where nothing is before it, it is tried, so that an estimate that is wrong is put right.
    fn check_time(&self, state: &State, work: &Work, place: usize, now: Instant) -> Result<(), Refused> {
        let under_way = self.under_way(state, now);
        let Some(deadline) = work.deadline.filter(|_| place > 0 || !under_way.is_zero()) else { return Ok(()) };
        let left = deadline.saturating_duration_since(now);
        // More rows than a run has are several, one after another.
        let runs = self.rounds(state, place, work.rows).max(work.rows.div_ceil(self.limits.max_rows));
        let expected = under_way.saturating_add(times(state.run_time, runs));
        // What runs differ by partly makes up for itself: it grows with the root of their number.
        let spread = state.run_deviation.as_secs_f64() * DEVIATIONS * (runs as f64).sqrt();
        let unsure = Duration::from_secs_f64(spread).saturating_add(expected / UNKNOWN);
        if expected.saturating_add(unsure) > left {
            return Err(Refused::Hopeless { expected, left });
        }
        Ok(())
    }

    /// How long until a thread is free, at the pace of late.
    fn under_way(&self, state: &State, now: Instant) -> Duration {
        let oldest = state.running.iter().min().filter(|_| state.running.len() >= self.options.threads);
        oldest.map_or(Duration::ZERO, |taken| state.run_time.saturating_sub(now.saturating_duration_since(*taken)))
    }

    /// Runs of a thread for the first `places` of the queue and so many rows more, where all threads share them.
    fn rounds(&self, state: &State, places: usize, more: usize) -> usize {
        let rows = more + state.jobs.iter().take(places).map(|job| job.work.rows).sum::<usize>();
        rows.div_ceil(self.limits.max_rows).div_ceil(self.options.threads)
    }

    /// When the first `places` of the queue will have been worked off at the pace of late, if nothing is added.
    fn estimate(&self, state: &State, places: usize) -> Duration {
        times(state.run_time, self.rounds(state, places, 0))
    }

    /// How long so many rows run at the pace of late.
    fn takes(&self, state: &State, rows: usize) -> Duration {
        times(state.run_time, rows.div_ceil(self.limits.max_rows))
    }

    /// Blocks until there is a batch to run; `None` when there will be none any more.
    pub(super) fn next_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            self.drop_unwanted(&mut state, now);
            if state.phase == Phase::Stopped {
                return None;
            }
            let closing = state.phase == Phase::Closing;
            if state.running.len() >= self.options.threads && !state.jobs.is_empty() {
                // Somebody who brought a request runs it, and tells when that is done.
                self.changed.wait(&mut state);
                continue;
            }
            let State { jobs, pace, .. } = &mut *state;
            let waiting: Vec<Waiting<'_>> = jobs
                .iter()
                .map(|job| Waiting {
                    row_shapes: &job.row_shapes,
                    rows: job.work.rows,
                    alone: job.work.alone,
                    enqueued_us: self.micros(job.enqueued),
                })
                .collect();
            let next = next(&waiting, self.limits, pace.as_mut(), self.micros(now), closing);
            match next {
                Next::Run(positions) => return Some(self.take(&mut state, &positions, now)),
                Next::Idle if closing => return None,
                Next::Idle => {
                    self.changed.wait(&mut state);
                }
                Next::Wait { until_us, .. } => {
                    let wait = Duration::from_micros(until_us.saturating_sub(self.micros(now)));
                    self.changed.wait_for(&mut state, wait);
                }
            }
        }
    }

    fn drop_unwanted(&self, state: &mut State, now: Instant) {
        let before = state.jobs.len();
        let mut bytes = 0;
        let ends = |job: &Job| now + self.takes(state, job.work.rows);
        let in_time = |job: &Job| job.work.deadline.is_none_or(|deadline| ends(job) <= deadline);
        // Runs that would end too late give way to others; where there are none, the estimate may be wrong.
        let hopeful = state.jobs.iter().any(in_time);
        let until: Vec<Instant> = state.jobs.iter().map(|job| if hopeful { ends(job) } else { now }).collect();
        let jobs = std::mem::take(&mut state.jobs);
        state.jobs = jobs
            .into_iter()
            .zip(until)
            .filter_map(|(job, until)| {
                let size = job.bytes;
                let job = job.still_wanted(until, &self.metrics);
                if job.is_some() {
                    bytes += size;
                }
                job
            })
            .collect();
        state.bytes = bytes;
        self.count_removed(before - state.jobs.len());
    }

    fn take(&self, state: &mut State, positions: &[usize], now: Instant) -> Batch {
        let mut batch = Vec::with_capacity(positions.len());
        let jobs = std::mem::take(&mut state.jobs);
        for (position, job) in jobs.into_iter().enumerate() {
            if positions.binary_search(&position).is_ok() {
                state.bytes = state.bytes.saturating_sub(job.bytes);
                batch.push(job);
            } else {
                state.jobs.push_back(job);
            }
        }
        self.count_removed(batch.len());
        if !state.jobs.is_empty() {
            // One arrival wakes one thread; this one is busy now, so another must see to what is left.
            self.changed.notify_one();
        }
        self.begin(state, batch, now)
    }

    fn begin(&self, state: &mut State, jobs: Vec<Job>, now: Instant) -> Batch {
        if let Some(pace) = &mut state.pace {
            pace.begins(self.micros(now));
        }
        state.running.push(now);
        Batch { jobs, taken: now }
    }

    /// A batch that was taken then has been run.
    pub(super) fn done(&self, taken: Instant) {
        let mut state = self.lock();
        if let Some(place) = state.running.iter().position(|running| *running == taken) {
            state.running.swap_remove(place);
        }
        let waiting = !state.jobs.is_empty();
        drop(state);
        if waiting {
            self.changed.notify_one();
        }
    }

    fn count_removed(&self, removed: usize) {
        self.metrics.queue_requests.dec_by(i64::try_from(removed).unwrap_or(i64::MAX));
    }

    /// Takes note of how long so many rows ran. More than a batch may have are several runs.
    pub(super) fn ran(&self, took: Duration, rows: usize) {
        let now_us = self.micros(Instant::now());
        let mut state = self.lock();
        if let Some(pace) = &mut state.pace {
            pace.ran(rows, took.as_secs_f64() * 1e6, now_us);
        }
        let took = took / u32::try_from(rows.div_ceil(self.limits.max_rows).max(1)).unwrap_or(u32::MAX);
        if state.run_time.is_zero() {
            state.run_time = took;
            return;
        }
        // An eighth of the newest: steady within some ten runs, and one slow run does not send every caller away for long.
        state.run_deviation = (state.run_deviation * 7 + took.abs_diff(state.run_time)) / 8;
        state.run_time = (state.run_time * 7 + took) / 8;
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.jobs.is_empty() && state.running.is_empty()
    }

    pub(super) fn close(&self) {
        self.enter(Phase::Closing);
    }

    pub(super) fn stop(&self) {
        self.enter(Phase::Stopped);
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        // A closed queue that is dropped after its threads have ended has nothing left to stop.
        state.phase = phase;
        if phase == Phase::Stopped {
            let jobs = std::mem::take(&mut state.jobs);
            state.bytes = 0;
            self.count_removed(jobs.len());
            // Dropping the senders answers `Stopped`.
            drop(jobs);
        }
        drop(state);
        self.changed.notify_all();
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_micros()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

fn times(time: Duration, runs: usize) -> Duration {
    time.saturating_mul(u32::try_from(runs).unwrap_or(u32::MAX))
}

/// What to do now. Where it is known what runs cost and how soon others come, a batch waits for company no longer than that is worth it.
fn next(queue: &[Waiting<'_>], configured: Limits, pace: Option<&mut Pace>, now_us: u64, closing: bool) -> Next {
    let limits = pace.as_ref().map_or(configured, |pace| pace.limits(configured));
    let next = batching::next(queue, limits, now_us, closing);
    let (Next::Wait { until_us, rows }, Some(pace)) = (&next, pace) else { return next };
    match pace.until_us(*rows, now_us).min(*until_us) {
        until_us if until_us > now_us => Next::Wait { until_us, rows: *rows },
        _ => batching::next(queue, limits, now_us, true),
    }
}
