//! What the headers of an inference request say about how it is to be answered: ids, deadline, now or later.

use crate::{
    error::RequestError,
    limits,
    trail::{CORRELATION_ID, REQUEST_ID},
};
use http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};
use slipway_kernel::{DeploymentId, RequestId};
use std::{fmt::Write as _, str::FromStr, time::Duration};

/// Header of a deadline of the client's own, in milliseconds from now.
const TIMEOUT_MS: HeaderName = HeaderName::from_static("slipway-timeout-ms");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The id by which brokers and libraries of NATS know a message again.
const NATS_MSG_ID: HeaderName = HeaderName::from_static("nats-msg-id");
/// What proxies write.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The id, if a header gives one.
    pub request_id: Option<RequestId>,
    /// The correlation id, if a header gives one.
    pub correlation_id: Option<String>,
    /// How long it may take, if a header says so.
    pub timeout: Option<Duration>,
    /// Whether it may be answered later.
    pub respond_async: bool,
    /// A key under which the same request may come again.
    pub idempotency_key: Option<String>,
    /// The id it has if nothing gives one: that of a request which is answered later tells whose it is.
    pub ticket: Option<RequestId>,
}

impl Head {
    /// Reads the headers.
    ///
    /// # Errors
    /// The first that is no value of its kind, or is there twice.
    pub fn read(headers: &HeaderMap) -> Result<Self, RequestError> {
        let request_id = parsed::<RequestId>(headers, &REQUEST_ID)?;
        let idempotency_key = text(headers, &IDEMPOTENCY_KEY)?.map(str::to_owned);
        if request_id.is_some() && idempotency_key.is_some() {
            let allowed = "either slipway-request-id or idempotency-key: both name the effect that happens once";
            return Err(RequestError::invalid("header.idempotency-key", "two ids", allowed));
        }
        let timeout = parsed::<u64>(headers, &TIMEOUT_MS)?.map(Duration::from_millis);
        if timeout.is_some_and(|timeout| timeout.is_zero() || timeout > limits::MAX_TIMEOUT) {
            let allowed = format!("1 to {}", limits::MAX_TIMEOUT.as_millis());
            let found = timeout.unwrap_or_default().as_millis();
            return Err(RequestError::invalid("header.slipway-timeout-ms", found, allowed));
        }
        Ok(Self {
            // A proxy's id is a courtesy: one that is no id of ours is passed over.
            request_id: request_id.or_else(|| parsed(headers, &X_REQUEST_ID).ok().flatten()),
            correlation_id: parsed::<RequestId>(headers, &CORRELATION_ID)?.map(|id| id.to_string()),
            timeout,
            respond_async: prefers_async(headers),
            idempotency_key,
            ticket: None,
        })
    }

    /// Reads the headers of a message of NATS, whose own id for it is second to ours. One that is no id of ours is a key under which it may
    /// come again.
    ///
    /// # Errors
    /// As [`Head::read`].
    pub fn of_message(headers: &HeaderMap) -> Result<Self, RequestError> {
        let head = Self { request_id: parsed(headers, &REQUEST_ID)?, ..Self::read(headers)? };
        let Some(given) = text(headers, &NATS_MSG_ID)? else { return Ok(head) };
        if head.request_id.is_some() || head.idempotency_key.is_some() {
            return Ok(head);
        }
        Ok(match given.parse() {
            Ok(id) => Self { request_id: Some(id), ..head },
            Err(_) => Self { idempotency_key: Some(given.to_owned()), ..head },
        })
    }

    /// The id of the request: what a header says, what the idempotency key leads to, what the document says, or a new one.
    #[must_use]
    pub fn id(&self, deployment: &DeploymentId, principal: &str, in_document: Option<&str>) -> RequestId {
        if let Some(key) = &self.idempotency_key {
            return id_of_key(deployment, principal, key);
        }
        let given = self.request_id.clone().or_else(|| in_document.and_then(|id| id.parse().ok()));
        given.or_else(|| self.ticket.clone()).unwrap_or_else(new_id)
    }
}

/// A new id: they sort by time, which keeps the rows of a day together.
fn new_id() -> RequestId {
    id_from(&uuid::Uuid::now_v7().to_string())
}

/// The id that a key of this caller leads to, at this deployment only. The principal is visible ASCII, so a line end parts it
/// from the key without doubt.
fn id_of_key(deployment: &DeploymentId, principal: &str, key: &str) -> RequestId {
    let digest = Sha256::digest(format!("{deployment}\n{principal}\n{key}"));
    let mut text = String::from("ik-");
    for byte in digest.iter().take(16) {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    id_from(&text)
}

fn id_from(text: &str) -> RequestId {
    // Both are of letters, digits and hyphens.
    text.parse().unwrap_or_else(|_| unreachable!("`{text}` is a request id"))
}

/// The value of a header that may be there once.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, RequestError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let path = || format!("header.{name}");
    if values.next().is_some() {
        return Err(RequestError::invalid(path(), "given twice", "one value"));
    }
    let allowed = format!("1 to {} visible ASCII characters", limits::HEADER_VALUE_BYTES);
    match value.to_str() {
        Ok(text) if (1..=limits::HEADER_VALUE_BYTES).contains(&text.len()) => Ok(Some(text)),
        _ => Err(RequestError::invalid(path(), String::from_utf8_lossy(value.as_bytes()), allowed)),
    }
}

