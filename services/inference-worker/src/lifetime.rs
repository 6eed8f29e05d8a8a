//! Watching the controller's lease; the verdict itself is in [`crate::domain::lifetime`].

use std::time::Duration;

use slipway_bus::{Bus, LeaseInfo, LeaseKey, Watched};
use slipway_kernel::{Service, Timestamp};
use slipway_runtime::Clock;

use crate::config::Assignment;
use crate::domain::lifetime::{Sight, Verdict, WantedWorkers, sight, verdict};

/// First pause before trying again to follow the lease; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longer than this nobody should be in doubt about being wanted.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Returns when the worker must go, with the reason.
pub async fn over(bus: &Bus, clock: &Clock, assignment: &Assignment, stop_unwanted_after: Duration) -> Verdict {
    let key = LeaseKey::host(&assignment.host, Service::Controller, "workers");
    let mut watch =
        Watch { clock, instance: &assignment.instance, stop_unwanted_after, seen: (Sight::Silent, clock.now()) };
    let mut pause = FIRST_PAUSE;
    loop {
        match bus.leases().follow(&key).await {
            Ok(watched) => {
                if let Some(over) = watch.follow(watched).await {
                    return over;
                }
            }
            Err(error) => tracing::warn!(%error, "the controller's lease cannot be followed yet"),
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct Watch<'a> {
    clock: &'a Clock,
    instance: &'a str,
    stop_unwanted_after: Duration,
    /// What is seen, and since when without a break.
    seen: (Sight, Timestamp),
}

impl Watch<'_> {
    /// `None` when the lease is followed no more.
    async fn follow(&mut self, mut watched: Watched<Option<LeaseInfo>>) -> Option<Verdict> {
        loop {
            let now = self.clock.now();
            let sight = sight(wanted(watched.get().as_ref().as_ref()).as_ref(), self.instance);
            if sight != self.seen.0 {
                self.seen = (sight, now);
            }
            match verdict(sight, self.seen.1, self.stop_unwanted_after, now) {
                Verdict::Stay => watched.changed().await.then_some(())?,
                Verdict::StayUntil(until) => tokio::select! {
                    live = watched.changed() => live.then_some(())?,
                    () = self.clock.sleep_until(until) => {}
                },
                over => return Some(over),
            }
        }
    }
}

fn wanted(info: Option<&LeaseInfo>) -> Option<WantedWorkers> {
    let value = &info?.value;
    // A value without a list is one that was not set yet.
    value.get("instances")?;
    serde_json::from_value(value.clone())
        .inspect_err(|error| tracing::error!(%error, "the controller's list of workers cannot be read"))
        .ok()
}
