//! What is known of a model from reading it.

use crate::blob::Digest;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The format of an artifact, detected from its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ModelFormat {
    /// Open Neural Network Exchange.
    Onnx,
    /// TensorFlow SavedModel.
    SavedModel,
    /// TorchScript archive.
    Torchscript,
    /// Hugging Face safetensors.
    Safetensors,
    /// GGUF, of llama.cpp.
    Gguf,
    /// A serialized TensorRT engine.
    TensorrtPlan,
    /// Anything else, which only a container of one's own knows to read. It is never told from content: a document has to say so.
    Other,
}

impl fmt::Display for ModelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TensorSpec {
    /// The name.
    pub name: String,
    /// The datatype as the Open Inference Protocol names it (`FP32`, `INT64`, `BYTES`…).
    pub datatype: String,
    /// The dimensions; -1 where any size goes (the batch).
    pub shape: Vec<i32>,
}

/// How often an operator occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorCount {
    /// The operator, with its domain if it is not the default one.
    pub operator: String,
    /// How many nodes.
    pub count: u32,
}

/// What was read from the artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelFacts {
    /// SHA-256 of the artifact; the artifact lies in the blob store under it.
    pub digest: Digest,
    /// Size of the artifact in bytes.
    #[serde(with = "crate::wire::u64_string")]
    pub size_bytes: u64,
    /// The format.
    pub format: ModelFormat,
    /// The inputs.
    #[serde(default)]
    pub inputs: Vec<TensorSpec>,
    /// The outputs.
    #[serde(default)]
    pub outputs: Vec<TensorSpec>,
    /// The operators, sorted by name.
    #[serde(default)]
    pub operators: Vec<OperatorCount>,
    /// How many parameters.
    #[serde(with = "crate::wire::u64_string", default)]
    pub parameters: u64,
    /// What one loaded copy is expected to need, in bytes.
    #[serde(with = "crate::wire::u64_string", default)]
    pub memory_estimate_bytes: u64,
    /// Version of the default operator set (ONNX), 0 where there is none.
    #[serde(default)]
    pub opset: u32,
    /// The program that wrote the artifact, as it says itself.
    #[serde(default)]
    pub producer: String,
}
