//! Structured mode: the payload is the whole event.

use super::{ContentType, Envelope, EnvelopeError};
use crate::time::from_rfc3339;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;
use slipway_kernel::Timestamp;
use slipway_proto::io::cloudevents::v1::{
    CloudEvent, cloud_event::CloudEventAttributeValue, cloud_event::Data,
    cloud_event::cloud_event_attribute_value::Attr,
};

fn malformed(reason: impl std::fmt::Display) -> EnvelopeError {
    EnvelopeError::Malformed(reason.to_string())
}

pub(super) fn json(payload: &Bytes) -> Result<Envelope, EnvelopeError> {
    let event: Value = serde_json::from_slice(payload).map_err(malformed)?;
    let Value::Object(event) = event else { return Err(malformed("not an object")) };
    let text = |name: &str| match event.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(EnvelopeError::Attribute { name: name.to_owned(), reason: "not a string".to_owned() }),
    };
    let version = text("specversion")?.ok_or(EnvelopeError::Missing("specversion"))?;
    let content = ContentType::read(text("datacontenttype")?.as_deref())?;
    let data = match (event.get("data"), text("data_base64")?) {
        (Some(_), Some(_)) => return Err(malformed("both `data` and `data_base64`")),
        (Some(data), None) if content == ContentType::Json => serde_json::to_vec(data).map_err(malformed)?,
        (Some(_), None) => return Err(malformed("protobuf data belongs into `data_base64`")),
        (None, Some(encoded)) => STANDARD.decode(encoded).map_err(malformed)?,
        (None, None) => Vec::new(),
    };
    let envelope = Envelope {
        id: text("id")?.unwrap_or_default(),
        source: text("source")?.unwrap_or_default(),
        kind: text("type")?.unwrap_or_default(),
        subject: text("subject")?,
        time: text("time")?.as_deref().and_then(from_rfc3339),
        correlation: text("correlationid")?,
        causation: text("causationid")?,
        actor: text("actor")?,
        traceparent: text("traceparent")?,
        content,
        data: data.into(),
    };
    envelope.checked(&version)
}

pub(super) fn protobuf(payload: &Bytes) -> Result<Envelope, EnvelopeError> {
    let event = CloudEvent::decode(payload.clone()).map_err(malformed)?;
    let text = |name: &str| event.attributes.get(name).and_then(as_text);
    let declared = text("datacontenttype");
    let content = match (&event.data, &declared) {
        // A packed message says by itself what it is.
        (Some(Data::ProtoData(_)), None) => ContentType::Protobuf,
        _ => ContentType::read(declared.as_deref())?,
    };
    let (time, subject) = (event.attributes.get("time").and_then(as_time), text("subject"));
    let (correlation, causation) = (text("correlationid"), text("causationid"));
    let (actor, traceparent) = (text("actor"), text("traceparent"));
    let data = match event.data {
        Some(Data::BinaryData(bytes)) => bytes.into(),
        Some(Data::TextData(text)) => Bytes::from(text),
        Some(Data::ProtoData(any)) => Bytes::from(any.value.to_vec()),
        None => Bytes::new(),
    };
    let envelope = Envelope {
        time,
        subject,
        correlation,
        causation,
        actor,
        traceparent,
        content,
        data,
        id: event.id,
        source: event.source,
        kind: event.r#type,
    };
    envelope.checked(&event.spec_version)
}

fn as_text(value: &CloudEventAttributeValue) -> Option<String> {
    match value.attr.as_ref()? {
        Attr::CeString(text) | Attr::CeUri(text) | Attr::CeUriRef(text) => Some(text.clone()),
        Attr::CeInteger(number) => Some(number.to_string()),
        Attr::CeBoolean(flag) => Some(flag.to_string()),
        Attr::CeBytes(_) | Attr::CeTimestamp(_) => None,
    }
}

fn as_time(value: &CloudEventAttributeValue) -> Option<Timestamp> {
    match value.attr.as_ref()? {
        Attr::CeTimestamp(time) => {
            let millis = time.seconds.checked_mul(1_000)?.checked_add(i64::from(time.nanos) / 1_000_000)?;
            u64::try_from(millis).ok().map(Timestamp)
        }
        Attr::CeString(text) => from_rfc3339(text),
        _ => None,
    }
}
