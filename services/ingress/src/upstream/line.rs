//! A line to a worker: one long stream that carries many small calls.

use slipway_oip::grpc;
use slipway_proto::{
    failure::FailureCode,
    inference::ModelInferResponse,
    slipway::inference::v1::{
        Call, CallFrame, Cancel, ReplyFrame, call_frame, direct_path_client::DirectPathClient, reply_frame,
    },
};
use slipway_runtime::together;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};

type Reply = Result<ModelInferResponse, Status>;

/// Frames that wait for the connection to take them; then calls wait too. A connection that is well takes them by the hundred, so more
/// would only hide one that is not.
const UNSENT: usize = 256;

/// From so many open calls on, a frame waits for those that others are about to send. Alone it is a record of TLS and a system call, which
/// cost as much as all else that is done for a small request here.
const COMPANY: usize = 4;

/// One stream, open or ended.
#[derive(Debug)]
pub struct Line {
    frames: mpsc::Sender<CallFrame>,
    next: AtomicU64,
    calls: Arc<Calls>,
}

/// Who waits for which call; none once the stream has ended.
#[derive(Debug)]
struct Calls(Mutex<Option<HashMap<u64, oneshot::Sender<Reply>>>>);

impl Calls {
    fn waiting(&self) -> MutexGuard<'_, Option<HashMap<u64, oneshot::Sender<Reply>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> usize {
        self.waiting().as_ref().map_or(0, HashMap::len)
    }

    fn take(&self, call: u64) -> Option<oneshot::Sender<Reply>> {
        self.waiting().as_mut().and_then(|waiting| waiting.remove(&call))
    }
}

impl Line {
    /// Opens a stream.
    ///
    /// # Errors
    /// What the worker or the transport says; [`Code::Unimplemented`] from a worker that knows no streams.
    pub async fn open(mut client: DirectPathClient<Channel>) -> Result<Arc<Self>, Status> {
        let (frames, unsent) = mpsc::channel(UNSENT);
        let calls = Arc::new(Calls(Mutex::new(Some(HashMap::new()))));
        let open = Arc::clone(&calls);
        let outgoing = together::stream(ReceiverStream::new(unsent), move |_| open.count() >= COMPANY);
        let replies = client.exchange(outgoing).await?.into_inner();
        // It does not hold the line: when the last who uses it is gone, the stream is ended and so is this.
        tokio::spawn(listen(Arc::clone(&calls), replies));
        Ok(Arc::new(Self { frames, next: AtomicU64::new(0), calls }))
    }

    /// Whether it has ended, so that another is needed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.calls.waiting().is_none()
    }

    /// Sends a call and waits for its reply. Dropped before that, the worker is told that nobody waits.
    ///
    /// # Errors
    /// What the worker says; what ended the stream.
    pub async fn call(&self, call: Call) -> Reply {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        match self.calls.waiting().as_mut() {
            Some(waiting) => waiting.insert(number, sender),
            None => return Err(ended()),
        };
        let mut interest = Interest { line: self, number, satisfied: false };
        let frame = CallFrame { call: number, kind: Some(call_frame::Kind::Infer(call)) };
        // Where nobody takes frames any more, the end of the stream is told to all who wait.
        let _ = self.frames.send(frame).await;
        let reply = receiver.await;
        interest.satisfied = true;
        reply.unwrap_or_else(|_| Err(ended()))
    }
}

async fn listen(calls: Arc<Calls>, mut replies: Streaming<ReplyFrame>) {
    let end = loop {
        match replies.message().await {
            Ok(Some(reply)) => {
                if let Some(sender) = calls.take(reply.call) {
                    // Whoever does not wait any more needs no reply.
                    let _ = sender.send(read(reply.kind));
                }
            }
            Ok(None) => break ended(),
            Err(status) => break status,
        }
    };
    let waiting = calls.waiting().take();
    for (_, sender) in waiting.into_iter().flatten() {
        let _ = sender.send(Err(end.clone()));
    }
}

/// Somebody waits for a call.
struct Interest<'a> {
    line: &'a Line,
    number: u64,
    satisfied: bool,
}

impl Drop for Interest<'_> {
    fn drop(&mut self) {
        if !self.satisfied && self.line.calls.take(self.number).is_some() {
            let kind = Some(call_frame::Kind::Cancel(Cancel {}));
            // Without room for it the worker computes an answer that nobody reads.
            let _ = self.line.frames.try_send(CallFrame { call: self.number, kind });
        }
    }
}

fn read(kind: Option<reply_frame::Kind>) -> Reply {
    match kind {
        Some(reply_frame::Kind::Answer(answer)) => Ok(answer),
        Some(reply_frame::Kind::Refused(refused)) => {
            let failure = refused.failure.unwrap_or_default();
            let code = failure.code.parse().unwrap_or(FailureCode::Internal);
            let after = Some(u64::from(refused.retry_after_s)).filter(|seconds| *seconds > 0);
            Err(grpc::status(code, failure.message, after.map(Duration::from_secs)))
        }
        None => Err(grpc::status(FailureCode::Internal, "a reply of a kind that is not known here", None)),
    }
}

/// As the transport says it of a connection that ended.
fn ended() -> Status {
    Status::new(Code::Unavailable, "the stream to the worker ended")
}
