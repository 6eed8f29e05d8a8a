//! The bridge: custom resources of a cluster become demands at the gate, and are told what the log says of them.
//!
//! - **Level-triggered.** Each round lists the resources, compares each with the log and does the difference; what is to be done and told is
//!   decided in [`crate::domain::bridge`]. Watches of the cluster and changes of the log only ring; a sweep does what neither rang for.
//! - **Several replicas may run it at once.** A demand has the uid and `metadata.generation` for its id, so the gate takes it once. A resource is
//!   written only over the version that was read, and with what a read of the log after that read says: a status never goes back.
//! - **What may be under way is written down first**: the id of a demand stands in the status before the demand is sent, so that nobody lets a
//!   resource go whose deployment is about to be made.
//! - **The spec is its author's.** Written are one finalizer and the status, each by server-side apply, and events.

mod objects;
mod ring;
mod round;
mod wire;

use objects::{Failure, Resources};
use ring::Bell;
use slipway_bus::{Bus, Verb, View};
use slipway_runtime::{CancellationToken, Frame};
use std::time::Duration;

use crate::{gate::PrincipalConfig, telemetry::Telemetry};

/// How often everything is looked at although nothing rang: as often as any service sweeps the log.
const SWEEP: Duration = Duration::from_secs(30);
/// What rings at once is looked at together: a list of some hundred resources takes a tenth of this.
const TOGETHER: Duration = Duration::from_millis(250);
/// The longest pause before a cluster or a gate that failed is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Who demands, in facts.
const ACTOR: &str = "custom-resource";
/// What may be demanded for a resource.
const VERBS: [Verb; 2] = [Verb::Deploy, Verb::Retire];

/// The bridge of one replica.
pub struct Bridge {
    bus: Bus,
    view: View,
    resources: Resources,
    telemetry: Telemetry,
}

impl Bridge {
    /// A bridge for the resources of some namespaces (`*`: all).
    #[must_use]
    pub fn new(client: kube::Client, namespaces: &[String], bus: Bus, view: View, telemetry: Telemetry) -> Self {
        let resources = Resources::new(client, namespaces, bus.instance());
        Self { bus, view, resources, telemetry }
    }

    /// Runs until shutdown.
    pub async fn run(&self, frame: &Frame) {
        let mut bell = Bell::new(&self.view);
        let (mut failures, mut is_served, mut is_sweep) = (0_u32, true, true);
        while !frame.shutdown.is_cancelled() {
            let outcome = frame.shutdown.run_until_cancelled(Box::pin(self.round(is_sweep))).await;
            let pause = match outcome {
                None => return,
                Some(Ok(())) => {
                    if !is_served {
                        tracing::info!("the cluster serves ModelDeployment now");
                    }
                    (failures, is_served) = (0, true);
                    bell.hang(&self.resources);
                    None
                }
                Some(Err(Failure::NotServed)) => {
                    if is_served {
                        tracing::warn!("the cluster serves no ModelDeployment; it is looked for again each {SWEEP:?}");
                    }
                    (failures, is_served) = (0, false);
                    bell.take_down();
                    None
                }
                Some(Err(error)) => {
                    failures = failures.saturating_add(1);
                    self.telemetry.bridge_failed();
                    tracing::warn!(%error, failures, "custom resources are looked at again");
                    Some(Duration::from_millis(250 << failures.min(6)).min(LONGEST_PAUSE))
                }
            };
            is_sweep = match pause {
                Some(pause) => {
                    rest(pause, &frame.shutdown).await;
                    true
                }
                None => bell.wait(SWEEP, TOGETHER, &frame.shutdown).await,
            };
        }
    }
}

async fn rest(pause: Duration, shutdown: &CancellationToken) {
    // Over is over, whichever way.
    let _ = tokio::time::timeout(pause, shutdown.cancelled()).await;
}

/// The right of the bridge at the gate, whose key is the controller's own. None without a key: then nobody may demand anything.
#[must_use]
pub(crate) fn principal(bus: &Bus, namespaces: &[String]) -> Option<PrincipalConfig> {
    (!namespaces.is_empty()).then_some(())?;
    Some(PrincipalConfig {
        key: bus.identity()?,
        actor: ACTOR.to_owned(),
        namespaces: namespaces.to_vec(),
        verbs: VERBS.map(|verb| verb.to_string()).to_vec(),
    })
}
