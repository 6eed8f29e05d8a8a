//! One request, whichever way it came in: check, batch, compute, result.
//!
//! The direct path and the queue share this, so a request means the same on both: same checks, same deadline, same words
//! for what went wrong, same result.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use slipway_kernel::{RequestId, Timestamp};
use slipway_proto::failure::FailureCode;
use slipway_proto::inference::{ModelInferRequest, ModelInferResponse};
use slipway_proto::oip::raw_response;
use slipway_proto::slipway::inference::v1::InferenceResult;
use slipway_proto::slipway::inference::v1::inference_result::Outcome;
use slipway_runtime::Clock;

use crate::batcher::{Batcher, Refused, Unanswered, Work};
use crate::config::Assignment;
use crate::engine::{EngineError, Model};
use crate::signature::{Misfit, Rules, check};
use crate::telemetry::{self, Path, Telemetry};

/// Refused callers are told to come back after at least this: sooner, they would only be refused again.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);

/// How far the worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The model is loaded; there is no identity yet.
    Warm = 0,
    /// Requests are served.
    Serving = 1,
    /// What is in hand is finished; nothing new is taken.
    Draining = 2,
}

/// A request and everything known about it.
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
    /// The request.
    pub body: ModelInferRequest,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// In the vocabulary that all doors share.
    pub code: FailureCode,
    /// For a person.
    pub message: String,
    /// When to come back, for codes that can be retried.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal without a time to come back.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    fn later(code: FailureCode, message: impl Into<String>, after: Duration) -> Self {
        Self { retry_after: Some(after.max(SHORTEST_RETRY)), ..Self::new(code, message) }
    }
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        Self::new(FailureCode::InvalidArgument, misfit.to_string())
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Full { retry_after, .. } => Self::later(FailureCode::Overloaded, message, retry_after),
            Refused::Late => Self::new(FailureCode::DeadlineExceeded, message),
            Refused::Draining => Self::later(FailureCode::Unavailable, message, SHORTEST_RETRY),
        }
    }
}

impl From<Unanswered> for Refusal {
    fn from(unanswered: Unanswered) -> Self {
        let message = unanswered.to_string();
        match unanswered {
            Unanswered::Late => Self::new(FailureCode::DeadlineExceeded, message),
            Unanswered::Stopped => Self::later(FailureCode::Unavailable, message, SHORTEST_RETRY),
            Unanswered::Failed(EngineError::UnsupportedType { .. }) => Self::new(FailureCode::Unimplemented, message),
            Unanswered::Failed(_) => Self::new(FailureCode::Internal, message),
        }
    }
}

/// Where results go before they are answered.
#[async_trait]
pub trait Recorder: Send + Sync {
    /// Stores the result durably. A result that is there already under the same request is fine.
    ///
    /// # Errors
    /// When it is not certain that the result is stored.
    async fn record(&self, result: &InferenceResult) -> Result<(), Unrecorded>;
}

/// Why a result is not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unrecorded {
    /// The store cannot be reached or gives no answer; the result may be stored or not.
    #[error("the result could not be recorded: {0}")]
    Unavailable(String),
    /// The result is larger than the store takes; trying again is no use.
    #[error("the result is too large to be recorded: {0}")]
    TooLarge(String),
}

impl From<Unrecorded> for Refusal {
    fn from(unrecorded: Unrecorded) -> Self {
        let message = unrecorded.to_string();
        match unrecorded {
            Unrecorded::Unavailable(_) => Self::later(FailureCode::Unavailable, message, SHORTEST_RETRY),
            Unrecorded::TooLarge(_) => Self::new(FailureCode::PayloadTooLarge, message),
        }
    }
}

/// A model that is being served.
pub struct Inference {
    assignment: Assignment,
    model: Arc<dyn Model>,
    batcher: Batcher,
    rules: Rules,
    clock: Clock,
    telemetry: Telemetry,
    phase: AtomicU8,
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
        Self { assignment, model, batcher, rules, clock, telemetry, phase: AtomicU8::new(Phase::Warm as u8) }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &dyn Model {
        self.model.as_ref()
    }

