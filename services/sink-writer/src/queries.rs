//! Questions that others ask the sink-writer, the only one that speaks SQL.

use crate::{ledger::Keeper, outputs::Outputs, sinks::Table};
use slipway_bus::{Bus, SinkAnswer, SinkQuery};
use slipway_kernel::DeploymentId;
use slipway_runtime::Frame;
use std::sync::Arc;

/// Answers questions until shutdown.
pub(crate) fn spawn(frame: &Frame, bus: &Bus, outputs: &Arc<Outputs>, keeper: &Arc<Keeper>) {
    let (asked, own, outputs) = (bus.clone(), frame.clone(), Arc::clone(outputs));
    frame.tasks.spawn_restarting("sink-questions", move || {
        let (bus, frame, outputs) = (asked.clone(), own.clone(), Arc::clone(&outputs));
        async move {
            let lag = bus.clone();
            let answer = move |query| answer(lag.clone(), Arc::clone(&outputs), query);
            bus.sinks().serve(&frame, answer).await
        }
    });
    let (asked, own, keeper) = (bus.clone(), frame.clone(), Arc::clone(keeper));
    frame.tasks.spawn_restarting("ledger-questions", move || {
        let (bus, frame, keeper) = (asked.clone(), own.clone(), Arc::clone(&keeper));
        async move {
            let verify = move |_| {
                let keeper = Arc::clone(&keeper);
                async move { keeper.verify().await.inspect_err(|error| tracing::warn!(%error, "verification failed")).ok() }
            };
            bus.ledger().serve(&frame, verify).await
        }
    });
}

async fn answer(bus: Bus, outputs: Arc<Outputs>, query: SinkQuery) -> Option<SinkAnswer> {
    let id = DeploymentId { namespace: query.namespace.parse().ok()?, name: query.deployment.parse().ok()? };
    let pending = bus.results().lag().await.ok()? + bus.captures().lag().await.ok()?;
    let table: Arc<dyn Table> =
        if query.probe { Arc::clone(outputs.probes()) } else { outputs.embedded(&id).await.ok()?? };
    let (total, rows) = table.rows(&query, SinkAnswer::PAGE).await.ok()?;
    Some(SinkAnswer { total, rows, pending })
}
