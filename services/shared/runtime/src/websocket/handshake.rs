//! The opening handshake of RFC 6455.

use http::{
    HeaderMap, HeaderValue, Method, Request, Version,
    header::{CONNECTION, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use slipway_kernel::{Refusal, Refusals};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Characters of a key: sixteen bytes in base64.
const KEY_LENGTH: usize = 24;

/// The headers of the response that opens a talk.
///
/// # Errors
/// Everything that makes the request none.
pub(super) fn accepted<B>(request: &Request<B>) -> Result<HeaderMap, Refusals> {
    let headers = request.headers();
    let mut refused = Vec::new();
    let mut want = |holds: bool, path: &str, found: String, allowed: &str| {
        if !holds {
            refused.push(Refusal::new(path, found, allowed));
        }
    };
    let version = request.version();
    want(request.method() == Method::GET, "method", request.method().to_string(), "GET");
    want(version == Version::HTTP_11, "version", format!("{version:?}"), "HTTP/1.1");
    let said = |name: HeaderName| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        values.collect::<Vec<_>>().join(", ")
    };
    let lists = |name: HeaderName, word: &str| said(name).split(',').any(|item| item.trim().eq_ignore_ascii_case(word));
    want(lists(UPGRADE, "websocket"), "header.upgrade", said(UPGRADE), "websocket");
    want(lists(CONNECTION, "upgrade"), "header.connection", said(CONNECTION), "upgrade");
    want(said(SEC_WEBSOCKET_VERSION) == "13", "header.sec-websocket-version", said(SEC_WEBSOCKET_VERSION), "13");
    let key = said(SEC_WEBSOCKET_KEY);
    let is_key = key.len() == KEY_LENGTH && key.ends_with("==") && key.bytes().all(|byte| byte.is_ascii_graphic());
    want(is_key, "header.sec-websocket-key", key.clone(), "16 bytes in base64");
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok();
    match accept {
        Some(accept) if refused.is_empty() => Ok(HeaderMap::from_iter([
            (CONNECTION, HeaderValue::from_static("upgrade")),
            (UPGRADE, HeaderValue::from_static("websocket")),
            (SEC_WEBSOCKET_ACCEPT, accept),
        ])),
        _ => Err(Refusals(refused)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(change: impl FnOnce(&mut Request<()>)) -> Result<HeaderMap, Vec<String>> {
        let mut request = Request::builder()
            .header("upgrade", "WebSocket")
            .header("connection", "keep-alive, Upgrade")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        change(&mut request);
        accepted(&request).map_err(|refused| refused.0.into_iter().map(|refused| refused.path).collect())
    }

    #[test]
    fn the_key_of_the_standard_is_accepted_as_the_standard_says() {
        let headers = request(|_| {}).unwrap();
        assert_eq!(headers[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn everything_that_is_missing_is_named() {
        let refused = request(|request| request.headers_mut().clear()).unwrap_err();
        assert_eq!(
            refused,
            ["header.upgrade", "header.connection", "header.sec-websocket-version", "header.sec-websocket-key"]
        );
        let refused = request(|request| {
            *request.method_mut() = Method::POST;
            *request.version_mut() = Version::HTTP_2;
        });
        assert_eq!(refused.unwrap_err(), ["method", "version"]);
        let short = |request: &mut Request<()>| {
            request.headers_mut().insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("c2hvcnQ="));
        };
        assert_eq!(request(short).unwrap_err(), ["header.sec-websocket-key"]);
    }
}
