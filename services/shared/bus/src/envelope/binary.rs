//! Binary mode: attributes are headers, the payload is the data.

use super::{
    ContentType, Envelope, EnvelopeError,
    percent::{decode, encode},
};
use crate::{
    time::{from_rfc3339, to_rfc3339},
    wire::header,
};
use async_nats::HeaderMap;
use bytes::Bytes;

pub(super) fn read(headers: &HeaderMap, payload: &Bytes, media: Option<&str>) -> Result<Envelope, EnvelopeError> {
    let attribute = |name: &str| header(headers, &format!("ce-{name}")).map(decode);
    let version = attribute("specversion").ok_or(EnvelopeError::Missing("specversion"))?;
    let declared = attribute("datacontenttype");
    let envelope = Envelope {
        id: attribute("id").unwrap_or_default(),
        source: attribute("source").unwrap_or_default(),
        kind: attribute("type").unwrap_or_default(),
        subject: attribute("subject"),
        time: attribute("time").as_deref().and_then(from_rfc3339),
        correlation: attribute("correlationid"),
        causation: attribute("causationid"),
        actor: attribute("actor"),
        // The bare header is what tracing libraries write, the attribute what the CloudEvents extension says.
        traceparent: header(headers, "traceparent").map(str::to_owned).or_else(|| attribute("traceparent")),
        content: ContentType::read(media.or(declared.as_deref()))?,
        data: payload.clone(),
    };
    envelope.checked(&version)
}

/// Writes one attribute, if there is one.
pub(crate) fn insert(headers: &mut HeaderMap, name: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        headers.insert(name, encode(value));
    }
}

/// The headers of an event in binary mode.
pub(crate) fn write(envelope: &Envelope) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, "ce-specversion", Some("1.0"));
    insert(&mut headers, "ce-id", Some(&envelope.id));
    insert(&mut headers, "ce-source", Some(&envelope.source));
    insert(&mut headers, "ce-type", Some(&envelope.kind));
    insert(&mut headers, "ce-subject", envelope.subject.as_deref());
    insert(&mut headers, "ce-time", envelope.time.map(to_rfc3339).as_deref());
    insert(&mut headers, "ce-correlationid", envelope.correlation.as_deref());
    insert(&mut headers, "ce-causationid", envelope.causation.as_deref());
    insert(&mut headers, "ce-actor", envelope.actor.as_deref());
    insert(&mut headers, "traceparent", envelope.traceparent.as_deref());
    insert(&mut headers, "content-type", Some(envelope.content.as_str()));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Timestamp;

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let envelope = Envelope {
            id: "01".to_owned(),
            source: "slipway/controller".to_owned(),
            kind: "dev.slipway.released.v1".to_owned(),
            subject: Some("default.digits.1.1.release.0".to_owned()),
            time: Some(Timestamp(1_795_428_000_123)),
            correlation: Some("c".to_owned()),
            causation: Some("default.digits.1.1.validation.0".to_owned()),
            actor: Some("Zoë \"Z\" 100%".to_owned()),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            content: ContentType::Json,
            data: Bytes::from_static(b"{}"),
        };
        assert_eq!(Envelope::read(&write(&envelope), &envelope.data).unwrap(), envelope);
    }
}
