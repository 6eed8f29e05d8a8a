//! The work consumer: one replica of a service hears of each fact. What it hears is a doorbell, kept alive while the duty it led to
//! is under way.

use crate::{
    connect::Bus,
    error::BusError,
    log::View,
    topology::{WORK_ACK_WAIT, WorkConsumer, deployment_of},
    wire::{self, Stored},
};
use async_nats::jetstream::{
    AckKind,
    consumer::{Consumer, Info, pull},
    message::Acker,
};
use futures::StreamExt as _;
use serde_json::json;
use slipway_kernel::DeploymentId;
use std::time::Duration;
use tokio::{sync::mpsc, time::Instant};

/// How often a held doorbell says that it is being worked on: two may be lost before another replica gets it.
pub(super) const BEAT: Duration = Duration::from_secs(10);
/// Doorbells asked for at once. They are looked at in microseconds; those that lead to work are kept alive.
const BATCH: usize = 200;
/// How long the view may be behind the doorbell. It follows the same stream; longer means that it is not following at all, and then
/// the sweep comes.
const VIEW_BEHIND: Duration = Duration::from_secs(10);

/// A held doorbell. Dropping it says nothing: it rings again, here or elsewhere, when its time is over.
pub(super) struct Doorbell {
    acker: Box<Acker>,
    beaten: Instant,
}

impl std::fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doorbell").field("beaten", &self.beaten).finish_non_exhaustive()
    }
}

impl Doorbell {
    /// Past its own time it is another replica's; then nothing is said.
    fn is_ours(&self) -> bool {
        self.beaten.elapsed() < WORK_ACK_WAIT
    }

    async fn say(&self, kind: AckKind) {
        if !self.is_ours() {
            return;
        }
        if let Err(error) = self.acker.ack_with(kind).await {
            tracing::debug!(%error, "a doorbell could not be answered and will ring again");
        }
    }

    /// Dealt with.
    pub(super) async fn done(self) {
        self.say(AckKind::Ack).await;
    }

    /// Never to be heard again: there is a dead letter.
    pub(super) async fn terminate(self) {
        self.say(AckKind::Term).await;
    }

    /// Being worked on.
    pub(super) async fn beat(&mut self) {
        if self.is_ours() {
            self.say(AckKind::Progress).await;
            self.beaten = Instant::now();
        }
    }
}

/// A fact was written about a deployment.
#[derive(Debug)]
pub(super) struct Ring {
    pub(super) id: DeploymentId,
    /// When, since the Unix epoch, by the broker's clock.
    pub(super) appended: Duration,
    /// How many more there are for this service.
    pub(super) pending: u64,
    pub(super) doorbell: Doorbell,
}

/// Listens until the receiver is dropped.
pub(super) async fn listen(bus: Bus, view: View, consumer: WorkConsumer, rings: mpsc::Sender<Ring>) {
    let mut failures: u32 = 0;
    loop {
        let started = Instant::now();
        let mut connections = bus.connections();
        connections.mark_unchanged();
        let ended = tokio::select! {
            ended = session(&bus, &view, consumer, &rings) => ended,
            _ = connections.changed() => Ok(()),
            () = rings.closed() => return,
        };
        failures = if started.elapsed() > Duration::from_secs(30) { 0 } else { failures.saturating_add(1) };
        if let Err(error) = ended {
            tracing::debug!(consumer = consumer.as_str(), %error, "listening begins again");
        }
        let pause = Duration::from_millis(50 << failures.min(5));
        tokio::time::sleep(pause).await;
    }
}

async fn session(bus: &Bus, view: &View, consumer: WorkConsumer, rings: &mpsc::Sender<Ring>) -> Result<(), BusError> {
    let consumer = open(bus, consumer).await?;
    let broken = |error: &dyn std::fmt::Display| BusError::Connection(error.to_string());
    let messages = consumer.stream().max_messages_per_batch(BATCH).heartbeat(Duration::from_secs(5)).messages().await;
    let mut messages = messages.map_err(|error| broken(&error))?;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| broken(&error))?;
        let Some((stored, delivery)) = Stored::of_delivery(&message) else { continue };
        let doorbell = Doorbell { acker: Box::new(message.split().1), beaten: Instant::now() };
        let Some(id) = deployment_of(&stored.subject) else {
            // No deployment's: the view shows it among the strays.
            doorbell.done().await;
            continue;
        };
        view.wait_applied(stored.sequence, VIEW_BEHIND).await;
        if rings.send(Ring { id, appended: delivery.appended, pending: delivery.pending, doorbell }).await.is_err() {
            return Ok(());
        }
    }
    Err(broken(&"the deliveries ended"))
}

/// The consumer, made at installation.
pub(crate) async fn open(bus: &Bus, consumer: WorkConsumer) -> Result<Consumer<pull::Config>, BusError> {
    let what = format!("CONSUMER.INFO.{}.{}", consumer.stream().as_str(), consumer.as_str());
    let info = wire::api(bus, &what, &json!({})).await?;
    let info: Info = serde_json::from_value(info)
        .map_err(|error| BusError::Unreadable { action: what, reason: error.to_string() })?;
    Ok(Consumer::new(consumer.config(), info, bus.context().clone()))
}
