//! Requests, as a client would write them.

use super::{Case, CaseError, Protocol, Sample, TensorSpec};
use crate::grpc;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use prost::Message;
use serde_json::{Map, Number, Value, json};
use slipway_proto::inference::{ModelInferRequest, model_infer_request::InferInputTensor};

/// The length of the JSON at the head of a binary body.
pub(super) const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// What of a request depends on the sample.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Encoded {
    fn json(document: &Value) -> Result<Self, CaseError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self { headers, body: serde_json::to_vec(document)?.into() })
    }
}

/// The request of a sample.
pub(super) fn encode(case: &Case, protocol: Protocol, sample: &Sample) -> Result<Encoded, CaseError> {
    match protocol {
        Protocol::OipJson => Encoded::json(&json!({"inputs": each(case, sample).map(|(spec, values)| {
            json!({"name": spec.name, "datatype": spec.datatype, "shape": spec.shape, "data": values})
        }).collect::<Vec<_>>()})),
        Protocol::OipBinary => binary(case, sample),
        Protocol::OipGrpc => call(case, sample),
        Protocol::Json => {
            let inputs: Map<String, Value> =
                each(case, sample).map(|(spec, values)| (spec.name.clone(), nested(&spec.shape, values))).collect();
            Encoded::json(&Value::Object(inputs))
        }
        Protocol::JsonPacked => Encoded::json(&json!({"input": nested(&packed_shape(case), &sample.inputs.concat())})),
    }
}

fn each<'a>(case: &'a Case, sample: &'a Sample) -> impl Iterator<Item = (&'a TensorSpec, &'a [Number])> {
    case.inputs.iter().zip(sample.inputs.iter().map(Vec::as_slice))
}

fn raw_inputs(case: &Case, sample: &Sample) -> Result<Vec<Bytes>, CaseError> {
    each(case, sample).map(|(spec, values)| raw(spec, values)).collect()
}

fn binary(case: &Case, sample: &Sample) -> Result<Encoded, CaseError> {
    let raw = raw_inputs(case, sample)?;
    let inputs: Vec<Value> = case.inputs.iter().zip(&raw).map(|(spec, raw)| {
        json!({"name": spec.name, "datatype": spec.datatype, "shape": spec.shape, "parameters": {"binary_data_size": raw.len()}})
    }).collect();
    let outputs = json!([{"name": case.output.name, "parameters": {"binary_data": true}}]);
    let head = serde_json::to_vec(&json!({"inputs": inputs, "outputs": outputs}))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(JSON_LENGTH, HeaderValue::from(head.len()));
    let mut body = BytesMut::from(head.as_slice());
    raw.iter().for_each(|raw| body.extend_from_slice(raw));
    Ok(Encoded { headers, body: body.freeze() })
}

fn call(case: &Case, sample: &Sample) -> Result<Encoded, CaseError> {
    let inputs = case.inputs.iter().map(|spec| InferInputTensor {
        name: spec.name.clone(),
        datatype: spec.datatype.clone(),
        shape: spec.shape.clone(),
        ..InferInputTensor::default()
    });
    let request = ModelInferRequest {
        model_name: case.model.clone(),
        inputs: inputs.collect(),
        raw_input_contents: raw_inputs(case, sample)?,
        ..ModelInferRequest::default()
    };
    let message = Bytes::from(request.encode_to_vec());
    let body = grpc::frame(&message).map_err(|message| CaseError::TooLong(message.len()))?;
    Ok(Encoded { headers: HeaderMap::new(), body })
}

fn raw(spec: &TensorSpec, values: &[Number]) -> Result<Bytes, CaseError> {
    let mut bytes = BytesMut::with_capacity(values.len() * 8);
    for value in values {
        let refused =
            || CaseError::Value { input: spec.name.clone(), datatype: spec.datatype.clone(), value: value.clone() };
        match spec.datatype.as_str() {
            #[expect(clippy::cast_possible_truncation, reason = "the file holds the shortest text of an f32")]
            "FP32" => bytes.put_f32_le(value.as_f64().ok_or_else(refused)? as f32),
            "INT64" => bytes.put_i64_le(value.as_i64().ok_or_else(refused)?),
            _ => return Err(CaseError::DataType { input: spec.name.clone(), datatype: spec.datatype.clone() }),
        }
    }
    Ok(bytes.freeze())
}

fn packed_shape(case: &Case) -> Vec<i64> {
    let mut shape = case.inputs.first().map(|spec| spec.shape.clone()).unwrap_or_default();
    if case.inputs.len() > 1 {
        shape.insert(1, i64::try_from(case.inputs.len()).unwrap_or(i64::MAX));
    }
    shape
}

fn nested(shape: &[i64], values: &[Number]) -> Value {
    match shape {
        [] | [_] => json!(values),
        [count, rest @ ..] => {
            let step = values.len() / usize::try_from(*count).unwrap_or(1).max(1);
            Value::Array(values.chunks(step.max(1)).map(|part| nested(rest, part)).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::case::tests::case, *};

    fn body(protocol: Protocol) -> Encoded {
        let case = case();
        encode(&case, protocol, &case.samples[0]).unwrap()
    }

    fn document(protocol: Protocol) -> Value {
        serde_json::from_slice(&body(protocol).body).unwrap()
    }

    const RAW_A: [u8; 8] = [0, 0, 0, 0x3f, 0, 0, 0x80, 0xbf];

    #[test]
    fn the_same_tensors_stand_in_every_kind_of_json() {
        let oip = document(Protocol::OipJson);
        assert_eq!(oip["inputs"][0], json!({"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [0.5, -1.0]}));
        assert_eq!(oip["inputs"][1]["data"], json!([7, 8]));
        assert_eq!(document(Protocol::Json), json!({"a": [[0.5, -1.0]], "b": [[7, 8]]}));
        assert_eq!(document(Protocol::JsonPacked), json!({"input": [[[0.5, -1.0], [7, 8]]]}));
    }

    #[test]
    fn a_binary_body_is_its_json_and_then_the_bytes() {
        let Encoded { headers, body } = body(Protocol::OipBinary);
        let length: usize = headers[JSON_LENGTH].to_str().unwrap().parse().unwrap();
        let head: Value = serde_json::from_slice(&body[..length]).unwrap();
        assert_eq!(head["inputs"][1]["parameters"], json!({"binary_data_size": 16}));
        assert_eq!(head["outputs"], json!([{"name": "y", "parameters": {"binary_data": true}}]));
        assert_eq!(body[length..length + 8], RAW_A);
        assert_eq!(body[length + 8..], [7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_call_is_one_framed_message_with_raw_contents() {
        let body = body(Protocol::OipGrpc).body;
        let message = ModelInferRequest::decode(body.slice(5..)).unwrap();
        assert_eq!((message.model_name.as_str(), message.inputs[1].name.as_str()), ("m", "b"));
        assert_eq!(message.raw_input_contents[0], RAW_A[..]);
    }

    #[test]
    fn a_value_that_is_no_number_of_its_type_is_refused() {
        let mut wrong = case();
        wrong.samples[0].inputs[1][0] = Number::from_f64(0.5).unwrap();
        let refused = encode(&wrong, Protocol::OipGrpc, &wrong.samples[0]);
        assert!(matches!(refused, Err(CaseError::Value { .. })), "{refused:?}");
        wrong.inputs[0].datatype = "BYTES".to_owned();
        let refused = encode(&wrong, Protocol::OipBinary, &wrong.samples[0]);
        assert!(matches!(refused, Err(CaseError::DataType { .. })), "{refused:?}");
    }
}
