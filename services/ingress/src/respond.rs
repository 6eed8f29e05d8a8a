//! The only map from failure to status, word and `Retry-After`.
//!
//! The body of every refusal is `{"error": <sentence>, "code": <word>, "refusals": [{path, value, allowed}…]}`. The words are
//! those of `slipway_proto::failure`, and five that only HTTP has.

use crate::{error::RequestError, limits};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;
use slipway_oip::{documents::Refused, http::JSON, json::Written, reply::Reply};
use slipway_proto::failure::{FailureCode, retry_after_s};
use std::{error::Error as _, time::Duration};

/// What the sender of a request that failed is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The status.
    pub status: u16,
    /// The word in the body.
    pub code: &'static str,
    /// When trying again may help; none: the same request fails again.
    pub retry_after: Option<Duration>,
}

/// The map.
#[must_use]
pub fn verdict(error: &RequestError) -> Verdict {
    let soon = Some(limits::RETRY_AFTER);
    let of = |code: FailureCode, retry_after: Option<Duration>| Verdict {
        status: code.http_status(),
        code: code.as_str(),
        retry_after,
    };
    let http = |status: u16, code: &'static str| Verdict { status, code, retry_after: None };
    match error {
        RequestError::Invalid(_) | RequestError::BodyCut => of(FailureCode::InvalidArgument, None),
        RequestError::UnknownPath
        | RequestError::UnknownDeployment(_)
        | RequestError::UnknownRevision { .. }
        | RequestError::UnknownRequest => of(FailureCode::NotFound, None),
        RequestError::Method { .. } => http(405, "method-not-allowed"),
        RequestError::AlreadyAnswered => http(409, "already-answered"),
        RequestError::BodyTooSlow => http(408, "body-too-slow"),
        RequestError::MediaType { .. } => http(415, "unsupported-media-type"),
        RequestError::HeadTooLarge { .. } => http(431, "headers-too-large"),
        RequestError::BodyTooLarge { .. } | RequestError::ResultTooLarge { .. } => {
            of(FailureCode::PayloadTooLarge, None)
        }
        RequestError::Unauthenticated => of(FailureCode::Unauthenticated, None),
        RequestError::SourceAddress | RequestError::NatsClosed(_) => of(FailureCode::PermissionDenied, None),
        RequestError::RateLimited { retry_after } => of(FailureCode::RateLimited, Some(*retry_after)),
        RequestError::Overloaded { .. } | RequestError::QueueFull(_) => of(FailureCode::Overloaded, soon),
        RequestError::NothingServes(_)
        | RequestError::NoWorker { .. }
        | RequestError::KeysUnavailable
        | RequestError::QueueUnavailable(_)
        | RequestError::Unrecorded(_) => of(FailureCode::Unavailable, soon),
        RequestError::Unservable(_) => of(FailureCode::Unimplemented, None),
        RequestError::DeadlineExceeded => of(FailureCode::DeadlineExceeded, None),
        RequestError::IdempotencyConflict(_) => of(FailureCode::IdempotencyConflict, None),
        RequestError::Worker { code, retry_after, .. } => {
            of(*code, if code.is_retryable() { retry_after.or(soon) } else { None })
        }
        RequestError::BadAnswer(_) | RequestError::Internal(_) => of(FailureCode::Internal, None),
    }
}

/// The answer to a request that failed.
#[must_use]
pub fn failure(error: &RequestError) -> Response {
    let verdict = verdict(error);
    let refusals = if let RequestError::Invalid(refusals) = error { &refusals.0[..] } else { &[] };
    let mut response = json(verdict.status, &Refused { error: &error.to_string(), code: verdict.code, refusals });
    let headers = response.headers_mut();
    if let Some(after) = verdict.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(retry_after_s(after)));
    }
    match error {
        RequestError::Method { allowed } => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        RequestError::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    if let Some(fault) = Fault::of(error) {
        response.extensions_mut().insert(fault);
    }
    response
}

/// The same to a request of gRPC.
#[must_use]
pub fn status(error: &RequestError) -> tonic::Status {
    let (code, sentence) = word(error);
    slipway_oip::grpc::status(code, sentence, verdict(error).retry_after)
}

/// The same to a request of NATS.
#[must_use]
pub fn reply(error: &RequestError) -> Reply {
    let verdict = verdict(error);
    let refusals = if let RequestError::Invalid(refusals) = error { &refusals.0[..] } else { &[] };
    Reply::refusal(verdict.code, verdict.status, &error.to_string(), refusals, verdict.retry_after)
}

/// The same in a word and a sentence, to a request among others on a stream.
#[must_use]
pub fn word(error: &RequestError) -> (FailureCode, String) {
    let verdict = verdict(error);
    // The words that only HTTP has are about paths and bodies of HTTP.
    (verdict.code.parse().unwrap_or(FailureCode::Internal), error.to_string())
}

/// A failure by our fault, for the log: its sender sees only the sentence.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The sentence.
    pub error: String,
    /// What is behind it.
    pub cause: String,
}

