//! What computes. An engine turns an artifact into a model; a model turns input tensors into output tensors.
//!
//! Engines are foreign code that meets foreign files: every call into one goes through [`guarded`], so that a panic is an
//! error of this load or this run and never the end of the process. What may end the process all the same, a driver, is tried out in
//! a child of it first ([`device`]).

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use slipway_proto::oip::Tensor;

use crate::domain::device_memory::Short;
use crate::signature::Signature;

pub mod choice;
pub mod compare;
pub mod copies;
pub mod device;
#[cfg(test)]
pub(crate) mod double;
pub mod golden;
pub mod marks;
pub mod measure;
pub mod onnxruntime;
mod probe;
mod rows;
pub mod samples;
pub mod server;
pub mod threads;
pub mod tract;

pub use compare::{Difference, Tolerance};
pub use marks::{Marks, Parts};
pub use rows::{Stack, split_rows, stack_rows};
pub use threads::Threads;

/// Turns artifacts into models.
pub trait Engine: Send + Sync {
    /// Its name, for metrics and `explain`.
    fn name(&self) -> &'static str;

    /// Reads, checks and prepares a model. Blocking and long: never call it on the async runtime.
    ///
    /// # Errors
    /// [`EngineError`], when the artifact is unreadable or the engine cannot run it *correctly*.
    fn load(&self, artifact: &[u8], options: &LoadOptions) -> Result<Box<dyn Model>, EngineError>;
}

/// What a caller wants of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// The largest batch that will be asked for, in rows.
    pub max_batch: usize,
    /// Whether to plan once for every batch size or once per size.
    pub planning: Planning,
    /// How many runs may happen at once, and on how many threads each.
    pub threads: Threads,
    /// Bytes of a GPU's memory that all of them together may take; `None` where there is no GPU.
    pub device_bytes: Option<u64>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            max_batch: 32,
            planning: Planning::Measured,
            threads: Threads { pool: 1, intra_op: 1 },
            device_bytes: None,
        }
    }
}

/// How batch sizes are planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planning {
    /// Both are tried, the faster is kept.
    Measured,
    /// One plan in which the batch is a symbol; fails where the engine cannot do that.
    Symbolic,
    /// One plan per batch size 1, 2, 4, 8 and so on; smaller batches are padded.
    Buckets,
}

/// How an engine holds a model in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Whether instances share their weights.
    pub shared_weights: bool,
    /// How it plans: each plan has weights of its own.
    pub planning: Planning,
}

/// A loaded model. Runs of the same model may happen on several threads at once.
pub trait Model: Send + Sync + fmt::Debug {
    /// Format and engine, as model metadata names them: `onnx_tract`.
    fn platform(&self) -> &'static str;

    /// What it takes and gives.
    fn signature(&self) -> &Signature;

    /// Whether requests may share a run.
    fn batching(&self) -> &Batching;

    /// How it was planned, for people.
    fn plan(&self) -> String;

    /// Whether a run waits for another process. Then it is never done by a thread that has requests to read.
    fn waits(&self) -> bool {
        false
    }

    /// Computes the rows of all `requests` in one run; gives the outputs of the whole batch, for [`split_rows`]. The inputs of
    /// each request stand in the order of the signature and have been checked against it. Several requests only where
    /// [`Self::batching`] lets rows share a run. Blocking.
    ///
    /// The engine copies each input once, from where the request lies into its own buffer, and each output at most once.
    ///
    /// # Errors
    /// [`EngineError`], when the engine fails on these inputs.
    fn run(&self, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, EngineError>;

    /// The same, and marks when the inputs were in place and when the outputs were computed.
    ///
    /// # Errors
    /// As [`Self::run`].
    fn run_marked(&self, requests: &[&[Tensor]], _marks: &mut Marks) -> Result<Vec<Tensor>, EngineError> {
        self.run(requests)
    }
}

/// Whether rows of different requests may share a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batching {
    /// The first dimension is the batch and rows do not influence each other; this was tried out at load.
    Rows,
    /// Each request runs alone.
    Alone {
        /// Why.
        reason: String,
    },
}

