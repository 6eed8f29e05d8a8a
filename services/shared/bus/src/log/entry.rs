//! What one message of the log is: a fact, an answer of a newer version, or something that no service wrote.

use crate::{
    envelope::{ContentType, Envelope},
    topology::parse_fact,
    wire::Stored,
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use slipway_kernel::{Answer, Digest, Fact, SetAside, Timestamp, UnknownAnswer};
use std::sync::Arc;

const PREFIX: &str = "dev.slipway.";
/// The version of every answer this program writes and reads.
const MAJOR: &str = "1";

/// `dev.slipway.<answer>.v1`.
pub(crate) fn kind_of(answer: &Answer) -> String {
    format!("{PREFIX}{}.v{MAJOR}", answer.name())
}

/// One message of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its subject.
    pub subject: String,
    /// Where it stands in the stream: never an identity.
    pub sequence: u64,
    /// When the log appended it, by the log's clock.
    pub at: Timestamp,
    /// What it is.
    pub content: Content,
    /// SHA-256 over subject, attributes and data: what the ledger compares.
    pub digest: Digest,
    /// The message itself.
    pub raw: RawFact,
}

/// A message as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawFact {
    /// Its headers without those that steered the write, sorted.
    pub headers: Vec<(String, String)>,
    /// Its payload.
    pub payload: Bytes,
}

/// What a message of the log is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A fact.
    Fact(Arc<Fact>),
    /// An answer of a type or version that this program does not know: skipped, an upgraded replica may know it.
    UnknownType(String),
    /// No fact: kept out of the fold, with the reason.
    SetAside(SetAside),
}

impl Content {
    /// The fact, if it is one.
    #[must_use]
    pub const fn fact(&self) -> Option<&Arc<Fact>> {
        match self {
            Self::Fact(fact) => Some(fact),
            Self::UnknownType(_) | Self::SetAside(_) => None,
        }
    }
}

impl Entry {
    pub(crate) fn read(stored: &Stored) -> Self {
        let raw = RawFact { headers: plain_headers(stored), payload: stored.payload.clone() };
        Self {
            subject: stored.subject.clone(),
            sequence: stored.sequence,
            at: stored.at,
            content: content_of(stored),
            digest: digest(&stored.subject, &raw),
            raw,
        }
    }
}

fn plain_headers(stored: &Stored) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = stored
        .headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string())))
        // What steered the write differs when a ledger writes the fact into a fresh log.
        .filter(|(name, _)| !name.to_ascii_lowercase().starts_with("nats-"))
        .collect();
    headers.sort();
    headers
}

/// The digest of a fact: the same in every log it stands in, different if a bit of it is.
fn digest(subject: &str, raw: &RawFact) -> Digest {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // Lengths keep the parts apart.
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    part(subject.as_bytes());
    for (name, value) in &raw.headers {
        part(name.to_ascii_lowercase().as_bytes());
        part(value.as_bytes());
    }
    part(&raw.payload);
    // 64 hexadecimal digits are a digest.
    hex::encode(hasher.finalize()).parse().unwrap_or_else(|_| Digest::of(&[]))
}

fn content_of(stored: &Stored) -> Content {
    let aside = |reason: String| Content::SetAside(SetAside { subject: stored.subject.clone(), reason });
    let key = match parse_fact(&stored.subject) {
        Ok(key) => key,
        Err(reason) => return aside(format!("no subject of a fact: {reason}")),
    };
    let envelope = match Envelope::read(&stored.headers, &stored.payload) {
        Ok(envelope) => envelope,
        Err(error) => return aside(error.to_string()),
    };
    let known = envelope.kind.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once(".v"));
    let Some((name, MAJOR)) = known else { return Content::UnknownType(envelope.kind) };
    if envelope.content != ContentType::Json {
        return aside("facts are written as JSON".to_owned());
    }
    match Answer::from_json(name, &envelope.data) {
        Ok(answer) => Content::Fact(Arc::new(Fact {
            key,
            id: envelope.id,
            actor: envelope.actor.unwrap_or_default(),
            causation: envelope.causation,
            correlation: envelope.correlation.unwrap_or_default(),
            traceparent: envelope.traceparent,
            at: stored.at,
            sequence: stored.sequence,
            answer,
        })),
        Err(UnknownAnswer::Type(_)) => Content::UnknownType(envelope.kind),
        Err(error @ UnknownAnswer::Data { .. }) => aside(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_nats::HeaderMap;

    fn stored(subject: &str, kind: &str, payload: &'static str) -> Stored {
        let mut headers = HeaderMap::new();
        for (name, value) in [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "s"), ("ce-type", kind)] {
            headers.insert(name, value);
        }
        headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
        Stored {
            subject: subject.to_owned(),
            sequence: 7,
            at: Timestamp(1),
            headers,
            payload: Bytes::from_static(payload.as_bytes()),
        }
    }

    const SUBJECT: &str = "slipway.lifecycle.default.digits.1.1.degradation.0";

    #[test]
    fn a_fact_is_read_with_its_envelope() {
        let entry = Entry::read(&stored(SUBJECT, "dev.slipway.recovered.v1", r#"{"new":"field"}"#));
        let fact = entry.content.fact().unwrap();
        assert_eq!((fact.sequence, fact.id.as_str(), fact.answer.name()), (7, "1", "recovered"));
    }

    #[test]
    fn an_answer_of_a_newer_version_is_skipped_and_nonsense_is_set_aside() {
        let read = |subject, kind, payload| Entry::read(&stored(subject, kind, payload)).content;
        for kind in ["dev.slipway.recovered.v2", "dev.slipway.celebrated.v1", "com.example.x", "dev.slipway.recovered"]
        {
            assert!(matches!(read(SUBJECT, kind, "{}"), Content::UnknownType(_)), "{kind}");
        }
        for payload in ["", "[", r#"{"measurements":7}"#] {
            assert!(matches!(read(SUBJECT, "dev.slipway.recovered.v1", payload), Content::SetAside(_)), "{payload}");
        }
        for subject in ["slipway.lifecycle.x", "slipway.lifecycle.default.digits.1.1.nonsense.0"] {
            assert!(matches!(read(subject, "dev.slipway.recovered.v1", "{}"), Content::SetAside(_)), "{subject}");
        }
    }

    #[test]
    fn the_digest_is_of_what_was_said_and_not_of_how_it_was_written() {
        let one = stored(SUBJECT, "dev.slipway.recovered.v1", "{}");
        let mut moved = one.clone();
        moved.sequence = 900;
        moved.headers.insert("Nats-Expected-Last-Subject-Sequence", "44");
        assert_eq!(Entry::read(&one).digest, Entry::read(&moved).digest);
        let mut changed = one.clone();
        changed.payload = Bytes::from_static(b"{ }");
        assert_ne!(Entry::read(&one).digest, Entry::read(&changed).digest);
        changed = one.clone();
        changed.headers.insert("ce-actor", "x");
        assert_ne!(Entry::read(&one).digest, Entry::read(&changed).digest);
    }
}