impl Fault {
    /// None if it is not our fault.
    #[must_use]
    pub fn of(error: &RequestError) -> Option<Self> {
        let cause = || error.source().map(ToString::to_string).unwrap_or_default();
        (verdict(error).status == 500).then(|| Self { error: error.to_string(), cause: cause() })
    }
}

/// An answer of JSON.
#[must_use]
pub fn json(status: u16, document: &impl Serialize) -> Response {
    // None of our documents can fail to be written: no maps with keys that are no text, no writer that fails.
    raw(status, serde_json::to_vec(document).unwrap_or_default())
}

/// An answer to an inference.
#[must_use]
pub fn written(written: Written) -> Response {
    slipway_oip::http::response(written).map(Body::new)
}

fn raw(status: u16, document: Vec<u8>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, JSON)], Body::from(document)).into_response()
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        failure(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::{DeploymentId, RevisionId};

    fn every() -> Vec<(RequestError, u16, &'static str, bool)> {
        let id: DeploymentId = "default.digits".parse().unwrap();
        let revision = RevisionId::new(1, 1);
        let late = anyhow::anyhow!("late");
        vec![
            (RequestError::invalid("inputs", "x", "y"), 400, "invalid-argument", false),
            (RequestError::BodyCut, 400, "invalid-argument", false),
            (RequestError::Unauthenticated, 401, "unauthenticated", false),
            (RequestError::SourceAddress, 403, "permission-denied", false),
            (RequestError::NatsClosed(id.clone()), 403, "permission-denied", false),
            (RequestError::UnknownPath, 404, "not-found", false),
            (RequestError::UnknownDeployment("x".to_owned()), 404, "not-found", false),
            (RequestError::UnknownRevision { deployment: id.clone(), revision }, 404, "not-found", false),
            (RequestError::UnknownRequest, 404, "not-found", false),
            (RequestError::Method { allowed: "POST" }, 405, "method-not-allowed", false),
            (RequestError::AlreadyAnswered, 409, "already-answered", false),
            (RequestError::BodyTooSlow, 408, "body-too-slow", false),
            (RequestError::BodyTooLarge { limit: 1 }, 413, "payload-too-large", false),
            (RequestError::ResultTooLarge { bytes: 2, limit: 1 }, 413, "payload-too-large", false),
            (RequestError::Unrecorded(anyhow::anyhow!("x")), 503, "unavailable", true),
            (RequestError::MediaType { found: "text/xml".to_owned() }, 415, "unsupported-media-type", false),
            (RequestError::IdempotencyConflict("a".parse().unwrap()), 422, "idempotency-conflict", false),
            (RequestError::RateLimited { retry_after: Duration::from_millis(1) }, 429, "rate-limited", true),
            (RequestError::Overloaded { bound: "limits.in_flight" }, 429, "overloaded", true),
            (RequestError::QueueFull(revision), 429, "overloaded", true),
            (RequestError::HeadTooLarge { limit: 1 }, 431, "headers-too-large", false),
            (RequestError::Internal(late), 500, "internal", false),
            (RequestError::Unservable("x".to_owned()), 501, "unimplemented", false),
            (RequestError::NothingServes(id), 503, "unavailable", true),
            (RequestError::NoWorker { revision }, 503, "unavailable", true),
            (RequestError::KeysUnavailable, 503, "unavailable", true),
            (RequestError::QueueUnavailable(anyhow::anyhow!("x")), 503, "unavailable", true),
            (RequestError::DeadlineExceeded, 504, "deadline-exceeded", false),
        ]
    }

    #[test]
    fn each_failure_has_its_status_its_word_and_says_when_to_come_back() {
        for (error, status, code, retryable) in every() {
            let response = failure(&error);
            assert_eq!(response.status().as_u16(), status, "{error:?}");
            assert_eq!(verdict(&error).code, code, "{error:?}");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), retryable, "{error:?}");
        }
    }

    #[test]
    fn a_worker_is_quoted_with_its_own_word() {
        for code in FailureCode::ALL {
            let error =
                RequestError::Worker { code, message: "x".to_owned(), retry_after: Some(Duration::from_secs(7)) };
            let response = failure(&error);
            assert_eq!(response.status().as_u16(), code.http_status());
            let after = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(after, code.is_retryable().then(|| "7".to_owned()), "{code}");
        }
    }

    #[tokio::test]
    async fn a_refusal_names_path_value_and_what_is_allowed() {
        let body = failure(&RequestError::invalid("inputs[0].shape", "[2]", "[-1]")).into_body();
        let bytes = axum::body::to_bytes(body, 1_000).await.unwrap();
        let document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(document["code"], "invalid-argument");
        assert_eq!(document["refusals"][0]["path"], "inputs[0].shape");
        assert_eq!(document["refusals"][0]["allowed"], "[-1]");
    }

    #[tokio::test]
    async fn our_own_faults_are_not_told_in_detail() {
        let error = RequestError::Internal(anyhow::anyhow!("password is hunter2"));
        let bytes = axum::body::to_bytes(failure(&error).into_body(), 1_000).await.unwrap();
        assert!(!String::from_utf8(bytes.to_vec()).unwrap().contains("hunter2"));
    }
}
