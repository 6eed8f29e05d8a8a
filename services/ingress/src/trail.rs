//! What becomes known of a request on its way, for its answer's headers, its span and its metrics.

use crate::{respond::Fault, telemetry::Subject};
use http::{HeaderMap, HeaderName, HeaderValue};
use slipway_kernel::{DeploymentId, RequestId, RevisionId};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use tracing::Span;

/// Header of the id under which the effect of a request happens once.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("slipway-request-id");
/// Header of what the caller sees as one piece of work.
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("slipway-correlation-id");
/// Header of the revision: asked for in a request, telling in an answer.
pub const REVISION: HeaderName = HeaderName::from_static("slipway-revision");
/// Header of an answer that says whether it was kept (`hit`) or computed (`miss`), where answers are kept.
pub const CACHE: HeaderName = HeaderName::from_static(slipway_oip::reply::CACHE);
/// W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What is known of one request. Shared by the layer that observes it and the handler that learns it.
#[derive(Debug)]
pub struct Trail {
    /// When its head was read.
    pub arrived: Instant,
    /// Its trace context: that of its span, if it has one.
    pub traceparent: String,
    /// Its span, if it is recorded.
    pub span: Span,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Whether it is an inference request, which the metrics are about.
    inference: bool,
    subject: Subject,
    request_id: Option<RequestId>,
    correlation_id: Option<String>,
    status: Option<u16>,
    cached: Option<bool>,
}

impl Trail {
    /// Nothing known yet.
    #[must_use]
    pub fn new(traceparent: String, span: Span) -> Self {
        Self { arrived: Instant::now(), traceparent, span, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It asks for an inference.
    pub fn is_inference(&self) {
        self.known().inference = true;
    }

    /// The deployment it addresses, which exists.
    pub fn deployment(&self, id: &DeploymentId) {
        self.span.record("slipway.deployment", tracing::field::display(id));
        self.known().subject.deployment = Some(id.clone());
    }

    /// Whether its sender is the mesh itself.
    pub fn probe(&self, probe: bool) {
        self.known().subject.probe = probe;
    }

    /// The revision it meets.
    pub fn revision(&self, revision: RevisionId) {
        self.span.record("slipway.revision", tracing::field::display(revision));
        self.known().subject.revision = Some(revision);
    }

    /// Its ids.
    pub fn ids(&self, request_id: &RequestId, correlation_id: &str) {
        self.span.record("slipway.request_id", request_id.as_str());
        self.span.record("slipway.correlation_id", correlation_id);
        let mut known = self.known();
        known.request_id = Some(request_id.clone());
        known.correlation_id = Some(correlation_id.to_owned());
    }

    /// Whether its answer was kept, where answers are.
    pub fn cached(&self, cached: bool) {
        self.known().cached = Some(cached);
    }

    /// Writes into its span how it ended.
    pub fn record(&self, status: u16) {
        self.span.record("http.response.status_code", status);
        if status >= 500 {
            self.span.record("otel.status_code", "ERROR");
        }
    }

    /// Says in the log that it failed by our fault, with what is known of it: most requests have no span that would say it.
    pub fn fault(&self, fault: &Fault) {
        let known = self.known();
        tracing::error!(
            error = fault.error,
            cause = fault.cause,
            deployment = known.subject.deployment.as_ref().map(tracing::field::display),
            revision = known.subject.revision.map(tracing::field::display),
            request_id = known.request_id.as_ref().map(RequestId::as_str),
            traceparent = self.traceparent,
            "a request failed by our fault"
        );
    }

    /// How it ended, in the numbers of HTTP: in gRPC every answer bears the number 200.
    pub fn ended(&self, status: u16) {
        self.known().status = Some(status);
    }

    /// How it ended, if that is not what its response says.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.known().status
    }

    /// Which series it belongs to; none if it is no inference request.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        let known = self.known();
        known.inference.then(|| known.subject.clone())
    }

    /// Writes what is known into the headers of the answer.
    pub fn write(&self, headers: &mut HeaderMap) {
        let known = self.known();
        let revision = known.subject.revision.map(|revision| revision.to_string());
        for (name, value) in [
            (REQUEST_ID, known.request_id.as_ref().map(RequestId::as_str)),
            (CORRELATION_ID, known.correlation_id.as_deref()),
            (REVISION, revision.as_deref()),
            (CACHE, known.cached.map(|cached| if cached { "hit" } else { "miss" })),
            (TRACEPARENT, Some(self.traceparent.as_str())),
        ] {
            // Each was checked when it came in, or made here.
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
    }
}
