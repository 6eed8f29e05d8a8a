//! What a server and a model say about themselves, as JSON and as messages of the gRPC protocol.

use crate::signature::{Signature, TensorSpec};
use serde::Serialize;
use slipway_kernel::Refusal;
use slipway_proto::inference::{
    ModelMetadataResponse, ServerMetadataResponse, model_metadata_response::TensorMetadata,
};

/// Extensions of the protocol that are served, by the names that public clients know them by.
pub const EXTENSIONS: [&str; 3] = ["binary_tensor_data", "model_configuration", "statistics"];

/// A refusal.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Refused<'a> {
    /// What happened, in a sentence.
    pub error: &'a str,
    /// The same in a word.
    pub code: &'static str,
    /// The values that are not accepted, each with what is allowed.
    #[serde(skip_serializing_if = "<[Refusal]>::is_empty")]
    pub refusals: &'a [Refusal],
}

/// A server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Server {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Extensions that it serves.
    pub extensions: &'static [&'static str],
}

impl Server {
    /// The same as a message.
    #[must_use]
    pub fn message(&self) -> ServerMetadataResponse {
        ServerMetadataResponse {
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            extensions: self.extensions.iter().map(|&extension| extension.to_owned()).collect(),
        }
    }
}

/// A model.
#[derive(Clone, Debug, Serialize)]
pub struct Model<'a> {
    /// Its name.
    pub name: &'a str,
    /// Versions that are served.
    pub versions: Vec<String>,
    /// Format and engine.
    pub platform: &'a str,
    /// What it takes.
    pub inputs: Vec<Port<'a>>,
    /// What it gives.
    pub outputs: Vec<Port<'a>>,
}

/// An input or output of a model.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Port<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [i64],
}

impl<'a> Port<'a> {
    fn of(spec: &'a TensorSpec) -> Self {
        Self { name: &spec.name, datatype: spec.data_type.as_str(), shape: &spec.shape }
    }
}

impl<'a> Model<'a> {
    /// What is said about a model of this signature.
    #[must_use]
    pub fn new(name: &'a str, version: String, platform: &'a str, signature: &'a Signature) -> Self {
        fn ports(specs: &[TensorSpec]) -> Vec<Port<'_>> {
            specs.iter().map(Port::of).collect()
        }
        Self {
            name,
            versions: vec![version],
            platform,
            inputs: ports(&signature.inputs),
            outputs: ports(&signature.outputs),
        }
    }

    /// The same as a message.
    #[must_use]
    pub fn message(&self) -> ModelMetadataResponse {
        let tensor = |port: &Port<'_>| TensorMetadata {
            name: port.name.to_owned(),
            datatype: port.datatype.to_owned(),
            shape: port.shape.to_vec(),
        };
        ModelMetadataResponse {
            name: self.name.to_owned(),
            versions: self.versions.clone(),
            platform: self.platform.to_owned(),
            inputs: self.inputs.iter().map(tensor).collect(),
            outputs: self.outputs.iter().map(tensor).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::tests::signature;
    use serde_json::json;
    use slipway_proto::oip::DataType;

    #[test]
    fn a_model_says_the_same_in_both_forms() {
        let signature = signature(&[("x", DataType::Fp32, &[-1, 4])], &[("y", DataType::Int64, &[-1])]);
        let model = Model::new("digits", "2-1".into(), "onnx_tract", &signature);
        assert_eq!(
            serde_json::to_value(&model).unwrap(),
            json!({
                "name": "digits", "versions": ["2-1"], "platform": "onnx_tract",
                "inputs": [{ "name": "x", "datatype": "FP32", "shape": [-1, 4] }],
                "outputs": [{ "name": "y", "datatype": "INT64", "shape": [-1] }]
            })
        );
        let message = model.message();
        assert_eq!((message.name.as_str(), message.inputs[0].shape.as_slice()), ("digits", &[-1, 4][..]));
    }
}
