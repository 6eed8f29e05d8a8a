//! An answer as server-sent events, for clients that read nothing else: one event with the document of the answer, and the end.

use crate::http::JSON;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The media type of events.
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const BEFORE: Bytes = Bytes::from_static(b"data: ");
const AFTER: Bytes = Bytes::from_static(b"\n\n");

/// Whether a request asks for events: its `accept` names them, and does not say that they are the last thing it wants.
#[must_use]
pub fn are_wanted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("text/event-stream"));
        is_named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The answer as an event. What is no document (a refusal, a request that was left, tensors as bytes) stays what it is.
#[must_use]
pub fn of<B: Body<Data = Bytes>>(response: Response<B>) -> Response<Event<B>> {
    let is_document = response.status() == StatusCode::OK && response.headers().get(CONTENT_TYPE) == Some(&JSON);
    let mut response = response.map(|body| Event {
        before: is_document.then_some(BEFORE),
        body,
        is_read: false,
        after: is_document.then_some(AFTER),
    });
    if is_document {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, EVENTS);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.remove(CONTENT_LENGTH);
    }
    response
}

/// A body between the marks of an event. A document has no line ends, so one line of data holds it.
#[derive(Debug)]
pub struct Event<B> {
    before: Option<Bytes>,
    body: B,
    is_read: bool,
    after: Option<Bytes>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Event<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(before) = self.before.take() {
            return Poll::Ready(Some(Ok(Frame::data(before))));
        }
        if !self.is_read {
            if let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) {
                return Poll::Ready(Some(frame));
            }
            self.is_read = true;
        }
        Poll::Ready(self.after.take().map(|after| Ok(Frame::data(after))))
    }

    fn is_end_stream(&self) -> bool {
        self.before.is_none() && self.after.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let marks = [&self.before, &self.after].into_iter().flatten().map(|mark| mark.len() as u64).sum::<u64>();
        match self.body.size_hint().exact() {
            Some(length) => SizeHint::with_exact(length + marks),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Written;
    use std::pin::pin;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn events_are_wanted_where_they_are_named_and_not_declined() {
        for (value, wanted) in [
            ("text/event-stream", true),
            ("application/json;q=0.5, Text/Event-Stream; q=0.9", true),
            ("text/event-stream;q=0", false),
            ("*/*", false),
            ("application/json", false),
        ] {
            assert_eq!(are_wanted(&accept(value)), wanted, "{value}");
        }
        assert!(!are_wanted(&HeaderMap::new()));
    }

    fn text<B: Body<Data = Bytes> + Unpin>(response: Response<B>) -> (String, Option<u64>) {
        let mut body = pin!(response.into_body());
        let length = body.size_hint().exact();
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut text = Vec::new();
        while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut context) {
            text.extend_from_slice(&frame.into_data().unwrap());
        }
        assert!(body.is_end_stream());
        (String::from_utf8(text).unwrap(), length)
    }

    #[test]
    fn an_answer_is_one_event_and_anything_else_stays_what_it_is() {
        let document = Bytes::from_static(br#"{"id":"a"}"#);
        let answer = || crate::http::response(Written { document: document.clone(), tensors: Vec::new() });
        let event = of(answer());
        assert_eq!((&event.headers()[CONTENT_TYPE], event.headers().get(CONTENT_LENGTH)), (&EVENTS, None));
        assert_eq!(text(event), ("data: {\"id\":\"a\"}\n\n".to_owned(), Some(18)));
        let mut refusal = answer();
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        let refusal = of(refusal);
        assert_eq!(refusal.headers()[CONTENT_TYPE], JSON);
        assert_eq!(text(refusal), (r#"{"id":"a"}"#.to_owned(), Some(10)));
    }
}
