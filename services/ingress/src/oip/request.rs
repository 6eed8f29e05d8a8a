//! A request body as what the workers take.

use super::{
    Signature,
    data::{self, BytesAs},
    envelope::{Envelope, Input, Parameters},
    signature::Fitting,
};
use bytes::Bytes;
use slipway_kernel::{Refusal, Refusals};
use slipway_proto::inference::{
    InferParameter, ModelInferRequest,
    infer_parameter::ParameterChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
};

/// The parameter that says how the elements of a BYTES tensor stand in JSON.
pub(super) const CONTENT_TYPE: &str = "content_type";
/// Its value for elements that are no text.
pub(super) const BASE64: &str = "base64";

/// A request that fits the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// What the worker gets. Model name and version are the caller's to fill in.
    pub message: ModelInferRequest,
}

/// Holds the document against the signature, then reads its numbers.
///
/// # Errors
/// All names, types and shapes that do not fit; then the first number that does not.
pub fn decode(envelope: Envelope<'_>, signature: &Signature) -> Result<Decoded, Refusals> {
    let fitting = signature.check(&envelope)?;
    let mut message = ModelInferRequest {
        id: envelope.id.unwrap_or_default(),
        parameters: envelope.parameters,
        inputs: Vec::with_capacity(fitting.len()),
        raw_input_contents: Vec::with_capacity(fitting.len()),
        ..ModelInferRequest::default()
    };
    for (index, (input, fits)) in envelope.inputs.into_iter().zip(fitting).enumerate() {
        let raw = elements(index, &input, &fits).map_err(|refusal| Refusals(vec![refusal]))?;
        message.raw_input_contents.push(raw);
        let Input { name, datatype, shape, mut parameters, .. } = input;
        // From here on the elements are bytes.
        parameters.remove(CONTENT_TYPE);
        message.inputs.push(InferInputTensor { name, datatype, shape, parameters, contents: None });
    }
    message.outputs = envelope
        .outputs
        .into_iter()
        .map(|output| InferRequestedOutputTensor { name: output.name, parameters: output.parameters })
        .collect();
    Ok(Decoded { message })
}

fn elements(index: usize, input: &Input<'_>, fits: &Fitting) -> Result<Bytes, Refusal> {
    if input.parameters.contains_key("binary_data_size") {
        let path = format!("inputs[{index}].parameters.binary_data_size");
        return Err(Refusal::new(path, "given", "`data` in JSON; the binary tensor extension is not served here"));
    }
    let path = format!("inputs[{index}].data");
    let Some(text) = input.data else {
        return Err(Refusal::new(path, "missing", format!("{} elements", fits.count)));
    };
    let bytes_as = if is_base64(&input.parameters) { BytesAs::Base64 } else { BytesAs::Text };
    data::read(&path, text.get(), fits.data_type, &fits.shape, fits.count, bytes_as).map(Bytes::from)
}

fn is_base64(parameters: &Parameters) -> bool {
    let Some(InferParameter { parameter_choice: Some(ParameterChoice::StringParam(text)) }) =
        parameters.get(CONTENT_TYPE)
    else {
        return false;
    };
    text == BASE64
}

#[cfg(test)]
mod tests {
    use super::{super::signature::tests::signature, *};
    use slipway_proto::oip::request_tensors;

    fn decoded(body: &str) -> Result<Decoded, Refusals> {
        let signature = signature(&[("x", "FP32", &[-1, 2]), ("s", "BYTES", &[-1])], &[("y", "FP32", &[-1])]);
        decode(Envelope::read(body.as_bytes()).unwrap(), &signature)
    }

    #[test]
    fn a_document_becomes_a_message_that_the_workers_accept() {
        let body = r#"{"id":"a","parameters":{"p":7},"inputs":[
            {"name":"s","datatype":"BYTES","shape":[1],"data":["aGk="],"parameters":{"content_type":"base64"}},
            {"name":"x","datatype":"FP32","shape":[1,2],"data":[[1.5,-2]]}],"outputs":[{"name":"y"}]}"#;
        let message = decoded(body).unwrap().message;
        assert_eq!(message.id, "a");
        assert_eq!(message.outputs[0].name, "y");
        assert!(message.inputs[0].parameters.is_empty());
        let tensors = request_tensors(&message).unwrap();
        assert_eq!(tensors[0].bytes()[..], [2, 0, 0, 0, b'h', b'i']);
        assert_eq!(tensors[1].as_f32().unwrap(), [1.5, -2.0]);
    }

    #[test]
    fn missing_data_and_binary_data_are_refused_by_name() {
        for (tensor, path) in [
            (r#"{"name":"x","datatype":"FP32","shape":[1,2]}"#, "inputs[0].data"),
            (r#"{"name":"x","datatype":"FP32","shape":[1,2],"data":null}"#, "inputs[0].data"),
            (
                r#"{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}"#,
                "inputs[0].parameters.binary_data_size",
            ),
        ] {
            let body = format!(r#"{{"inputs":[{tensor},{{"name":"s","datatype":"BYTES","shape":[1],"data":[""]}}]}}"#);
            assert_eq!(decoded(&body).unwrap_err().0[0].path, path);
        }
    }
}
