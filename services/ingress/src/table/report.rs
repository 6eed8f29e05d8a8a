//! Tells the controller which part of the log requests are routed by here, and how revisions do while their shares change.

use super::{Door, Table};
use crate::stack::Ingress;
use slipway_bus::{Bus, RevisionStats};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// A replica that says nothing for three of these is no longer waited for.
const AT_LEAST_EACH: Duration = Duration::from_secs(5);
/// While shares change, the controller decides by the figures in the reports.
const WHILE_SHIFTING: Duration = Duration::from_secs(1);
/// Between two reports that only say that the log moved on: nobody waits for those.
const AT_MOST_EACH: Duration = Duration::from_millis(100);

/// Between any two: what the timer can tell apart.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Reports until the shutdown, then says that this replica routes no more.
pub async fn run(ingress: Arc<Ingress>, bus: Bus, shutdown: CancellationToken) {
    let mut changes = ingress.routing.changes();
    loop {
        changes.borrow_and_update();
        let (applied, stats, shifting) = {
            let table = ingress.routing.load();
            (table.applied, stats(&table), table.doors().any(|door| is_shifting(door)))
        };
        let asked = Instant::now();
        // While the broker is away nobody reads reports, and there will be another.
        if let Err(error) = bus.routes().report_with(applied, stats).await {
            debug!(%error, "the routes could not be reported");
        }
        let said = Said { applied, at: Instant::now(), took: asked.elapsed(), shifting };
        loop {
            let next = said.next(&ingress.routing.load());
            if next <= Instant::now() {
                break;
            }
            tokio::select! {
                () = shutdown.cancelled() => {
                    if let Err(error) = bus.routes().withdraw().await {
                        debug!(%error, "the report of the routes will run out");
                    }
                    return;
                }
                _ = changes.changed() => {}
                () = sleep_until(next) => break,
            }
        }
    }
}

/// The last report.
struct Said {
    applied: u64,
    at: Instant,
    took: Duration,
    shifting: bool,
}

impl Said {
    /// When to report again, as the table stands.
    fn next(&self, table: &Table) -> Instant {
        let again = self.at + if self.shifting { WHILE_SHIFTING } else { AT_LEAST_EACH };
        if table.applied == self.applied {
            return again;
        }
        // Somebody waits for a route that moved. A broker that is busy answers late, and is then told less often.
        let awaited = (self.applied + 1..=table.applied).contains(&table.routed_at);
        let pause = if awaited { self.took.max(SHORTEST_PAUSE) } else { AT_MOST_EACH };
        (self.at + pause).min(again)
    }
}

fn is_shifting(door: &Door) -> bool {
    door.entry.routes.shares.len() > 1
}

fn stats(table: &Table) -> Vec<RevisionStats> {
    let doors = table.doors().filter(|door| is_shifting(door));
    doors
        .flat_map(|door| {
            door.counts.iter().map(|(revision, counts)| {
                let summary = counts.summary();
                RevisionStats {
                    deployment: door.entry.id.to_string(),
                    revision: *revision,
                    requests: summary.requests,
                    failures: summary.failures,
                    p99_ms: summary.p99_ms,
                }
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_moved_is_reported_at_once_and_what_nobody_waits_for_later() {
        let now = Instant::now();
        let millis = Duration::from_millis;
        let said = Said { applied: 10, at: now, took: millis(3), shifting: false };
        let table = |applied, routed_at| Table { applied, routed_at, ..Table::default() };
        for (applied, routed_at, pause, why) in [
            (10, 10, AT_LEAST_EACH, "all is said"),
            (12, 10, AT_MOST_EACH, "the log moved on, and no route"),
            (12, 11, millis(3), "a route moved; not more often than the broker takes it"),
            (12, 13, AT_MOST_EACH, "a route moves, and the table is not past it yet"),
        ] {
            assert_eq!(said.next(&table(applied, routed_at)), now + pause, "{why}");
        }
        let shifting = Said { shifting: true, ..said };
        assert_eq!(shifting.next(&table(10, 10)), now + WHILE_SHIFTING);
        let idle = Said { took: Duration::ZERO, ..shifting };
        assert_eq!(idle.next(&table(11, 11)), now + SHORTEST_PAUSE);
    }
}
