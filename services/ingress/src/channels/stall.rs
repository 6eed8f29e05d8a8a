//! A connection whose peer reads nothing: after a while its writes fail, so that an answer nobody takes holds no memory.

use super::linger::Lingering;
use crate::limits;
use axum::serve::Listener;
use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// A listener whose connections end when a write makes no progress for [`limits::WRITE_STALL`], and [linger](super::linger) when they end.
pub(super) struct Guarded<L>(pub(super) L);

impl<L: Listener> Listener for Guarded<L> {
    type Io = Stalling<Lingering<L::Io>>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, peer) = self.0.accept().await;
        (Stalling { io: Lingering::new(io), given_up: None }, peer)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// A stream with a bound on how long a write may wait.
pub(super) struct Stalling<Io> {
    io: Io,
    given_up: Option<Pin<Box<Sleep>>>,
}

impl<Io: AsyncWrite + Unpin> Stalling<Io> {
    /// Polls a write; one that waits for too long has failed.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Io>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = write(Pin::new(&mut self.io), cx) {
            self.given_up = None;
            return Poll::Ready(result);
        }
        let given_up = self.given_up.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limits::WRITE_STALL)));
        ready!(given_up.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer reads nothing")))
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Stalling<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Stalling<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.bounded(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.bounded(cx, |io, cx| io.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bounded(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bounded(cx, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_reads_fails_after_a_while_and_a_slow_reader_does_not() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut ours = Stalling { io: ours, given_up: None };
        ours.write_all(b"abcd").await.unwrap();
        let begun = Instant::now();
        let slow = tokio::spawn(async move {
            tokio::time::sleep(limits::WRITE_STALL / 2).await;
            let mut read = [0; 4];
            theirs.read_exact(&mut read).await.unwrap();
            theirs
        });
        ours.write_all(b"efgh").await.unwrap();
        let theirs = slow.await.unwrap();
        let error = ours.write_all(b"ijkl").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), limits::WRITE_STALL / 2 + limits::WRITE_STALL);
        drop(theirs);
    }
}
