//! Bodies of many messages, counted message by message: a stream may live for days, and its bytes are held by nobody after their
//! message was taken. What is worked on is counted by who works on it.

use crate::{
    admission::{BodyMemory, BodyShare},
    error::RequestError,
    limits, respond,
};
use axum::{body::Body, extract::Request};
use bytes::Bytes;
use http_body::Frame;
use std::{
    pin::Pin,
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

/// Before each message of gRPC: whether it is packed, and its length.
const HEAD: usize = 5;

/// Counts the memory of each message of a request's body while it comes.
pub fn metered(request: Request, memory: &BodyMemory) -> Request {
    request.map(|body| Body::new(Messages::new(body, memory)))
}

/// A body of messages. Each must be there [`limits::MESSAGE_ARRIVAL`] after it began.
#[derive(Debug)]
struct Messages {
    body: Body,
    memory: BodyMemory,
    share: BodyShare,
    coming: Coming,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// The message that is coming.
#[derive(Debug, Default)]
struct Coming {
    head: [u8; HEAD],
    /// Bytes of it so far, its head included.
    bytes: usize,
}

impl Coming {
    /// Takes from the beginning of `data` what belongs to the message, and says whether that was all of it.
    fn take(&mut self, data: &mut &[u8]) -> bool {
        if self.bytes < HEAD {
            let count = data.len().min(HEAD - self.bytes);
            self.head[self.bytes..self.bytes + count].copy_from_slice(&data[..count]);
            *data = &data[count..];
            self.bytes += count;
        }
        if self.bytes < HEAD {
            return false;
        }
        let [_, length @ ..] = self.head;
        let all = HEAD.saturating_add(usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX));
        let count = data.len().min(all - self.bytes);
        *data = &data[count..];
        self.bytes += count;
        self.bytes == all
    }
}

impl Messages {
    fn new(body: Body, memory: &BodyMemory) -> Self {
        Self { body, memory: memory.clone(), share: memory.share(), coming: Coming::default(), deadline: None }
    }

    fn count(&mut self, mut data: &[u8]) -> Result<(), RequestError> {
        while !data.is_empty() {
            if self.coming.take(&mut data) {
                (self.coming, self.share, self.deadline) = (Coming::default(), self.memory.share(), None);
            }
        }
        if self.coming.bytes > 0 {
            let until = || Box::pin(sleep_until(Instant::now() + limits::MESSAGE_ARRIVAL));
            self.deadline.get_or_insert_with(until);
        }
        self.share.cover(self.coming.bytes)
    }
}

impl http_body::Body for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            let late = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready());
            return match late {
                true => Poll::Ready(Some(Err(respond::status(&RequestError::BodyTooSlow)))),
                false => Poll::Pending,
            };
        };
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref())
            && let Err(error) = self.count(data)
        {
            return Poll::Ready(Some(Err(respond::status(&error))));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|_| respond::status(&RequestError::BodyCut))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;
    use proptest::prelude::*;
    use std::convert::Infallible;

    fn message(length: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend(u32::try_from(length).unwrap().to_be_bytes());
        message.resize(HEAD + length, 7);
        message
    }

    #[tokio::test]
    async fn a_stream_of_any_length_holds_no_more_than_a_message() {
        let memory = BodyMemory::new(64 * 1024);
        let bytes: Vec<u8> = (0..100).flat_map(|_| message(20_000)).collect();
        let frames: Vec<_> =
            bytes.chunks(7_000).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).collect();
        let mut body = Messages::new(Body::from_stream(stream::iter(frames)), &memory);
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(bytes, 100 * (HEAD + 20_000));
        assert!(memory.share().cover(64 * 1024).is_ok(), "what was taken is held by nobody here");
    }

    #[tokio::test]
    async fn a_message_larger_than_the_memory_that_is_left_is_refused_while_it_comes() {
        let memory = BodyMemory::new(64 * 1024);
        let pieces: Vec<_> =
            message(1 << 20).chunks(10_000).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).collect();
        let mut body = Messages::new(Body::from_stream(stream::iter(pieces)), &memory);
        let mut taken = 0;
        let refused = loop {
            match body.frame().await.unwrap() {
                Ok(_) => taken += 1,
                Err(status) => break status,
            }
        };
        assert_eq!((refused.code(), taken), (tonic::Code::ResourceExhausted, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_began_must_arrive_and_between_messages_time_does_not_matter() {
        let memory = BodyMemory::new(64 * 1024);
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from(message(10)))]);
        let after_days = stream::once(async {
            tokio::time::sleep(std::time::Duration::from_secs(200_000)).await;
            Ok(Bytes::from(message(10)[..7].to_vec()))
        });
        let frames = first.chain(after_days).chain(stream::pending());
        let mut body = Messages::new(Body::from_stream(frames), &memory);
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.unwrap().is_ok());
        let begun = Instant::now();
        let late = body.frame().await.unwrap().unwrap_err();
        assert_eq!((begun.elapsed(), late.message()), (limits::MESSAGE_ARRIVAL, "the body did not arrive in time"));
    }

    proptest! {
        #[test]
        fn messages_are_told_apart_wherever_frames_part_them(
            lengths in proptest::collection::vec(0_usize..40, 1..8), piece in 1_usize..50,
        ) {
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let (mut coming, mut ended) = (Coming::default(), Vec::new());
            for mut piece in bytes.chunks(piece) {
                while !piece.is_empty() {
                    if coming.take(&mut piece) {
                        ended.push(coming.bytes - HEAD);
                        coming = Coming::default();
                    }
                }
            }
            prop_assert_eq!((ended, coming.bytes), (lengths, 0));
        }
    }
}
