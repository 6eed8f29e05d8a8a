//! Answers and refusals as responses of HTTP.

use axum::body::Body;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use slipway_oip::documents::Refused;
use slipway_oip::http::JSON;
use slipway_proto::failure::retry_after_s;

use crate::refusal::Refusal;

/// An answer of JSON.
pub(super) fn document(document: &impl Serialize) -> Response<Body> {
    // None of our documents can fail to be written: no maps with keys that are no text, no writer that fails.
    raw(StatusCode::OK, serde_json::to_vec(document).unwrap_or_default())
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A refusal.
pub(super) fn refusal(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = refused(status, refusal.code.as_str(), &refusal.message, &refusal.values);
    if let Some(after) = refusal.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s(after)));
    }
    response
}

/// A refusal in a word that only HTTP has.
pub(super) fn refused(
    status: StatusCode,
    code: &'static str,
    error: &str,
    refusals: &[slipway_kernel::Refusal],
) -> Response<Body> {
    raw(status, serde_json::to_vec(&Refused { error, code, refusals }).unwrap_or_default())
}

/// The body did not arrive in time.
pub(super) fn too_slow() -> Response<Body> {
    refused(StatusCode::REQUEST_TIMEOUT, "body-too-slow", "the body did not arrive in time", &[])
}

/// The path does not take this method.
pub(super) fn method(allowed: &'static str) -> Response<Body> {
    let error = format!("this path takes {allowed}");
    let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", &error, &[]);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn raw(status: StatusCode, document: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(document));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
