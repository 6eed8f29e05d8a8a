//! A message of NATS as a request: its headers as those of HTTP, its payload as the message of gRPC or a body of HTTP.

use crate::{
    error::RequestError,
    limits,
    routes::{address::Address, head::Head, wire::Wire},
    trail::Trail,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use prost::Message as _;
use slipway_kernel::{DeploymentId, Refusals};
use slipway_oip::reply::{self, Reply};
use slipway_proto::{codec, inference::ModelInferRequest};

/// What is said of payloads that are none.
const PAYLOADS: &str = "application/protobuf (a ModelInferRequest, also where nothing is said), application/json, or a document with \
                        tensors behind it, told by inference-header-content-length";

/// A request as it stands in its message.
#[derive(Debug)]
pub(super) struct Incoming {
    /// What it addresses.
    pub(super) address: Address,
    /// How it is to be answered.
    pub(super) head: Head,
    /// What it asks.
    pub(super) wire: Wire,
}

/// The headers of a message as those of HTTP, whose names have no capitals.
pub(super) fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, RequestError> {
    let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits::HEADER_BYTES || pairs.len() > limits::HEADER_COUNT {
        return Err(RequestError::HeadTooLarge { limit: limits::HEADER_BYTES });
    }
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let path = || format!("header.{}", name.chars().take(80).collect::<String>());
        let known = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| RequestError::invalid(path(), "its name", "letters, digits and hyphens"))?;
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| RequestError::invalid(path(), "its value", "text without control characters"))?;
        headers.append(known, value);
    }
    Ok(headers)
}

impl Incoming {
    /// Reads a request for a deployment.
    ///
    /// # Errors
    /// [`RequestError::Invalid`] and what of the names is none.
    pub(super) fn read(
        deployment: &DeploymentId,
        headers: &HeaderMap,
        head: Head,
        payload: Bytes,
    ) -> Result<Self, RequestError> {
        let wire = if is_document(headers)? { body(headers, payload)? } else { message(&payload)? };
        let version = match &wire {
            Wire::Message(message) => {
                let names = [String::new(), deployment.name.to_string(), deployment.to_string()];
                if !names.contains(&message.model_name) {
                    let allowed = format!("nothing or `{}`, which the subject names", deployment.name);
                    return Err(RequestError::invalid("model_name", &message.model_name, allowed));
                }
                Some(message.model_version.as_str()).filter(|version| !version.is_empty())
            }
            Wire::Body { .. } => None,
        };
        let (namespace, name) = (deployment.namespace.as_str(), deployment.name.as_str());
        let address = Address::of(Some(namespace), name, version, headers)?;
        Ok(Self { address, head, wire })
    }
}

/// Whether the payload is a document, and is answered by one; else it is a message.
///
/// # Errors
/// [`RequestError::Invalid`] when the headers say something else.
pub(super) fn is_document(headers: &HeaderMap) -> Result<bool, RequestError> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING) {
        let found = String::from_utf8_lossy(encoding.as_bytes());
        return Err(RequestError::invalid("header.content-encoding", found, "none: payloads are read as they are"));
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (kind, second) = (types.next(), types.next());
    let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase());
    let essence = kind.as_deref().map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let ends_somewhere = headers.contains_key(reply::LENGTH_OF_DOCUMENT);
    match essence {
        _ if second.is_some() => Err(RequestError::invalid("header.content-type", "given twice", PAYLOADS)),
        Some("application/json") => Ok(true),
        None | Some("application/octet-stream") => Ok(ends_somewhere),
        Some("application/protobuf" | "application/x-protobuf") => Ok(false),
        Some(found) => Err(RequestError::invalid("header.content-type", found, PAYLOADS)),
    }
}

fn body(headers: &HeaderMap, payload: Bytes) -> Result<Wire, RequestError> {
    let parts = slipway_oip::http::parts(headers, payload.clone())
        .map_err(|refusal| RequestError::Invalid(Refusals(vec![refusal])))?;
    Ok(Wire::Body { whole: payload, parts })
}

fn message(payload: &Bytes) -> Result<Wire, RequestError> {
    let allowed = "a ModelInferRequest of the Open Inference Protocol; a document needs content-type: application/json";
    codec::check_fields(payload).map_err(|error| RequestError::invalid("payload", error, allowed))?;
    let message = ModelInferRequest::decode(payload.clone());
    message
        .map(|message| Wire::Message(Box::new(message)))
        .map_err(|error| RequestError::invalid("payload", error, allowed))
}

