//! The engine that is always there: tract, pure Rust, on the CPU.
//!
//! Load reads the file once, takes a census of its operators (what tract lacks, and what it is known to compute wrongly,
//! is refused by name), reads the declared signature, plans, and tries the plan out on made-up rows. Only a model that
//! has run is returned.

mod census;
#[cfg(feature = "cuda")]
mod cuda;
mod declared;
mod memory;
mod ml;
mod model;
mod plan;
mod tensors;

use std::sync::Arc;

use tract_onnx::pb::ModelProto;

use super::device::Device;
use super::{Engine, EngineError, Holding, LoadOptions, Model, guarded};
use crate::domain::device_memory::Need;
use crate::signature::Signature;

/// Name of the engine that computes on a GPU, in metrics and `explain`.
pub const CUDA: &str = "tract-cuda";

/// ONNX models on tract.
#[derive(Debug, Clone, Copy, Default)]
pub struct TractEngine;

impl Engine for TractEngine {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn load(&self, artifact: &[u8], options: &LoadOptions) -> Result<Box<dyn Model>, EngineError> {
        guarded("loading the model", || {
            let proto = read(artifact)?;
            let signature = admit(&proto)?;
            let model = model::TractModel::build(&proto, &signature, options, plan::Processor::Cpu)?;
            Ok(Box::new(model) as Box<dyn Model>)
        })
    }
}

/// The engine for this GPU.
///
/// # Errors
/// [`EngineError::NoGpu`] where tract cannot use it, as in a program built without the feature `cuda`.
pub fn on_gpu(device: &Device) -> Result<Arc<dyn Engine>, EngineError> {
    #[cfg(feature = "cuda")]
    return cuda::TractCuda::open(device).map(|engine| Arc::new(engine) as Arc<dyn Engine>);
    #[cfg(not(feature = "cuda"))]
    Err(EngineError::NoGpu(format!("this program is built without CUDA and cannot use {}", device.facts.name)))
}

/// What a model needs on a GPU for a batch of so many rows where it is held like this, read off its graph.
///
/// # Errors
/// As [`Engine::load`], as far as reading alone can tell, and [`EngineError::Unplannable`] where the graph does not tell its sizes.
pub fn need(artifact: &[u8], rows: usize, holding: Holding) -> Result<Need, EngineError> {
    guarded("adding up the memory of the model", || memory::need(artifact, rows, holding))
}

/// The signature of an ONNX file and nothing more: no planning, no run. For whoever must know what a model takes without
/// serving it.
///
/// # Errors
/// As [`Engine::load`], as far as reading alone can tell.
pub fn inspect(artifact: &[u8]) -> Result<Signature, EngineError> {
    guarded("reading the model", || admit(&read(artifact)?))
}

fn read(artifact: &[u8]) -> Result<ModelProto, EngineError> {
    use prost::Message as _;
    let mut proto =
        ModelProto::decode(artifact).map_err(|error| EngineError::Unreadable(format!("not an ONNX file: {error}")))?;
    // Any short run of bytes is some protobuf message; a graph with nodes is what makes it a model. The operator set comes
    // after the graph in most files, so that it is missing also tells of a file cut short.
    let nodes = proto.graph.as_ref().map_or(0, |graph| graph.node.len());
    if nodes == 0 || proto.opset_import.is_empty() {
        return Err(EngineError::Unreadable(
            "not a whole ONNX file: the graph, its nodes or its operator set is missing".to_owned(),
        ));
    }
    ml::declare(&mut proto);
    Ok(proto)
}

fn admit(proto: &ModelProto) -> Result<Signature, EngineError> {
    census::check(proto)?;
    declared::signature(proto)
}

#[cfg(test)]
pub(crate) mod fixtures;

#[cfg(test)]
mod tests;
