//! Single exchanges with the broker: publish and wait for the acknowledgement, ask the administration, read one message.

use crate::{
    connect::Bus,
    error::BusError,
    time::{from_broker, from_rfc3339, since_epoch},
    topology::API,
};
use async_nats::{HeaderMap, HeaderName, HeaderValue, Message, Request, RequestErrorKind, StatusCode, jetstream};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_kernel::Timestamp;
use std::{sync::Arc, time::Duration};
use tokio::sync::broadcast::Receiver;

/// The store refused. Among its reasons is that the subject has all the messages it may have.
const STORE_REFUSED: u64 = 10_077;
/// The header of a write that holds only on top of this sequence of its subject; 0: of none.
pub(crate) const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
/// The expected last sequence is not the last one any more. The broker has two codes for it.
pub(crate) const MOVED: [u64; 2] = [10_071, 10_164];
/// No message found.
const NO_MESSAGE: u64 = 10_037;

/// Whether a write was refused because the subject has its message, or its full queue, already. The code alone does not say: a disk
/// without room has the same.
pub(crate) fn is_taken(error: &BusError) -> bool {
    matches!(error, BusError::Refused { code: STORE_REFUSED, description, .. } if description.contains("per subject"))
}

/// Whether a write was refused because the stream has no room, for whatever reason.
pub(crate) fn is_refused_by_store(error: &BusError) -> bool {
    matches!(error, BusError::Refused { code: STORE_REFUSED, .. })
}

/// A stored message as it was read back.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) subject: String,
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

impl Stored {
    /// The first value of a header, its name compared without regard to case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    pub(crate) fn of_delivery(message: &jetstream::Message) -> Option<(Self, Delivery)> {
        let info = message.info().ok()?;
        let stored = Self {
            subject: message.subject.to_string(),
            sequence: info.stream_sequence,
            at: from_broker(info.published),
            headers: message.headers.clone().unwrap_or_default(),
            payload: message.payload.clone(),
        };
        let delivery = Delivery {
            count: u64::try_from(info.delivered).unwrap_or(1),
            consumer_sequence: info.consumer_sequence,
            pending: info.pending,
            appended: since_epoch(info.published),
        };
        Some((stored, delivery))
    }
}

/// What is known of a delivery besides the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    /// 1 = first.
    pub(crate) count: u64,
    pub(crate) consumer_sequence: u64,
    /// How many more the consumer has.
    pub(crate) pending: u64,
    /// When the broker appended it, since the Unix epoch: finer than the message's own time.
    pub(crate) appended: Duration,
}

/// The first value of a header, its name compared without regard to case.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let (_, values) = headers.iter().find(|(known, _)| AsRef::<str>::as_ref(*known).eq_ignore_ascii_case(name))?;
    values.first().map(HeaderValue::as_str)
}

/// A stream's acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) sequence: u64,
    pub(crate) duplicate: bool,
}

#[derive(Deserialize)]
struct Answer {
    error: Option<AnswerError>,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
}

#[derive(Deserialize)]
struct AnswerError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Publishes one message and waits for the stream's acknowledgement. A timeout says nothing about whether it was stored.
pub(crate) async fn publish(bus: &Bus, subject: String, headers: HeaderMap, payload: Bytes) -> Result<Ack, BusError> {
    let action = format!("publish to `{subject}`");
    let request = Request::new().headers(headers).payload(payload);
    let answer = exchange(bus, subject, request, &action).await?;
    let answer: Answer = read(&answer.payload, &action)?;
    match (answer.error, answer.seq) {
        (Some(error), _) => Err(BusError::Refused { action, code: error.err_code, description: error.description }),
        (None, Some(sequence)) => Ok(Ack { sequence, duplicate: answer.duplicate }),
        (None, None) => Err(BusError::Unreadable { action, reason: "no sequence in it".to_owned() }),
    }
}

/// Asks the administration of JetStream.
pub(crate) async fn api(bus: &Bus, what: &str, body: &impl Serialize) -> Result<Value, BusError> {
    let action = what.to_owned();
    let body =
        serde_json::to_vec(body).map_err(|e| BusError::Unreadable { action: action.clone(), reason: e.to_string() })?;
    let answer = exchange(bus, format!("{API}.{what}"), Request::new().payload(body.into()), &action).await?;
    let answer: Value = read(&answer.payload, &action)?;
    match answer.get("error") {
        Some(error) => Err(BusError::Refused {
            action,
            code: error.get("err_code").and_then(Value::as_u64).unwrap_or(0),
            description: error.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
        }),
        None => Ok(answer),
    }
}

/// Reads the last message of a subject from the stream's leader.
pub(crate) async fn last_of(bus: &Bus, stream: &str, subject: &str) -> Result<Option<Stored>, BusError> {
    leader_read(bus, stream, &serde_json::json!({ "last_by_subj": subject })).await
}

/// Reads the message with a sequence from the stream's leader.
pub(crate) async fn message_at(bus: &Bus, stream: &str, sequence: u64) -> Result<Option<Stored>, BusError> {
    leader_read(bus, stream, &serde_json::json!({ "seq": sequence })).await
}

