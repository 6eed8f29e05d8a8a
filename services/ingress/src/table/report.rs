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
/// Between two reports that only say that the log moved on: a release waits for one, and a hundred small writes a second are
/// nothing to the broker. A change of routes is reported at once.
const AT_MOST_EACH: Duration = Duration::from_millis(10);

/// Reports until the shutdown, then says that this replica routes no more.
pub async fn run(ingress: Arc<Ingress>, bus: Bus, shutdown: CancellationToken) {
    let (mut changes, mut moves) = (ingress.routing.changes(), ingress.routing.moves());
    loop {
        changes.borrow_and_update();
        moves.borrow_and_update();
        let (applied, stats, shifting) = {
            let table = ingress.routing.load();
            (table.applied, stats(&table), table.doors().any(|door| is_shifting(door)))
        };
        let reported = Instant::now();
        // While the broker is away nobody reads reports, and there will be another.
        if let Err(error) = bus.routes().report_with(applied, stats).await {
            debug!(%error, "the routes could not be reported");
        }
        let again = reported + if shifting { WHILE_SHIFTING } else { AT_LEAST_EACH };
        loop {
            let moved = ingress.routing.load().applied != applied;
            tokio::select! {
                () = shutdown.cancelled() => {
                    if let Err(error) = bus.routes().withdraw().await {
                        debug!(%error, "the report of the routes will run out");
                    }
                    return;
                }
                _ = moves.changed() => break,
                _ = changes.changed() => {}
                () = sleep_until(if moved { reported + AT_MOST_EACH } else { again }) => break,
            }
        }
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
