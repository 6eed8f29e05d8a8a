//! One at a time per key: the same demand may reach one gate by both of its ways at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

#[derive(Debug, Default)]
pub(super) struct Keyed {
    locks: Mutex<HashMap<String, Weak<AsyncMutex<()>>>>,
}

impl Keyed {
    /// Waits until nobody else holds the key.
    pub(super) async fn lock(&self, key: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            match locks.get(key).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::new(AsyncMutex::new(()));
                    locks.insert(key.to_owned(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_held_by_one_and_forgotten_after() {
        let keyed = Keyed::default();
        let held = keyed.lock("a").await;
        drop(keyed.lock("b").await);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(10), keyed.lock("a")).await.is_err());
        drop(held);
        drop(keyed.lock("a").await);
        drop(keyed.lock("c").await);
        assert!(keyed.locks.lock().unwrap().len() <= 1);
    }
}
