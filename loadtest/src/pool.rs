//! Kept connections, handed out seat by seat.

use crate::{client::Protocol, report::FailureClass};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// How long an unused connection is kept. Longer than any pause inside a run.
const IDLE: Duration = Duration::from_secs(30);
/// Calls that share one connection of gRPC: more would wait behind each other's bytes, and a connection for each would be what
/// no client does.
const CALLS_A_CONNECTION: usize = 8;

/// A request as it goes onto the wire.
pub(crate) type Outgoing = http::Request<Full<Bytes>>;

/// Room for one request on a connection. Dropping it gives the room up; on HTTP/1.1 that closes the connection.
pub(crate) enum Seat {
    /// The connection is the seat's own.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// Others sit on it too.
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Seat {
    async fn is_usable(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Sends, and waits for the head of the answer.
    pub(crate) async fn send(&mut self, request: Outgoing) -> Result<Response<Incoming>, TrySendError<Outgoing>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }
}

/// The connections to one address. The seat that was given back last is handed out first, so that no more connections stay
/// warm than are needed.
pub(crate) struct Pool {
    address: String,
    protocol: Protocol,
    patience: Duration,
    free: Mutex<Vec<(Seat, Instant)>>,
    /// Held while a connection for several calls is made: without it, callers that start together would make one each.
    opening: tokio::sync::Mutex<()>,
}

impl Pool {
    pub(crate) fn new(address: String, protocol: Protocol, patience: Duration) -> Self {
        Self { address, protocol, patience, free: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }

    /// A seat, and whether its connection was there before: such a one may have been closed by the server just now.
    pub(crate) async fn take(&self) -> Result<(Seat, bool), FailureClass> {
        if let Some(seat) = self.kept().await {
            return Ok((seat, true));
        }
        match self.protocol {
            Protocol::Http => {
                let (sender, connection) =
                    http1::handshake(self.connect().await?).await.map_err(|_| FailureClass::Connect)?;
                tokio::spawn(connection);
                Ok((Seat::Http1(sender), false))
            }
            Protocol::Grpc => {
                let _alone = self.opening.lock().await;
                if let Some(seat) = self.kept().await {
                    return Ok((seat, true));
                }
                let (sender, connection) = http2::handshake(TokioExecutor::new(), self.connect().await?)
                    .await
                    .map_err(|_| FailureClass::Connect)?;
                tokio::spawn(connection);
                for _ in 1..CALLS_A_CONNECTION {
                    self.give_back(Seat::Http2(sender.clone()));
                }
                Ok((Seat::Http2(sender), false))
            }
        }
    }

    pub(crate) fn give_back(&self, seat: Seat) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push((seat, Instant::now()));
    }

    async fn kept(&self) -> Option<Seat> {
        loop {
            let mut seat = self.newest()?;
            if seat.is_usable().await {
                return Some(seat);
            }
        }
    }

    fn newest(&self) -> Option<Seat> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (seat, since) = free.pop()?;
        if since.elapsed() < IDLE {
            return Some(seat);
        }
        // The others have been idle for longer.
        free.clear();
        None
    }

    async fn connect(&self) -> Result<TokioIo<TcpStream>, FailureClass> {
        let connected = tokio::time::timeout(self.patience, TcpStream::connect(&self.address)).await;
        let stream = connected.map_err(|_| FailureClass::Connect)?.map_err(|_| FailureClass::Connect)?;
        stream.set_nodelay(true).map_err(|_| FailureClass::Connect)?;
        Ok(TokioIo::new(stream))
    }
}
