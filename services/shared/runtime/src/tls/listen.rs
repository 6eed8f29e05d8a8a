//! Connections in: handshakes go on beside each other, so that a peer that dawdles holds up nobody.

use super::HANDSHAKE_TIMEOUT;
use axum::serve::Listener;
use futures::Stream;
use rustls::ServerConfig;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, warn};

/// Handshakes at once. One costs half a millisecond of processor; more at a time than this is an attack, and then the
/// connections wait in the listen queue of the kernel.
const MAX_HANDSHAKES: usize = 64;
/// Connections that are through and wait to be taken.
const MAX_WAITING: usize = 64;
/// Refused handshakes are logged at most this often, with how many there were: the log is not the attacker's to fill.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Connections whose peers have shown who they are. For axum it is a `Listener` (as for [`crate::drain::http`]), for
/// tonic's `serve_with_incoming_shutdown` a `Stream`. Dropping it closes the listening socket.
#[derive(Debug)]
pub struct TlsListener<Io = TcpStream> {
    ready: mpsc::Receiver<(TlsStream<Io>, SocketAddr)>,
    address: SocketAddr,
    accepting: AbortHandle,
}

/// Listens with TLS. Must be called inside the async runtime.
///
/// # Errors
/// When the listener's own address cannot be had.
pub fn incoming(listener: TcpListener, config: Arc<ServerConfig>) -> io::Result<TlsListener> {
    over(Prompt(listener), config)
}

/// The same over the connections of any listener. Small frames on them must not wait for each other.
///
/// # Errors
/// As [`incoming`].
pub fn over<L>(listener: L, config: Arc<ServerConfig>) -> io::Result<TlsListener<L::Io>>
where
    L: Listener<Addr = SocketAddr>,
{
    let address = listener.local_addr()?;
    let (sender, ready) = mpsc::channel(MAX_WAITING);
    let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(config), sender)).abort_handle();
    Ok(TlsListener { ready, address, accepting })
}

/// Connections without Nagle's algorithm, which costs up to 40 ms.
struct Prompt(TcpListener);

impl Listener for Prompt {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.0).await;
            match stream.set_nodelay(true) {
                Ok(()) => return (stream, peer),
                Err(error) => debug!(%peer, %error, "a connection ended before it was served"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl<Io> Drop for TlsListener<Io> {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Handshake<Io> = Result<(TlsStream<Io>, SocketAddr), (SocketAddr, io::Error)>;

async fn accept<L>(mut listener: L, acceptor: TlsAcceptor, ready: mpsc::Sender<(TlsStream<L::Io>, SocketAddr)>)
where
    L: Listener<Addr = SocketAddr>,
{
    let mut handshakes: JoinSet<Handshake<L::Io>> = JoinSet::new();
    let mut refused = Refused::default();
    loop {
        tokio::select! {
            // axum's listener waits out what is no fault of one connection (no file descriptors left).
            (stream, peer) = listener.accept(), if handshakes.len() < MAX_HANDSHAKES => {
                handshakes.spawn(handshake(acceptor.clone(), stream, peer));
            }
            Some(ended) = handshakes.join_next() => match ended {
                Ok(Ok(connection)) => {
                    if ready.send(connection).await.is_err() {
                        return;
                    }
                }
                Ok(Err((peer, error))) => refused.note(peer, &error),
                Err(_) => {}
            },
        }
    }
}

async fn handshake<Io>(acceptor: TlsAcceptor, stream: Io, peer: SocketAddr) -> Handshake<Io>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Ok((stream, peer)),
        Ok(Err(error)) => Err((peer, error)),
        Err(_) => Err((peer, io::ErrorKind::TimedOut.into())),
    }
}

/// Refused handshakes since the last line in the log.
#[derive(Default)]
struct Refused {
    count: u64,
    logged: Option<Instant>,
}

impl Refused {
    fn note(&mut self, peer: SocketAddr, error: &io::Error) {
        self.count += 1;
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            warn!(%peer, %error, since_last = self.count, "TLS handshake refused");
            (self.count, self.logged) = (0, Some(Instant::now()));
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Listener for TlsListener<Io> {
    type Io = TlsStream<Io>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // Only when the runtime ends.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl<Io> Stream for TlsListener<Io> {
    type Item = io::Result<TlsStream<Io>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx).map(|connection| connection.map(|(stream, _)| Ok(stream)))
    }
}
