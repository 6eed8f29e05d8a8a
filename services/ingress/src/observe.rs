//! The outermost layers: the span, the figures and the identifying headers of every request; a panic is one request's failure.

use crate::{
    error::RequestError,
    respond::{self, Fault},
    telemetry::IngressMetrics,
    trail::{TRACEPARENT, Trail},
};
use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, Version, header::CONNECTION};
use http_body::{Body as _, Frame, SizeHint};
use slipway_runtime::trace;
use std::{
    any::Any,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};
use tokio::time::Instant;
use tracing::{Instrument as _, Span, field::Empty, info_span};

/// What nginx made known as "client closed request".
const CLIENT_GONE: u16 = 499;

/// Follows a request from its head to its answer, which `next` gives.
pub(crate) async fn observe(
    metrics: &IngressMetrics,
    mut request: Request,
    next: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let trail = Arc::new(trail(&request));
    request.extensions_mut().insert(Arc::clone(&trail));
    let mut inside = Inside::enter(metrics, Arc::clone(&trail));
    let (request, unread) = Unread::watch(request);
    // A panic is the failure of this request, not of its neighbours on the connection.
    let answering = AssertUnwindSafe(next(request)).catch_unwind().instrument(trail.span.clone());
    let mut response = answering.await.unwrap_or_else(|panic| respond::failure(&panic_of(panic.as_ref())));
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        trail.fault(&fault);
    }
    if unread.is_some_and(|unread| unread.is_true()) {
        // The connection ends with this answer, for the rest of the body is read by nobody. A client that is not told sends its next
        // request into the end, and cannot know whether it was taken.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let status = trail.status().unwrap_or_else(|| response.status().as_u16());
    trail.record(status);
    trail.write(response.headers_mut());
    inside.answered = Some(status);
    response
}

/// The begin of a trail. What is not recorded has no span, and what its client gave is passed on as it came.
fn trail(request: &Request) -> Trail {
    trail_of(request.headers(), |span| {
        span.record("http.request.method", request.method().as_str());
        span.record("url.path", request.uri().path().chars().take(256).collect::<String>());
    })
}

/// The begin of the trail of a message of NATS.
pub(crate) fn trail_of_message(headers: &HeaderMap, subject: &str) -> Trail {
    trail_of(headers, |span| {
        span.record("messaging.destination.name", subject);
    })
}

fn trail_of(headers: &HeaderMap, describe: impl FnOnce(&Span)) -> Trail {
    let given = given_traceparent(headers);
    let is_given = given.is_some();
    let (traceparent, recorded) = trace::of_request(given);
    if !recorded {
        return Trail::new(traceparent, Span::none());
    }
    let span = span();
    describe(&span);
    begun(span, traceparent, is_given)
}

/// The begin of the trail of one request among others on a line: recorded if the line is, as a part of its trace.
pub(crate) fn trail_on(line: &Trail) -> Trail {
    let traceparent = line.traceparent.clone();
    if line.span.is_none() { Trail::new(traceparent, Span::none()) } else { begun(span(), traceparent, true) }
}

/// A trail with a span, which is a part of the trace of `traceparent` or begins one of its own.
fn begun(span: Span, traceparent: String, is_part: bool) -> Trail {
    if is_part {
        trace::parent_from(&span, &traceparent);
    }
    let own = trace::traceparent_of(&span);
    Trail::new(own.unwrap_or(traceparent), span)
}

fn span() -> Span {
    info_span!(
        target: "slipway_ingress::stack",
        "request",
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = Empty,
        url.path = Empty,
        messaging.destination.name = Empty,
        http.response.status_code = Empty,
        slipway.deployment = Empty,
        slipway.revision = Empty,
        slipway.request_id = Empty,
        slipway.correlation_id = Empty,
    )
}

/// The client's trace context, if it is one and only one.
fn given_traceparent(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (value, second) = (values.next()?, values.next());
    let text = value.to_str().ok().filter(|text| second.is_none() && is_traceparent(text))?;
    Some(text.to_owned())
}

/// Version 00 of W3C trace context: four parts of lower-case hexadecimal digits, ids not zero.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let some = |part: &str| part.bytes().any(|b| b != b'0');
    matches!(parts[..], ["00", trace, span, flags]
        if hex(trace, 32) && some(trace) && hex(span, 16) && some(span) && hex(flags, 2))
}

/// Whether something of a body on HTTP/1 was not read; HTTP/2 ends streams, not connections.
struct Unread(Arc<AtomicBool>);

impl Unread {
    fn watch(request: Request) -> (Request, Option<Self>) {
        if request.version() > Version::HTTP_11 || request.body().is_end_stream() {
            return (request, None);
        }
        let unread = Arc::new(AtomicBool::new(true));
        let watched = request.map(|body| Body::new(Watched { body, unread: Arc::clone(&unread) }));
        (watched, Some(Self(unread)))
    }

    fn is_true(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body that tells when it was read to its end.
struct Watched {
    body: Body,
    unread: Arc<AtomicBool>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.unread.store(false, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request that is inside. It is counted when it leaves, also when its client went away and the future was dropped.
struct Inside<'a> {
    metrics: &'a IngressMetrics,
    trail: Arc<Trail>,
    answered: Option<u16>,
}

impl<'a> Inside<'a> {
    fn enter(metrics: &'a IngressMetrics, trail: Arc<Trail>) -> Self {
        metrics.in_flight.inc();
        Self { metrics, trail, answered: None }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        if let Some(subject) = self.trail.subject() {
            let took = Instant::now().duration_since(self.trail.arrived);
            self.metrics.answered(&subject, self.answered.unwrap_or(CLIENT_GONE), took);
        }
    }
}

/// Follows one request among others on a line, from its arrival to its answer: it has a span and figures as if it had come alone.
pub(crate) async fn one<T>(
    metrics: &IngressMetrics,
    trail: &Arc<Trail>,
    work: impl Future<Output = Result<T, RequestError>>,
) -> Result<T, RequestError> {
    trail.is_inference();
    let mut inside = Inside::enter(metrics, Arc::clone(trail));
    let done = caught(trail, work).await;
    let status = done.as_ref().map_or_else(|error| respond::verdict(error).status, |_| 200);
    trail.record(status);
    inside.answered = Some(status);
    done
}

/// Does the work of one request inside its span.
// Not `async`, which would keep a second place for the work.
pub(crate) fn caught<T>(
    trail: &Trail,
    work: impl Future<Output = Result<T, RequestError>>,
) -> impl Future<Output = Result<T, RequestError>> {
    // A panic is the failure of this request, not of its neighbours.
    AssertUnwindSafe(work.instrument(trail.span.clone())).catch_unwind().map(|done| {
        let done = done.unwrap_or_else(|panic| Err(panic_of(panic.as_ref())));
        if let Some(fault) = done.as_ref().err().and_then(Fault::of) {
            trail.fault(&fault);
        }
        done
    })
}

fn panic_of(panic: &(dyn Any + Send)) -> RequestError {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    RequestError::Internal(anyhow::anyhow!("panic: {}", said.unwrap_or("no message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trace_context_is_taken_for_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(good));
        for text in [
            "",
            "00",
            &good[1..],
            &good.to_uppercase(),
            &good.replace("b7ad6b7169203331", "0000000000000000"),
            &good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &format!("{good}-more"),
            &good.replacen("00", "01", 1),
        ] {
            assert!(!is_traceparent(text), "{text}");
        }
    }
}
