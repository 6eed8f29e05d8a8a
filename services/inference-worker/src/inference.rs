//! One request, whichever way it came in: check, batch, compute, result.
//!
//! The direct path and the queue share this, so a request means the same on both: same checks, same deadline, same words
//! for what went wrong, same result.

mod phase;
mod told;

use std::sync::Arc;
use std::time::Instant;

use slipway_kernel::{RequestId, Timestamp};
use slipway_oip::{Priority, Request, Response, Rules, Signature, Wanted, documents, message};
use slipway_proto::failure::FailureCode;
use slipway_proto::inference::ModelInferRequest;
use slipway_proto::oip::Tensor;
use slipway_proto::slipway::inference::v1::InferenceResult;
use slipway_proto::slipway::inference::v1::inference_result::Outcome;
use slipway_runtime::Clock;
use tokio::sync::watch;

use crate::batcher::{Batcher, Refused, Work};
use crate::config::Assignment;
use crate::engine::Model;
use crate::refusal::{Refusal, SHORTEST_RETRY};
use crate::telemetry::{self, Path, Telemetry};

pub use phase::Phase;
use phase::Standing;

/// What the worker says about itself.
pub const SERVER: documents::Server = documents::Server {
    name: "slipway-inference-worker",
    version: env!("CARGO_PKG_VERSION"),
    extensions: &documents::EXTENSIONS,
};

/// Everything known about a queued request beside its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its identity within the deployment.
    pub request_id: RequestId,
    /// Groups calls for the caller.
    pub correlation_id: String,
    /// Who asks.
    pub principal: String,
    /// Nobody waits after this.
    pub deadline: Option<Timestamp>,
    /// When the edge took it in.
    pub accepted: Timestamp,
    /// The validator's own traffic.
    pub probe: bool,
    /// Which delivery this is, from 1.
    pub attempt: u32,
    /// Trace id, 32 hex digits; empty without one.
    pub trace_id: String,
}

/// A request that fits the model, and the terms on which it is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// Nobody waits after this.
    pub deadline: Option<Instant>,
    /// It shares a run with nobody.
    pub alone: bool,
}

/// A model that is being served.
pub struct Inference {
    assignment: Assignment,
    /// The version that requests may name.
    version: String,
    model: Arc<dyn Model>,
    batcher: Batcher,
    rules: Rules,
    clock: Clock,
    telemetry: Telemetry,
    phase: Standing,
}

impl std::fmt::Debug for Inference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inference").field("assignment", &self.assignment).finish_non_exhaustive()
    }
}

impl Inference {
    /// Starts warm: nothing is served before [`Inference::enter`] says so.
    #[must_use]
    pub fn new(
        assignment: Assignment,
        model: Arc<dyn Model>,
        batcher: Batcher,
        rules: Rules,
        clock: Clock,
        telemetry: Telemetry,
    ) -> Self {
        let version = assignment.revision.to_string();
        Self { assignment, version, model, batcher, rules, clock, telemetry, phase: Standing::default() }
    }

    /// Goes by another version than the revision of its assignment.
    #[must_use]
    pub fn with_version(self, version: impl Into<String>) -> Self {
        Self { version: version.into(), ..self }
    }

