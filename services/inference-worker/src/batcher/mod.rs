//! Requests into batches, on a fixed pool of OS threads.
//!
//! Kernels do not run on the async runtime: a run takes as long as it takes, and while it does nothing else on its thread
//! moves. Callers wait asynchronously; the threads wait on a condition. But where requests come seldom and a run is known to take less than
//! waking a thread and being woken by it, the caller's thread runs it ([`BatcherOptions::at_once`]).
//!
//! - The queue is bounded in requests and in bytes; beyond that a request is refused at once, which costs nothing, instead
//!   of timing out later, which costs a run.
//! - A deadline is checked when a request is enqueued, whenever the queue is looked at, and before its run. While others wait, a request that
//!   would be answered too late at the pace of late is refused at once, or gives way: under overload the engine works for those only
//!   who will still be there.
//! - More urgent requests run first, and in a full queue less urgent ones give way to them; but nobody waits behind others for ever.
//! - A batch waits for company as long as that is worth it by what runs cost and how soon others come, at most its configured delay.
//! - A caller that goes away takes its request with it, up to the moment at which the run begins.
//! - When a batch fails, its requests are run again one by one: only the one that broke it fails.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use slipway_oip::Priority;
use slipway_proto::oip::Tensor;
use tokio::sync::oneshot;

use crate::domain::batching::Limits;
use crate::domain::pace::Pace;
use crate::engine::{EngineError, Model};
use crate::telemetry::BatcherMetrics;

mod execute;
mod pool;
mod queue;
#[cfg(test)]
mod tests;

use queue::{Entered, Queue};

/// Stack of a pool thread. Engines recurse over graphs while they plan for a new shape; the default of 2 MiB is close for
/// deep ones.
const STACK_BYTES: usize = 8 << 20;

/// Bounds and pace of a batcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatcherOptions {
    /// Most rows in a run.
    pub max_rows: usize,
    /// Longest that a request waits for company.
    pub max_delay: Duration,
    /// Most requests that wait.
    pub queue_requests: usize,
    /// Most bytes of inputs that wait.
    pub queue_bytes: usize,
    /// OS threads that run the engine.
    pub threads: usize,
    /// Whether each of them is kept on a core of its own.
    pub pinned: bool,
    /// What is expected to run no longer than this is run where it was submitted, if nothing waits and the model is idle most of the time; zero:
    /// nothing is. Only for models whose runs depend on their rows alone.
    pub at_once: Duration,
}

/// A request that fits the model.
#[derive(Debug, Clone)]
pub struct Work {
    /// Inputs in the order of the signature.
    pub inputs: Vec<Tensor>,
    /// Rows they bring.
    pub rows: usize,
    /// Nobody waits for it after this.
    pub deadline: Option<Instant>,
    /// It must share a run with nobody.
    pub alone: bool,
    /// How urgent it is.
    pub priority: Priority,
}

/// What came out of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Computed {
    /// Outputs in the order of the signature, this request's rows only.
    pub outputs: Vec<Tensor>,
    /// How long it waited.
    pub waited: Duration,
    /// How long the run took.
    pub ran: Duration,
    /// Rows of the whole run.
    pub batch_rows: usize,
}

/// Why a request was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The queue is full.
    #[error("{limit} {unit} are waiting already")]
    Full {
        /// The limit that was met.
        limit: usize,
        /// Of what.
        unit: &'static str,
        /// When there may be room again.
        retry_after: Duration,
    },
    /// At the pace of late it would be answered too late, or too close to it.
    #[error("its answer is expected in some {} ms, too close to the {} ms that are left for it", expected.as_millis(), left.as_millis())]
    Hopeless {
        /// How long what runs, what waits and its own run take.
        expected: Duration,
        /// How long the request has.
        left: Duration,
    },
    /// The deadline has passed.
    #[error("the deadline passed before the request was taken in")]
    Late,
    /// No new work is taken in.
    #[error("the worker is draining")]
    Draining,
}

