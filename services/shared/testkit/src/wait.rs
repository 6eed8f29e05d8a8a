//! Waiting for a condition.

use std::{fmt::Debug, future::Future, time::Duration};
use tokio::time::Instant;

/// How often a condition is looked at: often enough that no test feels it.
const EVERY: Duration = Duration::from_millis(20);

/// What a condition says: held with a value, or not yet, with what was seen instead.
pub trait Held {
    /// What it holds with.
    type Value;

    /// The value, or what was seen.
    ///
    /// # Errors
    /// What was seen instead.
    fn held(self) -> Result<Self::Value, String>;
}

impl Held for bool {
    type Value = ();

    fn held(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".to_owned()) }
    }
}

impl<T> Held for Option<T> {
    type Value = T;

    fn held(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".to_owned())
    }
}

impl<T, E: Debug> Held for Result<T, E> {
    type Value = T;

    fn held(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// Waits until `condition` holds, at most `timeout`.
///
/// # Panics
/// When it does not, with what was seen last.
#[track_caller]
pub fn eventually<H, F, Fut>(timeout: Duration, mut condition: F) -> impl Future<Output = H::Value>
where
    H: Held,
    F: FnMut() -> Fut,
    Fut: Future<Output = H>,
{
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + timeout;
        loop {
            match condition().await.held() {
                Ok(value) => return value,
                Err(seen) if Instant::now() >= deadline => {
                    panic!("{caller}: not within {timeout:?}; last seen: {seen}")
                }
                Err(_) => tokio::time::sleep(EVERY).await,
            }
        }
    }
}
