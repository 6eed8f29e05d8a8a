//! A second worker for a request that the first is slow to answer (Dean and Barroso, The Tail at Scale, 2013).
//!
//! Inference is pure and its result is recorded once per request id, so two workers may compute the same. What it costs is bounded: a
//! share of the requests, and never the only worker twice.

use super::{
    Call, Pool, pool,
    retry::{self, Budget, Verdict},
    worker::{Taken, Worker},
};
use slipway_proto::inference::{ModelInferRequest, ModelInferResponse};
use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Instant,
};
use tokio::time::timeout;
use tonic::Status;

/// Whether another worker was asked too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hedged {
    /// No: the first was quick, or there was no other, or no more is allowed.
    No,
    /// Yes, and the first answered all the same.
    InVain,
    /// Yes, and it was the one that answered.
    Won,
}

/// What came of asking.
pub(super) struct Told<T> {
    pub(super) result: Result<T, Status>,
    /// The other one, if it is its answer.
    pub(super) by: Option<Arc<Worker>>,
    pub(super) hedged: Hedged,
}

/// Asks `first`, and if that takes longer than the call allows, another worker beside it.
pub(super) async fn ask(
    pool: &Pool,
    budget: &Budget,
    first: &Taken<'_>,
    call: &Call,
    attempt: u32,
    message: &ModelInferRequest,
) -> Told<ModelInferResponse> {
    let begun = Instant::now();
    let mut one = pin!(first.infer(call, attempt, message));
    let alone = |result| Told { result, by: None, hedged: Hedged::No };
    let Some(after) = call.hedge_after else { return alone(one.await) };
    if let Ok(result) = timeout(after, &mut one).await {
        return alone(result);
    }
    let Some(other) = second(pool, first, call) else { return alone(one.await) };
    let Some(taken) = budget.take().then(|| pool::take(&other)).flatten() else { return alone(one.await) };
    // The same try: nothing says that the request breaks its worker. On the heap, for it is rare and would make every request's future larger.
    let two = Box::pin(taken.infer(call, attempt, message));
    let told = first_of(one, two, first.worker(), &other).await;
    if told.hedged == Hedged::Won {
        // It took at least so long: else it would look as quick as before, and get the next one too.
        first.outrun(begun.elapsed());
    }
    told
}

/// Another worker of the same revision.
fn second(pool: &Pool, first: &Taken<'_>, call: &Call) -> Option<Arc<Worker>> {
    let key = (call.deployment.clone(), call.revision);
    pool.other(&key, &first.worker().seat().instance, Instant::now(), rand::random())
}

/// The first answer of two; a failure only if the first worker's stands.
async fn first_of<T>(
    mut one: Pin<&mut (impl Future<Output = Result<T, Status>> + Send)>,
    mut two: Pin<Box<impl Future<Output = Result<T, Status>> + Send>>,
    first: &Worker,
    other: &Arc<Worker>,
) -> Told<T> {
    let in_vain = |result| Told { result, by: None, hedged: Hedged::InVain };
    let won = |answer| Told { result: Ok(answer), by: Some(Arc::clone(other)), hedged: Hedged::Won };
    tokio::select! {
        result = &mut one => match result {
            Err(status) if !is_final(&status) => match two.await {
                Ok(answer) => {
                    retry::blame(first, &retry::verdict(&status));
                    won(answer)
                }
                Err(_) => in_vain(Err(status)),
            },
            result => in_vain(result),
        },
        result = &mut two => match result {
            Ok(answer) => won(answer),
            Err(status) => {
                retry::blame(other, &retry::verdict(&status));
                in_vain(one.await)
            }
        },
    }
}

/// Whether any worker would say the same.
fn is_final(status: &Status) -> bool {
    matches!(retry::verdict(status), Verdict::Final(_))
}
