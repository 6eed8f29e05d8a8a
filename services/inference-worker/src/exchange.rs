//! The direct path for small requests: many calls on one long stream.
//!
//! One task reads calls, waits for their answers and writes them, so that a call costs no task and no channel of its own. A peer that
//! has as many calls open as the queue may have waiting is not read from until some are answered: HTTP/2 holds it back.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures::stream::{FuturesUnordered, Stream};
use futures::{FutureExt as _, StreamExt as _};
use slipway_kernel::{RequestId, Timestamp};
use slipway_proto::failure::{FailureCode, retry_after_s};
use slipway_proto::slipway::inference::v1::direct_path_server::DirectPath;
use slipway_proto::slipway::inference::v1::{Call, CallFrame, CallRefused, ReplyFrame, call_frame, reply_frame};
use slipway_runtime::{CancellationToken, together};
use tonic::{Request, Response, Status, Streaming};

use crate::grpc::{Terms, answer};
use crate::inference::Inference;
use crate::refusal::Refusal;

/// Calls of one stream that may be open: the bound of the queue they wait in by default, and all that one ingress has in flight.
const OPEN_CALLS: usize = 1_024;

/// From so many open calls on, a reply waits for those that others are about to have: a run of the engine answers many.
const COMPANY: usize = 4;

/// The service.
#[derive(Clone)]
pub struct Exchanges {
    inference: Arc<Inference>,
    closing: CancellationToken,
}

impl Exchanges {
    /// Streams over a model. From `closing` on they take no call, and end with the last answer.
    #[must_use]
    pub const fn new(inference: Arc<Inference>, closing: CancellationToken) -> Self {
        Self { inference, closing }
    }
}

#[tonic::async_trait]
impl DirectPath for Exchanges {
    type ExchangeStream = Pin<Box<dyn Stream<Item = Result<ReplyFrame, Status>> + Send>>;

    async fn exchange(&self, request: Request<Streaming<CallFrame>>) -> Result<Response<Self::ExchangeStream>, Status> {
        let exchange = Exchange {
            inference: Arc::clone(&self.inference),
            incoming: Some(request.into_inner()),
            calls: FuturesUnordered::new(),
            open: HashMap::new(),
        };
        // A stream that is told to end must be woken for it.
        let closing = self.closing.clone().cancelled_owned().boxed();
        let replies = Closing { exchange, closing: Some(closing) };
        Ok(Response::new(Box::pin(together::stream(replies, |replies| replies.exchange.open.len() >= COMPANY))))
    }
}

/// A call under way: its number and what becomes of it.
type Running = BoxFuture<'static, (u64, Result<ReplyFrame, Aborted>)>;

/// One stream.
struct Exchange {
    inference: Arc<Inference>,
    /// None once the peer has ended its side.
    incoming: Option<Streaming<CallFrame>>,
    calls: FuturesUnordered<Running>,
    open: HashMap<u64, AbortHandle>,
}

impl Exchange {
    fn take(&mut self, frame: CallFrame) {
        match frame.kind {
            Some(call_frame::Kind::Infer(call)) => {
                let (handle, registration) = AbortHandle::new_pair();
                let (inference, number) = (Arc::clone(&self.inference), frame.call);
                let work = async move { reply(number, infer(&inference, call).await) };
                let work = Abortable::new(work, registration);
                self.open.insert(number, handle);
                self.calls.push(async move { (number, work.await) }.boxed());
            }
            Some(call_frame::Kind::Cancel(_)) => {
                if let Some(handle) = self.open.remove(&frame.call) {
                    handle.abort();
                }
            }
            // A kind of a later version: whoever sends it must be able to do without.
            None => {}
        }
    }

