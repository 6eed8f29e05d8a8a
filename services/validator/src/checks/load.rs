//! The load: an open loop at the wanted rate, repeated until its figures are clear or the bound is reached.

use super::{Tools, strangers, warm_up::Quiet};
use crate::domain::{
    contention::foreign_share,
    judge::{
        Judged,
        authentication::Stranger,
        errors, latency,
        load::Repeat,
        names::{ERRORS, LATENCY, THROUGHPUT},
        steady::{self, Steadiness},
        throughput,
    },
    noise::more,
};
use bytes::Bytes;
use slipway_loadtest::{Report, Shape, Stop};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a repeat is put off while others keep the machine busy. Longer, and the next attempt is the better time.
const QUIET_WITHIN: Duration = Duration::from_secs(5);
/// Over what time it is looked whether they do: 25 clock ticks of each core.
const QUIET_SAMPLE: Duration = Duration::from_millis(250);

/// What the load showed.
pub(crate) struct Loaded {
    pub(crate) judged: Vec<Judged>,
    pub(crate) repeats: Vec<Repeat>,
}

/// Loads the revision; strangers knock during the first repeat.
pub(crate) async fn load(
    tools: &Tools,
    bodies: &Arc<[Bytes]>,
    quiet: &Quiet,
    visitors: &[strangers::Visitor],
    met: &mut [Stranger],
) -> Loaded {
    let asked = tools.assignment.validation.load.repeats as usize;
    let most = asked + tools.bounds.extra_repeats as usize;
    let mut run = Run { tools, bodies, quiet, repeats: Vec::new(), steadiness: Steadiness::default() };
    let rate = tools.assignment.rate();
    let knocked_at = bodies.first().cloned().unwrap_or_default();
    let first = strangers::beside(tools, visitors, &knocked_at, met, run.repeat(rate)).await;
    if let Err(reason) = first {
        return run.not_run(&reason);
    }
    let mut wanted = asked;
    loop {
        while run.repeats.len() < wanted {
            if let Err(reason) = run.repeat(rate).await {
                return run.not_run(&reason);
            }
        }
        let more = run.missing(asked, most);
        if more == 0 {
            break;
        }
        run.wait_for_quiet().await;
        wanted += more;
    }
    let repeats = std::mem::take(&mut run.repeats);
    let beyond = match tools.assignment.rate_beyond_load() {
        Some(rate) => match run.sustain(rate, asked, most).await {
            Ok(repeats) => Some(repeats),
            Err(reason) => return run.not_run(&reason),
        },
        None => None,
    };
    run.judge(repeats, beyond, asked)
}

struct Run<'a> {
    tools: &'a Tools,
    bodies: &'a Arc<[Bytes]>,
    quiet: &'a Quiet,
    repeats: Vec<Repeat>,
    steadiness: Steadiness,
}

