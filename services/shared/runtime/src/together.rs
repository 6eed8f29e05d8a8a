//! Writes that go out together. A task that is woken by another runs next, so each small message would leave alone: with a record of TLS and
//! a system call of its own, which cost more than all else that is done for it. Where several are under way, what writes them lets
//! whoever can run do so before, and then takes what all of them left.
//!
//! Nothing waits for time to pass: with nobody else to run, or nothing under way beside it, a message goes at once.
//!
//! And polls that go together. A task that is woken while it is polled goes to the end of the queue of its thread, and another thread is woken
//! for it: on an idle machine that costs more than a small request. HTTP wakes itself so with nearly every body that it sends or reads.

use futures::{
    StreamExt as _,
    stream::{Stream, unfold},
    task::AtomicWaker,
};
use hyper::rt::Executor;
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};
use tokio::task::yield_now;

/// How often a future is polled in a row that keeps waking itself, before others come first.
const IN_A_ROW: usize = 4;

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

/// Polls a future that was woken while it was polled again at once.
pub async fn folded<F: Future>(future: F) -> F::Output {
    let woken = Arc::new(Woken { task: AtomicWaker::new(), state: AtomicU8::new(ASLEEP) });
    let (waker, mut future) = (Waker::from(Arc::clone(&woken)), pin!(future));
    std::future::poll_fn(move |context| woken.poll(&waker, future.as_mut(), context)).await
}

/// Nobody polls it or has woken it since.
const ASLEEP: u8 = 0;
/// It is being polled.
const POLLED: u8 = 1;
/// It is to be polled again.
const WOKEN: u8 = 2;

struct Woken {
    task: AtomicWaker,
    state: AtomicU8,
}

impl Woken {
    fn poll<F: Future>(&self, waker: &Waker, mut future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.task.register(context.waker());
        for _ in 0..IN_A_ROW {
            self.state.swap(POLLED, Ordering::AcqRel);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(waker)) {
                return Poll::Ready(output);
            }
            let asleep = self.state.compare_exchange(POLLED, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
            if asleep.is_ok() {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Who polls it sees that, and a task that was woken before is polled in any case.
        if self.state.swap(WOKEN, Ordering::AcqRel) == ASLEEP {
            self.task.wake();
        }
    }
}

/// Spawns tasks whose polls are [`folded`].
#[derive(Clone, Copy, Debug)]
pub struct Folding;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Folding {
    fn execute(&self, future: F) {
        tokio::spawn(folded(future));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::mpsc;

    /// How many items are there at once behind the first, when three tasks are about to send one each.
    async fn behind_the_first(is_worth: bool) -> usize {
        let (sender, mut receiver) = mpsc::channel(8);
        let received = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        let mut items = pin!(stream(received, move |_| is_worth));
        assert!(items.next().now_or_never().is_none(), "nothing is there");
        for _ in 0..3 {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(()).await });
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
        let (sender, mut receiver) = mpsc::channel(8);
        let mut items = pin!(stream(futures::stream::poll_fn(move |context| receiver.poll_recv(context)), |_| true));
        sender.try_send(7).unwrap();
        assert_eq!(items.next().now_or_never(), Some(Some(7)));
        drop(sender);
        assert_eq!(items.next().await, None);
    }

    /// Wakes itself so many times, one poll after the other.
    fn restless(times: usize, polls: Arc<AtomicUsize>) -> impl Future<Output = ()> {
        std::future::poll_fn(move |context| {
            if polls.fetch_add(1, Ordering::Relaxed) < times {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
    }

    #[test]
    fn a_future_that_wakes_itself_is_polled_again_at_once_and_not_for_ever() {
        for (times, at_once) in [(0, 1), (1, 2), (IN_A_ROW - 1, IN_A_ROW), (10 * IN_A_ROW, IN_A_ROW)] {
            let polls = Arc::new(AtomicUsize::new(0));
            let ended = folded(restless(times, Arc::clone(&polls))).now_or_never().is_some();
            assert_eq!((polls.load(Ordering::Relaxed), ended), (at_once, times < IN_A_ROW), "{times}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_is_lost_whoever_wakes_and_when() {
        let (sender, mut receiver) = mpsc::channel(8);
        let counting = tokio::spawn(folded(async move {
            restless(100, Arc::default()).await;
            let mut count = 0;
            while receiver.recv().await.is_some() {
                count += 1;
            }
            count
        }));
        for _ in 0..10_000 {
            sender.send(()).await.unwrap();
        }
        drop(sender);
        assert_eq!(counting.await.unwrap(), 10_000);
    }

    #[tokio::test]
    async fn a_connection_that_is_woken_is_polled_after_those_that_can_run() {
        let (wake, mut woken) = mpsc::channel(8);
        let connection = std::future::poll_fn(move |context| woken.poll_recv(context).map(|_| woken.len()));
        let others = tokio::spawn(polled(connection, || true));
        yield_now().await;
        for _ in 0..3 {
            let wake = wake.clone();
            tokio::spawn(async move { wake.send(()).await });
        }
        assert_eq!(others.await.unwrap(), 2, "all three have run");
    }
}
