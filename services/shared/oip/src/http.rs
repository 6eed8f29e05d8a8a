//! A body of HTTP in and out: where its document ends, and what follows it.

use crate::{
    binary::{HEADER, Parts},
    json::Written,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body::{Body, Frame, SizeHint};
use slipway_kernel::Refusal;
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

/// The media type of a document.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The media type of a document with tensors behind it.
pub const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// Says where the document ends.
pub const LENGTH_OF_DOCUMENT: HeaderName = HeaderName::from_static(HEADER);

/// The body of a request in its parts: parted where the header says, else all document.
///
/// # Errors
/// When the header is no length, is there twice, or is longer than the body.
pub fn parts(headers: &HeaderMap, body: Bytes) -> Result<Parts, Refusal> {
    let mut lengths = headers.get_all(LENGTH_OF_DOCUMENT).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(Parts { document: body, tensors: Bytes::new(), is_tensor: false }),
        (Some(length), None) => Parts::of(body, length.as_bytes()),
        (Some(_), Some(_)) => Err(Refusal::new(format!("header.{HEADER}"), "given twice", "one length")),
    }
}

/// The answer to an inference.
#[must_use]
pub fn response(written: Written) -> Response<Pieces> {
    let (length, document, is_binary) = (written.length(), written.document.len(), written.is_binary());
    let mut response = Response::new(Pieces::of(written));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, if is_binary { BINARY } else { JSON });
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if is_binary {
        headers.insert(LENGTH_OF_DOCUMENT, HeaderValue::from(document));
    }
    response
}

/// A document and the tensors behind it, sent as they are: putting them together would copy them once more.
#[derive(Debug)]
pub struct Pieces {
    document: Option<Bytes>,
    tensors: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl Pieces {
    fn of(written: Written) -> Self {
        let left = written.length() as u64;
        Self { document: Some(written.document), tensors: written.tensors.into_iter(), left }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.document.take() {
            Some(document) => Some(document),
            // Tensors without elements are no frames.
            None => self.tensors.find(|piece| !piece.is_empty()),
        };
        if let Some(piece) = &piece {
            self.left -= piece.len() as u64;
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn frames(written: Written) -> Vec<Bytes> {
        let mut body = pin!(response(written).into_body());
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut frames = Vec::new();
        while !body.is_end_stream() {
            match body.as_mut().poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame))) => frames.push(frame.into_data().unwrap()),
                other => panic!("{other:?}"),
            }
        }
        frames
    }

    #[test]
    fn document_and_tensors_are_sent_as_they_are_and_told_apart() {
        let tensors = vec![Bytes::from_static(b"12"), Bytes::new(), Bytes::from_static(b"3")];
        let written = Written { document: Bytes::from_static(b"{}"), tensors };
        let response = response(written.clone());
        let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!([header("content-length"), header(HEADER)], ["5", "2"]);
        assert_eq!(header("content-type"), "application/octet-stream");
        assert_eq!(frames(written), [&b"{}"[..], b"12", b"3"]);
    }

    #[test]
    fn a_document_alone_says_nothing_about_its_length() {
        let response = response(Written { document: Bytes::from_static(b"{}"), tensors: Vec::new() });
        assert!(response.headers().get(HEADER).is_none());
        assert_eq!(response.headers()["content-type"], "application/json");
    }

    #[test]
    fn two_lengths_are_refused() {
        let mut headers = HeaderMap::new();
        let body = Bytes::from_static(b"{}1234");
        assert_eq!(parts(&headers, body.clone()).unwrap().document, body);
        headers.append(LENGTH_OF_DOCUMENT, HeaderValue::from(2));
        assert_eq!(parts(&headers, body.clone()).unwrap().tensors[..], b"1234"[..]);
        headers.append(LENGTH_OF_DOCUMENT, HeaderValue::from(3));
        let refused = parts(&headers, body).unwrap_err();
        assert_eq!(
            (refused.path.as_str(), refused.value.as_str()),
            ("header.inference-header-content-length", "given twice")
        );
    }
}
