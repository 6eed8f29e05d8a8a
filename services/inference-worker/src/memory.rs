//! The worker's own watch on its memory.
//!
//! A process killed by the kernel says nothing. Ending a little earlier and saying why lets the controller give the next
//! revision more memory instead of guessing.

use std::time::Duration;

use slipway_kernel::ByteSize;
use slipway_runtime::Clock;

use crate::engine::measure::resident_bytes;
use crate::error::WorkerError;

/// How often the memory is looked at. A model that leaks takes longer than this to matter, and the look costs microseconds.
const EVERY: Duration = Duration::from_secs(1);

/// Returns when more than `limit` is in use; never without a limit.
pub async fn exceeded(limit: Option<ByteSize>, clock: &Clock) -> WorkerError {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    loop {
        let used = ByteSize(resident_bytes());
        if used > limit {
            return WorkerError::OutOfMemory { used, limit, when: "while serving" };
        }
        clock.sleep(EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn too_much_memory_is_noticed_and_no_limit_is_no_watch() {
        let clock = Clock::system();
        let error = exceeded(Some(ByteSize(1)), &clock).await;
        assert!(matches!(error, WorkerError::OutOfMemory { .. }));
        let unlimited = exceeded(None, &clock);
        assert!(futures::poll!(std::pin::pin!(unlimited)).is_pending());
    }
}
