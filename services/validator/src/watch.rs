//! Watches the revision that has the traffic while another is proved.

use crate::{
    domain::{assignment::Live, burn::burn, judge::production::Watched},
    error::told,
    world::World,
};
use slipway_kernel::{DeploymentId, Tally};
use std::{future::Future, time::Duration};

/// How often it is looked at: the proof ends within this and one reading after production begins to suffer.
const EVERY: Duration = Duration::from_millis(250);

/// Does `proof` and watches the live revision beside it. When that one burns its budget, `stopped` is called, after which the
/// proof is to end by itself at once.
pub(crate) async fn beside<T>(
    world: &dyn World,
    deployment: &DeploymentId,
    live: Option<&Live>,
    stop: impl FnOnce(),
    proof: impl Future<Output = T>,
) -> (T, Watched) {
    let Some(live) = live else {
        return (proof.await, Watched::Nobody);
    };
    let mut proof = std::pin::pin!(proof);
    let mut seen = Watched::Kept(live.revision);
    let watching = async {
        // The replicas of the ingress may come, go and start anew meanwhile; the first look is where each begins.
        let mut tally: Option<Tally> = None;
        loop {
            match world.live(deployment, live.revision).await {
                Ok(counted) => {
                    let tally = tally.get_or_insert_default();
                    tally.look(counted);
                    if let Some(burnt) = burn(&live.slo, tally.total()) {
                        return Watched::Burnt(live.revision, burnt);
                    }
                }
                // Seen once, it will be seen again; never seen, nobody watches.
                Err(error) if tally.is_none() => return Watched::Unseen(told(&error)),
                Err(error) => tracing::debug!(error = told(&error), "the live revision was not seen"),
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    let mut watching = std::pin::pin!(watching);
    tokio::select! {
        proved = &mut proof => return (proved, seen),
        ended = &mut watching => seen = ended,
    }
    if let Watched::Burnt(revision, burnt) = &seen {
        tracing::warn!(%revision, objective = burnt.objective, rate = burnt.rate, "the live revision suffers: the proof is stopped");
        stop();
    }
    (proof.await, seen)
}
