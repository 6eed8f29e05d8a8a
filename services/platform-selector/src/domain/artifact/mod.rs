//! What an artifact is, told from its content: never from its name, and never from what somebody says about it.
//!
//! Everything here meets hostile files. Nothing is trusted before it is checked against the size of the file, nothing is
//! held that the file can make large, nothing nests without a bound; and nothing of a file's content is ever quoted,
//! because a refused file may not be a model at all but somebody's secret.

mod broken;
mod bundle;
pub mod content;
mod foreign;
pub mod format;
mod gguf;
mod memory;
pub mod onnx;
mod ports;
mod safetensors;
mod saved_model;
mod signature;
mod torchscript;
mod wire;
mod zip;

use content::Content;
use slipway_kernel::{ModelFormat, OperatorCount, TensorSpec};
use std::{collections::BTreeSet, fmt};

/// Why a file is no artifact that can be served. The text says what was found and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found}; {advice}")]
pub struct Invalid {
    /// What the file is, or where it is broken.
    pub found: String,
    /// What a person does about it.
    pub advice: String,
}

impl Invalid {
    pub(crate) fn new(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { found: found.into(), advice: advice.into() }
    }
}

/// Different operators of one model.
const MOST_OPERATORS: usize = 1_024;

/// What was read of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The format.
    pub format: ModelFormat,
    /// The inputs, without those that are constants of the file.
    pub inputs: Vec<TensorSpec>,
    /// The outputs.
    pub outputs: Vec<TensorSpec>,
    /// The operators, sorted by name.
    pub operators: Vec<OperatorCount>,
    /// How many parameters.
    pub parameters: u64,
    /// What the parameters take in the file, in bytes.
    pub weight_bytes: u64,
    /// What one loaded copy is expected to need beside its process, in bytes; 0 if that cannot be told.
    pub memory_estimate_bytes: u64,
    /// Version of the default operator set, 0 where there is none.
    pub opset: u32,
    /// The program that wrote it, as it says itself.
    pub producer: String,
    /// What it calls its architecture (`llama`…); empty where the format has no word for it.
    pub architecture: String,
    /// What an engine must be careful about.
    pub cautions: Cautions,
}

impl Model {
    /// Whether all that it takes and gives is known, and can be carried.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        !self.outputs.is_empty() && self.cautions.untyped.is_empty()
    }

    /// A model of which nothing is known but its format.
    #[must_use]
    pub const fn of_format(format: ModelFormat) -> Self {
        Self {
            format,
            inputs: Vec::new(),
            outputs: Vec::new(),
            operators: Vec::new(),
            parameters: 0,
            weight_bytes: 0,
            memory_estimate_bytes: 0,
            opset: 0,
            producer: String::new(),
            architecture: String::new(),
            cautions: Cautions { untyped: Vec::new(), patterns: BTreeSet::new() },
        }
    }
}

/// What an engine must be careful about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cautions {
    /// Inputs and outputs that the Open Inference Protocol cannot carry as they are known.
    pub untyped: Vec<Untyped>,
    /// Patterns that some engine is known to compute wrongly.
    pub patterns: BTreeSet<Pattern>,
}

/// An input or output that cannot be carried as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untyped {
    /// Its name.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
    /// Whether it is a tensor whose type and shape the file does not say: then its document may ([`Model::sign`]).
    pub is_unsaid: bool,
}

impl fmt::Display for Untyped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.name, self.why)
    }
}

/// A pattern in a graph that some engine is known to compute wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// A Softmax between dequantisation and quantisation.
    QuantizedSoftmax,
}

/// Reads what the file is and holds.
///
/// # Errors
/// [`Invalid`], when it is nothing that can be served, or is broken.
pub fn read<C: Content + ?Sized>(content: &C) -> Result<Model, Invalid> {
    match format::detect(content)? {
        format::Detected::Onnx => onnx::read(content),
        format::Detected::SavedModel => saved_model::read(content),
        format::Detected::Torchscript => torchscript::read(content, &zip::Archive::of_torchscript(content)?),
        format::Detected::Safetensors => {
            let tensors = safetensors::read(content)?;
            Ok(Model {
                parameters: tensors.parameters,
                weight_bytes: tensors.bytes,
                memory_estimate_bytes: memory::estimate(tensors.bytes, 0),
                ..Model::of_format(ModelFormat::Safetensors)
            })
        }
        format::Detected::Gguf => gguf::read(content),
        format::Detected::Bundle => bundle::read(content),
        // What a plan holds is known to TensorRT alone, of the version that wrote it.
        format::Detected::TensorrtPlan => Ok(Model {
            weight_bytes: content.size(),
            memory_estimate_bytes: memory::estimate(content.size(), 0),
            ..Model::of_format(ModelFormat::TensorrtPlan)
        }),
    }
}

#[cfg(test)]
mod tests;
