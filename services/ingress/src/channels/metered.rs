//! Bodies whose memory is counted while they stream in, for what reads them before it is known whose they are.

use crate::{
    admission::{BodyMemory, BodyShare},
    error::RequestError,
    limits, respond,
};
use axum::{body::Body, extract::Request};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

/// The memory of a body, given back when the last that holds it is dropped: the body, and whoever works with what was in it.
#[derive(Clone, Debug)]
pub struct Held(Arc<Mutex<BodyShare>>);

/// Counts the memory of a request's body; whoever handles it finds what holds the memory among its extensions.
#[must_use]
pub fn metered(mut request: Request, memory: &BodyMemory) -> Request {
    let body = std::mem::take(request.body_mut());
    let body = Metered::new(body, memory, Instant::now() + limits::MESSAGE_ARRIVAL);
    request.extensions_mut().insert(body.held());
    *request.body_mut() = Body::new(body);
    request
}

/// A body whose memory is counted, and that must have come by a deadline.
#[derive(Debug)]
pub struct Metered {
    body: Body,
    bytes: usize,
    held: Held,
    deadline: Pin<Box<Sleep>>,
}

impl Metered {
    /// Counts the memory of `body`, which must be there by the deadline.
    #[must_use]
    pub fn new(body: Body, memory: &BodyMemory, deadline: Instant) -> Self {
        let held = Held(Arc::new(Mutex::new(memory.share())));
        Self { body, bytes: 0, held, deadline: Box::pin(sleep_until(deadline)) }
    }

    /// Its memory, to be held for longer than the body.
    #[must_use]
    pub fn held(&self) -> Held {
        self.held.clone()
    }
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                return match self.deadline.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(respond::status(&RequestError::BodyTooSlow)))),
                    Poll::Pending => Poll::Pending,
                };
            }
        };
        if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
            self.bytes += data.map_or(0, Bytes::len);
            let covered = self.held.0.lock().unwrap_or_else(PoisonError::into_inner).cover(self.bytes);
            if let Err(error) = covered {
                return Poll::Ready(Some(Err(respond::status(&error))));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|_| respond::status(&RequestError::BodyCut))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