    /// Whom it works for.
    #[must_use]
    pub const fn assignment(&self) -> &Assignment {
        &self.assignment
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
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Warm,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// Moves on. Draining is final.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
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
        let own = self.assignment.deployment.name.as_str();
        if !name.is_empty() && name != own {
            return Err(Refusal::new(
                FailureCode::NotFound,
                format!("there is no model `{name}` here; this worker serves `{own}`"),
            ));
        }
        let revision = self.assignment.revision.to_string();
        if !version.is_empty() && version != revision {
            return Err(Refusal::new(
                FailureCode::NotFound,
                format!("there is no version `{version}` of `{own}` here; this worker serves `{revision}`"),
            ));
        }
        Ok(())
    }

    /// Computes the answer.
    ///
    /// # Errors
    /// [`Refusal`], in the words of all doors.
    pub async fn compute(&self, path: Path, call: &Call) -> Result<ModelInferResponse, Refusal> {
        let started = Instant::now();
        // Counted even when the caller goes away half-way and drops this future.
        let mut counted = Counted { telemetry: &self.telemetry, path, started, outcome: telemetry::Outcome::Cancelled };
        let result = self.answer(call).await;
        counted.outcome = match &result {
            Ok(_) => telemetry::Outcome::Answered,
            Err(refusal) => outcome(refusal.code),
        };
        result
    }