/// The answer with what is known of its request beside it.
pub(super) fn told(mut reply: Reply, trail: &Trail) -> Reply {
    let mut headers = HeaderMap::new();
    trail.write(&mut headers);
    for name in [reply::REQUEST_ID, reply::CORRELATION_ID, reply::REVISION, reply::CACHE, reply::TRACEPARENT] {
        if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok())
            && !reply.headers.iter().any(|(known, _)| *known == name)
        {
            reply.headers.push((name, value.to_owned()));
        }
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn read(given: &[(&str, &str)], payload: impl Into<Bytes>) -> Result<Incoming, RequestError> {
        let headers = headers(&pairs(given))?;
        let head = Head::of_message(&headers)?;
        Incoming::read(&"team.digits".parse().unwrap(), &headers, head, payload.into())
    }

    fn path(refused: Result<Incoming, RequestError>) -> String {
        match refused {
            Err(RequestError::Invalid(refusals)) => refusals.0[0].path.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_payload_is_what_its_headers_say_and_a_message_if_they_say_nothing() {
        let message = ModelInferRequest { model_name: "digits".to_owned(), id: "a".to_owned(), ..Default::default() };
        let message = message.encode_to_vec();
        for given in [
            &[][..],
            &[("Content-Type", "application/protobuf")],
            &[("content-type", "Application/X-Protobuf; proto=x")],
            &[("content-type", "application/octet-stream")],
        ] {
            assert!(matches!(read(given, message.clone()).unwrap().wire, Wire::Message(_)), "{given:?}");
        }
        for given in [
            &[("content-type", "application/json; charset=utf-8")][..],
            &[("content-type", "application/json"), ("inference-header-content-length", "2")],
            &[("content-type", "application/octet-stream"), ("Inference-Header-Content-Length", "2")],
            &[("inference-header-content-length", "2")],
        ] {
            assert!(matches!(read(given, "{}").unwrap().wire, Wire::Body { .. }), "{given:?}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_by_the_path_of_what_is_wrong() {
        let other =
            |name: &str| ModelInferRequest { model_name: name.to_owned(), ..Default::default() }.encode_to_vec();
        assert!(read(&[], other("team.digits")).is_ok() && read(&[], other("")).is_ok());
        let many = ModelInferRequest { inputs: vec![Default::default(); 2_000], ..Default::default() };
        for (given, payload, wanted) in [
            (&[][..], b"\xff\xff".to_vec(), "payload"),
            (&[], many.encode_to_vec(), "payload"),
            (&[], other("cats"), "model_name"),
            (&[], other("other.digits"), "model_name"),
            (&[("content-type", "text/plain")], Vec::new(), "header.content-type"),
            (
                &[("content-type", "application/json"), ("content-type", "application/json")],
                Vec::new(),
                "header.content-type",
            ),
            (&[("content-encoding", "gzip")], Vec::new(), "header.content-encoding"),
            (&[("inference-header-content-length", "9")], b"{}".to_vec(), "header.inference-header-content-length"),
            (&[("slipway-request-id", "a b")], Vec::new(), "header.slipway-request-id"),
            (&[("slipway-timeout-ms", "soon")], Vec::new(), "header.slipway-timeout-ms"),
            (&[("slipway-revision", "latest")], Vec::new(), "header.slipway-revision"),
            (&[("no name", "x")], Vec::new(), "header.no name"),
            (&[("x", "a\u{1}b")], Vec::new(), "header.x"),
        ] {
            assert_eq!(path(read(given, payload)), wanted, "{given:?}");
        }
    }

    #[test]
    fn headers_are_bounded_as_those_of_http_are() {
        let many: Vec<_> = (0..=limits::HEADER_COUNT).map(|n| (format!("x-{n}"), String::new())).collect();
        assert!(matches!(headers(&many), Err(RequestError::HeadTooLarge { .. })));
        let large = pairs(&[("x", &"y".repeat(limits::HEADER_BYTES))]);
        assert!(matches!(headers(&large), Err(RequestError::HeadTooLarge { .. })));
    }

    #[test]
    fn a_message_may_name_its_revision() {
        let message = ModelInferRequest { model_version: "2-1".to_owned(), ..Default::default() };
        let read = read(&[], message.encode_to_vec()).unwrap();
        assert_eq!(read.address.revision.map(|revision| revision.to_string()).as_deref(), Some("2-1"));
    }
}
