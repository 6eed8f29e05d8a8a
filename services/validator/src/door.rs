//! The public door as the validator uses it: requests to one unreleased revision, with the verified mark, and what an answer
//! says.

use crate::{domain::assignment::Assignment, domain::judge::traces::Traced, error::told, world::World};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, uri::PathAndQuery};
use slipway_kernel::{DeploymentId, RevisionId};
use slipway_loadtest::{FailureClass, Reply, Request};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub(crate) const PROBE: HeaderName = HeaderName::from_static("slipway-probe");
pub(crate) const REVISION: HeaderName = HeaderName::from_static("slipway-revision");
const CORRELATION: HeaderName = HeaderName::from_static("slipway-correlation-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("slipway-request-id");
const TIMEOUT: HeaderName = HeaderName::from_static("slipway-timeout-ms");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How old a mark may get before another is issued: a fifth of its life.
const RENEWAL: Duration = Duration::from_secs(60);
/// How much of an answer's error is quoted.
const QUOTE: usize = 200;

/// The mark, renewed while a long load goes on.
struct Pass {
    world: Arc<dyn World>,
    deployment: DeploymentId,
    held: Mutex<Option<(HeaderValue, Instant)>>,
}

impl Pass {
    /// The mark; `None` if none can be issued, and then the door refuses.
    fn header(&self) -> Option<HeaderValue> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((value, since)) = held.as_ref()
            && since.elapsed() < RENEWAL
        {
            return Some(value.clone());
        }
        let issued = match self.world.pass(&self.deployment) {
            Ok(issued) => issued,
            Err(error) => {
                tracing::warn!(error = told(&error), "no probe token");
                return None;
            }
        };
        let mut value = HeaderValue::from_str(&issued).ok()?;
        value.set_sensitive(true);
        *held = Some((value.clone(), Instant::now()));
        Some(value)
    }
}

/// Makes requests and reads answers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    infer: PathAndQuery,
    revision: RevisionId,
    revision_header: HeaderValue,
    /// Correlation id of requests that are looked for in the sinks, and of those that are too many for it.
    followed: HeaderValue,
    others: HeaderValue,
    pass: Arc<Pass>,
}

impl Door {
    /// The door for one run.
    ///
    /// # Errors
    /// Never for ids, which hold nothing that a path or a header could not.
    pub(crate) fn new(assignment: &Assignment, run: &str, world: &Arc<dyn World>) -> Result<Self, http::Error> {
        let DeploymentId { namespace, name } = &assignment.deployment;
        let path = format!("/v2/namespaces/{namespace}/models/{name}/infer");
        Ok(Self {
            infer: PathAndQuery::try_from(path)?,
            revision: assignment.revision,
            revision_header: HeaderValue::try_from(assignment.revision.to_string())?,
            followed: HeaderValue::try_from(run)?,
            others: HeaderValue::try_from(format!("{run}-rest"))?,
            pass: Arc::new(Pass {
                world: Arc::clone(world),
                deployment: assignment.deployment.clone(),
                held: Mutex::new(None),
            }),
        })
    }

    /// A request of ours.
    pub(crate) fn request(&self, body: Bytes, followed: bool) -> Request {
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(REVISION, self.revision_header.clone());
        headers.insert(CORRELATION, if followed { self.followed.clone() } else { self.others.clone() });
        if let Some(trace) = new_traceparent() {
            headers.insert(TRACEPARENT, trace);
        }
        if let Some(pass) = self.pass.header() {
            headers.insert(PROBE, pass);
        }
        self.stranger(body, headers)
    }

    /// The same request with less time than the deployment allows.
    pub(crate) fn within(mut request: Request, timeout: Duration) -> Request {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        request.headers.insert(TIMEOUT, HeaderValue::from(millis));
        request
    }

    /// A request of whoever has these headers.
    pub(crate) fn stranger(&self, body: Bytes, mut headers: HeaderMap) -> Request {
        headers.insert(header::CONTENT_TYPE, JSON);
        Request { method: Method::POST, path: self.infer.clone(), headers, body }
    }

    /// The value of the header that asks for the revision.
    pub(crate) fn revision_header(&self) -> HeaderValue {
        self.revision_header.clone()
    }

    /// Whether the answer is of the revision that is proved; `None` if it does not say.
    pub(crate) fn is_of_revision(&self, reply: &Reply) -> Option<bool> {
        Some(text(&reply.headers, &REVISION)?.parse() == Ok(self.revision))
    }

    /// What became of a request.
    pub(crate) fn read(&self, outcome: &Result<Reply, FailureClass>) -> Fate {
        match outcome {
            Ok(reply) => self.fate(reply),
            Err(class) => Fate::None(*class),
        }
    }

    /// What an answer says.
    pub(crate) fn fate(&self, reply: &Reply) -> Fate {
        let status = reply.status;
        if status.is_success() {
            if self.is_of_revision(reply) == Some(false) {
                return Fate::Misrouted;
            }
            let request_id = text(&reply.headers, &REQUEST_ID).unwrap_or_default().to_owned();
            let trace_id = text(&reply.headers, &TRACEPARENT).and_then(trace_id);
            return Fate::Answered(Traced { request_id, trace_id });
        }
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Fate::Refused { status: status.as_u16(), retry_after: reply.headers.contains_key(header::RETRY_AFTER) }
            }
            // Its deadline is over: when to come back is the caller's own question.
            StatusCode::GATEWAY_TIMEOUT => Fate::Refused { status: status.as_u16(), retry_after: true },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                Fate::NotAdmitted(status.as_u16())
            }
            _ => Fate::Fault(format!("status {}: {}", status.as_u16(), quote(&reply.body))),
        }
    }
}

/// What became of a request of ours.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fate {
    /// Answered by the revision.
    Answered(Traced),
    /// Answered by another revision.
    Misrouted,
    /// Refused for now: busy, unavailable, too late.
    Refused { status: u16, retry_after: bool },
    /// The door does not know the revision or the mark (yet).
    NotAdmitted(u16),
    /// Any other answer.
    Fault(String),
    /// No answer.
    None(FailureClass),
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// A trace of its own for each request, as a client that traces would begin one: so there is one to follow even where the mesh
/// exports none.
fn new_traceparent() -> Option<HeaderValue> {
    let trace = uuid::Uuid::new_v4().simple().to_string();
    let span = uuid::Uuid::new_v4().simple().to_string();
    HeaderValue::try_from(format!("00-{trace}-{}-01", span.get(..16)?)).ok()
}

/// The second field of a W3C `traceparent`, unless it is the invalid one of zeros.
fn trace_id(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    let valid =
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && id.bytes().any(|byte| byte != b'0');
    valid.then(|| id.to_ascii_lowercase())
}

/// The beginning of an answer, without what a terminal or table would act upon.
fn quote(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(QUOTE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_read_from_a_traceparent() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(trace_id(&format!("00-{id}-b7ad6b7169203331-01")).as_deref(), Some(id));
        for text in ["", "00", "00-xyz-1-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            assert_eq!(trace_id(text), None, "{text}");
        }
    }

    #[test]
    fn every_request_begins_a_trace_of_its_own() {
        let id = || trace_id(new_traceparent().unwrap().to_str().unwrap()).unwrap();
        assert_ne!(id(), id());
        assert_eq!(new_traceparent().unwrap().len(), 55);
    }

    #[test]
    fn an_error_is_quoted_without_control_characters_and_not_at_length() {
        assert_eq!(quote(b"a\x1b[31mb\nc"), "a[31mbc");
        assert_eq!(quote(&[b'x'; 10_000]).len(), QUOTE);
    }
}