impl Run<'_> {
    async fn repeat(&mut self, rate: f64) -> Result<(), String> {
        let (tools, assignment) = (self.tools, &self.tools.assignment);
        let probe = tools.probe(self.bodies);
        let shape = Shape::Open { rate, duration: assignment.validation.load.duration.0 };
        let before = tools.world.machine(&assignment.deployment, assignment.revision).await;
        let report = tools.load(&probe, shape, tools.limits(), &Stop::default()).await;
        let report = report.map_err(|error| crate::error::told(&error))?;
        let after = tools.world.machine(&assignment.deployment, assignment.revision).await;
        let foreign = before.zip(after).and_then(|(before, after)| foreign_share(&before, &after));
        let seen = self.quiet.compare(&probe.samples(), assignment.validation.tolerance);
        self.steadiness.compared += seen.compared;
        self.steadiness.differing += seen.differing;
        self.repeats.push(repeat_of(&report, rate, foreign));
        Ok(())
    }

    /// Runs at another rate, for the throughput alone.
    async fn sustain(&mut self, rate: f64, asked: usize, most: usize) -> Result<Vec<Repeat>, String> {
        let limit = self.tools.bounds.foreign_load;
        let mut wanted = asked;
        loop {
            while self.repeats.len() < wanted {
                self.repeat(rate).await?;
            }
            let decision = throughput::decision(&self.repeats, asked, rate, limit);
            let more = more(&decision, self.repeats.len(), most);
            if more == 0 {
                return Ok(std::mem::take(&mut self.repeats));
            }
            self.wait_for_quiet().await;
            wanted += more;
        }
    }

    /// Waits while others keep the machine busy, up to a bound: a repeat beside a neighbour's build would tell no more than the
    /// ones before it.
    async fn wait_for_quiet(&self) {
        let (tools, assignment) = (self.tools, &self.tools.assignment);
        let begin = Instant::now();
        let mut before = tools.world.machine(&assignment.deployment, assignment.revision).await;
        while begin.elapsed() < QUIET_WITHIN {
            tokio::time::sleep(QUIET_SAMPLE).await;
            let now = tools.world.machine(&assignment.deployment, assignment.revision).await;
            let foreign = before.as_ref().zip(now.as_ref()).and_then(|(before, now)| foreign_share(before, now));
            if foreign.is_none_or(|share| share <= tools.bounds.foreign_load) {
                return;
            }
            before = now;
        }
    }

    /// How many more repeats would tell what is not told yet.
    fn missing(&self, asked: usize, most: usize) -> usize {
        let (slo, limit, made) = (&self.tools.assignment.slo, self.tools.bounds.foreign_load, self.repeats.len());
        let of_latency = slo
            .latency_p99
            .map_or(0, |target| more(&latency::decision(&self.repeats, asked, target, limit), made, most));
        let of_throughput = slo
            .throughput
            .map(slipway_kernel::Rate::per_second)
            .filter(|_| self.tools.assignment.rate_beyond_load().is_none())
            .map_or(0, |wanted| more(&throughput::decision(&self.repeats, asked, wanted, limit), made, most));
        let of_errors = match errors::decision(&self.repeats, slo.availability) {
            errors::Rate::Unclear => most.saturating_sub(made).min(2),
            errors::Rate::Kept | errors::Rate::Broken => 0,
        };
        of_latency.max(of_throughput).max(of_errors)
    }

    fn judge(&self, repeats: Vec<Repeat>, beyond: Option<Vec<Repeat>>, asked: usize) -> Loaded {
        let (slo, limit) = (&self.tools.assignment.slo, self.tools.bounds.foreign_load);
        let wanted = slo.throughput.map(slipway_kernel::Rate::per_second);
        let judged = vec![
            latency::judge(&repeats, asked, slo.latency_p99, limit),
            throughput::judge(beyond.as_deref().unwrap_or(&repeats), asked, wanted, limit),
            errors::judge(&repeats, slo.availability, limit),
            steady::judge(self.steadiness),
        ];
        Loaded { judged, repeats: repeats.into_iter().chain(beyond.into_iter().flatten()).collect() }
    }

    fn not_run(&mut self, reason: &str) -> Loaded {
        let judged = [LATENCY, THROUGHPUT, ERRORS];
        let judged = judged.map(|name| Judged::inconclusive(name, format!("the load could not be run: {reason}")));
        Loaded { judged: judged.into(), repeats: std::mem::take(&mut self.repeats) }
    }
}

fn repeat_of(report: &Report, rate: f64, foreign: Option<f64>) -> Repeat {
    Repeat {
        rate,
        sending_s: report.sending_s,
        sent: report.sent,
        ok: report.ok,
        shed: report.shed,
        failures: report.failures.iter().map(|(class, count)| (class.to_string(), *count)).collect(),
        p50_ms: report.latency.p50_ms,
        // Without a single answer there is no latency, not one of zero.
        p99_ms: if report.latency.count == 0 { f64::NAN } else { report.latency.p99_ms },
        throughput: report.throughput,
        backlog_grew: report.backlog.grew(),
        late: report.late,
        lag_ms: report.lag.max_ms,
        foreign,
    }
}
