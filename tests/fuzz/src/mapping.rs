//! A message between protobuf and JSON. The first byte of an input names the message, the rest is protobuf or, when it begins
//! with `{`, JSON.
//!
//! Holds: what was read in one form is the same through the other; what is refused is refused in bounds.

use serde_json::Value;
use slipway_proto::json::{JsonError, Unknown, bytes_to_json, json_to_bytes};

const MESSAGES: [&str; 6] = [
    "slipway.v1.ModelDeployment",
    "slipway.inference.v1.InferenceRequest",
    "slipway.inference.v1.InferenceResult",
    "inference.ModelInferRequest",
    "inference.ModelInferResponse",
    "io.cloudevents.v1.CloudEvent",
];
/// The field 99, a varint of 1.
const NO_SUCH_FIELD: [u8; 3] = [0x98, 0x06, 1];
/// The longest error in bytes.
const LONGEST: usize = 1_024;

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let message = MESSAGES[usize::from(*first) % MESSAGES.len()];
    if rest.first() == Some(&b'{') {
        let Ok(json) = serde_json::from_slice::<Value>(rest) else { return };
        let [strict, lax] = [Unknown::Refuse, Unknown::Ignore].map(|unknown| json_to_bytes(message, &json, unknown));
        assert!(strict.is_err() || lax.is_ok(), "refused only where unknown fields are ignored");
        match &lax {
            Ok(bytes) => comes_back(message, bytes),
            Err(error) => check(error),
        }
        strict.err().iter().for_each(check);
        let Value::Object(mut fields) = json else { return };
        if fields.insert("noSuchField".into(), 1.into()).is_none() {
            let more = Value::Object(fields);
            assert!(json_to_bytes(message, &more, Unknown::Refuse).is_err(), "a field that no message has");
            // The entries of a map have no order, so the same message may be other bytes.
            let said =
                |bytes: Result<Vec<u8>, _>| bytes.ok().map(|bytes| bytes_to_json(message, &bytes, Unknown::Refuse));
            assert_eq!(said(json_to_bytes(message, &more, Unknown::Ignore)), said(lax));
        }
        return;
    }
    let [strict, lax] = [Unknown::Refuse, Unknown::Ignore].map(|unknown| bytes_to_json(message, rest, unknown));
    assert!(strict.is_err() || strict == lax, "unknown fields are ignored and there are none");
    strict.err().iter().for_each(check);
    match &lax {
        Ok(_) => comes_back(message, rest),
        // Bytes that are cut off are another message with more behind them.
        Err(error) => return check(error),
    }
    let more = [rest, &NO_SUCH_FIELD].concat();
    assert!(bytes_to_json(message, &more, Unknown::Refuse).is_err(), "a field that no message has");
    assert_eq!(bytes_to_json(message, &more, Unknown::Ignore), lax);
}

/// JSON that was made of bytes gives bytes that make the same JSON.
fn comes_back(message: &str, bytes: &[u8]) {
    let json = match bytes_to_json(message, bytes, Unknown::Ignore) {
        Ok(json) => json,
        // Bytes that were made of JSON may hold what has no JSON form: a time out of range.
        Err(error) => return check(&error),
    };
    let again = json_to_bytes(message, &json, Unknown::Refuse).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(bytes_to_json(message, &again, Unknown::Refuse).as_ref(), Ok(&json));
}

fn check(error: &JsonError) {
    let text = error.to_string();
    assert!(text.len() <= LONGEST, "an error of {} bytes: {}", text.len(), text.chars().take(400).collect::<String>());
}
