//! An answer as JSON, written straight from the raw bytes.

use super::{
    half,
    request::{BASE64, CONTENT_TYPE},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};
use slipway_proto::{
    inference::{InferParameter, ModelInferResponse, infer_parameter::ParameterChoice},
    oip::{BytesElements, DataType, MessageError, Tensor, response_tensors},
};
use std::{collections::HashMap, str};

/// Why an answer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The worker's tensors are malformed.
    #[error("the answer of the worker is malformed")]
    Malformed(#[from] MessageError),
    /// JSON could not be written.
    #[error("the answer could not be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// Writes an answer.
///
/// A number that is not finite becomes `null`, because JSON has no word for it. Elements of BYTES that are no text are
/// written in base64, and the tensor's parameter `content_type` says so.
///
/// # Errors
/// If the tensors in it are malformed.
pub fn encode(response: &ModelInferResponse) -> Result<Vec<u8>, EncodeError> {
    let tensors = response_tensors(response)?;
    let outputs = Outputs { response, tensors: &tensors };
    // A number takes about as many characters as it has bits by three; doubling the raw size rarely grows again.
    let size: usize = tensors.iter().map(|tensor| 96 + 2 * tensor.bytes().len()).sum();
    let mut body = Vec::with_capacity(128 + size);
    serde_json::to_writer(
        &mut body,
        &Document {
            model_name: &response.model_name,
            model_version: &response.model_version,
            id: &response.id,
            parameters: Some(Parameters(&response.parameters)).filter(|p| !p.0.is_empty()),
            outputs,
        },
    )?;
    Ok(body)
}

#[derive(Serialize)]
struct Document<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Parameters<'a>>,
    outputs: Outputs<'a>,
}

struct Outputs<'a> {
    response: &'a ModelInferResponse,
    tensors: &'a [Tensor],
}

impl Serialize for Outputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.tensors.len()))?;
        for (tensor, output) in self.tensors.iter().zip(&self.response.outputs) {
            list.serialize_element(&Output { tensor, parameters: &output.parameters })?;
        }
        list.end()
    }
}

struct Output<'a> {
    tensor: &'a Tensor,
    parameters: &'a HashMap<String, InferParameter>,
}

impl Serialize for Output<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_text = self.tensor.data_type() != DataType::Bytes
            || BytesElements::new(self.tensor.bytes()).all(|e| e.is_ok_and(|bytes| str::from_utf8(bytes).is_ok()));
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", self.tensor.name())?;
        map.serialize_entry("datatype", self.tensor.data_type().as_str())?;
        map.serialize_entry("shape", self.tensor.shape())?;
        if !is_text {
            map.serialize_entry("parameters", &HashMap::from([(CONTENT_TYPE, BASE64)]))?;
        } else if !self.parameters.is_empty() {
            map.serialize_entry("parameters", &Parameters(self.parameters))?;
        }
        map.serialize_entry("data", &Data { tensor: self.tensor, is_text })?;
        map.end()
    }
}

struct Data<'a> {
    tensor: &'a Tensor,
    is_text: bool,
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = &self.tensor.bytes()[..];
        match self.tensor.data_type() {
            DataType::Bool => serializer.collect_seq(raw.iter().map(|byte| *byte == 1)),
            DataType::Int8 => numbers(serializer, raw, i8::from_le_bytes),
            DataType::Int16 => numbers(serializer, raw, i16::from_le_bytes),
            DataType::Int32 => numbers(serializer, raw, i32::from_le_bytes),
            DataType::Int64 => numbers(serializer, raw, i64::from_le_bytes),
            DataType::Uint8 => numbers(serializer, raw, u8::from_le_bytes),
            DataType::Uint16 => numbers(serializer, raw, u16::from_le_bytes),
            DataType::Uint32 => numbers(serializer, raw, u32::from_le_bytes),
            DataType::Uint64 => numbers(serializer, raw, u64::from_le_bytes),
            DataType::Fp16 => numbers(serializer, raw, |bytes| half::to_f64(u16::from_le_bytes(bytes))),
            // serde_json writes what is not finite as null.
            DataType::Fp32 => numbers(serializer, raw, f32::from_le_bytes),
            DataType::Fp64 => numbers(serializer, raw, f64::from_le_bytes),
            // No element is cut off: the tensor was checked when it was made.
            DataType::Bytes if self.is_text => serializer
                .collect_seq(BytesElements::new(raw).flatten().map(|bytes| str::from_utf8(bytes).unwrap_or_default())),
            DataType::Bytes => {
                serializer.collect_seq(BytesElements::new(raw).flatten().map(|bytes| STANDARD.encode(bytes)))
            }
        }
    }
}

fn numbers<S: Serializer, T: Serialize, const N: usize>(
    serializer: S,
    raw: &[u8],
    read: fn([u8; N]) -> T,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(raw.as_chunks::<N>().0.iter().map(|bytes| read(*bytes)))
}

struct Parameters<'a>(&'a HashMap<String, InferParameter>);

