//! Reading a body: never more than its limit, never for longer than its deadline, never more at once than the memory for it.

use crate::{
    admission::{BodyMemory, BodyShare},
    error::RequestError,
    limits,
};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::BodyExt as _;
use slipway_oip::encoding::{Encoding, UnpackError};
use tokio::time::{Instant, timeout_at};

/// A body that was read, and the memory it counts for until it is dropped.
#[derive(Debug)]
pub struct ReadBody {
    /// The bytes.
    pub bytes: Bytes,
    share: BodyShare,
}

/// Refuses what is not of the protocol, before anything of it is read; says how the rest is packed. A missing type is taken for
/// JSON, as small clients send none.
///
/// # Errors
/// [`RequestError::MediaType`].
pub fn check_media_type(headers: &HeaderMap) -> Result<Option<Encoding>, RequestError> {
    // Several are read as one list, which is no type.
    let text = |name: http::HeaderName| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.reduce(|all, value| format!("{all}, {value}").into()).map(std::borrow::Cow::into_owned)
    };
    let refuse = |found: String| Err(RequestError::MediaType { found: found.chars().take(120).collect() });
    if let Some(found) = text(CONTENT_TYPE) {
        let mut parts = found.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        // What is as a whole no text (tensors behind a document), and what libraries say of a body whose type nobody told them.
        let is_binary = kind.eq_ignore_ascii_case("application/octet-stream");
        let is_json = is_binary || kind.eq_ignore_ascii_case("application/json");
        // JSON has no other encoding than UTF-8.
        let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                value.trim_matches('"').eq_ignore_ascii_case("utf-8")
            }
            _ => true,
        });
        if !is_json || !is_utf8 {
            return refuse(found);
        }
    }
    Encoding::of(text(CONTENT_ENCODING).as_deref().map(str::as_bytes)).or_else(refuse)
}

/// Reads a body.
///
/// # Errors
/// [`RequestError::BodyTooLarge`], [`RequestError::BodyTooSlow`], [`RequestError::BodyCut`], [`RequestError::Overloaded`].
pub async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    deadline: Instant,
    memory: &BodyMemory,
) -> Result<ReadBody, RequestError> {
    let too_large = || RequestError::BodyTooLarge { limit };
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut share = memory.share();
    // What is announced is not there yet: memory is taken as it comes, so that announcing costs nobody anything.
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(RequestError::BodyTooSlow),
            Ok(Some(Err(_))) => return Err(RequestError::BodyCut),
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers say nothing here, least of all who sends them.
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len() + more.len() + data.len();
        if length > limit {
            return Err(too_large());
        }
        share.cover(length)?;
        // Most bodies come in one piece, which then is not copied.
        if first.is_empty() && more.is_empty() {
            first = data;
            continue;
        }
        if more.is_empty() {
            more.reserve(announced.unwrap_or(2 * length).min(8 * length));
            more.extend_from_slice(&std::mem::take(&mut first));
        }
        more.extend_from_slice(&data);
    }
    let bytes = if more.is_empty() { first } else { more.freeze() };
    Ok(ReadBody { bytes, share })
}

