//! What a service is handed when it starts.

use crate::{
    clock::Clock,
    config::Common,
    health::Health,
    metrics::Metrics,
    status::StatusBoard,
    tasks::{Supervisor, Tasks},
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};
use tokio_util::sync::CancellationToken;

/// The frame of one service in its process. Cheap to clone; clones are the same frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The service's name.
    pub service: &'static str,
    /// Cancelled when the process is to end. In `slipway up` all services share it.
    pub shutdown: CancellationToken,
    /// Readiness.
    pub health: Health,
    /// Metrics.
    pub metrics: Metrics,
    /// What `/status` shows.
    pub status: StatusBoard,
    /// The time.
    pub clock: Clock,
    /// Folder for what the service keeps on this machine; made by whoever writes into it first.
    pub data_dir: PathBuf,
    /// Supervised tasks.
    pub tasks: Tasks,
    /// Where the admin endpoints of the process listen, if they do.
    pub admin: Option<SocketAddr>,
}

impl Frame {
    pub(crate) fn new(service: &'static str, clock: Clock, data_dir: PathBuf, supervisor: &Supervisor) -> Self {
        let metrics = Metrics::for_service(service);
        Self {
            service,
            shutdown: supervisor.shutdown.clone(),
            health: Health::new(clock.clone()),
            status: StatusBoard::default(),
            tasks: supervisor.tasks(service, clock.clone(), &metrics),
            metrics,
            clock,
            data_dir,
            admin: None,
        }
    }

    /// A frame without a process around it: no admin endpoints, no telemetry, no signals. For a command that talks to the
    /// mesh and ends, and for tests. Its tasks run and are supervised, and a failure cancels its `shutdown`.
    #[must_use]
    pub fn detached(service: &'static str) -> Self {
        Self::new(service, Clock::system(), Common::default().data_dir, &Supervisor::new())
    }

    /// A detached frame for the test of a service. Its data folder is a name of its own in the temporary folder and not
    /// made.
    #[must_use]
    pub fn for_test(service: &'static str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("slipway-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { data_dir: std::env::temp_dir().join(name), ..Self::detached(service) }
    }

    /// The same frame with another clock, for itself, its conditions and its tasks.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.health.set_clock(clock.clone());
        self.tasks.set_clock(clock.clone());
        self.clock = clock;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Timestamp;
    use std::time::Duration;

    #[tokio::test]
    async fn another_clock_is_the_clock_of_the_whole_frame() {
        let (clock, hand) = Clock::manual(Timestamp(7));
        let frame = Frame::for_test("validator").with_clock(clock);
        frame.health.condition("nats").set_ready();
        assert_eq!(frame.health.states()["nats"].since, Timestamp(7));
        let (first, second) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
        let told = std::sync::Arc::new((first, second));
        let mut starts = 0;
        frame.tasks.spawn_restarting("flaky", {
            let told = std::sync::Arc::clone(&told);
            move || {
                starts += 1;
                let (told, n) = (std::sync::Arc::clone(&told), starts);
                async move {
                    let (first, second) = &*told;
                    if n == 1 {
                        first.notify_one();
                    } else {
                        second.notify_one();
                    }
                    Err::<(), _>(std::io::Error::other("no"))
                }
            }
        });
        told.0.notified().await;
        // The pause before the restart is half a second of the frame's clock and none of the wall's.
        while tokio::time::timeout(Duration::from_millis(1), told.1.notified()).await.is_err() {
            hand.advance(Duration::from_millis(500));
        }
    }
}
