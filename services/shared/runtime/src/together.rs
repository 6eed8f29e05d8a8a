//! Writes that go out together. A task that is woken by another runs next, so each small message would leave alone: with a record of TLS and
//! a system call of its own, which cost more than all else that is done for it. Where several are under way, what writes them lets
//! whoever can run do so before, and then takes what all of them left.
//!
//! Nothing waits for time to pass: with nobody else to run, or nothing under way beside it, a message goes at once.

use futures::{
    StreamExt as _,
    stream::{Stream, unfold},
};
use std::{future::Future, pin::pin, task::Poll};
use tokio::task::yield_now;

/// A stream whose next item, where it had to be waited for, comes after others could run; what they added is there at once behind it.
/// `is_worth` says whether there are such others.
pub fn stream<S: Stream + Unpin>(stream: S, is_worth: impl Fn(&S) -> bool) -> impl Stream<Item = S::Item> {
    unfold((stream, is_worth), async |(mut stream, is_worth)| {
        let mut waited = false;
        let next = std::future::poll_fn(|context| {
            let polled = stream.poll_next_unpin(context);
            waited |= polled.is_pending();
            polled
        });
        let item = next.await?;
        if waited && is_worth(&stream) {
            yield_now().await;
        }
        Some((item, (stream, is_worth)))
    })
}

/// Polls a connection that was woken only after others could run, where `is_worth` says that there are such.
pub(crate) async fn polled<F: Future>(connection: F, is_worth: impl Fn() -> bool) -> F::Output {
    let mut connection = pin!(connection);
    loop {
        if let Poll::Ready(output) = futures::poll!(connection.as_mut()) {
            return output;
        }
        futures::pending!();
        if is_worth() {
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use tokio::sync::mpsc;

    /// How many items are there at once behind the first, when three tasks are about to send one each.
    async fn behind_the_first(is_worth: bool) -> usize {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let received = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        let mut items = pin!(stream(received, move |_| is_worth));
        assert!(items.next().now_or_never().is_none(), "nothing is there");
        for _ in 0..3 {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(()) });
        }
        items.next().await.unwrap();
        std::iter::from_fn(|| items.next().now_or_never()).count()
    }

    #[tokio::test]
    async fn what_others_are_about_to_send_goes_out_with_the_first() {
        assert_eq!(behind_the_first(true).await, 2);
    }

    #[tokio::test]
    async fn an_item_that_is_alone_goes_at_once() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut items = pin!(stream(futures::stream::poll_fn(move |context| receiver.poll_recv(context)), |_| true));
        sender.send(7).unwrap();
        assert_eq!(items.next().now_or_never(), Some(Some(7)));
        drop(sender);
        assert_eq!(items.next().await, None);
    }

    #[tokio::test]
    async fn a_connection_that_is_woken_is_polled_after_those_that_can_run() {
        let (wake, mut woken) = mpsc::unbounded_channel();
        let connection = std::future::poll_fn(move |context| woken.poll_recv(context).map(|_| woken.len()));
        let others = tokio::spawn(polled(connection, || true));
        yield_now().await;
        for _ in 0..3 {
            let wake = wake.clone();
            tokio::spawn(async move { wake.send(()) });
        }
        assert_eq!(others.await.unwrap(), 2, "all three have run");
    }
}
