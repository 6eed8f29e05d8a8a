//! The last known state of something shared that changes.

use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// A value followed in the background. It survives reconnects; while the broker is away the last state stays.
#[derive(Debug)]
pub struct Watched<T> {
    receiver: watch::Receiver<Arc<T>>,
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self { receiver: self.receiver.clone() }
    }
}

impl<T> Watched<T> {
    pub(crate) const fn new(receiver: watch::Receiver<Arc<T>>) -> Self {
        Self { receiver }
    }

    /// A value that never changes, for tests of what reads one.
    #[must_use]
    pub fn fixed(value: T) -> Self {
        Self { receiver: watch::channel(Arc::new(value)).1 }
    }

    /// The state now.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.receiver.borrow())
    }

    /// Waits for the next change; `false` when nothing follows it any more.
    pub async fn changed(&mut self) -> bool {
        self.receiver.changed().await.is_ok()
    }

    /// Waits until `holds`, at most `timeout`.
    pub async fn wait(&mut self, timeout: Duration, mut holds: impl FnMut(&T) -> bool) -> Option<Arc<T>> {
        let waiting = self.receiver.wait_for(|value| holds(value));
        let found = tokio::time::timeout(timeout, waiting).await.ok()?.ok()?;
        Some(Arc::clone(&found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_when_the_condition_holds_or_the_time_is_over() {
        let (sender, receiver) = watch::channel(Arc::new(1));
        let mut watched = Watched::new(receiver);
        assert!(watched.wait(Duration::from_millis(5), |n| *n == 2).await.is_none());
        sender.send(Arc::new(2)).unwrap();
        assert_eq!(*watched.wait(Duration::from_secs(1), |n| *n == 2).await.unwrap(), 2);
        drop(sender);
        assert!(!watched.changed().await);
        assert_eq!(*watched.get(), 2);
    }
}
