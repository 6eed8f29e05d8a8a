//! Answers, as servers write them.

use super::{Protocol, encode::JSON_LENGTH};
use crate::workload::Reply;
use prost::Message;
use serde_json::Value;
use slipway_proto::inference::ModelInferResponse;

/// The numbers of the output, or `None` where an answer has none. One output is asked for, and it is FP32.
pub(super) fn numbers(protocol: Protocol, reply: &Reply) -> Option<Vec<f64>> {
    match protocol {
        Protocol::OipJson => of_document(&reply.body),
        Protocol::OipBinary => match reply.headers.get(JSON_LENGTH) {
            Some(length) => reply.body.get(length.to_str().ok()?.parse().ok()?..).map(floats),
            // A server may answer in JSON what was asked for in binary.
            None => of_document(&reply.body),
        },
        Protocol::OipGrpc => of_message(&reply.body),
        Protocol::Json | Protocol::JsonPacked => {
            let mut found = Vec::new();
            collect(&serde_json::from_slice(&reply.body).ok()?, &mut found);
            Some(found).filter(|found| !found.is_empty())
        }
    }
}

fn of_document(body: &[u8]) -> Option<Vec<f64>> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let mut found = Vec::new();
    collect(document.get("outputs")?.get(0)?.get("data")?, &mut found);
    Some(found)
}

fn of_message(body: &[u8]) -> Option<Vec<f64>> {
    let message = ModelInferResponse::decode(body).ok()?;
    if let Some(raw) = message.raw_output_contents.first() {
        return Some(floats(raw));
    }
    let contents = message.outputs.into_iter().next()?.contents?;
    if contents.fp32_contents.is_empty() {
        return Some(contents.fp64_contents);
    }
    Some(contents.fp32_contents.into_iter().map(f64::from).collect())
}

fn floats(raw: &[u8]) -> Vec<f64> {
    raw.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect()
}

fn collect(value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Number(number) => found.extend(number.as_f64()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, found)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use slipway_proto::inference::{InferTensorContents, model_infer_response::InferOutputTensor};

    const RIGHT: [f64; 2] = [0.25, -1.0];
    const RAW: [u8; 8] = [0, 0, 0x80, 0x3e, 0, 0, 0x80, 0xbf];

    fn read(protocol: Protocol, body: impl Into<Bytes>, json_length: Option<usize>) -> Option<Vec<f64>> {
        let mut headers = HeaderMap::new();
        headers.extend(json_length.map(|length| (JSON_LENGTH, HeaderValue::from(length))));
        numbers(protocol, &Reply { status: StatusCode::OK, headers, body: body.into() })
    }

    #[test]
    fn numbers_are_found_in_every_form_a_server_may_choose() {
        let document = r#"{"id": 7, "outputs": [{"name": "y", "shape": [1, 2], "data": [[0.25, -1.0]]}]}"#;
        assert_eq!(read(Protocol::OipJson, document, None).unwrap(), RIGHT);
        assert_eq!(read(Protocol::OipBinary, document, None).unwrap(), RIGHT);
        let binary = [b"{}".as_slice(), &RAW].concat();
        assert_eq!(read(Protocol::OipBinary, binary, Some(2)).unwrap(), RIGHT);
        assert_eq!(read(Protocol::Json, r#"{"output": [[0.25, -1.0]]}"#, None).unwrap(), RIGHT);
        assert_eq!(read(Protocol::JsonPacked, "[[0.25, -1.0]]", None).unwrap(), RIGHT);
        let raw = ModelInferResponse { raw_output_contents: vec![Bytes::from_static(&RAW)], ..Default::default() };
        assert_eq!(read(Protocol::OipGrpc, raw.encode_to_vec(), None).unwrap(), RIGHT);
        let contents = InferTensorContents { fp32_contents: vec![0.25, -1.0], ..Default::default() };
        let output = InferOutputTensor { contents: Some(contents), ..Default::default() };
        let typed = ModelInferResponse { outputs: vec![output], ..Default::default() };
        assert_eq!(read(Protocol::OipGrpc, typed.encode_to_vec(), None).unwrap(), RIGHT);
    }

    #[test]
    fn what_has_no_output_is_no_answer() {
        assert_eq!(read(Protocol::OipJson, r#"{"error": "no"}"#, None), None);
        assert_eq!(read(Protocol::OipBinary, "{}", Some(3)), None);
        assert_eq!(read(Protocol::OipGrpc, "", None), None);
        assert_eq!(read(Protocol::Json, r#"{"detail": "no"}"#, None), None);
    }
}
