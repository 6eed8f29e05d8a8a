//! What is asked of a model server, whatever it speaks.

use std::fmt;

use slipway_proto::oip::Tensor;
use tonic::Status;

use super::line::Line;
use crate::engine::EngineError;
use crate::signature::TensorSpec;

/// How a server is asked.
pub(super) trait Protocol: fmt::Debug + Send + Sync {
    /// Whether it runs.
    fn lives(&self, line: &Line) -> Result<bool, Status>;

    /// Whether it would compute the model. `FAILED_PRECONDITION` is for good.
    fn has_model(&self, line: &Line) -> Result<bool, Status>;

    /// The most rows that it takes at once; `None` where it takes any number, or does not say.
    fn most_rows(&self, line: &Line) -> Option<usize>;

    /// What it tells of the model.
    fn told(&self, line: &Line) -> Result<Told, EngineError>;

    /// Has it compute.
    fn infer(&self, line: &Line, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, EngineError>;
}

/// What a server tells of a model.
pub(super) struct Told {
    /// What it computes it with, in its own words.
    pub(super) by: String,
    /// What it takes.
    pub(super) inputs: Vec<TensorSpec>,
    /// What it gives.
    pub(super) outputs: Vec<TensorSpec>,
}
