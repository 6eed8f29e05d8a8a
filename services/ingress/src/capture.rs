//! Results of what was answered at once, on their way to the outputs. No answer waits for them: they are held here, bounded, and
//! leave in batches. Where the broker or the outputs of a deployment fall so far behind that there is no room, results are shed;
//! that is counted by deployment and said once each time it begins.

use crate::{
    limits::{CAPTURE_BYTES, CAPTURE_LINGER, CAPTURE_RESULTS},
    mailbox::Mailbox,
    telemetry::IngressMetrics,
};
use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use prost::Message as _;
use slipway_bus::{CaptureBatch, QueueError};
use slipway_kernel::{DeploymentId, RequestId};
use slipway_proto::slipway::inference::v1::InferenceResult;
use slipway_runtime::CancellationToken;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::sleep};
use tracing::{info, warn};

/// The pause after a failure, doubled up to the second figure: how late a broker's return is noticed.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How often what is left at the end of the process is tried.
const LAST_TRIES: u32 = 3;

/// What a result takes in a batch besides its own bytes, and a little more: an id of at most 128 bytes, a trace, and framing.
const OVERHEAD: usize = 256;

/// Results that wait for the broker.
#[derive(Debug)]
pub struct Capture {
    held: Mutex<Held>,
    /// What may be held for all deployments; one may have half of it, so that its outputs never cost another its results.
    room: usize,
    arrived: Notify,
    full: Notify,
    /// No result comes any more.
    closed: CancellationToken,
    metrics: IngressMetrics,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    deployments: HashMap<DeploymentId, Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Full but for the last.
    batches: VecDeque<CaptureBatch>,
    /// Those under way included.
    bytes: usize,
    /// A batch of it is under way; the next one waits, so that one deployment has one writer.
    leaving: bool,
    shedding: bool,
}

