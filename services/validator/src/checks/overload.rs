//! Far more requests than it can take, for a moment: does it refuse politely, and does it recover?

use super::Tools;
use crate::{
    domain::judge::{
        Judged,
        names::OVERLOAD,
        overload::{Overloaded, judge},
    },
    door::Fate,
    error::told,
};
use bytes::Bytes;
use slipway_loadtest::{Limits, Shape, Stop};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Callers and time of the closed loop that shows what goes through at most.
const CALLERS: usize = 16;
const CAPABILITY: Duration = Duration::from_millis(300);
/// How many times more is sent than goes through.
const FACTOR: f64 = 4.0;
/// Requests in a row that must be answered afterwards, and how long that may take: what was queued is worked off or refused
/// within the shortest of usual timeouts.
const RECOVERED: u32 = 5;
const BOUND: Duration = Duration::from_secs(5);
/// The least time a request has under overload: a usual client's.
const LEAST_TIMEOUT: Duration = Duration::from_millis(500);
/// Pause between them.
const PAUSE: Duration = Duration::from_millis(20);
/// The fewest and the most requests under way, whatever the workers' queues hold.
const IN_FLIGHT: (usize, usize) = (32, 4_096);

pub(crate) async fn overload(tools: &Tools, bodies: &Arc<[Bytes]>) -> Judged {
    let shape = Shape::Closed { callers: CALLERS, duration: CAPABILITY };
    let capability = match tools.load(&tools.probe(bodies), shape, tools.limits(), &Stop::default()).await {
        Ok(report) => report.throughput,
        Err(error) => return Judged::inconclusive(OVERLOAD, told(&error)),
    };
    let rate = (capability.max(tools.assignment.rate()) * FACTOR).min(f64::from(tools.bounds.overload_rate));
    let probe = tools.hurried_probe(bodies, timeout(tools));
    let shape = Shape::Open { rate, duration: tools.bounds.overload.0 };
    let limits = Limits { max_in_flight: in_flight(tools), ..tools.limits() };
    if let Err(error) = tools.load(&probe, shape, limits, &Stop::default()).await {
        return Judged::inconclusive(OVERLOAD, told(&error));
    }
    let recovered_ms = recovery(tools, bodies).await.map(|took| took.as_secs_f64() * 1_000.0);
    judge(&Overloaded {
        rate,
        capability,
        manners: probe.manners(),
        recovered_ms,
        bound_ms: BOUND.as_secs_f64() * 1_000.0,
    })
}

/// How long a request may take under overload. With all the time the deployment allows, a long queue would answer everybody late
/// and nobody would be refused: overload is what cannot be answered in time.
fn timeout(tools: &Tools) -> Duration {
    let wanted = tools.assignment.slo.latency_p99.map_or(Duration::ZERO, |target| target.0 * 2);
    wanted.max(LEAST_TIMEOUT).min(tools.assignment.request_timeout.0)
}

/// Twice what all workers can hold, so that they must refuse; not more, because the live revision shares the door.
fn in_flight(tools: &Tools) -> usize {
    let plan = &tools.assignment.plan;
    let held = plan.replicas as usize * (plan.queue_limit as usize + plan.max_batch as usize);
    (2 * held).clamp(IN_FLIGHT.0, IN_FLIGHT.1)
}

/// How long until requests are answered again; `None` if the bound passed first.
pub(crate) async fn recovery(tools: &Tools, bodies: &Arc<[Bytes]>) -> Option<Duration> {
    let body = bodies.first().cloned().unwrap_or_default();
    let begin = Instant::now();
    let recovering = async {
        let mut in_a_row = 0;
        let mut since = begin.elapsed();
        while in_a_row < RECOVERED {
            match tools.single(body.clone()).await.0 {
                Fate::Answered(_) => in_a_row += 1,
                _ => {
                    in_a_row = 0;
                    tokio::time::sleep(PAUSE).await;
                    since = begin.elapsed();
                }
            }
        }
        since
    };
    tokio::time::timeout(BOUND, recovering).await.ok()
}
