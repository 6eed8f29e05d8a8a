//! Model servers as a workload: the same tensors in every protocol, and every answer compared with the reference's.
//!
//! A [`Case`] is a file that says what a model takes, gives, and must answer to a handful of samples. [`Inference`] sends them
//! one after the other in one [`Protocol`]. The samples differ, so an answer that belongs to somebody else's request is
//! wrong, and caches gain nothing.

mod answer;
mod case;
mod encode;
mod workload;

pub use case::{Case, CaseError, Sample, TensorSpec};
pub use workload::{Inference, Mismatch, address};

/// The path of the unary call of the Open Inference Protocol over gRPC.
pub const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// How a request and its answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// Open Inference Protocol v2 over HTTP, tensors as JSON numbers.
    OipJson,
    /// The same with the binary tensor extension, both ways.
    OipBinary,
    /// Open Inference Protocol v2 over gRPC, raw contents.
    OipGrpc,
    /// `{"<input>": [[…]], …}`, answered by any JSON whose numbers are the output, in order.
    Json,
    /// `{"input": [[…]]}` with all inputs in one array, stacked behind the batch dimension; the answer as for `json`.
    JsonPacked,
}