/// Why a request that was taken in has no outputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// The deadline passed while it waited, or came too close for its run.
    #[error("the deadline passed, or came too close, while the request waited for its run")]
    Late,
    /// The engine failed on it.
    #[error(transparent)]
    Failed(#[from] EngineError),
    /// A more urgent one needed its place in a full queue.
    #[error("the request gave way to a more urgent one in a full queue")]
    GaveWay {
        /// When there may be room again.
        retry_after: Duration,
    },
    /// The batcher ended without running it.
    #[error("the worker ended before the request was run")]
    Stopped,
}

/// The batcher of one model. Dropping it lets what waits fail as [`Unanswered::Stopped`].
#[derive(Debug)]
pub struct Batcher {
    queue: Arc<Queue>,
    model: Arc<dyn Model>,
    threads: Vec<JoinHandle<()>>,
}

impl Batcher {
    /// Starts the threads. With a pace, batches wait only for company that is expected; without, each its full delay.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        model: &Arc<dyn Model>,
        options: BatcherOptions,
        pace: Option<Pace>,
        metrics: BatcherMetrics,
    ) -> io::Result<Self> {
        let limits = Limits {
            max_rows: options.max_rows.max(1),
            max_delay_us: u64::try_from(options.max_delay.as_micros()).unwrap_or(u64::MAX),
        };
        let options = BatcherOptions { threads: options.threads.max(1), ..options };
        let queue = Arc::new(Queue::new(limits, options, pace, metrics));
        let threads = Vec::with_capacity(options.threads);
        let mut batcher = Self { queue: Arc::clone(&queue), model: Arc::clone(model), threads };
        for index in 0..options.threads {
            let (queue, model) = (Arc::clone(&queue), Arc::clone(model));
            // On an error the threads started so far end with `batcher`.
            let thread =
                thread::Builder::new().name(format!("engine-{index}")).stack_size(STACK_BYTES).spawn(move || {
                    if options.pinned {
                        pin(index);
                    }
                    if let Err(error) = crate::engine::threads::takes_its_turn() {
                        tracing::info!(thread = index, %error, "a thread takes cores from those who read requests");
                    }
                    pool::serve(&queue, model.as_ref());
                })?;
            batcher.threads.push(thread);
        }
        Ok(batcher)
    }

    /// Takes a request in. The future resolves when it has run; dropping the future cancels it. A run of [`BatcherOptions::at_once`] is over
    /// when this returns.
    ///
    /// # Errors
    /// [`Refused`], at once.
    pub fn submit(&self, work: Work) -> Result<Pending, Refused> {
        let Entered { reply, at_once } = self.queue.push(work, Instant::now())?;
        if let Some(batch) = at_once {
            pool::run(&self.queue, self.model.as_ref(), batch);
        }
        Ok(Pending(reply))
    }

    /// Its bounds and pace.
    #[must_use]
    pub fn options(&self) -> BatcherOptions {
        self.queue.options()
    }

    /// Requests that wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Takes nothing more in and stops waiting for company; what is in the queue is run.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Closes, and blocks until what was in the queue has run.
    pub fn drain(mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            // A panic of a pool thread was reported when it happened; there is nothing to add here.
            let _ = thread.join();
        }
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        self.queue.stop();
        // Not joined: a run may take long, and the threads end after it by themselves.
    }
}

/// A thread that cannot be pinned computes all the same.
fn pin(index: usize) {
    match crate::engine::threads::pin(index) {
        Ok(core) => tracing::info!(thread = index, core, "a thread is kept on its core"),
        Err(error) => tracing::warn!(thread = index, %error, "a thread cannot be kept on a core"),
    }
}

/// A request that was taken in.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Computed, Unanswered>>);

impl Future for Pending {
    type Output = Result<Computed, Unanswered>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|received| received.unwrap_or(Err(Unanswered::Stopped)))
    }
}
