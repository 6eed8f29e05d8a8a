//! A worker is ended under load, without a drain, as if it were killed.

use super::{Tools, overload::recovery};
use crate::{
    domain::judge::{
        Judged,
        names::WORKER_KILLED,
        worker_killed::{Killed, judge},
    },
    error::told,
    world::Worker,
};
use bytes::Bytes;
use slipway_kernel::spec::Fault;
use slipway_loadtest::{Shape, Stop};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The platform whose workers have the inner door.
const OWN: &str = "slipway";
/// How long the load runs before the kill, and after the worker is back: enough for a dozen requests at least.
const AROUND: Duration = Duration::from_millis(300);
/// The highest rate beside the kill. It is a question of single requests, not of load, and with one worker all of them wait
/// until it is back.
const RATE: f64 = 100.0;
/// The lowest, so that requests are under way when the worker dies.
const LEAST_RATE: f64 = 20.0;
/// How often the registry is read: a worker that is back is seen this much later.
const POLL: Duration = Duration::from_millis(100);

pub(crate) async fn killed(tools: &Tools, bodies: &Arc<[Bytes]>) -> Judged {
    let assignment = &tools.assignment;
    if !assignment.validation.faults.contains(&Fault::WorkerKilled) {
        return Judged::skipped(WORKER_KILLED, "not asked for: spec.validation.faults does not hold worker-killed");
    }
    if assignment.plan.platform != OWN {
        let why = format!("{} cannot be told to end at once; Slipway's own worker can", assignment.plan.platform);
        return Judged::skipped(WORKER_KILLED, why);
    }
    let ready = match ready(tools).await {
        Ok(ready) => ready,
        Err(reason) => return Judged::inconclusive(WORKER_KILLED, reason),
    };
    let Some(victim) = ready.iter().min_by_key(|worker| (worker.since, &worker.instance)).cloned() else {
        return Judged::inconclusive(WORKER_KILLED, "no worker of the revision is registered as ready");
    };
    let probe = tools.probe(bodies);
    let stop = Stop::default();
    let rate = assignment.rate().clamp(LEAST_RATE, RATE);
    let duration = 2 * AROUND + tools.bounds.worker_back.0;
    let loading = tools.load(&probe, Shape::Open { rate, duration }, tools.limits(), &stop);
    let killing = async {
        tokio::time::sleep(AROUND).await;
        let back = kill_and_wait(tools, &victim, ready.len()).await;
        if matches!(back, Ok(Some(_))) {
            tokio::time::sleep(AROUND).await;
        }
        stop.enough.cancel();
        back
    };
    let (loaded, back) = tokio::join!(loading, killing);
    let back = match (loaded, back) {
        (Ok(_), Ok(back)) => back,
        (Err(error), _) => return Judged::inconclusive(WORKER_KILLED, told(&error)),
        (_, Err(reason)) => return Judged::inconclusive(WORKER_KILLED, reason),
    };
    judge(&Killed {
        instance: victim.instance,
        replicas: ready.len(),
        manners: probe.manners(),
        back_ms: back.map(|took| took.as_secs_f64() * 1_000.0),
        serves: back.is_some() && recovery(tools, bodies).await.is_some(),
        bound_ms: tools.bounds.worker_back.0.as_secs_f64() * 1_000.0,
    })
}

async fn ready(tools: &Tools) -> Result<Vec<Worker>, String> {
    let assignment = &tools.assignment;
    let workers = tools.world.workers(&assignment.deployment, assignment.revision).await;
    let mut workers = workers.map_err(|error| told(&error))?;
    workers.retain(|worker| worker.ready);
    Ok(workers)
}

/// Kills, and waits until as many others are ready as there were; `None` when the bound passed first.
async fn kill_and_wait(tools: &Tools, victim: &Worker, replicas: usize) -> Result<Option<Duration>, String> {
    let assignment = &tools.assignment;
    let killed = tools.world.kill(&assignment.deployment, assignment.revision, victim).await;
    killed.map_err(|error| told(&error))?;
    let begin = Instant::now();
    let waiting = async {
        loop {
            // A registry that does not answer for a moment is asked again; the bound ends it.
            let ready = ready(tools).await.unwrap_or_default();
            // A platform may start it anew under its name; it then registers anew.
            let others = ready
                .iter()
                .filter(|worker| worker.instance != victim.instance || worker.since != victim.since)
                .count();
            if others >= replicas {
                return begin.elapsed();
            }
            tokio::time::sleep(POLL).await;
        }
    };
    Ok(tokio::time::timeout(tools.bounds.worker_back.0, waiting).await.ok())
}
