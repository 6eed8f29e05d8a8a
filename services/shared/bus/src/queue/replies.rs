//! Answers at the inboxes of clients. Core NATS: who does not listen misses it, and can ask for the recorded result where there is one.

use super::QueueError;
use crate::{
    connect::Bus,
    error::BusError,
    topology::{CLIENT_INBOXES, DEFAULT_INBOXES, MAX_REPLY_BYTES},
};
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use slipway_kernel::Namespace;
use std::fmt;

/// Names of inboxes have some sixty characters; this is a bound, not a measure.
const MAX_SUBJECT_BYTES: usize = 256;

/// A subject that an answer may be sent to. Clients name it, so it is the inbox of a client of the namespace that was asked, or below the
/// default one; no stream keeps either, and no service listens there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplySubject(String);

impl ReplySubject {
    /// Reads what a client of a deployment in `namespace` named.
    ///
    /// # Errors
    /// What is allowed.
    pub fn read(text: &str, namespace: &Namespace) -> Result<Self, String> {
        let clients = CLIENT_INBOXES.trim_end_matches('>');
        let below = |prefix: &str, tokens: usize| {
            text.strip_prefix(prefix).is_some_and(|rest| rest.split('.').count() >= tokens)
        };
        // A client's name, and something below it.
        let is_inbox = below(DEFAULT_INBOXES.trim_end_matches('>'), 1) || below(&format!("{clients}{namespace}."), 2);
        let is_token = |token: &str| {
            !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))
        };
        if is_inbox && text.len() <= MAX_SUBJECT_BYTES && text.split('.').all(is_token) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "a subject below `{clients}{namespace}.<client>` or `_INBOX`, at most {MAX_SUBJECT_BYTES} bytes"
            ))
        }
    }

    /// The subject.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReplySubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The way to the inboxes of clients.
#[derive(Clone, Debug)]
pub struct Replies {
    bus: Bus,
}

impl Replies {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Sends an answer. What is no value of a header is left out.
    ///
    /// # Errors
    /// [`QueueError::TooLarge`] for what no message can hold; [`QueueError::Bus`] when the connection is closed.
    pub async fn send(
        &self,
        to: &ReplySubject,
        headers: &[(&'static str, String)],
        payload: Bytes,
    ) -> Result<(), QueueError> {
        if payload.len() > MAX_REPLY_BYTES {
            return Err(QueueError::TooLarge { bytes: payload.len(), limit: MAX_REPLY_BYTES });
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                map.insert(name, value);
            }
        }
        let sent = self.bus.client().publish_with_headers(to.0.clone(), map, payload).await;
        sent.map_err(|error| QueueError::Bus(BusError::Connection(error.to_string())))
    }

    /// Waits until what was sent is with the broker: to be called before the process ends.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn flush(&self) -> Result<(), BusError> {
        self.bus.client().flush().await.map_err(|error| BusError::Connection(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_to_an_inbox_of_the_namespace_that_was_asked_and_nowhere_else() {
        let namespace: Namespace = "team-b".parse().unwrap();
        for text in ["_INBOX.x", "_INBOX.x.1", "_SLIPWAY_CLIENT.team-b.shop.x", "_SLIPWAY_CLIENT.team-b.shop.x.1"] {
            assert_eq!(ReplySubject::read(text, &namespace).unwrap().as_str(), text);
        }
        let long = format!("_INBOX.{}", "x".repeat(250));
        for text in [
            "",
            "x",
            "_INBOX",
            "_INBOX.",
            "_INBOX.>",
            "_INBOX.*",
            "_INBOX.a..b",
            "_INBOX.a b",
            "_INBOX.a\r\nSUB x 1",
            "_INBOXES.x",
            "_SLIPWAY_CLIENT.team-b.shop",
            "_SLIPWAY_CLIENT.team-b.>",
            "_SLIPWAY_CLIENT.default.shop.x",
            "_SLIPWAY_INBOX.operator.x",
            "slipway.intake.team-b.deploy",
            "slipway.results.team-b.digits.x",
            "$JS.API.STREAM.DELETE.LIFECYCLE",
            "$JS.ACK.INBOUND.ingress.1.1.1.1.1",
            "$SYS.REQ.SERVER.PING",
            "$KV.slipway-leases.a.b.controller.x",
            &long,
        ] {
            assert!(ReplySubject::read(text, &namespace).is_err(), "{text}");
        }
    }
}
