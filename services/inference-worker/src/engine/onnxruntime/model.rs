//! A model on ONNX Runtime: instances of a session, as many as may run at once.

use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};

use ort::ErrorCode;
use ort::environment::Environment;
use ort::ep::ArenaExtendStrategy;
use ort::ep::cuda::ConvAlgorithmSearch;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use slipway_proto::oip::Tensor;

use super::declared;
use super::placement::{Placement, Profile};
use super::tensors::{Buffer, from_ort};
use crate::engine::{Batching, EngineError, LoadOptions, Marks, Model, Stack, Threads, probe};
use crate::signature::Signature;

/// A loaded ONNX model.
#[derive(Debug)]
pub(super) struct OnnxRuntimeModel {
    signature: Signature,
    batching: Batching,
    threads: Threads,
    idle: Idle,
    processor: Processor,
    /// Where its operators are computed, where that is not the CPU alone.
    placement: Option<Placement>,
}

/// What computes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Processor {
    /// The cores of this machine.
    Cpu,
    /// The GPU that CUDA counts first; the CPU computes what its provider lacks.
    Gpu {
        /// Bytes that the arena of a session may take; `None`: all.
        arena: Option<usize>,
    },
}

/// A session runs for one thread at a time, so each thread of the pool has one.
struct Instance {
    session: Session,
    buffers: Vec<Buffer>,
}

/// Instances that nobody runs now. Who finds none waits: there are as many as threads of the pool, so only a caller besides
/// those ever does.
#[derive(Default)]
struct Idle {
    instances: Mutex<Vec<Instance>>,
    returned: Condvar,
}

/// An instance in use; it is put back whatever happens to the run, else a fault would cost the pool a place for good.
struct Taken<'a> {
    idle: &'a Idle,
    instance: Option<Instance>,
}

impl OnnxRuntimeModel {
    /// Makes a session, tries it out, and makes the others.
    pub(super) fn build(
        environment: &Environment,
        artifact: &[u8],
        options: &LoadOptions,
        processor: Processor,
    ) -> Result<Self, EngineError> {
        let looked_at = matches!(processor, Processor::Gpu { .. }).then(Profile::new).transpose()?;
        let model = Self::tried_out(environment, artifact, options, processor, looked_at)?;
        for _ in 1..options.threads.pool {
            model.add(session(environment, artifact, options.threads.intra_op, processor)?);
        }
        Ok(model)
    }

    /// With one session that has run.
    pub(super) fn tried_out(
        environment: &Environment,
        artifact: &[u8],
        options: &LoadOptions,
        processor: Processor,
        profile: Option<Profile>,
    ) -> Result<Self, EngineError> {
        let intra_op = options.threads.intra_op;
        let first = match &profile {
            None => session(environment, artifact, intra_op, processor)?,
            Some(profile) => profile.session(environment, artifact, intra_op, processor)?,
        };
        let signature = declared::signature(&first)?;
        let (threads, idle) = (options.threads, Idle::default());
        let mut model = Self { batching: Batching::Rows, threads, idle, processor, placement: None, signature };
        model.add(first);
        model.batching = probe::at_likely_sizes(&model)?;
        if let Some(profile) = profile {
            model.placement = Some(model.placed(profile)?);
        }
        Ok(model)
    }

    /// ONNX Runtime computes on the CPU what a provider does not take, and says nothing when that is all. So the runs of the
    /// probe are looked back upon.
    fn placed(&self, profile: Profile) -> Result<Placement, EngineError> {
        let mut taken = self.idle.take();
        let Some(Instance { session, .. }) = &mut taken.instance else {
            return Err(EngineError::Run("there is no session".to_owned()));
        };
        let placement = profile.end(session)?;
        if placement.on_gpu() == 0 {
            return Err(EngineError::NoGpu(format!("ONNX Runtime put every operator on the CPU ({placement})")));
        }
        Ok(placement)
    }

    fn add(&self, session: Session) {
        let buffers = self.signature.inputs.iter().map(|spec| Buffer::of(spec.data_type)).collect();
        self.idle.put(Instance { session, buffers });
    }
}

