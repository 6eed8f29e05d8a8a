//! What gRPC adds to HTTP/2: a frame around the message, and a status of its own in the trailers.

use crate::{report::FailureClass, workload::Reply};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, StatusCode, response::Parts};
use http_body_util::Collected;

/// One byte says whether the message is compressed, four how long it is.
const PREFIX: usize = 5;

/// An encoded message in its frame.
///
/// # Errors
/// The message itself if it is longer than the four bytes of the length can say.
pub fn frame(message: &Bytes) -> Result<Bytes, &Bytes> {
    let length = u32::try_from(message.len()).map_err(|_| message)?;
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(length);
    framed.extend_from_slice(message);
    Ok(framed.freeze())
}

/// The message in the only frame of `body`; nothing was compressed, because nobody was told that it may be.
fn unframe(mut body: Bytes) -> Option<Bytes> {
    if body.len() < PREFIX || body.get_u8() != 0 {
        return None;
    }
    (u32::try_from(body.remaining() - 4).ok()? == body.get_u32()).then_some(body)
}

/// The answer of a unary call.
pub(crate) fn reply(head: Parts, whole: Collected<Bytes>) -> Result<Reply, FailureClass> {
    let mut headers = head.headers;
    headers.extend(whole.trailers().cloned().unwrap_or_default());
    if head.status != StatusCode::OK {
        return Ok(Reply { status: head.status, headers, body: whole.to_bytes() });
    }
    let status = status(&headers).ok_or(FailureClass::Broken)?;
    let body =
        if status == StatusCode::OK { unframe(whole.to_bytes()).ok_or(FailureClass::Broken)? } else { Bytes::new() };
    Ok(Reply { status, headers, body })
}

/// The status of HTTP that says the same, by the table of `google/rpc/code.proto`.
fn status(headers: &HeaderMap) -> Option<StatusCode> {
    let code: u16 = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let same = match code {
        0 => StatusCode::OK,
        3 | 9 | 11 => StatusCode::BAD_REQUEST,
        4 => StatusCode::GATEWAY_TIMEOUT,
        5 => StatusCode::NOT_FOUND,
        6 | 10 => StatusCode::CONFLICT,
        7 => StatusCode::FORBIDDEN,
        8 => StatusCode::TOO_MANY_REQUESTS,
        12 => StatusCode::NOT_IMPLEMENTED,
        14 => StatusCode::SERVICE_UNAVAILABLE,
        16 => StatusCode::UNAUTHORIZED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Some(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_out_of_its_frame_as_it_went_in() {
        for message in [Bytes::new(), Bytes::from_static(b"tensor")] {
            assert_eq!(unframe(frame(&message).unwrap()), Some(message));
        }
    }

    #[test]
    fn what_is_no_whole_frame_is_no_message() {
        for body in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x02x", b"\0\0\0\0\x01xy", b"\x01\0\0\0\x01x"] {
            assert_eq!(unframe(Bytes::from_static(body)), None, "{body:?}");
        }
    }

    #[test]
    fn a_refusal_has_the_status_that_http_would_have_given() {
        let of = |code: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", http::HeaderValue::from_static(code));
            status(&headers).map(|status| status.as_u16())
        };
        assert_eq!([of("0"), of("8"), of("14"), of("13"), of("2")], [200, 429, 503, 500, 500].map(Some));
        assert_eq!([of("x"), status(&HeaderMap::new()).map(|status| status.as_u16())], [None, None]);
    }
}
