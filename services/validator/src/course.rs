//! The course of a proof: cheap and decisive checks first, those that disturb last, and an end as soon as nothing more is to be
//! learnt.

use crate::{
    checks::{
        Tools, golden::golden, killed::killed, load::load, overload::overload, sinks::sinks, strangers,
        warm_up::warm_up,
    },
    domain::judge::{
        Judged, authentication,
        load::Repeat,
        names::{
            AUTHENTICATION, ERRORS, GOLDEN_ACCURACY, GOLDEN_OUTPUTS, LATENCY, OVERLOAD, SINKS, STEADY_OUTPUTS,
            THROUGHPUT, TRACES, WORKER_KILLED,
        },
    },
};
use slipway_runtime::CancellationToken;
use std::future::Future;

/// Every check that the course makes, in its order. That of production is made beside it.
const ORDER: [&str; 11] = [
    GOLDEN_ACCURACY,
    GOLDEN_OUTPUTS,
    AUTHENTICATION,
    LATENCY,
    THROUGHPUT,
    ERRORS,
    STEADY_OUTPUTS,
    OVERLOAD,
    WORKER_KILLED,
    SINKS,
    TRACES,
];

/// What the course came to.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) judged: Vec<Judged>,
    pub(crate) repeats: Vec<Repeat>,
}

/// Runs the course. When `stop` is cancelled it ends at once: what was under way is dropped, and what was not made is said to
/// be skipped.
pub(crate) async fn run(tools: &Tools, stop: &CancellationToken) -> Ran {
    let mut course = Course { tools, stop, ran: Ran::default() };
    let why = match course.steps().await {
        Some(End::Failed(name)) => format!("not made: {name} failed, which decides"),
        Some(End::Disturbs(why)) => why,
        None if stop.is_cancelled() => "not made: the proof was stopped".to_owned(),
        None => "not made".to_owned(),
    };
    let made: Vec<String> = course.ran.judged.iter().map(|judged| judged.check.name.clone()).collect();
    let left = ORDER.into_iter().filter(|name| !made.iter().any(|made| made == name));
    course.ran.judged.extend(left.map(|name| Judged::skipped(name, why.clone())));
    let place = |judged: &Judged| ORDER.iter().position(|name| *name == judged.check.name);
    course.ran.judged.sort_by_key(place);
    course.ran
}

/// Why checks are left out.
enum End {
    /// This check failed, and more would not change what follows.
    Failed(String),
    /// They disturb, and the revision is not to be disturbed: why.
    Disturbs(String),
}

struct Course<'a> {
    tools: &'a Tools,
    stop: &'a CancellationToken,
    ran: Ran,
}

impl Course<'_> {
    /// `None` when all was made, or when it was stopped.
    async fn steps(&mut self) -> Option<End> {
        let tools = self.tools;
        let golden = self.step(golden(tools)).await?;
        let bodies = golden.bodies;
        if let Some(name) = self.decided(golden.judged) {
            return Some(End::Failed(name));
        }

        let visitors = strangers::visitors(tools);
        let body = bodies.first().cloned().unwrap_or_default();
        let mut met = self.step(strangers::in_quiet(tools, &visitors, &body)).await?;
        let in_quiet = authentication::judge(&met);
        if in_quiet.is_failed() {
            self.ran.judged.push(in_quiet);
            return Some(End::Failed(AUTHENTICATION.to_owned()));
        }

        let quiet = self.step(warm_up(tools, &bodies)).await?;
        let loaded = self.step(load(tools, &bodies, &quiet, &visitors, &mut met)).await?;
        let under_load = authentication::judge(&met);
        self.ran.repeats = loaded.repeats;
        let hole = self.decided(vec![under_load]);
        let missed = self.decided(loaded.judged);

        let spared = if hole.or(missed).is_some() {
            Some(End::Disturbs("not made: the revision failed already, and this would disturb the machine".to_owned()))
        } else if tools.assignment.in_production {
            Some(End::Disturbs("not made: the revision is in production".to_owned()))
        } else {
            let judged = self.step(overload(tools, &bodies)).await?;
            self.decided(vec![judged]);
            let judged = self.step(killed(tools, &bodies)).await?;
            self.decided(vec![judged]);
            None
        };

        let judged = self.step(sinks(tools)).await?;
        self.decided(judged);
        spared
    }

    /// Does one step unless stopped.
    async fn step<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            done = step => Some(done),
        }
    }

    /// Keeps what was judged; the name of the first check that failed.
    fn decided(&mut self, judged: Vec<Judged>) -> Option<String> {
        let failed = judged.iter().find(|judged| judged.is_failed()).map(|judged| judged.check.name.clone());
        self.ran.judged.extend(judged);
        failed
    }
}