    async fn answer(&self, call: &Call) -> Result<ModelInferResponse, Refusal> {
        if self.phase() != Phase::Serving {
            return Err(Refusal::later(FailureCode::Unavailable, "this worker is not serving", SHORTEST_RETRY));
        }
        self.is_meant(&call.body.model_name, &call.body.model_version)?;
        let deadline = self.instant(call.deadline)?;
        let accepted = check(self.model.signature(), self.rules, &call.body)?;
        let pending = self.batcher.submit(Work {
            rows: accepted.rows,
            inputs: accepted.inputs,
            deadline,
            alone: call.attempt > 1,
        })?;
        let computed = match deadline {
            // The run itself cannot be stopped, but nobody is kept waiting for it beyond the deadline.
            Some(deadline) => tokio::time::timeout_at(deadline.into(), pending).await.map_err(|_| {
                Refusal::new(FailureCode::DeadlineExceeded, "the deadline passed before the run was done")
            })??,
            None => pending.await?,
        };
        let outputs = accepted.outputs.iter().filter_map(|&position| computed.outputs.get(position).cloned());
        Ok(raw_response(
            self.assignment.deployment.name.as_str(),
            self.assignment.revision.to_string(),
            &call.body.id,
            outputs,
        ))
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

impl Drop for Counted<'_> {
    fn drop(&mut self) {
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
    use slipway_proto::oip::{Tensor, raw_request};

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

    pub(crate) fn serving(clock: Clock) -> Inference {
        let artifact = fixtures::bytes(&fixtures::classifier());
        let model: Arc<dyn Model> = TractEngine.load(&artifact, &LoadOptions::default()).unwrap().into();
        let telemetry = Telemetry::default();
        let options = BatcherOptions {
            max_rows: 8,
            max_delay: Duration::from_millis(1),
            queue_requests: 16,
            queue_bytes: 1 << 20,
            threads: 1,
        };
        let batcher = Batcher::start(&model, options, telemetry.batcher.clone()).unwrap();
        let inference = Inference::new(assignment(&artifact), model, batcher, RULES, clock, telemetry);
        inference.enter(Phase::Serving);
        inference
    }

    pub(crate) fn call(rows: usize) -> Call {
        let values: Vec<f32> = (0..rows * 4).map(|i| (i % 5) as f32).collect();
        let input = Tensor::from_f32("X", vec![rows, 4], &values).unwrap();
        Call {
            request_id: "r-1".parse().unwrap(),
            correlation_id: "c-1".into(),
            principal: "jane".into(),
            deadline: None,
            accepted: Timestamp(1_000),
            probe: true,
            attempt: 1,
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
            body: raw_request("digits", "mine", [input]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{call, serving};
    use super::*;
    use slipway_proto::inference::model_infer_request::InferRequestedOutputTensor;
    use slipway_proto::oip::response_tensors;

    fn code(result: Result<ModelInferResponse, Refusal>) -> FailureCode {
        result.unwrap_err().code
    }

    #[tokio::test]
    async fn an_answer_carries_the_callers_id_the_revision_and_the_outputs() {
        let inference = serving(Clock::system());
        let response = inference.compute(Path::Direct, &call(3)).await.unwrap();
        assert_eq!(response.model_name, "digits");
        assert_eq!(response.model_version, "2-1");
        assert_eq!(response.id, "mine");
        let outputs = response_tensors(&response).unwrap();
        assert_eq!(outputs[0].shape(), [3]);
        assert_eq!(outputs[1].shape(), [3, 3]);
    }

    #[tokio::test]
    async fn only_the_wanted_outputs_are_answered() {
        let inference = serving(Clock::system());
        let mut call = call(1);
        call.body
            .outputs
            .push(InferRequestedOutputTensor { name: "probabilities".into(), ..InferRequestedOutputTensor::default() });
        let response = inference.compute(Path::Direct, &call).await.unwrap();
        assert_eq!(response.outputs.len(), 1);
        assert_eq!(response.outputs[0].name, "probabilities");
        assert_eq!(response.raw_output_contents.len(), 1);
    }

    #[tokio::test]
    async fn each_refusal_has_its_code() {
        let (clock, hand) = Clock::manual(Timestamp(10_000));
        let inference = serving(clock);
        let late = Call { deadline: Some(Timestamp(10_000)), ..call(1) };
        assert_eq!(code(inference.compute(Path::Direct, &late).await), FailureCode::DeadlineExceeded);
        let in_time = Call { deadline: Some(Timestamp(60_000)), ..call(1) };
        assert!(inference.compute(Path::Direct, &in_time).await.is_ok());
        hand.advance(Duration::from_secs(60));
        assert_eq!(code(inference.compute(Path::Direct, &in_time).await), FailureCode::DeadlineExceeded);
        let mut other = call(1);
        other.body.model_name = "cats".into();
        assert_eq!(code(inference.compute(Path::Direct, &other).await), FailureCode::NotFound);
        let mut old = call(1);
        old.body.model_version = "1-1".into();
        assert_eq!(code(inference.compute(Path::Direct, &old).await), FailureCode::NotFound);
        let mut wrong = call(1);
        wrong.body.inputs[0].name = "Y".into();
        assert_eq!(code(inference.compute(Path::Direct, &wrong).await), FailureCode::InvalidArgument);
        assert_eq!(code(inference.compute(Path::Direct, &call(65)).await), FailureCode::InvalidArgument);
        inference.enter(Phase::Draining);
        let refusal = inference.compute(Path::Direct, &call(1)).await.unwrap_err();
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
        let result = inference.result(&call(1), Outcome::Failure(failure.clone()));
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
        inference.compute(Path::Direct, &call(1)).await.unwrap();
        let one = call(1);
        {
            let future = inference.compute(Path::Queued, &one);
            let mut future = std::pin::pin!(future);
            assert!(futures::poll!(&mut future).is_pending());
        }
        let count = |path, outcome| {
            inference.telemetry().requests.get_or_create(&crate::telemetry::RequestLabels { path, outcome }).get()
        };
        assert_eq!(count(Path::Direct, telemetry::Outcome::Answered), 1);
        assert_eq!(count(Path::Queued, telemetry::Outcome::Cancelled), 1);
    }
}
