//! The queued path: the request queue of the worker's revision.
//!
//! A request is acknowledged only after its result is recorded, so that neither a crash nor a lost connection loses one. It may
//! then be delivered twice; the second time it runs alone (it may be what brought the first worker down), and when its result is
//! there already it is not run at all. Where its sender wants to hear the answer, it is sent what was recorded, before the request is
//! acknowledged: a worker that ends between the two leaves that to the next one, so an answer may come twice.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use slipway_bus::topology::{MAX_REPLY_BYTES, request_queue};
use slipway_bus::{Bus, DATA_REF, DeadLetter, QueueError, QueuedRequest, Recorded, ReplySubject, RequestQueue};
use slipway_kernel::{Service, Timestamp};
use slipway_oip::reply::Reply;
use slipway_proto::failure::FailureCode;
use slipway_proto::inference::ModelInferRequest;
use slipway_proto::slipway::inference::v1::inference_result::Outcome;
use slipway_proto::slipway::inference::v1::{InferenceRequest, InferenceResult, ReplyTo};
use slipway_runtime::{CancellationToken, trace};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use crate::front::{INLINE_BYTES, aside_if};
use crate::inference::{Call, Inference};
use crate::refusal::Refusal;
use crate::telemetry::Path;

/// How long one look into the queue waits. Draining waits for a look that is under way, so it is short; an empty look costs the
/// broker next to nothing.
const LOOK: Duration = Duration::from_millis(500);
/// A third of the broker's `ack_wait` of 30 s: two heartbeats may be lost.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Requests at once whose data lies in the object store: two of the largest are as much as all that may wait for a run.
const LARGE_AT_ONCE: usize = 2;
/// A request that was delivered so often without a result is given up. Drains and restarts give requests back too, so it is more
/// than a request that breaks its worker needs to be recognised.
const MAX_ATTEMPTS: u64 = 8;
/// First pause after a failure of the bus; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Often enough to notice the broker coming back.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Pulls and answers queued requests.
#[derive(Clone)]
pub struct Consumer {
    bus: Bus,
    inference: Arc<Inference>,
    in_hand: usize,
    large: Arc<Semaphore>,
}

/// A request as it stands in the queue.
#[derive(Debug)]
struct Asked {
    call: Call,
    /// None where it lies in the object store.
    message: Option<ModelInferRequest>,
    reply_to: Option<ReplyTo>,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// The result is recorded.
    Done,
    /// A person has it now.
    Buried,
    /// Another worker shall have it.
    GivenBack,
}

impl Consumer {
    /// A consumer with at most so many requests in hand.
    #[must_use]
    pub fn new(bus: Bus, inference: Arc<Inference>, in_hand: usize) -> Self {
        Self { bus, inference, in_hand, large: Arc::new(Semaphore::new(LARGE_AT_ONCE)) }
    }

