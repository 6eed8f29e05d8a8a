//! WebSockets on which a client asks in text messages and is answered in text messages, in any order, until one side ends it.
//!
//! - As many requests as may be are under way; beyond that nothing is read, and the client is held back by its own connection.
//! - A message is bounded in size (close 1009), and counted in memory while it comes (close 1013).
//! - What breaks the protocol ends the talk with its code and a reason: 1002, 1003, 1007; what its user may not do, 1008.
//! - A client that leaves takes what is under way with it. One that vanished is found out by its silence.
//! - When the server ends, what is under way is answered, and then the talk ends with 1001.

mod handshake;
mod talk;
#[cfg(test)]
mod tests;

pub use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use axum::body::Body;
use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use slipway_kernel::Refusals;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

/// The talks of a server.
#[derive(Clone, Debug)]
pub struct WebSockets {
    places: Arc<Semaphore>,
    talks: TaskTracker,
    closing: CancellationToken,
}

/// The bounds of a talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a message.
    pub message: usize,
    /// Most requests under way.
    pub under_way: usize,
}

/// What is said to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The message.
    pub text: String,
    /// Why the talk ends after it, if it does.
    pub ends: Option<(CloseCode, &'static str)>,
}

/// Whether there is memory for so many bytes of a message that is coming; 0 when none is.
pub type Hold = Box<dyn FnMut(usize) -> bool + Send>;

/// Why a request does not become a talk.
#[derive(Debug, thiserror::Error)]
pub enum NoTalk {
    /// The request is no handshake of this protocol.
    #[error("the request is no handshake of a WebSocket: {0}")]
    Handshake(Refusals),
    /// There are as many talks as may be.
    #[error("{0} WebSockets are open already")]
    Full(usize),
}

impl WebSockets {
    /// A server of at most so many talks at once, all of which end from `closing` on.
    #[must_use]
    pub fn new(most: usize, closing: CancellationToken) -> Self {
        Self { places: Arc::new(Semaphore::new(most)), talks: TaskTracker::new(), closing }
    }

    /// Makes a talk of a request: the response opens it, and `answer` says what is said to each message.
    ///
    /// # Errors
    /// [`NoTalk`].
    pub fn accept<Answering>(
        &self,
        mut request: Request<Body>,
        limits: Limits,
        hold: Hold,
        answer: impl Fn(String) -> Answering + Send + 'static,
    ) -> Result<Response<Body>, NoTalk>
    where
        Answering: Future<Output = Answer> + Send + 'static,
    {
        let accepted = handshake::accepted(&request).map_err(NoTalk::Handshake)?;
        let full = |_| NoTalk::Full(self.talks.len());
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(full)?;
        let (upgrade, closing) = (hyper::upgrade::on(&mut request), self.closing.clone());
        self.talks.spawn(async move {
            let _place = place;
            match upgrade.await {
                Ok(upgraded) => talk::run(TokioIo::new(upgraded), limits, hold, closing, answer).await,
                Err(error) => debug!(%error, "a connection ended instead of becoming a WebSocket"),
            }
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = accepted;
        Ok(response)
    }

    /// Waits until every talk has ended, which they only do from `closing` on.
    pub async fn ended(&self) {
        self.talks.close();
        self.talks.wait().await;
    }
}
