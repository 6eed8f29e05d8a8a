//! An answer as a message of NATS: headers and payload. A refusal bears the two headers by which services of NATS say that something
//! failed, and the body that it has on a WebSocket.

use crate::{
    binary,
    json::{self, Written},
    response::Response,
    talk,
};
use bytes::{Bytes, BytesMut};
use prost::Message as _;
use slipway_kernel::Refusal;
use slipway_proto::{
    failure::FailureCode,
    inference::ModelInferResponse,
    slipway::inference::v1::{Failure, InferenceResult, inference_result::Outcome},
};
use std::time::Duration;

/// The media type of a message of the protocol.
pub const PROTOBUF: &str = "application/protobuf";
/// The media type of a document of the protocol.
pub const JSON: &str = "application/json";
/// Says where the document ends in front of its tensors.
pub const LENGTH_OF_DOCUMENT: &str = binary::HEADER;
/// The number of a refusal, as services of NATS have it: that of HTTP.
pub const ERROR_CODE: &str = "Nats-Service-Error-Code";
/// The sentence of a refusal.
pub const ERROR: &str = "Nats-Service-Error";
/// The word of a refusal, as in gRPC.
pub const FAILURE: &str = "slipway-failure";

/// The id under which the effect of a request happens once.
pub const REQUEST_ID: &str = "slipway-request-id";
/// What its sender sees as one piece of work.
pub const CORRELATION_ID: &str = "slipway-correlation-id";
/// The revision that answered.
pub const REVISION: &str = "slipway-revision";
/// Whether the answer was kept (`hit`) or computed (`miss`), where answers are kept.
pub const CACHE: &str = "slipway-cache";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";

/// A sentence in a header is for a person who looks at headers; all of it stands in the body.
const MAX_SENTENCE: usize = 500;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Headers.
    pub headers: Vec<(&'static str, String)>,
    /// Payload.
    pub payload: Bytes,
}

impl Reply {
    /// An answer as a message of the protocol.
    #[must_use]
    pub fn message(response: &ModelInferResponse) -> Self {
        Self { headers: vec![("content-type", PROTOBUF.to_owned())], payload: Bytes::from(response.encode_to_vec()) }
    }

    /// An answer as a document, with tensors behind it where it has some.
    #[must_use]
    pub fn document(written: Written) -> Self {
        if !written.is_binary() {
            return Self { headers: vec![("content-type", JSON.to_owned())], payload: written.document };
        }
        let mut payload = BytesMut::with_capacity(written.length());
        payload.extend_from_slice(&written.document);
        written.tensors.iter().for_each(|tensor| payload.extend_from_slice(tensor));
        let length = written.document.len().to_string();
        let headers = vec![("content-type", "application/octet-stream".to_owned()), (LENGTH_OF_DOCUMENT, length)];
        Self { headers, payload: payload.freeze() }
    }

    /// What was recorded of a request: its answer as a message, or as a document that has all outputs as numbers and texts; else its failure.
    #[must_use]
    pub fn recorded(result: &InferenceResult, as_document: bool) -> Self {
        let mut reply = match &result.outcome {
            Some(Outcome::Response(response)) if as_document => {
                let written = Response::of(response).map_err(|error| error.to_string());
                let written = written.and_then(|read| json::write(&read, &[]).map_err(|error| error.to_string()));
                match written {
                    Ok(written) => Self::document(written),
                    Err(error) => {
                        Self::failure(&FailureCode::Internal.with(format!("the answer cannot be written: {error}")))
                    }
                }
            }
            Some(Outcome::Response(response)) => Self::message(response),
            Some(Outcome::Failure(failure)) => Self::failure(failure),
            None => Self::failure(&FailureCode::Internal.with("neither answer nor failure was recorded")),
        };
        for (name, value) in
            [(REQUEST_ID, &result.request_id), (CORRELATION_ID, &result.correlation_id), (REVISION, &result.revision)]
        {
            reply.headers.push((name, value.clone()));
        }
        reply
    }

    /// The same if no more than `limit` bytes of payload; else that it is more.
    #[must_use]
    pub fn within(mut self, limit: usize) -> Self {
        let bytes = self.payload.len();
        if bytes <= limit {
            return self;
        }
        let message = format!(
            "the answer has {bytes} bytes in this form, and a message at most {limit}; ask for its result over HTTP if it was recorded"
        );
        let refusal = Self::failure(&FailureCode::PayloadTooLarge.with(message));
        self.headers.retain(|(name, _)| [REQUEST_ID, CORRELATION_ID, REVISION, TRACEPARENT].contains(name));
        self.headers.extend(refusal.headers);
        Self { payload: refusal.payload, ..self }
    }

    fn failure(failure: &Failure) -> Self {
        let code: FailureCode = failure.code.parse().unwrap_or(FailureCode::Internal);
        Self::refusal(code.as_str(), code.http_status(), &failure.message, &[], None)
    }

