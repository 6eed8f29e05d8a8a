//! The CloudEvents 1.0 envelope over NATS, as it comes from outside: binary, structured JSON or structured protobuf, with data as
//! JSON or protobuf. What the bus itself writes is always binary mode with JSON data, so that a person can read it.

mod binary;
mod percent;
mod structured;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde_json::Value;
use slipway_kernel::Timestamp;
use slipway_proto::json::{Unknown, bytes_to_json};

pub(crate) use binary::{insert, write};
pub(crate) use percent::decode as text;

/// How the data of an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`.
    Json,
    /// `application/protobuf`.
    Protobuf,
}

impl ContentType {
    /// The media type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/protobuf",
        }
    }

    /// What a media type names; none given means JSON.
    fn read(media: Option<&str>) -> Result<Self, EnvelopeError> {
        let Some(media) = media else { return Ok(Self::Json) };
        let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" | "application/json" | "text/json" => Ok(Self::Json),
            "application/protobuf" | "application/x-protobuf" => Ok(Self::Protobuf),
            essence if essence.ends_with("+json") => Ok(Self::Json),
            _ => Err(EnvelopeError::ContentType(essence.chars().take(80).collect())),
        }
    }
}

/// Why a message is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// A required attribute is missing or empty.
    #[error("the attribute `{0}` is missing")]
    Missing(&'static str),
    /// An attribute has a value that it must not have.
    #[error("the attribute `{name}` is refused: {reason}")]
    Attribute {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// Not version 1.0.
    #[error("CloudEvents version `{0}` is not 1.0")]
    Version(String),
    /// Data in a format that is not read.
    #[error("data of type `{0}` is not read; known: application/json, application/protobuf")]
    ContentType(String),
    /// A structured event, or its data, that cannot be read.
    #[error("not readable: {0}")]
    Malformed(String),
}

/// An event as it came, its data still undecoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// `ce-id`.
    pub id: String,
    /// `ce-source`.
    pub source: String,
    /// `ce-type`.
    pub kind: String,
    /// `ce-subject`.
    pub subject: Option<String>,
    /// `ce-time`; for reading only.
    pub time: Option<Timestamp>,
    /// `ce-correlationid`.
    pub correlation: Option<String>,
    /// `ce-causationid`.
    pub causation: Option<String>,
    /// `ce-actor`: what the sender says of itself. The gate never believes it.
    pub actor: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// How the data is written.
    pub content: ContentType,
    /// The data.
    pub data: Bytes,
}

/// The longest attribute that is read: ids and sources end up in facts, and those are small.
const MAX_ATTRIBUTE: usize = 1_024;

impl Envelope {
    /// Reads an event in whichever mode it is written.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn read(headers: &HeaderMap, payload: &Bytes) -> Result<Self, EnvelopeError> {
        let media = crate::wire::header(headers, "content-type");
        let essence = media.map(|m| m.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        match essence.as_deref() {
            Some("application/cloudevents+json" | "application/cloudevents") => structured::json(payload),
            Some("application/cloudevents+protobuf") => structured::protobuf(payload),
            _ => binary::read(headers, payload, media),
        }
    }

    /// The data as JSON; protobuf is read as the message `message` (`slipway.v1.ModelDeployment`).
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn json(&self, message: &str, unknown: Unknown) -> Result<Value, EnvelopeError> {
        match self.content {
            ContentType::Json => {
                serde_json::from_slice(&self.data).map_err(|error| EnvelopeError::Malformed(error.to_string()))
            }
            ContentType::Protobuf => {
                bytes_to_json(message, &self.data, unknown).map_err(|error| EnvelopeError::Malformed(error.to_string()))
            }
        }
    }

    /// What every mode must have.
    fn checked(self, version: &str) -> Result<Self, EnvelopeError> {
        if version != "1.0" {
            return Err(EnvelopeError::Version(version.chars().take(20).collect()));
        }
        for (name, value) in [("id", &self.id), ("source", &self.source), ("type", &self.kind)] {
            if value.is_empty() {
                return Err(EnvelopeError::Missing(name));
            }
        }
        let others = [&self.subject, &self.correlation, &self.causation, &self.actor, &self.traceparent];
        let all = [&self.id, &self.source, &self.kind].into_iter().chain(others.into_iter().flatten());
        for value in all {
            if value.len() > MAX_ATTRIBUTE || value.chars().any(char::is_control) {
                return Err(EnvelopeError::Attribute {
                    name: value.chars().take(40).collect(),
                    reason: format!("at most {MAX_ATTRIBUTE} bytes, no control characters"),
                });
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use prost::Message as _;
    use slipway_proto::io::cloudevents::v1::{
        CloudEvent, cloud_event::CloudEventAttributeValue, cloud_event::Data,
        cloud_event::cloud_event_attribute_value::Attr,
    };

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, *value);
        }
        headers
    }