    /// What the model takes and gives.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        self.model.signature()
    }

    /// Whom it works for.
    #[must_use]
    pub const fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// The name that requests call it by.
    #[must_use]
    pub fn name(&self) -> &str {
        self.assignment.deployment.name.as_str()
    }

    /// Its clock.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Its metrics.
    #[must_use]
    pub const fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// How far the worker is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.now()
    }

    /// How far it is, and each change of that.
    #[must_use]
    pub fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.changes()
    }

    /// Moves on. Draining is final.
    pub fn enter(&self, phase: Phase) {
        self.phase.enter(phase);
        let serving = i64::from(self.phase() == Phase::Serving);
        self.telemetry.serving.set(serving);
        if self.phase() == Phase::Draining {
            self.batcher.close();
        }
    }

    /// Requests that wait for their run.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.batcher.waiting()
    }

    /// Whether requests name this model: by the deployment's name and, if any, by the revision.
    ///
    /// # Errors
    /// [`FailureCode::NotFound`] with the names that would do.
    pub fn is_meant(&self, name: &str, version: &str) -> Result<(), Refusal> {
        let own = self.name();
        if !name.is_empty() && name != own {
            return Err(Refusal::new(
                FailureCode::NotFound,
                format!("there is no model `{name}` here; this worker serves `{own}`"),
            ));
        }
        if !version.is_empty() && version != self.version {
            let found = &self.version;
            return Err(Refusal::new(
                FailureCode::NotFound,
                format!("there is no version `{version}` of `{own}` here; this worker serves `{found}`"),
            ));
        }
        Ok(())
    }

    /// Reads a message that came through the mesh. Tried or delivered before, it may be what broke its worker, and runs alone.
    ///
    /// # Errors
    /// As [`Inference::ask`], and when it is too late.
    pub fn read(
        &self,
        deadline: Option<Timestamp>,
        attempt: u32,
        message: &ModelInferRequest,
    ) -> Result<Asked, Refusal> {
        let deadline = self.instant(deadline)?;
        self.ask(message, deadline, attempt > 1)
    }

    /// Reads a message of the protocol as a request for this model.
    ///
    /// # Errors
    /// [`Refusal`], when it is for another model or does not fit this one.
    pub fn ask(&self, message: &ModelInferRequest, deadline: Option<Instant>, alone: bool) -> Result<Asked, Refusal> {
        self.is_meant(&message.model_name, &message.model_version)?;
        let request = message::read(message, self.model.signature(), self.rules)?;
        Ok(Asked { request, deadline, alone })
    }

    /// Computes the answer. A request that could not be read is counted like one that is refused.
    ///
    /// # Errors
    /// [`Refusal`], in the words of all doors.
    pub async fn compute(&self, path: Path, asked: Result<Asked, Refusal>) -> Result<Response, Refusal> {
        let started = Instant::now();
        // Counted even when the caller goes away half-way and drops this future.
        let mut counted = Counted::new(&self.telemetry, path, started);
        let result = match asked {
            Ok(asked) => self.answer(path, asked).await,
            Err(refusal) => Err(refusal),
        };
        counted.outcome = match &result {
            Ok(_) => telemetry::Outcome::Answered,
            Err(refusal) => outcome(refusal.code),
        };
        result
    }

    async fn answer(&self, path: Path, asked: Asked) -> Result<Response, Refusal> {
        if self.phase() != Phase::Serving {
            return Err(Refusal::later(FailureCode::Unavailable, "this worker is not serving", SHORTEST_RETRY));
        }
        let Asked { request: Request { id, inputs, rows, outputs: wanted, priority, .. }, deadline, alone } = asked;
        let priority = priority.unwrap_or(match path {
            Path::Direct => Priority::Normal,
            // It can wait, and its caller does not sit there.
            Path::Queued => Priority::Low,
        });
        let pending = self.batcher.submit(Work { rows, inputs, deadline, alone, priority })?;
        let computed = match deadline {
            // The run itself cannot be stopped, but nobody is kept waiting for it beyond the deadline.
            Some(deadline) => tokio::time::timeout_at(deadline.into(), pending).await.map_err(|_| {
                Refusal::new(FailureCode::DeadlineExceeded, "the deadline passed before the run was done")
            })??,
            None => pending.await?,
        };
        let mut outputs: Vec<Option<Tensor>> = computed.outputs.into_iter().map(Some).collect();
        let mut take = |wanted: &Wanted| outputs.get_mut(wanted.position).and_then(Option::take);
        Ok(Response {
            model_name: self.assignment.deployment.name.to_string(),
            model_version: self.version.clone(),
            id,
            // Each is wanted once; that was checked when the request was read.
            outputs: wanted.iter().filter_map(&mut take).collect(),
        })
    }

    fn instant(&self, deadline: Option<Timestamp>) -> Result<Option<Instant>, Refusal> {
        let Some(deadline) = deadline else {
            return Ok(None);
        };
        let now = self.clock.now();
        if deadline <= now {
            return Err(Refused::Late.into());
        }
        // A deadline too far away to be represented is none.
        Ok(Instant::now().checked_add(deadline.since(now)))
    }

    /// What requests are held to besides the signature.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        self.rules
    }

    /// The result to record for a call.
    #[must_use]
    pub fn result(&self, call: &Call, outcome: Outcome) -> InferenceResult {
        let unix_ms = |at: Timestamp| i64::try_from(at.0).unwrap_or(i64::MAX);
        InferenceResult {
            namespace: self.assignment.deployment.namespace.to_string(),
            deployment: self.assignment.deployment.name.to_string(),
            revision: self.assignment.revision.to_string(),
            request_id: call.request_id.to_string(),
            correlation_id: call.correlation_id.clone(),
            principal: call.principal.clone(),
            model_digest: self.assignment.digest.to_string(),
            worker: self.assignment.instance.clone(),
            trace_id: call.trace_id.clone(),
            probe: call.probe,
            accepted_unix_ms: unix_ms(call.accepted),
            completed_unix_ms: unix_ms(self.clock.now()),
            attempt: call.attempt,
            outcome: Some(outcome),
        }
    }

    /// Blocks until what waited has run. Enters [`Phase::Draining`] if it was not reached before.
    pub fn drain(self) {
        self.enter(Phase::Draining);
        self.batcher.drain();
    }
}

