//! Any message between its protobuf bytes and its JSON mapping, by name.
//!
//! The mapping is the canonical one: lowerCamelCase names (the original names are understood too), 64-bit numbers as
//! strings, bytes as base64. Fields without presence are written even when they hold their default, so that a reader
//! sees every field that a message has.

use prost::Message as _;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, MapKey, MessageDescriptor, ReflectMessage as _, SerializeOptions,
    Value as Field,
};
use serde_json::Value;

use crate::DESCRIPTORS;

/// What to do with fields that the message does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// They are an error: for input from outside, where a misspelt field must not pass in silence.
    Refuse,
    /// They are left out: for what a newer version wrote.
    Ignore,
}

/// The longest path or reason in an error, in characters: both may hold what the sender wrote.
const MAX_WORDS: usize = 400;

/// Why a conversion failed. Paths and reasons are cut, so that an answer cannot be made large by its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// No `.proto` file defines a message of this name.
    #[error("unknown message type `{0}`")]
    UnknownMessage(String),
    /// The bytes are not the encoding of the message.
    #[error("the bytes are not a protobuf `{message}`: {reason}")]
    Malformed {
        /// Full name of the message.
        message: String,
        /// What the decoder stumbled over.
        reason: String,
    },
    /// The bytes hold a field that the message does not have, and unknown fields are refused.
    #[error("`{path}` has an unknown field with the number {number}")]
    UnknownField {
        /// Where, in JSON names joined by dots.
        path: String,
        /// The field's number, all that the wire says about it.
        number: u32,
    },
    /// The JSON does not fit the message.
    #[error("`{path}`: {reason}")]
    Mismatch {
        /// Where, in JSON names joined by dots; `.` is the message itself.
        path: String,
        /// What is wrong there.
        reason: String,
    },
    /// The message cannot be written as JSON: an `Any` of unknown type, a timestamp out of range.
    #[error("`{message}` has no JSON form: {reason}")]
    Unwritable {
        /// Full name of the message.
        message: String,
        /// What stands in the way.
        reason: String,
    },
}

/// Decodes `bytes` as the message of this full name (`slipway.v1.ModelDeployment`) and gives its JSON.
///
/// # Errors
/// [`JsonError`], when the name is unknown, the bytes are malformed, or they hold unknown fields that are refused.
pub fn bytes_to_json(message: &str, bytes: &[u8], unknown: Unknown) -> Result<Value, JsonError> {
    let dynamic = DynamicMessage::decode(descriptor(message)?, bytes)
        .map_err(|error| JsonError::Malformed { message: message.to_owned(), reason: cut(&error) })?;
    if unknown == Unknown::Refuse {
        refuse_unknown(&dynamic, &mut Vec::new())?;
    }
    dynamic_to_json(&dynamic)
}

/// Encodes JSON as the message of this full name.
///
/// # Errors
/// [`JsonError`], when the name is unknown or the JSON does not fit; the error names the path.
pub fn json_to_bytes(message: &str, json: &Value, unknown: Unknown) -> Result<Vec<u8>, JsonError> {
    json_to_dynamic(descriptor(message)?, json, unknown).map(|dynamic| dynamic.encode_to_vec())
}

/// The JSON of a generated message, whose full name is `message`.
///
/// # Errors
/// As [`bytes_to_json`].
pub fn to_json<M: prost::Message>(message: &str, value: &M) -> Result<Value, JsonError> {
    bytes_to_json(message, &value.encode_to_vec(), Unknown::Ignore)
}

/// A generated message, whose full name is `message`, from JSON.
///
/// # Errors
/// As [`json_to_bytes`].
pub fn from_json<M: prost::Message + Default>(message: &str, json: &Value, unknown: Unknown) -> Result<M, JsonError> {
    let bytes = json_to_bytes(message, json, unknown)?;
    M::decode(bytes.as_slice())
        .map_err(|error| JsonError::Malformed { message: message.to_owned(), reason: cut(&error) })
}

fn descriptor(message: &str) -> Result<MessageDescriptor, JsonError> {
    DESCRIPTORS.get_message_by_name(message).ok_or_else(|| JsonError::UnknownMessage(message.to_owned()))
}

