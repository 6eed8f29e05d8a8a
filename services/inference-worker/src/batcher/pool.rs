//! What a pool thread does all day, and a caller in passing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::execute;
use super::queue::{Batch, Queue};
use crate::engine::Model;

/// Takes batches and runs them until there are no more.
pub(super) fn serve(queue: &Queue, model: &dyn Model) {
    while let Some(batch) = queue.next_batch() {
        run(queue, model, batch);
    }
}

/// Runs a batch, and tells the queue when that is done.
pub(super) fn run(queue: &Queue, model: &dyn Model, Batch { jobs, taken }: Batch) {
    // The engine's panics are caught where it is called. Should this code itself panic, the batch's callers are answered
    // (their senders drop) and the thread lives on: with fewer threads each fault would slow the worker for good.
    if catch_unwind(AssertUnwindSafe(|| execute::run(queue, model, jobs, taken))).is_err() {
        tracing::error!("a batch was abandoned by a fault of the batcher");
    }
    queue.done(taken);
}
