//! One talk, from the handshake to its end.

use super::{Answer, CloseCode, Hold, Limits};
use futures::{SinkExt as _, StreamExt as _, stream::FuturesUnordered};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Bytes, Error, Message,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};
use tokio_util::sync::CancellationToken;

/// What is read at once: a request of the usual size.
const READ_BYTES: usize = 8 * 1024;
/// How long an answer may take to be written. A client that reads nothing holds the memory of its answers for nothing.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// A client that says nothing for so long is asked whether it lives, and is gone when it does not say so before the next time.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the other side may take to end its own side.
const GOODBYE: Duration = Duration::from_secs(2);

/// A talk.
struct Talk<Io> {
    socket: WebSocketStream<Counted<Io>>,
    /// Bytes read since the last whole message.
    coming: Arc<AtomicUsize>,
    under_way: usize,
}

/// Why it ends.
enum End {
    /// With a word of ours.
    Word(CloseCode, &'static str),
    /// When what is under way is answered.
    Closing,
    /// The other side ended it, or is gone.
    Gone,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Talk<Io> {
    async fn talk<Answering>(&mut self, closing: CancellationToken, answer: impl Fn(String) -> Answering) -> End
    where
        Answering: Future<Output = Answer>,
    {
        let mut answers = FuturesUnordered::new();
        let mut asking = interval(SILENCE);
        asking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is now.
        asking.tick().await;
        let mut silent = false;
        let end = loop {
            let is_reading = answers.len() < self.under_way;
            tokio::select! {
                Some(Answer { text, ends }) = answers.next() => {
                    if !self.say(Message::text(text)).await {
                        break End::Gone;
                    }
                    if let Some((code, reason)) = ends {
                        break End::Word(code, reason);
                    }
                }
                heard = self.socket.next(), if is_reading => {
                    silent = false;
                    match heard {
                        Some(Ok(Message::Text(text))) => {
                            // A client that says nothing more holds nothing more.
                            self.coming.store(0, Ordering::Relaxed);
                            (self.socket.get_mut().hold)(0);
                            answers.push(answer(text.as_str().to_owned()));
                        }
                        Some(Ok(Message::Binary(_))) => break End::Word(CloseCode::Unsupported, "messages are texts here"),
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                        Some(Ok(Message::Close(_))) | None => break End::Gone,
                        Some(Err(error)) => break broken(&error),
                    }
                }
                _ = asking.tick(), if is_reading => {
                    if silent || !self.say(Message::Ping(Bytes::new())).await {
                        break End::Gone;
                    }
                    silent = true;
                }
                () = closing.cancelled() => break End::Closing,
            }
        };
        let End::Closing = end else { return end };
        // Nothing more is read; each of these ends by its own deadline.
        while let Some(Answer { text, .. }) = answers.next().await {
            if !self.say(Message::text(text)).await {
                return End::Gone;
            }
        }
        End::Word(CloseCode::Away, "the server is ending")
    }

    async fn say(&mut self, message: Message) -> bool {
        matches!(timeout(WRITE_STALL, self.socket.send(message)).await, Ok(Ok(())))
    }

    async fn end(mut self, code: CloseCode, reason: &'static str) {
        let goodbye = async {
            let frame = CloseFrame { code, reason: reason.into() };
            if self.socket.send(Message::Close(Some(frame))).await.is_err() {
                return;
            }
            // What was on its way is thrown away: with it unread the connection would be reset, and the word be lost.
            let io = &mut self.socket.get_mut().io;
            let mut waste = [0; 1024];
            while let Ok(1..) = io.read(&mut waste).await {}
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }
}

/// Talks over a connection whose handshake is done, until one side ends it.
pub(super) async fn run<Io, Answering>(
    io: Io,
    limits: Limits,
    hold: Hold,
    closing: CancellationToken,
    answer: impl Fn(String) -> Answering,
) where
    Io: AsyncRead + AsyncWrite + Unpin,
    Answering: Future<Output = Answer>,
{
    let coming = Arc::new(AtomicUsize::new(0));
    let io = Counted { io, hold, coming: Arc::clone(&coming) };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(limits.message))
        .max_frame_size(Some(limits.message));
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let mut talk = Talk { socket, coming, under_way: limits.under_way };
    match talk.talk(closing, answer).await {
        End::Word(code, reason) => talk.end(code, reason).await,
        End::Gone | End::Closing => {
            // The answer to a close, where one is due.
            let _ = timeout(GOODBYE, talk.socket.close(None)).await;
        }
    }
}

fn broken(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Word(CloseCode::Size, "the message is larger than this model takes"),
        Error::Protocol(_) | Error::AttackAttempt => End::Word(CloseCode::Protocol, "that is not the protocol"),
        Error::Utf8(_) => End::Word(CloseCode::Invalid, "that is no text"),
        Error::Io(error) if error.kind() == io::ErrorKind::OutOfMemory => {
            End::Word(CloseCode::Again, "there is no memory for more messages at present")
        }
        _ => End::Gone,
    }
}

/// A connection whose bytes are counted until they are a message.
struct Counted<Io> {
    io: Io,
    hold: Hold,
    coming: Arc<AtomicUsize>,
}

impl<Io: AsyncRead + Unpin> AsyncRead for Counted<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let read = buffer.filled().len() - before;
        let coming = self.coming.fetch_add(read, Ordering::Relaxed) + read;
        if (self.hold)(coming) { Poll::Ready(Ok(())) } else { Poll::Ready(Err(io::ErrorKind::OutOfMemory.into())) }
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Counted<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