async fn leader_read(bus: &Bus, stream: &str, which: &Value) -> Result<Option<Stored>, BusError> {
    let what = format!("STREAM.MSG.GET.{stream}");
    match api(bus, &what, which).await {
        Ok(answer) => of_leader(&answer).map(Some).ok_or_else(|| BusError::Unreadable {
            action: format!("read {which} of {stream}"),
            reason: "no whole message in the answer".to_owned(),
        }),
        Err(BusError::Refused { code: NO_MESSAGE, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn of_leader(answer: &Value) -> Option<Stored> {
    let message = answer.get("message")?;
    let bytes = |field: &str| match message.get(field).and_then(Value::as_str) {
        Some(text) => STANDARD.decode(text).ok(),
        None => Some(Vec::new()),
    };
    Some(Stored {
        subject: message.get("subject")?.as_str()?.to_owned(),
        sequence: message.get("seq")?.as_u64()?,
        at: from_rfc3339(message.get("time")?.as_str()?)?,
        headers: parse_headers(&bytes("hdrs")?),
        payload: bytes("data")?.into(),
    })
}

/// The header block as it is stored: a version line, then `name: value` lines.
fn parse_headers(block: &[u8]) -> HeaderMap {
    let text = String::from_utf8_lossy(block);
    let lines = text.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.trim().parse::<HeaderValue>()) {
            headers.append(name, value);
        }
    }
    headers
}

/// Reads one subject from any copy of the stream, by the only read that permissions can confine to a subject.
pub(crate) async fn direct_last_of(bus: &Bus, stream: &str, subject: &str) -> Result<Option<Stored>, BusError> {
    let action = format!("read `{subject}`");
    let request = Request::new();
    let answer = exchange(bus, format!("{API}.DIRECT.GET.{stream}.{subject}"), request, &action).await?;
    if answer.status.is_some_and(|status| status == StatusCode::NOT_FOUND) {
        return Ok(None);
    }
    let unreadable = || BusError::Unreadable { action: action.clone(), reason: "no whole message in it".to_owned() };
    let headers = answer.headers.unwrap_or_default();
    Ok(Some(Stored {
        subject: header(&headers, "Nats-Subject").ok_or_else(unreadable)?.to_owned(),
        sequence: header(&headers, "Nats-Sequence").and_then(|s| s.parse().ok()).ok_or_else(unreadable)?,
        at: header(&headers, "Nats-Time-Stamp").and_then(from_rfc3339).ok_or_else(unreadable)?,
        payload: answer.payload,
        headers,
    }))
}

async fn exchange(bus: &Bus, subject: String, request: Request, action: &str) -> Result<Message, BusError> {
    let asking = bus.client().send_request(subject.clone(), request);
    guarded(bus, &subject, action, async {
        asking.await.map_err(|error| match error.kind() {
            RequestErrorKind::TimedOut => {
                BusError::Timeout { action: action.to_owned(), waited: bus.request_timeout() }
            }
            RequestErrorKind::NoResponders => BusError::NobodyAnswers { action: action.to_owned() },
            _ => BusError::Connection(error.to_string()),
        })
    })
    .await
}

/// Runs an exchange and ends it at once when the broker says that the permissions forbid it: it would never be answered.
async fn guarded<T>(
    bus: &Bus,
    subject: &str,
    action: &str,
    exchange: impl Future<Output = Result<T, BusError>>,
) -> Result<T, BusError> {
    let violations = bus.violations();
    tokio::select! {
        biased;
        done = exchange => done,
        () = violated(violations, subject) => {
            Err(BusError::Denied { principal: bus.principal(), action: action.to_owned() })
        }
    }
}

/// Ends when the broker reports that publishing to `subject` is not allowed.
async fn violated(mut violations: Receiver<Arc<str>>, subject: &str) {
    let quoted = format!("\"{}", subject.to_lowercase());
    loop {
        match violations.recv().await {
            Ok(text) => {
                let text = text.to_lowercase();
                if text.contains("permissions violation for publish") && text.contains(&quoted) {
                    return;
                }
            }
            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
            Err(tokio::sync::broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8], action: &str) -> Result<T, BusError> {
    serde_json::from_slice(bytes)
        .map_err(|error| BusError::Unreadable { action: action.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_read_without_regard_to_case() {
        let mut headers = HeaderMap::new();
        headers.insert("Ce-Id", "7");
        assert_eq!(header(&headers, "ce-id"), Some("7"));
        assert_eq!(header(&headers, "ce-source"), None);
    }

    #[test]
    fn a_stored_header_block_is_read() {
        let headers = parse_headers(b"NATS/1.0\r\nce-id: a:b\r\nce-type:x\r\n\r\n");
        assert_eq!((header(&headers, "ce-id"), header(&headers, "ce-type")), (Some("a:b"), Some("x")));
        assert!(parse_headers(b"").is_empty());
    }
}