    /// A refusal in a word, in the number that it has in HTTP, and in a sentence.
    #[must_use]
    pub fn refusal(
        code: &'static str,
        status: u16,
        error: &str,
        refusals: &[Refusal],
        retry_after: Option<Duration>,
    ) -> Self {
        // What a client sent may stand in the sentence; a line end in it would be the end of the header.
        let sentence = error.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SENTENCE).collect();
        Self {
            headers: vec![
                ("content-type", JSON.to_owned()),
                (ERROR_CODE, status.to_string()),
                (ERROR, sentence),
                (FAILURE, code.to_owned()),
            ],
            payload: talk::refusal(None, code, error, refusals, retry_after).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_document_says_where_it_ends_if_tensors_follow() {
        let tensors = vec![Bytes::from_static(b"12"), Bytes::new(), Bytes::from_static(b"3")];
        let reply = Reply::document(Written { document: Bytes::from_static(b"{}"), tensors });
        assert_eq!((reply.payload.as_ref(), header(&reply, LENGTH_OF_DOCUMENT)), (b"{}123".as_slice(), Some("2")));
        let reply = Reply::document(Written { document: Bytes::from_static(b"{}"), tensors: Vec::new() });
        assert_eq!((header(&reply, "content-type"), header(&reply, LENGTH_OF_DOCUMENT)), (Some(JSON), None));
    }

    #[test]
    fn a_message_is_read_back_as_it_was() {
        let response = ModelInferResponse { id: "a".to_owned(), ..ModelInferResponse::default() };
        let reply = Reply::message(&response);
        assert_eq!(ModelInferResponse::decode(reply.payload.clone()).unwrap(), response);
        assert_eq!(header(&reply, "content-type"), Some(PROTOBUF));
    }

    #[test]
    fn what_was_recorded_is_told_in_either_form_and_a_failure_in_one() {
        let response = ModelInferResponse { model_name: "digits".to_owned(), ..ModelInferResponse::default() };
        let result = |outcome| InferenceResult {
            request_id: "r".to_owned(),
            revision: "1-1".to_owned(),
            outcome,
            ..InferenceResult::default()
        };
        let answered = result(Some(Outcome::Response(response.clone())));
        let message = Reply::recorded(&answered, false);
        assert_eq!(ModelInferResponse::decode(message.payload.clone()).unwrap(), response);
        assert_eq!((header(&message, REQUEST_ID), header(&message, REVISION)), (Some("r"), Some("1-1")));
        let document = Reply::recorded(&answered, true);
        assert!(document.payload.starts_with(br#"{"model_name":"digits""#), "{document:?}");
        for as_document in [false, true] {
            let failure = FailureCode::DeadlineExceeded.with("late");
            let failed = Reply::recorded(&result(Some(Outcome::Failure(failure))), as_document);
            assert_eq!(
                (header(&failed, ERROR_CODE), header(&failed, FAILURE)),
                (Some("504"), Some("deadline-exceeded"))
            );
            assert_eq!(header(&Reply::recorded(&result(None), as_document), ERROR_CODE), Some("500"));
        }
    }

    #[test]
    fn an_answer_that_no_message_holds_is_told_to_be_one_and_whose() {
        let response = ModelInferResponse { id: "x".repeat(100), ..ModelInferResponse::default() };
        let outcome = Some(Outcome::Response(response));
        let result = InferenceResult { request_id: "r".to_owned(), outcome, ..InferenceResult::default() };
        let whole = Reply::recorded(&result, false);
        assert_eq!(whole.clone().within(whole.payload.len()), whole);
        let refused = whole.clone().within(whole.payload.len() - 1);
        assert_eq!((header(&refused, FAILURE), header(&refused, REQUEST_ID)), (Some("payload-too-large"), Some("r")));
        assert_eq!(refused.headers.iter().filter(|(name, _)| *name == "content-type").count(), 1);
    }

    #[test]
    fn a_refusal_stays_in_its_headers_whatever_its_sentence_repeats() {
        let error = format!("no `a\r\nNats-Service-Error-Code: 200\r\n`{}", "x".repeat(1_000));
        let reply = Reply::refusal("overloaded", 429, &error, &[], Some(Duration::from_secs(1)));
        let sentence = header(&reply, ERROR).unwrap();
        assert!(!sentence.contains(['\r', '\n']) && sentence.len() == MAX_SENTENCE, "{sentence}");
        assert_eq!((header(&reply, ERROR_CODE), header(&reply, FAILURE)), (Some("429"), Some("overloaded")));
        let body: serde_json::Value = serde_json::from_slice(&reply.payload).unwrap();
        assert_eq!((body["error"].as_str(), body["retry_after_s"].as_u64()), (Some(error.as_str()), Some(1)));
    }
}