    const BINARY: [(&str, &str); 5] = [
        ("Ce-SpecVersion", "1.0"),
        ("ce-id", "1"),
        ("CE-SOURCE", "ci/7"),
        ("ce-type", "dev.slipway.deploy.v1"),
        ("Content-Type", "application/json; charset=utf-8"),
    ];

    #[test]
    fn binary_mode_is_read_without_regard_to_case() {
        let read = Envelope::read(&headers(&BINARY), &Bytes::from_static(b"{}")).unwrap();
        assert_eq!((read.id.as_str(), read.source.as_str(), read.content), ("1", "ci/7", ContentType::Json));
    }

    #[test]
    fn the_three_modes_say_the_same() {
        let binary = Envelope::read(&headers(&BINARY), &Bytes::from_static(br#"{"a":1}"#)).unwrap();
        let json = br#"{"specversion":"1.0","id":"1","source":"ci/7","type":"dev.slipway.deploy.v1","datacontenttype":"application/json","data":{"a":1}}"#;
        let structured = headers(&[("content-type", "application/cloudevents+json; charset=utf-8")]);
        assert_eq!(Envelope::read(&structured, &Bytes::from_static(json)).unwrap(), binary);
        let event = CloudEvent {
            id: "1".to_owned(),
            source: "ci/7".to_owned(),
            spec_version: "1.0".to_owned(),
            r#type: "dev.slipway.deploy.v1".to_owned(),
            attributes: [(
                "datacontenttype".to_owned(),
                CloudEventAttributeValue { attr: Some(Attr::CeString("application/json".to_owned())) },
            )]
            .into(),
            data: Some(Data::TextData(r#"{"a":1}"#.to_owned())),
        };
        let structured = headers(&[("content-type", "application/cloudevents+protobuf")]);
        assert_eq!(Envelope::read(&structured, &event.encode_to_vec().into()).unwrap(), binary);
    }

    #[test]
    fn protobuf_data_is_carried_in_every_mode() {
        let data = [8_u8, 1];
        let mut binary = BINARY.to_vec();
        binary[4] = ("content-type", "application/protobuf");
        let read = Envelope::read(&headers(&binary), &Bytes::copy_from_slice(&data)).unwrap();
        assert_eq!((read.content, read.data.as_ref()), (ContentType::Protobuf, data.as_slice()));
        let json = format!(
            r#"{{"specversion":"1.0","id":"1","source":"ci/7","type":"dev.slipway.deploy.v1","datacontenttype":"application/protobuf","data_base64":"{}"}}"#,
            STANDARD.encode(data)
        );
        let structured = headers(&[("content-type", "application/cloudevents+json")]);
        assert_eq!(Envelope::read(&structured, &json.into()).unwrap(), read);
    }

    #[test]
    fn what_is_no_event_is_refused_with_the_reason() {
        let without = |name: &str| {
            let kept: Vec<_> = BINARY.iter().copied().filter(|(n, _)| !n.eq_ignore_ascii_case(name)).collect();
            Envelope::read(&headers(&kept), &Bytes::new()).unwrap_err()
        };
        assert_eq!(without("ce-id"), EnvelopeError::Missing("id"));
        assert_eq!(without("ce-source"), EnvelopeError::Missing("source"));
        assert_eq!(without("ce-type"), EnvelopeError::Missing("type"));
        assert_eq!(without("ce-specversion"), EnvelopeError::Missing("specversion"));
        let mut other = BINARY.to_vec();
        other[4] = ("content-type", "text/plain");
        assert!(matches!(Envelope::read(&headers(&other), &Bytes::new()), Err(EnvelopeError::ContentType(_))));
        other[4] = BINARY[4];
        other[0] = ("ce-specversion", "0.3");
        assert!(matches!(Envelope::read(&headers(&other), &Bytes::new()), Err(EnvelopeError::Version(_))));
        let structured = headers(&[("content-type", "application/cloudevents+json")]);
        for bad in ["", "[]", "{", r#"{"specversion":"1.0"}"#, r#"{"specversion":1}"#] {
            assert!(Envelope::read(&structured, &bad.to_owned().into()).is_err(), "{bad}");
        }
        let structured = headers(&[("content-type", "application/cloudevents+protobuf")]);
        assert!(Envelope::read(&structured, &Bytes::from_static(b"\xff\xff")).is_err());
    }

    #[test]
    fn a_long_or_unprintable_attribute_is_refused() {
        let long = "x".repeat(1_025);
        for bad in [long.as_str(), "a%0Ab"] {
            let mut pairs = BINARY.to_vec();
            pairs[1] = ("ce-id", bad);
            let read = Envelope::read(&headers(&pairs), &Bytes::new());
            assert!(matches!(read, Err(EnvelopeError::Attribute { .. })), "{bad}");
        }
    }
}