/// Why an engine refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The engine is not on this machine.
    #[error("ONNX Runtime is not there: {0}")]
    Unavailable(String),
    /// There is no GPU that this engine can use.
    #[error("no GPU can be used: {0}")]
    NoGpu(String),
    /// The memory of the GPU is not enough.
    #[error("the model does not fit on the GPU: {0}")]
    DoesNotFit(Short),
    /// The model server was not there, or not ready, in time.
    #[error("the model server at {address} is not ready {reason}")]
    ServerSilent {
        /// Where it was looked for.
        address: SocketAddr,
        /// How long it was waited for, and what was seen last.
        reason: String,
    },
    /// The model server does not take the model.
    #[error("the model server at {address} does not serve the model: {reason}")]
    ServerRefuses {
        /// Where it is.
        address: SocketAddr,
        /// In its own words.
        reason: String,
    },
    /// The model cannot be put where the model server reads.
    #[error("the model repository {} cannot be written: {reason}", path.display())]
    Repository {
        /// The folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// There is nothing to prove the engine's answers on.
    #[error("its answers cannot be proved: {0}; golden vectors would do (worker.golden)")]
    Unproved(String),
    /// The artifact is not what the engine reads.
    #[error("the artifact is unreadable: {0}")]
    Unreadable(String),
    /// The artifact keeps tensors in other files. A model is one file, known by its digest.
    #[error("tensor `{0}` is kept in another file; export the model with its data inside")]
    ExternalData(String),
    /// The engine lacks these operators.
    #[error("the engine lacks the operators: {}", .0.join(", "))]
    MissingOperators(Vec<String>),
    /// The engine has these operators and is known to compute them wrongly here.
    #[error("the engine would compute wrong results: {}", .0.join("; "))]
    WrongResults(Vec<String>),
    /// The engine computes something else than it should.
    #[error("the outputs are wrong, by {from}: {difference}")]
    Differs {
        /// By what they are judged.
        from: String,
        /// Where they differ first.
        difference: Box<Difference>,
    },
    /// The golden vectors cannot be used.
    #[error("line {line} of the golden vectors: {reason}")]
    GoldenUnreadable {
        /// Which line, from 1; 0 for the whole file.
        line: usize,
        /// Why.
        reason: String,
    },
    /// Every engine refuses the model, each for its own reason.
    #[error("no engine takes the model: {}", each(.0))]
    AllRefuse(Vec<(&'static str, EngineError)>),
    /// An input or output that is no tensor, or a tensor of a type that Slipway does not carry.
    #[error("`{tensor}` is of an unsupported type: {reason}")]
    UnsupportedType {
        /// Name of the input or output.
        tensor: String,
        /// What it is.
        reason: String,
    },
    /// No way of planning the model worked.
    #[error("the model cannot be planned: {}", .0.join("; "))]
    Unplannable(Vec<String>),
    /// The engine panicked.
    #[error("the engine panicked while {doing}: {message}")]
    Panicked {
        /// What it was asked to do.
        doing: &'static str,
        /// What it said.
        message: String,
    },
    /// A run failed.
    #[error("the run failed: {0}")]
    Run(String),
    /// The outputs are not what the signature says.
    #[error("the outputs are not as declared: {0}")]
    Output(String),
}

fn each(refusals: &[(&'static str, EngineError)]) -> String {
    refusals.iter().map(|(engine, refusal)| format!("{engine}: {refusal}")).collect::<Vec<_>>().join("; ")
}

/// Calls into an engine, turning a panic into an error.
///
/// # Errors
/// Those of `work`, and [`EngineError::Panicked`].
pub fn guarded<T>(doing: &'static str, work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    // Unwind safety: what an engine leaves half-done is dropped with the panic. Plans are immutable, and the state of a
    // run lives on the unwound stack.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|payload| Err(EngineError::Panicked { doing, message: panic_text(payload.as_ref()) }))
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        for message in ["plain", "formatted 1"] {
            let error = guarded::<()>("running", || panic!("{message}")).unwrap_err();
            assert_eq!(error.to_string(), format!("the engine panicked while running: {message}"));
        }
    }
}
