//! The way to the workers: gRPC over mTLS, a worker's certificate being that of exactly its revision.
//!
//! Small requests share one long stream to each worker; a large one is a call of its own, so that nothing queues behind it.
//!
//! A request goes to one of two workers taken at random, the one that is expected to answer sooner. When its connection fails it goes to
//! another; when there is none it waits for one to appear, within its deadline. Every try bears the same request id, so
//! that its effect happens once.

pub mod ask;
pub mod hedge;
pub mod line;
pub mod pace;
pub mod pool;
pub mod retry;
pub mod worker;

pub use hedge::Hedged;
pub use pool::Pool;
pub use worker::Seat;

use crate::{
    error::RequestError,
    limits,
    table::{Routing, State, Table},
};
use pool::Found;
use retry::Verdict;
use slipway_kernel::{DeploymentId, RequestId, RevisionId};
use slipway_proto::inference::{ModelInferRequest, ModelInferResponse};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// What goes with a request beside its tensors.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose model.
    pub deployment: DeploymentId,
    /// Which revision.
    pub revision: RevisionId,
    /// The id under which the effect happens once.
    pub request_id: RequestId,
    /// What the caller sees as one piece of work.
    pub correlation_id: String,
    /// Who asks.
    pub principal: String,
    /// Whether it is the validator's, or our own proof.
    pub probe: bool,
    /// Until when an answer is of use.
    pub deadline: Instant,
    /// The same, in milliseconds since the epoch.
    pub deadline_unix_ms: u64,
    /// When it came, in milliseconds since the epoch.
    pub accepted_unix_ms: u64,
    /// The trace it belongs to.
    pub traceparent: String,
    /// After how long another worker is asked too.
    pub hedge_after: Option<Duration>,
}

/// The answer of a worker.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What it says.
    pub response: ModelInferResponse,
    /// Whose it is.
    pub instance: String,
    /// At which try, from 1; 0 = it was kept, and none was made.
    pub attempt: u32,
    /// Whether another worker was asked too.
    pub hedged: Hedged,
}

/// How a request ended at the workers.
#[derive(Debug)]
pub enum Ended {
    /// With an answer.
    Answer(Box<Answer>),
    /// Without.
    Failed(RequestError),
    /// The route moved while it waited: it belongs to another revision now.
    Moved,
}

/// Sends a request to a worker of its revision. `moved` says whether the route leads elsewhere by now.
pub async fn infer(
    pool: &Pool,
    routing: &Routing,
    state: &State,
    worker_wait: Duration,
    call: &Call,
    message: &ModelInferRequest,
    moved: impl Fn(&Table) -> bool,
) -> Ended {
    state.retries.earn();
    if call.hedge_after.is_some() {
        state.hedges.earn();
    }
    let key = (call.deployment.clone(), call.revision);
    let (mut attempt, mut counted, mut avoid) = (0, 0, None);
    let mut waiting_since = None;
    let mut watched = None;
    loop {
        let now = Instant::now();
        let (since, until) = match pool.find(&key, avoid.as_deref(), now.into_std(), rand::random()) {
            Found::Worker(worker) => {
                let Some(taken) = pool::take(&worker) else { continue };
                attempt += 1;
                let asking = hedge::ask(pool, &state.hedges, &taken, call, attempt, message);
                let Ok(told) = timeout_at(call.deadline, asking).await else {
                    return Ended::Failed(RequestError::DeadlineExceeded);
                };
                let status = match told.result {
                    Ok(response) => {
                        let instance = told.by.as_ref().unwrap_or(&worker).seat().instance.clone();
                        let hedged = told.hedged;
                        return Ended::Answer(Box::new(Answer { response, instance, attempt, hedged }));
                    }
                    Err(status) => status,
                };
                let verdict = retry::verdict(&status);
                retry::blame(&worker, &verdict);
                let error = match verdict {
                    Verdict::Final(error) => return Ended::Failed(error),
                    Verdict::ElseWhere(error) => {
                        let alone = pool.count(&call.deployment, call.revision) < 2;
                        if alone && error.is_overload() {
                            return Ended::Failed(error);
                        }
                        error
                    }
                    Verdict::Gone(_) => RequestError::NoWorker { revision: call.revision },
                };
                // Finding out whether a worker is back is bounded by how often that is done, for all requests together.
                let finding_out = taken.is_probing();
                drop(taken);
                counted += u32::from(!finding_out);
                if !finding_out && (counted >= limits::TRIES || !state.retries.take()) {
                    return Ended::Failed(error);
                }
                avoid = Some(worker.seat().instance.clone());
                if moved(&routing.load()) {
                    return Ended::Moved;
                }
                continue;
            }
            Found::Later(until) => (now, until.map(Instant::from_std)),
            Found::Nobody(since) => (Instant::from_std(since), None),
        };
        if moved(&routing.load()) {
            return Ended::Moved;
        }
        // Whoever is to wait looks once more after it began to watch, so that no change in between is missed.
        let Some((changes, routes)) = &mut watched else {
            watched = Some((pool.changes(), routing.changes()));
            continue;
        };
        // A revision that has been without a worker for long is not waited for again.
        let since = *waiting_since.get_or_insert(since.min(now));
        let patience = call.deadline.min(since + worker_wait);
        if now >= patience {
            return Ended::Failed(RequestError::NoWorker { revision: call.revision });
        }
        tokio::select! {
            _ = changes.changed() => {}
            _ = routes.changed() => {}
            () = sleep_until(until.map_or(patience, |until| until.min(patience))) => {}
        }
    }
}