fn parsed<T: FromStr<Err: ToString>>(headers: &HeaderMap, name: &HeaderName) -> Result<Option<T>, RequestError> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let refuse = |reason: T::Err| RequestError::invalid(format!("header.{name}"), text, reason.to_string());
    text.parse().map(Some).map_err(refuse)
}

/// `Prefer: respond-async` (RFC 7240), alone or among other preferences.
fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all(&PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    preferences.any(|preference| {
        let name = preference.split(';').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("respond-async")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(headers: &[(&'static str, &str)]) -> Result<Head, RequestError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Head::read(&map)
    }

    #[test]
    fn an_id_is_taken_from_where_it_is_meant_first() {
        let id: DeploymentId = "default.digits".parse().unwrap();
        let of =
            |headers: &[(&'static str, &str)], document| read(headers).unwrap().id(&id, "key:a", document).to_string();
        assert_eq!(of(&[("slipway-request-id", "a"), ("x-request-id", "b")], Some("c")), "a");
        assert_eq!(of(&[("x-request-id", "b")], Some("c")), "b");
        assert_eq!(of(&[], Some("c")), "c");
        assert_eq!(of(&[("x-request-id", "no id: spaces")], Some("c")), "c");
        let new = of(&[], Some("neither is this"));
        assert_eq!((new.len(), &new[14..15]), (36, "7"), "{new} is a UUID of version 7");
    }

    #[test]
    fn an_idempotency_key_is_the_callers_own_at_this_deployment() {
        let (a, b): (DeploymentId, DeploymentId) = ("n.a".parse().unwrap(), "n.b".parse().unwrap());
        let head = read(&[("idempotency-key", "order 7")]).unwrap();
        let id = head.id(&a, "key:a", Some("document"));
        assert_eq!(id, head.id(&a, "key:a", None));
        for other in [head.id(&b, "key:a", None), head.id(&a, "key:b", None)] {
            assert_ne!(id, other);
        }
        assert!(read(&[("idempotency-key", "a"), ("slipway-request-id", "b")]).is_err());
    }

    #[test]
    fn the_id_of_a_message_is_ours_then_that_of_its_library() {
        let of = |headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_str(value).unwrap());
            }
            Head::of_message(&map).map(|head| (head.request_id.map(String::from), head.idempotency_key))
        };
        let id = |id: &str| (Some(id.to_owned()), None);
        let key = |key: &str| (None, Some(key.to_owned()));
        assert_eq!(of(&[("slipway-request-id", "a"), ("nats-msg-id", "b"), ("x-request-id", "c")]).unwrap(), id("a"));
        assert_eq!(of(&[("nats-msg-id", "b"), ("x-request-id", "c")]).unwrap(), id("b"));
        assert_eq!(of(&[("nats-msg-id", "order.7")]).unwrap(), key("order.7"));
        assert_eq!(of(&[("nats-msg-id", "b"), ("idempotency-key", "k")]).unwrap(), key("k"));
        assert_eq!(of(&[("x-request-id", "c")]).unwrap(), (None, None));
        assert!(of(&[("nats-msg-id", "a"), ("nats-msg-id", "b")]).is_err());
    }

    #[test]
    fn a_preference_for_later_is_found_among_others() {
        for (value, wanted) in [
            ("respond-async", true),
            ("Respond-Async, wait=10", true),
            ("return=minimal; x=1, respond-async; y", true),
            ("wait=10", false),
            ("respond-asynchronously", false),
        ] {
            assert_eq!(read(&[("prefer", value)]).unwrap().respond_async, wanted, "{value}");
        }
    }

    #[test]
    fn what_is_no_value_of_its_kind_is_refused_by_name() {
        let long = "x".repeat(300);
        for (name, value) in [
            ("slipway-request-id", "a.b"),
            ("slipway-request-id", long.as_str()),
            ("slipway-request-id", "a>b"),
            ("slipway-correlation-id", "a b"),
            ("slipway-timeout-ms", "0"),
            ("slipway-timeout-ms", "300001"),
            ("slipway-timeout-ms", "-1"),
            ("slipway-timeout-ms", "1s"),
            ("slipway-timeout-ms", "18446744073709551616"),
            ("idempotency-key", long.as_str()),
        ] {
            let Err(RequestError::Invalid(refusals)) = read(&[(name, value)]) else { panic!("{name}: {value}") };
            assert_eq!(refusals.0[0].path, format!("header.{name}"));
        }
        assert!(read(&[("slipway-timeout-ms", "1"), ("slipway-timeout-ms", "2")]).is_err());
    }
}
