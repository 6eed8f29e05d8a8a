//! One duty under way.

use super::{Actor, Done, DutyError, Scene, doorbell::Doorbell};
use futures::FutureExt as _;
use slipway_kernel::DeploymentId;
use slipway_runtime::{CancellationToken, trace};
use std::{panic::AssertUnwindSafe, sync::Arc};
use tokio::time::Instant;
use tracing::Instrument as _;

/// A duty that was begun.
pub(super) struct Running<D> {
    pub(super) duty: D,
    pub(super) label: &'static str,
    pub(super) doorbell: Option<Doorbell>,
    pub(super) cancel: CancellationToken,
    pub(super) since: Instant,
    pub(super) last_sequence: u64,
    /// Something other than a change seen in the view asked about it while it ran: look again when it ends.
    pub(super) again: bool,
}

/// Why a deployment is looked at.
#[derive(Debug)]
pub(super) enum Reason {
    /// A fact was written, and of all replicas this one was told.
    Rung(Doorbell),
    /// The view moved. The doorbell for that rings at one replica, so nothing is begun for it; only what runs is checked.
    Moved,
    /// A sweep, a wake-up, a nudge, an end.
    Looked,
}

impl Reason {
    pub(super) fn doorbell(self) -> Option<Doorbell> {
        match self {
            Self::Rung(doorbell) => Some(doorbell),
            Self::Moved | Self::Looked => None,
        }
    }
}

impl From<Option<Doorbell>> for Reason {
    fn from(doorbell: Option<Doorbell>) -> Self {
        doorbell.map_or(Self::Looked, Self::Rung)
    }
}

/// A duty's end, `None` if it was cancelled.
pub(super) struct Ended {
    pub(super) id: DeploymentId,
    pub(super) outcome: Option<Result<Done, DutyError>>,
}

/// Runs a duty in a span of its own, in the trace of what led to it. `None`: it was cancelled, its future dropped.
pub(super) async fn work<A: Actor>(
    actor: Arc<A>,
    label: &'static str,
    duty: A::Duty,
    scene: Scene,
    cancel: CancellationToken,
) -> Option<Result<Done, DutyError>> {
    let span = tracing::info_span!("duty", otel.name = label, duty = ?duty, deployment = %scene.id);
    if let Some(traceparent) = scene.cause.as_ref().and_then(|cause| cause.traceparent.as_deref()) {
        trace::parent_from(&span, traceparent);
    }
    let performing = AssertUnwindSafe(actor.perform(duty, scene)).catch_unwind().instrument(span);
    let outcome = cancel.run_until_cancelled(performing).await?;
    Some(outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(DutyError::permanent(anyhow::anyhow!("the duty panicked: {text}")))
    }))
}