const fn outcome(code: FailureCode) -> telemetry::Outcome {
    match code {
        FailureCode::InvalidArgument
        | FailureCode::NotFound
        | FailureCode::PayloadTooLarge
        | FailureCode::Unauthenticated
        | FailureCode::PermissionDenied
        | FailureCode::IdempotencyConflict => telemetry::Outcome::Misfit,
        FailureCode::RateLimited | FailureCode::Overloaded => telemetry::Outcome::Overloaded,
        FailureCode::Unavailable => telemetry::Outcome::Unavailable,
        FailureCode::DeadlineExceeded => telemetry::Outcome::Late,
        FailureCode::Cancelled => telemetry::Outcome::Cancelled,
        FailureCode::Unimplemented | FailureCode::Internal => telemetry::Outcome::Failed,
    }
}

struct Counted<'a> {
    telemetry: &'a Telemetry,
    path: Path,
    started: Instant,
    outcome: telemetry::Outcome,
}

impl<'a> Counted<'a> {
    fn new(telemetry: &'a Telemetry, path: Path, started: Instant) -> Self {
        telemetry.in_flight.inc();
        Self { telemetry, path, started, outcome: telemetry::Outcome::Cancelled }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.telemetry.in_flight.dec();
        self.telemetry.request(self.path, self.outcome, self.started.elapsed());
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    //! A small real model being served, for tests of what stands in front of it.

    use super::*;
    use crate::batcher::BatcherOptions;
    use crate::engine::tract::{TractEngine, fixtures};
    use crate::engine::{Engine as _, LoadOptions};
    use slipway_kernel::{DeploymentId, Digest, RevisionId};
    use slipway_proto::oip::raw_request;
    use std::time::Duration;

    pub(crate) fn assignment(artifact: &[u8]) -> Assignment {
        Assignment {
            deployment: DeploymentId { namespace: "default".parse().unwrap(), name: "digits".parse().unwrap() },
            revision: RevisionId::new(2, 1),
            instance: "digits-2-1-a".into(),
            host: "here".into(),
            digest: Digest::of(artifact),
        }
    }

    pub(crate) const RULES: Rules = Rules { allow_non_finite: false, max_rows: 64 };

    pub(crate) const OPTIONS: BatcherOptions = BatcherOptions {
        max_rows: 8,
        max_delay: Duration::from_millis(1),
        queue_requests: 16,
        queue_bytes: 1 << 20,
        threads: 1,
        pinned: false,
        at_once: Duration::ZERO,
    };

    pub(crate) fn serving(clock: Clock) -> Inference {
        serving_with(clock, OPTIONS)
    }

    pub(crate) fn serving_with(clock: Clock, options: BatcherOptions) -> Inference {
        let artifact = fixtures::bytes(&fixtures::classifier());
        let model: Arc<dyn Model> = TractEngine.load(&artifact, &LoadOptions::default()).unwrap().into();
        let telemetry = Telemetry::default();
        let batcher = Batcher::start(&model, options, None, telemetry.batcher.clone()).unwrap();
        let inference = Inference::new(assignment(&artifact), model, batcher, RULES, clock, telemetry);
        inference.enter(Phase::Serving);
        inference
    }

    pub(crate) fn message(rows: usize) -> ModelInferRequest {
        let values: Vec<f32> = (0..rows * 4).map(|i| (i % 5) as f32).collect();
        let input = Tensor::from_f32("X", vec![rows, 4], &values).unwrap();
        raw_request("digits", "mine", [input])
    }

    pub(crate) fn call() -> Call {
        Call {
            request_id: "r-1".parse().unwrap(),
            correlation_id: "c-1".into(),
            principal: "jane".into(),
            deadline: None,
            accepted: Timestamp(1_000),
            probe: true,
            attempt: 1,
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{call, message, serving};
    use super::*;
    use slipway_proto::inference::model_infer_request::InferRequestedOutputTensor;
    use std::time::Duration;

    async fn compute(inference: &Inference, message: ModelInferRequest) -> Result<Response, Refusal> {
        inference.compute(Path::Direct, inference.read(None, 1, &message)).await
    }

    #[tokio::test]
    async fn a_request_is_in_flight_until_it_is_answered_or_its_caller_is_gone() {
        let inference = serving(Clock::system());
        let in_flight = || inference.telemetry().in_flight.get();
        compute(&inference, message(1)).await.unwrap();
        assert_eq!(in_flight(), 0);
        let mut asked = Box::pin(compute(&inference, message(1)));
        assert!(futures::poll!(&mut asked).is_pending());
        assert_eq!(in_flight(), 1);
        drop(asked);
        assert_eq!(in_flight(), 0);
    }

    #[tokio::test]
    async fn an_answer_carries_the_callers_id_the_revision_and_the_outputs() {
        let inference = serving(Clock::system());
        let response = compute(&inference, message(3)).await.unwrap();
        assert_eq!(response.model_name, "digits");
        assert_eq!(response.model_version, "2-1");
        assert_eq!(response.id, "mine");
        assert_eq!(response.outputs[0].shape(), [3]);
        assert_eq!(response.outputs[1].shape(), [3, 3]);
    }

    #[tokio::test]
    async fn only_the_wanted_outputs_are_answered() {
        let inference = serving(Clock::system());
        let mut message = message(1);
        message
            .outputs
            .push(InferRequestedOutputTensor { name: "probabilities".into(), ..InferRequestedOutputTensor::default() });
        let response = compute(&inference, message).await.unwrap();
        assert_eq!(response.outputs.len(), 1);
        assert_eq!(response.outputs[0].name(), "probabilities");
    }

    #[tokio::test]
    async fn each_refusal_has_its_code() {
        let (clock, hand) = Clock::manual(Timestamp(10_000));
        let inference = serving(clock);
        let late = |inference: &Inference, at| {
            let call = Call { deadline: Some(Timestamp(at)), ..call() };
            inference.read(call.deadline, call.attempt, &message(1)).err().map(|refusal| refusal.code)
        };
        assert_eq!(late(&inference, 10_000), Some(FailureCode::DeadlineExceeded));
        assert_eq!(late(&inference, 60_000), None);
        hand.advance(Duration::from_secs(60));
        assert_eq!(late(&inference, 60_000), Some(FailureCode::DeadlineExceeded));
        let mut other = message(1);
        other.model_name = "cats".into();
        let mut old = message(1);
        old.model_version = "1-1".into();
        let mut wrong = message(1);
        wrong.inputs[0].name = "Y".into();
        for (message, code) in [
            (other, FailureCode::NotFound),
            (old, FailureCode::NotFound),
            (wrong, FailureCode::InvalidArgument),
            (message(65), FailureCode::InvalidArgument),
        ] {
            assert_eq!(compute(&inference, message).await.unwrap_err().code, code);
        }
        inference.enter(Phase::Draining);
        let refusal = compute(&inference, message(1)).await.unwrap_err();
        assert_eq!(refusal.code, FailureCode::Unavailable);
        assert_eq!(refusal.retry_after, Some(SHORTEST_RETRY));
    }

    #[test]
    fn draining_is_final() {
        let inference = serving(Clock::system());
        inference.enter(Phase::Draining);
        inference.enter(Phase::Serving);
        assert_eq!(inference.phase(), Phase::Draining);
    }

    #[test]
    fn a_result_says_who_when_and_with_what() {
        let inference = serving(Clock::manual(Timestamp(5_000)).0);
        let failure = FailureCode::Internal.with("no");
        let result = inference.result(&call(), Outcome::Failure(failure.clone()));
        assert_eq!(result.namespace, "default");
        assert_eq!(result.revision, "2-1");
        assert_eq!(result.request_id, "r-1");
        assert_eq!(result.worker, "digits-2-1-a");
        assert_eq!(result.model_digest.len(), 64);
        assert_eq!((result.accepted_unix_ms, result.completed_unix_ms), (1_000, 5_000));
        assert!(result.probe);
        assert_eq!(result.outcome, Some(Outcome::Failure(failure)));
    }

    #[tokio::test]
    async fn requests_are_counted_by_how_they_ended_even_when_the_caller_left() {
        let inference = serving(Clock::system());
        compute(&inference, message(1)).await.unwrap();
        {
            let future = inference.compute(Path::Queued, inference.read(None, 1, &message(1)));
            let mut future = std::pin::pin!(future);
            assert!(futures::poll!(&mut future).is_pending());
        }
        let mut wrong = message(1);
        wrong.inputs.clear();
        compute(&inference, wrong).await.unwrap_err();
        let count = |path, outcome| {
            inference.telemetry().requests.get_or_create(&crate::telemetry::RequestLabels { path, outcome }).get()
        };
        assert_eq!(count(Path::Direct, telemetry::Outcome::Answered), 1);
        assert_eq!(count(Path::Direct, telemetry::Outcome::Misfit), 1);
        assert_eq!(count(Path::Queued, telemetry::Outcome::Cancelled), 1);
    }
}
