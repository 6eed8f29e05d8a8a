//! A connection that ends without losing its last answer: bytes that came and were never read make the kernel reset it, and the reset
//! overtakes the answer (RFC 9112, section 9.6). A client that sends all of a body before it reads would see a broken pipe instead of
//! the 413 that says why. So after its last answer a connection says that it ends, and reads on for a moment to throw away.

use crate::limits;
use std::{
    future::Future as _,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// How much is thrown away at once.
const PIECE: usize = 16 * 1024;

/// A stream whose end waits for the peer's, at most [`limits::LINGER`].
pub(super) struct Lingering<Io> {
    io: Io,
    /// Set once the peer was told that nothing more comes.
    until: Option<Pin<Box<Sleep>>>,
}

impl<Io> Lingering<Io> {
    pub(super) const fn new(io: Io) -> Self {
        Self { io, until: None }
    }
}

impl<Io: AsyncRead + Unpin> Lingering<Io> {
    /// Ready when the peer has ended as well, or the connection is broken.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut piece = [MaybeUninit::uninit(); PIECE];
        loop {
            let mut buffer = ReadBuf::uninit(&mut piece);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for Lingering<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.until.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.until = Some(Box::pin(sleep_until(Instant::now() + limits::LINGER)));
        }
        if self.poll_discard(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        match &mut self.until {
            Some(until) => until.as_mut().poll(cx).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test(start_paused = true)]
    async fn an_end_waits_for_the_peer_throws_away_what_it_sends_and_gives_up_after_a_while() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut ours = Lingering::new(ours);
        let peer = tokio::spawn(async move {
            theirs.write_all(&[0; 100]).await.unwrap();
            drop(theirs);
        });
        let begun = Instant::now();
        ours.shutdown().await.unwrap();
        peer.await.unwrap();
        assert_eq!(begun.elapsed(), std::time::Duration::ZERO, "the peer had ended");

        let (ours, theirs) = tokio::io::duplex(4);
        Lingering::new(ours).shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), limits::LINGER, "a peer that says nothing");
        drop(theirs);
    }
}
