//! Requests whose extent or address two parsers could read differently. hyper has refused most of them (a length that is no
//! number, obsolete folding, a transfer encoding that does not end chunked…); what it forgives is refused here.

use crate::{error::RequestError, limits};
use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderMap, HeaderValue, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE},
};

/// Refuses what is ambiguous, and closes the connection: what follows on it may be a part of an attack.
pub(crate) fn refuse_ambiguous(request: &Request) -> Option<Response> {
    let error = check(request.version(), request.headers()).err()?;
    let mut response = error.into_response();
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Some(response)
}

fn check(version: Version, headers: &HeaderMap) -> Result<(), RequestError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > limits::HEADER_BYTES || headers.len() > limits::HEADER_COUNT {
        return Err(RequestError::HeadTooLarge { limit: limits::HEADER_BYTES });
    }
    let count = |name| headers.get_all(name).iter().count();
    let refuse = |name: &str, allowed: &str| Err(RequestError::invalid(format!("header.{name}"), "ambiguous", allowed));
    if count(CONTENT_LENGTH) > 0 && count(TRANSFER_ENCODING) > 0 {
        return refuse("transfer-encoding", "either content-length or transfer-encoding");
    }
    if count(CONTENT_LENGTH) > 1 {
        return refuse("content-length", "one length");
    }
    if count(TRANSFER_ENCODING) > 1 || headers.get(TRANSFER_ENCODING).is_some_and(|value| !is_chunked(value)) {
        return refuse("transfer-encoding", "chunked, and nothing else");
    }
    if count(HOST) > 1 || (version == Version::HTTP_11 && count(HOST) == 0) {
        return refuse("host", "one host");
    }
    let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    if count(UPGRADE) > 1 || headers.get(UPGRADE).is_some_and(|value| !is_websocket(value)) {
        return refuse("upgrade", "websocket; HTTP/2 is spoken with prior knowledge or by ALPN");
    }
    Ok(())
}

fn is_chunked(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"chunked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(headers: &[(&'static str, &str)]) -> Result<(), RequestError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        check(Version::HTTP_11, &map)
    }

    #[test]
    fn a_request_of_one_extent_and_one_host_passes() {
        checked(&[("host", "a"), ("content-length", "7")]).unwrap();
        checked(&[("host", "a"), ("transfer-encoding", "Chunked")]).unwrap();
        check(Version::HTTP_2, &HeaderMap::new()).unwrap();
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for headers in [
            &[][..],
            &[("host", "a"), ("host", "b")],
            &[("host", "a"), ("content-length", "7"), ("transfer-encoding", "chunked")],
            &[("host", "a"), ("content-length", "7"), ("content-length", "7")],
            &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
            &[("host", "a"), ("transfer-encoding", "xchunked")],
            &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("host", "a"), ("upgrade", "h2c")],
        ] {
            assert!(matches!(checked(headers), Err(RequestError::Invalid(_))), "{headers:?}");
        }
    }

    #[test]
    fn a_head_beyond_its_bound_is_refused() {
        let large = "x".repeat(limits::HEADER_BYTES);
        assert!(matches!(checked(&[("host", "a"), ("x", &large)]), Err(RequestError::HeadTooLarge { .. })));
        let many: Vec<(&'static str, &str)> = vec![("x", "y"); limits::HEADER_COUNT + 1];
        assert!(matches!(checked(&many), Err(RequestError::HeadTooLarge { .. })));
    }
}