impl Capture {
    /// Holds up to `room` bytes.
    #[must_use]
    pub fn new(room: usize, metrics: IngressMetrics) -> Self {
        Self {
            held: Mutex::default(),
            room,
            arrived: Notify::new(),
            full: Notify::new(),
            closed: CancellationToken::new(),
            metrics,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a result, if there is room for it.
    pub fn offer(&self, id: &DeploymentId, request: &RequestId, traceparent: &str, result: &InferenceResult) {
        let size = result.encoded_len() + OVERHEAD;
        let mut held = self.held();
        let Held { bytes, deployments } = &mut *held;
        let waiting = match deployments.get_mut(id) {
            Some(waiting) => waiting,
            None => deployments.entry(id.clone()).or_default(),
        };
        if *bytes + size > self.room || waiting.bytes + size > self.room / 2 {
            let begins = !std::mem::replace(&mut waiting.shedding, true);
            drop(held);
            self.metrics.captured(id, false, 1);
            if begins {
                warn!(deployment = %id, "results are shed: the outputs or the broker are too far behind");
            }
            return;
        }
        let (added, results) = waiting.push(size, request, traceparent, result);
        *bytes += added;
        waiting.bytes += added;
        let (first, enough) = (results == 1, results == CAPTURE_RESULTS);
        drop(held);
        if first {
            self.arrived.notify_one();
        }
        if enough {
            self.full.notify_one();
        }
    }

    /// Says that no result comes any more: what is held leaves, then [`Capture::run`] ends.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Sends what is held until the end.
    pub async fn run(&self, mailbox: &dyn Mailbox) {
        let mut leaving = FuturesUnordered::new();
        loop {
            for (id, batch) in self.batches() {
                leaving.push(self.leave(mailbox, id, batch));
            }
            if self.closed.is_cancelled() && leaving.is_empty() && self.held().is_empty() {
                return;
            }
            tokio::select! {
                // A deployment whose batch has left may have another by now.
                Some(()) = leaving.next() => {}
                () = self.next_batch() => {}
                () = self.closed.cancelled(), if leaving.is_empty() => {}
            }
        }
    }

    /// Waits for the first result of a batch, and then lets it fill for a moment. Whoever stops waiting takes what is there by then.
    async fn next_batch(&self) {
        self.arrived.notified().await;
        tokio::select! {
            () = sleep(CAPTURE_LINGER) => {}
            () = self.full.notified() => {}
            () = self.closed.cancelled() => {}
        }
    }

    /// A batch of each deployment that has results and none under way.
    fn batches(&self) -> Vec<(DeploymentId, CaptureBatch)> {
        let mut held = self.held();
        // What is idle and empty is forgotten, so that retired deployments leave nothing behind.
        held.deployments.retain(|_, waiting| waiting.leaving || !waiting.batches.is_empty());
        let ready = held.deployments.iter_mut().filter(|(_, waiting)| !waiting.leaving);
        ready.filter_map(|(id, waiting)| Some((id.clone(), waiting.batch()?))).collect()
    }

    /// Sends a batch until it is taken.
    async fn leave(&self, mailbox: &dyn Mailbox, id: DeploymentId, batch: CaptureBatch) {
        let (results, bytes) = (batch.results(), batch.bytes());
        let batch: Bytes = batch.finish();
        let (mut pause, mut last_tries) = (PAUSE.0, 0);
        let kept = loop {
            let error = match mailbox.capture(&id, batch.clone()).await {
                Ok(()) => break true,
                Err(error @ QueueError::TooLarge { .. }) => {
                    warn!(deployment = %id, %error, results, "a batch of results is lost");
                    break false;
                }
                Err(error) => error,
            };
            if self.closed.is_cancelled() {
                last_tries += 1;
                if last_tries == LAST_TRIES {
                    warn!(deployment = %id, %error, results, "results are lost: the process ends before the broker takes them");
                    break false;
                }
            }
            warn!(deployment = %id, %error, results, "results could not be left; trying again");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        };
        self.metrics.captured(&id, kept, results);
        let mut held = self.held();
        held.bytes -= bytes;
        if let Some(waiting) = held.deployments.get_mut(&id) {
            waiting.bytes -= bytes;
            waiting.leaving = false;
            if std::mem::take(&mut waiting.shedding) {
                info!(deployment = %id, "results are taken again");
            }
        }
    }
}

impl Held {
    fn is_empty(&self) -> bool {
        self.deployments.values().all(|waiting| waiting.batches.is_empty())
    }
}

impl Waiting {
    /// Writes a result that takes up to `size` bytes into the last batch, or a new one; how many bytes it took, and how many results that
    /// batch has now.
    fn push(
        &mut self,
        size: usize,
        request: &RequestId,
        traceparent: &str,
        result: &InferenceResult,
    ) -> (usize, usize) {
        // One that is larger than a batch is a batch.
        let fits = |batch: &CaptureBatch| batch.results() < CAPTURE_RESULTS && batch.bytes() + size <= CAPTURE_BYTES;
        if !self.batches.back().is_some_and(fits) {
            self.batches.push_back(CaptureBatch::default());
        }
        let Some(batch) = self.batches.back_mut() else { return (0, 0) };
        let before = batch.bytes();
        batch.push(request.as_str(), traceparent, result);
        (batch.bytes() - before, batch.results())
    }

    fn batch(&mut self) -> Option<CaptureBatch> {
        let batch = self.batches.pop_front();
        self.leaving = batch.is_some();
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_tests::mailbox::MemoryMailbox;
    use std::sync::{Arc, atomic::Ordering};

    fn capture(room: usize) -> Arc<Capture> {
        let frame = slipway_runtime::Frame::for_test("ingress");
        Arc::new(Capture::new(room, IngressMetrics::register(&frame.metrics)))
    }

    fn id(name: &str) -> DeploymentId {
        format!("default.{name}").parse().unwrap()
    }

    /// Offers a result of so many bytes.
    fn offer(capture: &Capture, deployment: &str, n: usize, bytes: usize) {
        let result = InferenceResult { principal: "x".repeat(bytes), ..InferenceResult::default() };
        capture.offer(&id(deployment), &format!("r{n}").parse().unwrap(), "", &result);
    }

    fn kept(mailbox: &MemoryMailbox) -> Vec<usize> {
        mailbox.captured.lock().unwrap().iter().map(|(_, batch)| batch.len()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn results_leave_in_batches_and_all_of_them_before_the_end() {
        let (capture, mailbox) = (capture(1 << 20), MemoryMailbox::default());
        (0..CAPTURE_RESULTS + 7).for_each(|n| offer(&capture, "a", n, 10));
        offer(&capture, "b", 0, 10);
        capture.close();
        capture.run(&mailbox).await;
        let mut sizes = kept(&mailbox);
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 7, CAPTURE_RESULTS]);
        assert_eq!(capture.held().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_room_is_shed_and_one_deployment_leaves_room_for_others() {
        let (capture, mailbox) = (capture(8 * 1_256), MemoryMailbox::default());
        mailbox.away.store(true, Ordering::SeqCst);
        (0..10).for_each(|n| offer(&capture, "a", n, 1_000));
        offer(&capture, "b", 0, 1_000);
        assert_eq!(capture.metrics.captured_of(&id("a"), false), 6);
        let running = {
            let capture = Arc::clone(&capture);
            let mailbox = Arc::new(mailbox);
            let shared = Arc::clone(&mailbox);
            (tokio::spawn(async move { capture.run(shared.as_ref()).await }), mailbox)
        };
        // The broker is away for a while; nothing of what was taken is lost.
        sleep(Duration::from_secs(60)).await;
        assert_eq!(kept(&running.1), [0_usize; 0]);
        running.1.away.store(false, Ordering::SeqCst);
        capture.close();
        running.0.await.unwrap();
        let mut sizes = kept(&running.1);
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 4]);
        assert_eq!(capture.metrics.captured_of(&id("a"), true), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_stays_away_does_not_keep_the_process() {
        let (capture, mailbox) = (capture(1 << 20), MemoryMailbox::default());
        mailbox.away.store(true, Ordering::SeqCst);
        offer(&capture, "a", 0, 10);
        capture.close();
        capture.run(&mailbox).await;
        assert_eq!(capture.metrics.captured_of(&id("a"), false), 1);
    }
}