    /// Reads what has come, as far as there is room.
    fn read(&mut self, context: &mut Context<'_>) {
        while let Some(incoming) = self.incoming.as_mut().filter(|_| self.open.len() < OPEN_CALLS) {
            match incoming.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(frame))) => self.take(frame),
                // The peer is gone, or says no more: those it asked about before are still answered.
                Poll::Ready(Some(Err(_)) | None) => self.incoming = None,
                Poll::Pending => return,
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<ReplyFrame>> {
        loop {
            self.read(context);
            match self.calls.poll_next_unpin(context) {
                Poll::Ready(Some((number, done))) => {
                    self.open.remove(&number);
                    if let Ok(reply) = done {
                        return Poll::Ready(Some(reply));
                    }
                }
                Poll::Ready(None) if self.incoming.is_none() => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// A stream with the end of its process.
struct Closing {
    exchange: Exchange,
    closing: Option<BoxFuture<'static, ()>>,
}

impl Stream for Closing {
    type Item = Result<ReplyFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.closing.as_mut().is_some_and(|closing| closing.poll_unpin(context).is_ready()) {
            self.closing = None;
            self.exchange.read(context);
            self.exchange.incoming = None;
        }
        self.exchange.poll(context).map(|reply| reply.map(Ok))
    }
}

async fn infer(inference: &Inference, call: Call) -> Result<reply_frame::Kind, Refusal> {
    let malformed = |what: &str| Refusal::new(FailureCode::InvalidArgument, format!("call: {what}"));
    let request_id: RequestId =
        call.request_id.parse().map_err(|allowed: String| malformed(&format!("request_id: allowed: {allowed}")))?;
    let message = call.message.ok_or_else(|| malformed("message: it is missing"))?;
    let deadline = u64::try_from(call.deadline_unix_ms).ok().filter(|ms| *ms > 0).map(Timestamp);
    let terms = Terms { request_id, deadline, attempt: call.attempt.max(1) };
    let traceparent = Some(call.traceparent.as_str()).filter(|traceparent| !traceparent.is_empty());
    answer(inference, terms, traceparent, message).await.map(reply_frame::Kind::Answer)
}

fn reply(call: u64, result: Result<reply_frame::Kind, Refusal>) -> ReplyFrame {
    let refused = |refusal: Refusal| {
        let retry_after_s =
            refusal.retry_after.map_or(0, |after| u32::try_from(retry_after_s(after)).unwrap_or(u32::MAX));
        reply_frame::Kind::Refused(CallRefused { failure: Some(refusal.code.with(refusal.message)), retry_after_s })
    };
    ReplyFrame { call, kind: Some(result.unwrap_or_else(refused)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::{Phase, fixtures};
    use slipway_proto::slipway::inference::v1::direct_path_client::DirectPathClient;
    use slipway_proto::slipway::inference::v1::direct_path_server::DirectPathServer;
    use slipway_runtime::Clock;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
    use tonic::transport::{Endpoint, Server};

    struct Line {
        inference: Arc<Inference>,
        frames: mpsc::Sender<CallFrame>,
        replies: Streaming<ReplyFrame>,
        closing: CancellationToken,
    }

    impl Line {
        /// A stream over a real connection.
        async fn open() -> Self {
            let inference = Arc::new(fixtures::serving(Clock::system()));
            let closing = CancellationToken::new();
            let service = DirectPathServer::new(Exchanges::new(Arc::clone(&inference), closing.clone()));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serving = Server::builder().add_service(service);
            tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
            let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
            let mut client = DirectPathClient::new(channel);
            let (frames, outgoing) = mpsc::channel(1_024);
            let replies = client.exchange(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
            Self { inference, frames, replies, closing }
        }

        fn say(&self, call: u64, kind: call_frame::Kind) {
            self.frames.try_send(CallFrame { call, kind: Some(kind) }).unwrap();
        }

        fn infer(&self, call: u64, change: impl FnOnce(&mut Call)) {
            let mut wanted =
                Call { request_id: format!("r-{call}"), message: Some(fixtures::message(1)), ..Call::default() };
            change(&mut wanted);
            self.say(call, call_frame::Kind::Infer(wanted));
        }

        async fn reply(&mut self) -> Option<ReplyFrame> {
            let next = tokio::time::timeout(std::time::Duration::from_secs(10), self.replies.message());
            next.await.unwrap().unwrap()
        }
    }

    fn word(reply: &ReplyFrame) -> &str {
        match reply.kind.as_ref().unwrap() {
            reply_frame::Kind::Answer(_) => "answer",
            reply_frame::Kind::Refused(refused) => &refused.failure.as_ref().unwrap().code,
        }
    }

    #[tokio::test]
    async fn each_call_has_its_reply_and_a_bad_one_harms_no_other() {
        let mut line = Line::open().await;
        for call in 0..20 {
            line.infer(call, |wanted| match call {
                3 => wanted.request_id = "a b".into(),
                4 => wanted.message = None,
                5 => wanted.message.as_mut().unwrap().model_name = "cats".into(),
                6 => wanted.deadline_unix_ms = 1_000,
                _ => {}
            });
        }
        let mut words = std::collections::BTreeMap::new();
        for _ in 0..20 {
            let reply = line.reply().await.unwrap();
            words.insert(reply.call, word(&reply).to_owned());
        }
        let refused: Vec<_> = words.iter().filter(|(_, word)| *word != "answer").collect();
        let expected = [(3, "invalid-argument"), (4, "invalid-argument"), (5, "not-found"), (6, "deadline-exceeded")];
        let refused: Vec<(u64, &str)> = refused.into_iter().map(|(call, word)| (*call, word.as_str())).collect();
        assert_eq!((words.len(), refused), (20, expected.to_vec()));
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_has_no_reply_and_leaves_the_queue() {
        let mut line = Line::open().await;
        // So many that the last is still in the queue when it is taken back.
        (0..10).for_each(|call| line.infer(call, |_| {}));
        line.say(9, call_frame::Kind::Cancel(slipway_proto::slipway::inference::v1::Cancel {}));
        // Unknown ones change nothing, nor does what this version does not know.
        line.say(77, call_frame::Kind::Cancel(slipway_proto::slipway::inference::v1::Cancel {}));
        line.frames.try_send(CallFrame { call: 78, kind: None }).unwrap();
        let mut seen = Vec::new();
        for _ in 0..9 {
            seen.push(line.reply().await.unwrap().call);
        }
        line.infer(11, |_| {});
        seen.push(line.reply().await.unwrap().call);
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 11]);
    }

    #[tokio::test]
    async fn it_ends_with_the_last_answer_when_the_process_is_to_end_and_when_the_peer_does() {
        let mut line = Line::open().await;
        line.infer(1, |_| {});
        assert_eq!(word(&line.reply().await.unwrap()), "answer");
        line.inference.enter(Phase::Draining);
        line.infer(2, |_| {});
        let refused = line.reply().await.unwrap();
        assert_eq!(word(&refused), "unavailable");
        let Some(reply_frame::Kind::Refused(refused)) = refused.kind else { panic!("it drains") };
        assert_eq!(refused.retry_after_s, 1);
        line.closing.cancel();
        assert_eq!(line.reply().await, None);

        let mut line = Line::open().await;
        line.infer(1, |_| {});
        drop(std::mem::replace(&mut line.frames, mpsc::channel(1).0));
        assert_eq!(line.reply().await.unwrap().call, 1);
        assert_eq!(line.reply().await, None);
    }
}
