//! The engine that is always there: tract, pure Rust, on the CPU.
//!
//! Load reads the file once, takes a census of its operators (what tract lacks, and what it is known to compute wrongly,
//! is refused by name), reads the declared signature, plans, and tries the plan out on made-up rows. Only a model that
//! has run is returned.

mod census;
mod declared;
mod ml;
mod model;
mod plan;
mod tensors;

use tract_onnx::pb::ModelProto;

use super::{Engine, EngineError, LoadOptions, Model, guarded};
use crate::signature::Signature;

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
            let model = model::TractModel::build(&proto, &signature, options)?;
            Ok(Box::new(model) as Box<dyn Model>)
        })
    }
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