impl Model for OnnxRuntimeModel {
    fn platform(&self) -> &'static str {
        match self.processor {
            Processor::Cpu => "onnx_onnxruntime",
            Processor::Gpu { .. } => "onnx_onnxruntime_cuda",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn batching(&self) -> &Batching {
        &self.batching
    }

    fn plan(&self) -> String {
        let Threads { pool, intra_op } = self.threads;
        let sessions = format!("{pool} session{} with {intra_op} thread{}", plural(pool), plural(intra_op));
        self.placement.as_ref().map_or_else(|| sessions.clone(), |placement| format!("{sessions}, {placement}"))
    }

    fn run(&self, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, EngineError> {
        self.run_marked(requests, &mut Marks::default())
    }

    fn run_marked(&self, requests: &[&[Tensor]], marks: &mut Marks) -> Result<Vec<Tensor>, EngineError> {
        self.idle.take().run(&self.signature, requests, marks)
    }
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl Taken<'_> {
    fn run(
        &mut self,
        signature: &Signature,
        requests: &[&[Tensor]],
        marks: &mut Marks,
    ) -> Result<Vec<Tensor>, EngineError> {
        let Some(Instance { session, buffers }) = &mut self.instance else {
            return Err(EngineError::Run("there is no session".to_owned()));
        };
        let stacks = (0..buffers.len()).map(|input| Stack::new(requests, input)).collect::<Result<Vec<_>, _>>()?;
        let inputs =
            buffers.iter_mut().zip(&stacks).map(|(buffer, stack)| buffer.fill(stack)).collect::<Result<Vec<_>, _>>()?;
        marks.filled();
        let outputs = session.run(inputs.as_slice()).map_err(|error| EngineError::Run(error.to_string()))?;
        marks.computed();
        if outputs.len() != signature.outputs.len() {
            return Err(EngineError::Output(format!(
                "{} where {} are declared",
                outputs.len(),
                signature.outputs.len()
            )));
        }
        signature
            .outputs
            .iter()
            .zip(outputs.values())
            .map(|(spec, value)| from_ort(&spec.name, spec.data_type, &value))
            .collect()
    }
}

impl Idle {
    fn put(&self, instance: Instance) {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner).push(instance);
        self.returned.notify_one();
    }

    fn take(&self) -> Taken<'_> {
        let instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        let mut instances =
            self.returned.wait_while(instances, |idle| idle.is_empty()).unwrap_or_else(PoisonError::into_inner);
        // The one that was used last: its memory is still in the caches.
        Taken { idle: self, instance: instances.pop() }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            self.idle.put(instance);
        }
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Idle").finish_non_exhaustive()
    }
}

fn session(
    environment: &Environment,
    artifact: &[u8],
    intra_op: usize,
    processor: Processor,
) -> Result<Session, EngineError> {
    configured(environment, intra_op, processor)
        .and_then(|mut builder| builder.commit_from_memory(artifact).map_err(|error| refusal(&error)))
}

/// A session to be, on the processor.
pub(super) fn configured(
    environment: &Environment,
    intra_op: usize,
    processor: Processor,
) -> Result<SessionBuilder, EngineError> {
    let builder = general(environment, intra_op).map_err(|error| EngineError::Unplannable(vec![error.to_string()]))?;
    let Processor::Gpu { arena } = processor else { return Ok(builder) };
    let mut provider = ort::ep::CUDA::default()
        .with_device_id(0)
        // The numbers of the CPU, not those of ten bits of fraction.
        .with_tf32(false)
        // A search by trial would be made anew for each batch size, while somebody waits.
        .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
        // Doubling would take memory from the other instances that this one does not need.
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested);
    if let Some(bytes) = arena {
        provider = provider.with_memory_limit(bytes);
    }
    builder
        .with_execution_providers([provider.build().error_on_failure()])
        .map_err(|error| EngineError::NoGpu(error.to_string().trim().to_owned()))
}

fn general(environment: &Environment, intra_op: usize) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(intra_op)?
        // Operators run one after the other: other requests are there to fill the other cores.
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        // A thread that spins while it waits takes the core from another worker.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // Errors come back to us, also those of sizes that are only tried; what is left are hints about the graph.
        .with_log_level(ort::logging::LogLevel::Fatal)?)
}

/// ONNX Runtime's words are kept: they name the node and the operator.
pub(super) fn refusal(error: &ort::Error) -> EngineError {
    let words = error.message().trim().to_owned();
    let unknown = ["No Op registered for", "is not a registered function/op", "Could not find an implementation for"];
    match error.code() {
        _ if unknown.iter().any(|phrase| words.contains(phrase)) => EngineError::MissingOperators(vec![words]),
        ErrorCode::InvalidProtobuf | ErrorCode::NoModel | ErrorCode::InvalidGraph => EngineError::Unreadable(words),
        _ => EngineError::Unplannable(vec![words]),
    }
}
