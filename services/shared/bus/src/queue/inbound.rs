//! Requests that clients left. Durable once the broker has acknowledged them; each is out of the stream only when it is in the queue of a
//! revision, answered, or a dead letter.

use super::{Held, take};
use crate::{
    connect::Bus,
    error::BusError,
    react::open_consumer,
    topology::{WorkConsumer, parse_inference},
    wire::Stored,
};
use async_nats::{
    HeaderMap,
    jetstream::{
        AckKind,
        consumer::{Consumer, pull},
    },
};
use bytes::Bytes;
use slipway_kernel::{DeploymentId, Timestamp};
use std::time::Duration;

/// The requests that clients left.
#[derive(Clone, Debug)]
pub struct Inbound {
    bus: Bus,
}

impl Inbound {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Opens the consumer that all replicas of the ingress share.
    ///
    /// # Errors
    /// When the broker does not answer or it is not allowed.
    pub async fn consume(&self) -> Result<InboundQueue, BusError> {
        Ok(InboundQueue { consumer: open_consumer(&self.bus, WorkConsumer::Inbound).await? })
    }
}

/// All that was left, shared by the replicas of the ingress.
#[derive(Debug)]
pub struct InboundQueue {
    consumer: Consumer<pull::Config>,
}

impl InboundQueue {
    /// Takes up to `max` requests; returns as soon as there is one, or after `wait` with none.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn next(&self, max: usize, wait: Duration) -> Result<Vec<InboundRequest>, BusError> {
        let taken = take(&self.consumer, max, wait).await?;
        Ok(taken.into_iter().filter_map(InboundRequest::read).collect())
    }
}

/// One request. It comes again unless something is said about it within 30 s.
#[derive(Debug)]
pub struct InboundRequest {
    /// Where it was left.
    pub subject: String,
    /// For whom; none if the subject names nobody.
    pub deployment: Option<DeploymentId>,
    /// Headers as they came, in the order of their names; one that is there several times stands here as often.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub payload: Bytes,
    /// Where it stands in the stream: the same at each delivery.
    pub sequence: u64,
    /// When it was left, by the broker's clock.
    pub at: Timestamp,
    /// Which delivery this is; 1 = the first.
    pub attempt: u64,
    held: Held,
}

impl InboundRequest {
    fn read(message: async_nats::jetstream::Message) -> Option<Self> {
        let (stored, delivery) = Stored::of_delivery(&message)?;
        Some(Self {
            deployment: parse_inference(&stored.subject),
            subject: stored.subject,
            headers: pairs(&stored.headers),
            payload: stored.payload,
            sequence: stored.sequence,
            at: stored.at,
            attempt: delivery.count,
            held: Held::new(message.split().1),
        })
    }

    /// Dealt with: it is in the queue of a revision, answered, or a dead letter.
    ///
    /// # Errors
    /// When the connection is gone; the request then comes again.
    pub async fn ack(self) -> Result<(), BusError> {
        self.held.say(AckKind::Ack).await
    }

    /// Nothing can be done about it now: it comes again after a pause, here or elsewhere.
    ///
    /// # Errors
    /// When the connection is gone; it then comes back by itself.
    pub async fn give_back(self, pause: Duration) -> Result<(), BusError> {
        self.held.say(AckKind::Nak(Some(pause))).await
    }
}

/// Headers as pairs, sorted by name so that the same message always reads the same.
pub(super) fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let all = headers.iter();
    let all = all.flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string())));
    let mut pairs: Vec<(String, String)> = all.collect();
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    pairs
}