impl Serialize for Parameters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0 {
            match &value.parameter_choice {
                Some(ParameterChoice::BoolParam(value)) => map.serialize_entry(name, value)?,
                Some(ParameterChoice::Int64Param(value)) => map.serialize_entry(name, value)?,
                Some(ParameterChoice::Uint64Param(value)) => map.serialize_entry(name, value)?,
                Some(ParameterChoice::DoubleParam(value)) => map.serialize_entry(name, value)?,
                Some(ParameterChoice::StringParam(value)) => map.serialize_entry(name, value)?,
                None => {}
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::envelope::Envelope, *};
    use crate::oip::{decode, signature::tests::signature};
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json, value::RawValue};
    use slipway_proto::oip::{first_non_finite, join_bytes_elements, raw_response, request_tensors};

    fn written(response: &ModelInferResponse) -> Value {
        serde_json::from_slice(&encode(response).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_is_the_document_of_the_protocol() {
        let mut response =
            raw_response("m", "2-1", "7", [Tensor::from_f32("y", vec![1, 2], &[0.1, f32::NAN]).unwrap()]);
        let fast = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
        response.parameters.insert("fast".to_owned(), fast);
        assert_eq!(
            written(&response),
            json!({
                "model_name": "m", "model_version": "2-1", "id": "7", "parameters": { "fast": true },
                "outputs": [{ "name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.1, null] }]
            })
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_written_in_base64_and_say_so() {
        let tensor = |elements: &[&[u8]]| {
            let raw = join_bytes_elements(elements.iter().copied()).unwrap();
            Tensor::new("s", DataType::Bytes, vec![elements.len()], Bytes::from(raw)).unwrap()
        };
        let text = written(&raw_response("m", "", "", [tensor(&[b"a", "ä".as_bytes()])]));
        assert_eq!(text["outputs"][0]["data"], json!(["a", "ä"]));
        assert_eq!(text["outputs"][0].get("parameters"), None);
        let bytes = written(&raw_response("m", "", "", [tensor(&[b"a", &[0xff]])]));
        assert_eq!(bytes["outputs"][0]["data"], json!(["YQ==", "/w=="]));
        assert_eq!(bytes["outputs"][0]["parameters"], json!({ "content_type": "base64" }));
    }

    #[test]
    fn a_malformed_answer_is_an_error_and_no_document() {
        let mut response = raw_response("m", "", "", [Tensor::from_f32("y", vec![2], &[1.0, 2.0]).unwrap()]);
        response.outputs[0].shape = vec![3];
        assert!(encode(&response).is_err());
    }

    #[derive(serde::Deserialize)]
    struct Written<'a> {
        #[serde(borrow)]
        outputs: [WrittenOutput<'a>; 1],
    }

    #[derive(serde::Deserialize)]
    struct WrittenOutput<'a> {
        #[serde(borrow)]
        data: Vec<&'a RawValue>,
        #[serde(default, borrow)]
        parameters: Option<&'a RawValue>,
    }

    fn any_tensor() -> impl Strategy<Value = (DataType, Vec<usize>, Vec<u8>)> {
        let shape = proptest::collection::vec(1_usize..4, 0..4);
        (proptest::sample::select(DataType::ALL.to_vec()), shape).prop_flat_map(|(data_type, shape)| {
            let count = shape.iter().product::<usize>();
            let bytes = match data_type {
                DataType::Bool => proptest::collection::vec(0_u8..2, count).boxed(),
                DataType::Bytes => {
                    let element = proptest::collection::vec(any::<u8>(), 0..6);
                    let join =
                        |elements: Vec<Vec<u8>>| join_bytes_elements(elements.iter().map(Vec::as_slice)).unwrap();
                    proptest::collection::vec(element, count).prop_map(join).boxed()
                }
                _ => {
                    let size = count * data_type.element_size().unwrap();
                    let finite = move |raw: &Vec<u8>| first_non_finite(data_type, raw).is_none();
                    proptest::collection::vec(any::<u8>(), size).prop_filter("finite", finite).boxed()
                }
            };
            (Just(data_type), Just(shape), bytes)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_bit_for_bit((data_type, shape, raw) in any_tensor(), nested in any::<bool>()) {
            let tensor = Tensor::new("t", data_type, shape.clone(), Bytes::from(raw)).unwrap();
            let document = encode(&raw_response("m", "1-1", "id", [tensor.clone()])).unwrap();
            let Written { outputs: [output] } = serde_json::from_slice(&document).unwrap();
            // The numbers are kept as text all the way: a reader in between would round them.
            let mut elements: Vec<String> = output.data.iter().map(|element| element.get().to_owned()).collect();
            if nested {
                for size in shape.iter().skip(1).rev() {
                    elements = elements.chunks(*size).map(|chunk| format!("[{}]", chunk.join(","))).collect();
                }
            }
            let parameters = output.parameters.map(|p| format!(r#""parameters":{},"#, p.get())).unwrap_or_default();
            let body = format!(
                r#"{{"inputs":[{{"name":"t","datatype":"{data_type}",{parameters}"shape":{shape:?},"data":[{}]}}]}}"#,
                elements.join(",")
            );
            let dimensions: Vec<i32> = shape.iter().map(|size| i32::try_from(*size).unwrap()).collect();
            let signature = signature(&[("t", data_type.as_str(), &dimensions)], &[]);
            let message = decode(Envelope::read(body.as_bytes()).unwrap(), &signature).unwrap().message;
            prop_assert_eq!(&request_tensors(&message).unwrap()[0], &tensor);
        }
    }
}