    /// Consumes until `stop`, then finishes what is in hand.
    pub async fn run(self, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        let permits = Arc::new(Semaphore::new(self.in_hand));
        let assignment = self.inference.assignment().clone();
        let requests = self.bus.requests();
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            let pulled = tokio::select! {
                () = stop.cancelled() => break,
                pulled = requests.pull(&assignment.deployment, assignment.revision) => pulled,
            };
            match pulled {
                Ok(queue) => {
                    pause = FIRST_PAUSE;
                    self.consume(&queue, &permits, &tracker, &stop).await;
                }
                Err(error) => tracing::warn!(%error, "the request queue cannot be pulled yet"),
            }
            if !rest(self.inference.clock(), &mut pause, &stop).await {
                break;
            }
        }
        tracker.close();
        tracker.wait().await;
    }

    /// Returns when the queue must be opened anew, or to stop.
    async fn consume(
        &self,
        queue: &RequestQueue,
        permits: &Arc<Semaphore>,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) {
        // A look costs the broker as much as several requests: taken one by one as room comes, they would be a look each.
        let half = self.in_hand.div_ceil(2);
        while !stop.is_cancelled() {
            let first = tokio::select! {
                () = stop.cancelled() => return,
                permits = permits.acquire_many(u32::try_from(half).unwrap_or(u32::MAX)) => permits,
            };
            // Nobody closes the semaphore.
            let Ok(first) = first else { return };
            let room = permits.available_permits() + half;
            drop(first);
            // Not raced against `stop`: what is delivered while nobody listens would lie still until `ack_wait` is over.
            match queue.next(room, LOOK).await {
                Ok(requests) => {
                    for request in requests {
                        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
                            return;
                        };
                        let (consumer, stop) = (self.clone(), stop.clone());
                        tracker.spawn(async move {
                            consumer.handle(request, &stop).await;
                            drop(permit);
                        });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the request queue gave nothing");
                    return;
                }
            }
        }
    }

    async fn handle(&self, request: QueuedRequest, stop: &CancellationToken) {
        let recorded = request.traceparent.as_deref().filter(|traceparent| trace::is_recorded(traceparent));
        let span = recorded.map(|traceparent| self.span(&request, traceparent));
        let work = async {
            let settled = self.settle(&request, stop).await;
            let told = match settled {
                Settled::Done => request.done().await,
                Settled::Buried => request.ack().await,
                Settled::GivenBack => request.give_back().await,
            };
            if let Err(error) = told {
                // It is delivered again, and then found recorded.
                tracing::warn!(%error, ?settled, "the broker could not be told what became of a request");
            }
        };
        match span {
            Some(span) => work.instrument(span).await,
            None => work.await,
        }
    }

    fn span(&self, request: &QueuedRequest, traceparent: &str) -> Span {
        let span = tracing::info_span!(
            "infer",
            otel.kind = "consumer",
            deployment = %self.inference.assignment().deployment,
            revision = %self.inference.assignment().revision,
            request_id = %request.request_id,
            attempt = request.attempt,
        );
        trace::parent_from(&span, traceparent);
        span
    }

    /// Sees the request to its end, with a heartbeat for as long as it takes.
    async fn settle(&self, request: &QueuedRequest, stop: &CancellationToken) -> Settled {
        let mut work = std::pin::pin!(self.work(request, stop));
        loop {
            tokio::select! {
                settled = &mut work => return settled,
                () = self.inference.clock().sleep(HEARTBEAT) => {
                    if let Err(error) = request.working().await {
                        tracing::debug!(%error, "a heartbeat was lost");
                    }
                }
            }
        }
    }

    async fn work(&self, request: &QueuedRequest, stop: &CancellationToken) -> Settled {
        let Asked { call, message, reply_to } = match self.read(request) {
            Ok(asked) => asked,
            Err(reason) => return self.bury(request, &reason).await,
        };
        if request.attempt > 1
            && let Some(recorded) = self.recorded(request).await
        {
            self.answer(reply_to, recorded).await;
            return Settled::Done;
        }
        let outcome = if request.attempt > MAX_ATTEMPTS {
            let reason = format!("delivered {} times without a result", request.attempt - 1);
            tracing::error!(%reason, "a request is given up");
            Some(Outcome::Failure(FailureCode::Internal.with(reason)))
        } else {
            match message {
                Some(message) => self.outcome(&call, message, stop).await,
                None => self.outcome_of_large(&call, request, stop).await,
            }
        };
        let Some(outcome) = outcome else { return Settled::GivenBack };
        let Some(recorded) = self.record(request, self.inference.result(&call, outcome), stop).await else {
            return Settled::GivenBack;
        };
        self.answer(reply_to, recorded).await;
        Settled::Done
    }

    fn read(&self, request: &QueuedRequest) -> Result<Asked, String> {
        let envelope = InferenceRequest::decode(request.payload.clone())
            .map_err(|error| format!("not an inference request: {error}"))?;
        let own = &self.inference.assignment().deployment;
        if envelope.namespace != own.namespace.as_str() || envelope.deployment != own.name.as_str() {
            return Err(format!("a request for {}.{} in the queue of {own}", envelope.namespace, envelope.deployment));
        }
        if envelope.body.is_none() && request.data_ref.is_none() {
            return Err("an inference request without a body".to_owned());
        }
        let at = |unix_ms: i64| u64::try_from(unix_ms).ok().filter(|ms| *ms > 0).map(Timestamp);
        let call = Call {
            request_id: request.request_id.clone(),
            correlation_id: envelope.correlation_id,
            principal: envelope.principal,
            deadline: at(envelope.deadline_unix_ms),
            accepted: at(envelope.accepted_unix_ms).unwrap_or(request.at),
            probe: envelope.probe,
            attempt: u32::try_from(request.attempt).unwrap_or(u32::MAX),
            trace_id: request.traceparent.as_deref().and_then(trace::id_of).unwrap_or_default().to_owned(),
        };
        Ok(Asked { call, message: envelope.body, reply_to: envelope.reply_to })
    }

    /// The same of a request whose tensors lie in the object store.
    async fn outcome_of_large(
        &self,
        call: &Call,
        request: &QueuedRequest,
        stop: &CancellationToken,
    ) -> Option<Outcome> {
        // Nobody closes the semaphore.
        let _place = self.large.acquire().await.ok()?;
        if call.deadline.is_some_and(|deadline| deadline <= self.inference.clock().now()) {
            let message = "the deadline was over before its tensors were read";
            return Some(Outcome::Failure(FailureCode::DeadlineExceeded.with(message)));
        }
        let mut pause = FIRST_PAUSE;
        let data = loop {
            match request.data().await {
                Ok(data) => break data,
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "the tensors of a request could not be read; trying again");
                    if !rest(self.inference.clock(), &mut pause, stop).await {
                        return None;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the tensors of a request are gone");
                    let message = format!("its tensors cannot be read: {error}");
                    return Some(Outcome::Failure(FailureCode::Internal.with(message)));
                }
            }
        };
        match ModelInferRequest::decode(data) {
            Ok(message) => self.outcome(call, message, stop).await,
            Err(error) => Some(Outcome::Failure(FailureCode::Internal.with(format!("its tensors are none: {error}")))),
        }
    }

    /// The final outcome; `None` when the worker is to stop before there is one.
    async fn outcome(&self, call: &Call, mut message: ModelInferRequest, stop: &CancellationToken) -> Option<Outcome> {
        // Which revision answers was decided by the queue: after a rollback, requests are moved to the good one.
        message.model_version.clear();
        loop {
            let asked = self.inference.read(call.deadline, call.attempt, &message);
            match self.inference.compute(Path::Queued, asked).await {
                Ok(response) => return Some(Outcome::Response(response.into_message())),
                Err(Refusal { code, retry_after: Some(after), .. }) if code.is_retryable() => {
                    // The direct path has filled the batcher. The request was accepted long ago and waits its turn here.
                    tokio::select! {
                        () = stop.cancelled() => return None,
                        () = self.inference.clock().sleep(after) => {}
                    }
                }
                Err(refusal) => return Some(Outcome::Failure(refusal.code.with(refusal.message))),
            }
        }
    }

    /// What was recorded of the request by an earlier try, or by whoever took it back.
    async fn recorded(&self, request: &QueuedRequest) -> Option<InferenceResult> {
        let deployment = &self.inference.assignment().deployment;
        // When it cannot be known, the request is run again: recording is what decides, and it is write-once.
        let recorded = self.bus.results().get(deployment, &request.request_id).await.ok()??;
        InferenceResult::decode(recorded).ok()
    }

    /// Sends what was recorded to where it is wanted. Whoever misses it can ask for it.
    async fn answer(&self, reply_to: Option<ReplyTo>, recorded: InferenceResult) {
        let Some(reply_to) = reply_to else { return };
        // It was read before, at the door; read again, no mistake there can make this publish anywhere else.
        let namespace = &self.inference.assignment().deployment.namespace;
        let to = match ReplySubject::read(&reply_to.subject, namespace) {
            Ok(to) => to,
            Err(allowed) => return tracing::warn!(allowed, "an answer may not go where it is wanted"),
        };
        let as_document = reply_to.json;
        let is_long = as_document && recorded.encoded_len() > INLINE_BYTES;
        let write = move || Reply::recorded(&recorded, as_document).within(MAX_REPLY_BYTES);
        let reply = match aside_if(is_long, write).await {
            Ok(reply) => reply,
            Err(refusal) => return tracing::error!(reason = refusal.message, "an answer could not be written"),
        };
        if let Err(error) = self.bus.replies().send(&to, &reply.headers, reply.payload).await {
            tracing::debug!(%error, "an answer could not be sent");
        }
    }

    /// Records the result; what counts from then on, or none when it is time to stop before that is known.
    async fn record(
        &self,
        request: &QueuedRequest,
        mut result: InferenceResult,
        stop: &CancellationToken,
    ) -> Option<InferenceResult> {
        let deployment = &self.inference.assignment().deployment;
        // The row hangs on the span of this work, if there is one.
        let own = trace::current_traceparent();
        let traceparent = own.as_deref().or(request.traceparent.as_deref());
        let mut pause = FIRST_PAUSE;
        loop {
            let payload = result.encode_to_vec().into();
            match self.bus.results().publish(deployment, &request.request_id, payload, traceparent).await {
                Ok(Recorded::Stored) => return Some(result),
                // A result that was there before is the one that counts: this request was answered by an earlier try.
                Ok(Recorded::Already) => return Some(self.recorded(request).await.unwrap_or(result)),
                Err(error @ QueueError::TooLarge { .. }) => {
                    let message = format!("the result is too large to be recorded: {error}");
                    result.outcome = Some(Outcome::Failure(FailureCode::PayloadTooLarge.with(message)));
                }
                Err(error) => {
                    self.inference.telemetry().record_failures.inc();
                    tracing::warn!(%error, "a result could not be recorded; trying again");
                    if !rest(self.inference.clock(), &mut pause, stop).await {
                        return None;
                    }
                }
            }
        }
    }

    /// What nobody can answer is kept for a person, with the reason, and taken out of the queue.
    async fn bury(&self, request: &QueuedRequest, reason: &str) -> Settled {
        tracing::error!(%reason, "a queued request is dead-lettered");
        let assignment = self.inference.assignment();
        let mut headers = vec![("slipway-request-id".to_owned(), request.request_id.to_string())];
        headers.extend(request.traceparent.clone().map(|traceparent| ("traceparent".to_owned(), traceparent)));
        headers.extend(request.data_ref.clone().map(|name| (DATA_REF.to_owned(), name)));
        let letter = DeadLetter {
            service: Service::InferenceWorker.name().to_owned(),
            subject: request_queue(&assignment.deployment, assignment.revision),
            headers,
            payload: request.payload.clone(),
            reason: reason.to_owned(),
        };
        match self.bus.dead().put(&letter).await {
            Ok(_) => Settled::Buried,
            Err(error) => {
                tracing::warn!(%error, "the dead letter could not be kept yet");
                Settled::GivenBack
            }
        }
    }
}

/// Waits and doubles the pause; `false` when it is time to stop.
async fn rest(clock: &slipway_runtime::Clock, pause: &mut Duration, stop: &CancellationToken) -> bool {
    let waited = tokio::select! {
        () = stop.cancelled() => false,
        () = clock.sleep(*pause) => true,
    };
    *pause = (*pause * 2).min(LONGEST_PAUSE);
    waited
}