impl ReadBody {
    /// The body unpacked, within the same limit. What it unpacks to counts as memory like what came; where that is much, it is done on
    /// a thread that may block.
    ///
    /// # Errors
    /// [`RequestError::BodyTooLarge`], [`RequestError::Invalid`], [`RequestError::Overloaded`].
    pub async fn unpack(mut self, encoding: Option<Encoding>, limit: usize) -> Result<Self, RequestError> {
        let Some(encoding) = encoding else { return Ok(self) };
        let packed = self.bytes;
        let unpacked = if packed.len() <= limits::UNPACK_INLINE_BYTES {
            encoding.unpack(&packed, limit)
        } else {
            let packed = packed.clone();
            let done = tokio::task::spawn_blocking(move || encoding.unpack(&packed, limit)).await;
            done.map_err(|error| RequestError::Internal(error.into()))?
        };
        let bytes = unpacked.map_err(|error| match error {
            UnpackError::TooLarge { limit } => RequestError::BodyTooLarge { limit },
            UnpackError::Malformed(..) => {
                RequestError::invalid("body", error, "a body packed as content-encoding says")
            }
        })?;
        self.share.cover(packed.len() + bytes.len())?;
        Ok(Self { bytes, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use futures::stream;
    use http::HeaderValue;
    use std::{convert::Infallible, time::Duration};

    fn memory() -> BodyMemory {
        BodyMemory::new(64 * limits::BODY_BLOCK_BYTES as u64)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    fn pieces(pieces: &[&'static [u8]]) -> Body {
        let pieces: Vec<Result<Bytes, Infallible>> = pieces.iter().map(|p| Ok(Bytes::from_static(p))).collect();
        Body::from_stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_put_together_up_to_its_limit() {
        let none = HeaderMap::new();
        let read_all = |body, limit| {
            let none = none.clone();
            async move { read(&none, body, limit, soon(), &memory()).await.map(|body| body.bytes) }
        };
        assert_eq!(read_all(pieces(&[b"ab", b"", b"cd", b"e"]), 5).await.unwrap(), "abcde");
        assert_eq!(read_all(pieces(&[b"abc"]), 5).await.unwrap(), "abc");
        assert_eq!(read_all(pieces(&[]), 5).await.unwrap(), "");
        assert!(matches!(read_all(pieces(&[b"abc", b"def"]), 5).await, Err(RequestError::BodyTooLarge { limit: 5 })));
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_not_read_at_all() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("6"));
        let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert!(matches!(read(&headers, never, 5, soon(), &memory()).await, Err(RequestError::BodyTooLarge { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up_at_the_deadline() {
        let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let slow = read(&HeaderMap::new(), never, 5, soon(), &memory()).await;
        assert!(matches!(slow, Err(RequestError::BodyTooSlow)));
        let cut = Body::from_stream(stream::iter([Ok(Bytes::from_static(b"a")), Err("gone")]));
        assert!(matches!(read(&HeaderMap::new(), cut, 5, soon(), &memory()).await, Err(RequestError::BodyCut)));
    }

    #[tokio::test]
    async fn bodies_beyond_the_memory_for_them_are_refused() {
        let memory = BodyMemory::new(limits::BODY_BLOCK_BYTES as u64);
        let held = read(&HeaderMap::new(), pieces(&[b"a"]), 5, soon(), &memory).await.unwrap();
        let refused = read(&HeaderMap::new(), pieces(&[b"a"]), 5, soon(), &memory).await;
        assert!(matches!(refused, Err(RequestError::Overloaded { .. })));
        drop(held);
        assert!(read(&HeaderMap::new(), pieces(&[b"a"]), 5, soon(), &memory).await.is_ok());
    }

    #[test]
    fn only_json_as_it_is_gets_in() {
        let check = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, HeaderValue::from_static(value));
            }
            check_media_type(&map).is_ok()
        };
        for headers in [
            &[][..],
            &[("content-type", "application/json")],
            &[("content-type", "Application/JSON; charset=\"UTF-8\"")],
            &[("content-type", "application/json"), ("content-encoding", "identity")],
            &[("content-type", "application/octet-stream")],
            &[("content-type", "application/octet-stream"), ("inference-header-content-length", "10")],
            &[("inference-header-content-length", "10")],
        ] {
            assert!(check(headers), "{headers:?}");
        }
        for headers in [
            &[("content-type", "text/plain")][..],
            &[("content-type", "application/x-www-form-urlencoded")],
            &[("content-type", "application/json; charset=latin1")],
            &[("content-type", "application/json"), ("content-encoding", "br")],
            &[("content-type", "text/plain"), ("inference-header-content-length", "10")],
        ] {
            assert!(!check(headers), "{headers:?}");
        }
    }
}
