//! Messages of a WebSocket: a request is a document as in the body of HTTP, without bytes behind it; so is an answer, and a refusal
//! bears the id of its request besides.

use crate::{
    binary::Parts,
    documents::Refused,
    json::{self, EncodeError},
    response::Response,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use slipway_kernel::Refusal;
use std::{borrow::Cow, time::Duration};

/// What one message asks, in the parts that a body of HTTP has.
#[must_use]
pub const fn parts(document: Bytes) -> Parts {
    Parts { document, tensors: Bytes::new(), is_tensor: false }
}

/// The id that a message gives its request, also where the rest of it is no request.
#[must_use]
pub fn id(document: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: Option<Cow<'a, str>>,
    }
    serde_json::from_slice::<Named<'_>>(document).ok()?.id.map(Cow::into_owned)
}

/// An answer. All outputs stand in it as numbers and texts.
///
/// # Errors
/// When an output does not hold what it says.
pub fn answer(response: &Response) -> Result<String, EncodeError> {
    let written = json::write(response, &[])?;
    Ok(String::from_utf8_lossy(&written.document).into_owned())
}

/// A refusal of the request of this id.
#[must_use]
pub fn refusal(
    id: Option<&str>,
    code: &'static str,
    error: &str,
    refusals: &[Refusal],
    retry_after: Option<Duration>,
) -> String {
    #[derive(Serialize)]
    struct Message<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(flatten)]
        refused: Refused<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u64>,
    }
    // Rounded up: a caller that comes back a moment too early has come for nothing.
    let seconds = |after: Duration| after.as_secs() + u64::from(after.subsec_nanos() > 0);
    let message = Message { id, refused: Refused { error, code, refusals }, retry_after_s: retry_after.map(seconds) };
    // Nothing of it can fail to be written: no maps with keys that are no text, no writer that fails.
    serde_json::to_string(&message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_in_a_document_that_is_no_request_and_not_in_what_is_no_document() {
        for (document, expected) in [
            (r#"{"id": "a", "inputs": 7}"#, Some("a")),
            (r#"{"inputs": [], "id": "a\u0062"}"#, Some("ab")),
            ("{}", None),
            (r#"{"id": 7}"#, None),
            (r#"{"id": "a""#, None),
            ("[]", None),
        ] {
            assert_eq!(id(document.as_bytes()).as_deref(), expected, "{document}");
        }
    }

    #[test]
    fn a_refusal_says_whose_it_is_why_and_when_to_come_back() {
        let refusals = [Refusal::new("inputs", "x", "y")];
        assert_eq!(
            refusal(Some("a"), "invalid-argument", "no", &refusals, None),
            r#"{"id":"a","error":"no","code":"invalid-argument","refusals":[{"path":"inputs","value":"x","allowed":"y"}]}"#
        );
        let later = refusal(None, "overloaded", "full", &[], Some(Duration::from_millis(1_200)));
        assert_eq!(later, r#"{"error":"full","code":"overloaded","retry_after_s":2}"#);
    }
}
