//! Reading a body: never more than its limit, never for longer than its deadline.

use std::time::Instant;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt as _;
use slipway_kernel::{Refusal as Value, Refusals};
use slipway_oip::encoding::{Encoding, UnpackError};
use slipway_proto::failure::FailureCode;
use tokio::time::timeout_at;

use crate::refusal::Refusal;

/// Memory taken for a body before it has come; more is taken as it comes, so that announcing costs nobody anything.
const FIRST_BYTES: usize = 1 << 20;

/// Why there is no body.
#[derive(Debug)]
pub(super) enum Unread {
    /// It did not arrive in time: a failure that only HTTP has a word for.
    TooSlow,
    /// It is refused.
    Refused(Refusal),
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// All of the body, unpacked.
///
/// # Errors
/// When it is too large, too slow, broken off, or not packed as it says.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize, deadline: Instant) -> Result<Bytes, Unread> {
    let encoding = Encoding::of(headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes)).map_err(|found| {
        let value = Value::new("header.content-encoding", found, "identity, gzip, deflate or zstd");
        Refusal::from(Refusals(vec![value]))
    })?;
    let packed = read_packed(headers, body, limit, deadline).await?;
    let Some(encoding) = encoding else { return Ok(packed) };
    let unpacked = tokio::task::spawn_blocking(move || encoding.unpack(&packed, limit)).await;
    let unpacked = unpacked.map_err(|error| Refusal::new(FailureCode::Internal, error.to_string()))?;
    unpacked.map_err(|error| {
        let code = match error {
            UnpackError::TooLarge { .. } => FailureCode::PayloadTooLarge,
            UnpackError::Malformed(..) => FailureCode::InvalidArgument,
        };
        Refusal::new(code, error.to_string()).into()
    })
}

async fn read_packed(headers: &HeaderMap, mut body: Body, limit: usize, deadline: Instant) -> Result<Bytes, Unread> {
    let too_large = || {
        let error = format!("the body has more than {limit} bytes, the limit here");
        Unread::Refused(Refusal::new(FailureCode::PayloadTooLarge, error))
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    loop {
        let frame = match timeout_at(deadline.into(), body.frame()).await {
            Err(_) => return Err(Unread::TooSlow),
            Ok(Some(Err(_))) => return Err(Refusal::new(FailureCode::InvalidArgument, "the body ended early").into()),
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + more.len() + data.len() > limit {
            return Err(too_large());
        }
        // Most bodies come in one piece, which then is not copied.
        if first.is_empty() && more.is_empty() {
            first = data;
            continue;
        }
        if more.is_empty() {
            more.reserve(announced.unwrap_or(2 * (first.len() + data.len())).min(FIRST_BYTES));
            more.extend_from_slice(&std::mem::take(&mut first));
        }
        more.extend_from_slice(&data);
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}