fn dynamic_to_json(dynamic: &DynamicMessage) -> Result<Value, JsonError> {
    let options = SerializeOptions::new().skip_default_fields(false);
    dynamic.serialize_with_options(serde_json::value::Serializer, &options).map_err(|error| JsonError::Unwritable {
        message: dynamic.descriptor().full_name().to_owned(),
        reason: cut(&error),
    })
}

fn json_to_dynamic(descriptor: MessageDescriptor, json: &Value, unknown: Unknown) -> Result<DynamicMessage, JsonError> {
    let options = DeserializeOptions::new().deny_unknown_fields(unknown == Unknown::Refuse);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(json, &mut track);
    DynamicMessage::deserialize_with_options(descriptor, tracked, &options)
        .map_err(|error| JsonError::Mismatch { path: cut(&track.path()), reason: cut(&error) })
}

fn cut(words: &dyn std::fmt::Display) -> String {
    let words = words.to_string();
    match words.char_indices().nth(MAX_WORDS) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

fn refuse_unknown(message: &DynamicMessage, path: &mut Vec<String>) -> Result<(), JsonError> {
    if let Some(field) = message.unknown_fields().next() {
        let path = if path.is_empty() { message.descriptor().full_name().to_owned() } else { path.join(".") };
        return Err(JsonError::UnknownField { path: cut(&path), number: field.number() });
    }
    for (field, value) in message.fields() {
        path.push(field.json_name().to_owned());
        refuse_unknown_in(value, path)?;
        path.pop();
    }
    Ok(())
}

fn refuse_unknown_in(value: &Field, path: &mut Vec<String>) -> Result<(), JsonError> {
    match value {
        Field::Message(inner) => refuse_unknown(inner, path),
        Field::List(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                refuse_unknown_in(item, path)?;
                path.pop();
            }
            Ok(())
        }
        Field::Map(entries) => {
            for (key, item) in entries {
                path.push(key_text(key));
                refuse_unknown_in(item, path)?;
                path.pop();
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::{InferParameter, ModelInferRequest, infer_parameter::ParameterChoice};
    use crate::slipway::inference::v1::{Failure, InferenceRequest, InferenceResult, inference_result::Outcome};
    use proptest::prelude::*;
    use serde_json::json;

    const REQUEST: &str = "slipway.inference.v1.InferenceRequest";
    const RESULT: &str = "slipway.inference.v1.InferenceResult";

    #[test]
    fn json_is_camel_case_with_every_default_and_64_bit_numbers_as_strings() {
        let result = InferenceResult {
            namespace: "default".into(),
            request_id: "r1".into(),
            accepted_unix_ms: i64::MAX,
            outcome: Some(Outcome::Failure(Failure { code: "overloaded".into(), message: String::new() })),
            ..InferenceResult::default()
        };
        assert_eq!(
            to_json(RESULT, &result).unwrap(),
            json!({
                "namespace": "default", "deployment": "", "revision": "", "requestId": "r1",
                "correlationId": "", "principal": "", "modelDigest": "", "worker": "", "traceId": "",
                "probe": false, "acceptedUnixMs": "9223372036854775807", "completedUnixMs": "0",
                "attempt": 0, "failure": { "code": "overloaded", "message": "" }
            })
        );
    }

    #[test]
    fn an_unknown_json_field_is_refused_by_its_path_or_ignored() {
        let json = json!({ "namespace": "n", "body": { "inputs": [{ "name": "x" }, { "nam": "y" }] } });
        let error = json_to_bytes(REQUEST, &json, Unknown::Refuse).unwrap_err();
        let JsonError::Mismatch { path, reason } = &error else {
            panic!("{error}");
        };
        assert!(path.starts_with("body.inputs[1]"), "{error}");
        assert!(reason.contains("nam"), "{error}");
        assert!(json_to_bytes(REQUEST, &json, Unknown::Ignore).is_ok());
    }

    #[test]
    fn a_json_value_of_the_wrong_type_is_refused_by_its_path() {
        let json = json!({ "body": { "inputs": [{ "shape": ["many"] }] } });
        let error = json_to_bytes(REQUEST, &json, Unknown::Ignore).unwrap_err();
        assert!(error.to_string().starts_with("`body.inputs[0].shape[0]`"), "{error}");
    }

    #[test]
    fn an_unknown_wire_field_is_refused_by_its_path_and_number_or_ignored() {
        // body (11, length-delimited) holding field 99 as a varint of 1.
        let bytes = [11 << 3 | 2, 3, 0x98, 0x06, 1];
        assert_eq!(
            bytes_to_json(REQUEST, &bytes, Unknown::Refuse),
            Err(JsonError::UnknownField { path: "body".into(), number: 99 })
        );
        assert!(bytes_to_json(REQUEST, &bytes, Unknown::Ignore).is_ok());
    }

    #[test]
    fn unknown_fields_are_found_inside_maps() {
        // inference.ModelInferRequest.parameters (4) { key "k", value (2) { field 99 } }
        let bytes = [4 << 3 | 2, 8, 1 << 3 | 2, 1, b'k', 2 << 3 | 2, 3, 0x98, 0x06, 1];
        assert_eq!(
            bytes_to_json("inference.ModelInferRequest", &bytes, Unknown::Refuse),
            Err(JsonError::UnknownField { path: "parameters.k".into(), number: 99 })
        );
    }

    #[test]
    fn an_error_is_as_short_as_its_input_is_long() {
        let long = "k".repeat(100_000);
        let parameters = json!({ "parameters": { long.as_str(): { "int64Param": long.as_str() } } });
        let unknown = json!({ long.as_str(): 1 });
        for error in [
            json_to_bytes("inference.ModelInferRequest", &parameters, Unknown::Ignore).unwrap_err(),
            json_to_bytes("inference.ModelInferRequest", &unknown, Unknown::Refuse).unwrap_err(),
        ] {
            assert!(error.to_string().len() < 1_000, "{}", error.to_string().len());
        }
        // parameters { key long, value { field 99 } }
        let entry = [&[1 << 3 | 2, 0xa0, 0x8d, 6][..], long.as_bytes(), &[2 << 3 | 2, 3, 0x98, 6, 1]].concat();
        let bytes = [&[4 << 3 | 2, 0xa9, 0x8d, 6][..], &entry].concat();
        let error = bytes_to_json("inference.ModelInferRequest", &bytes, Unknown::Refuse).unwrap_err();
        assert!(matches!(error, JsonError::UnknownField { number: 99, .. }), "{error:?}");
        assert!(error.to_string().len() < 1_000);
    }

    #[test]
    fn truncated_bytes_and_unknown_types_are_named() {
        let bytes = [11 << 3 | 2, 200];
        assert!(matches!(bytes_to_json(REQUEST, &bytes, Unknown::Ignore), Err(JsonError::Malformed { .. })));
        assert_eq!(
            bytes_to_json("slipway.v1.Nothing", &[], Unknown::Ignore),
            Err(JsonError::UnknownMessage("slipway.v1.Nothing".into()))
        );
        assert!(matches!(json_to_bytes(REQUEST, &json!([1]), Unknown::Ignore), Err(JsonError::Mismatch { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in [REQUEST, RESULT, "io.cloudevents.v1.CloudEvent"] {
                let _ = bytes_to_json(message, &bytes, Unknown::Refuse);
                let _ = bytes_to_json(message, &bytes, Unknown::Ignore);
            }
        }

        #[test]
        fn json_and_back_is_the_same_message(
            id in ".{0,12}", deadline in any::<i64>(), raw in proptest::collection::vec(any::<u8>(), 0..64),
            number in any::<u64>(), double in any::<f64>().prop_filter("comparable", |d| !d.is_nan()), probe in any::<bool>(),
        ) {
            let parameter = |choice| InferParameter { parameter_choice: Some(choice) };
            let request = InferenceRequest {
                request_id: id,
                deadline_unix_ms: deadline,
                probe,
                body: Some(ModelInferRequest {
                    raw_input_contents: vec![raw.into()],
                    parameters: [
                        ("u".to_owned(), parameter(ParameterChoice::Uint64Param(number))),
                        ("d".to_owned(), parameter(ParameterChoice::DoubleParam(double))),
                    ]
                    .into(),
                    ..ModelInferRequest::default()
                }),
                ..InferenceRequest::default()
            };
            let json = to_json(REQUEST, &request).unwrap();
            prop_assert_eq!(from_json::<InferenceRequest>(REQUEST, &json, Unknown::Refuse).unwrap(), request);
        }
    }
}
