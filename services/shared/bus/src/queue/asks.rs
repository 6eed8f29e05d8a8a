//! Requests whose clients wait for the answer, over core NATS: nothing is stored, and who asks while no ingress is there is told so by the
//! broker at once.

use super::inbound::pairs;
use crate::{
    connect::Bus,
    error::BusError,
    topology::{ASKED, parse_inference},
};
use async_nats::Subscriber;
use bytes::Bytes;
use futures::StreamExt as _;
use slipway_kernel::{DeploymentId, Service};

/// The requests, each heard by one replica of the ingress.
#[derive(Debug)]
pub struct Asks {
    subscriber: Subscriber,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Where it was sent to.
    pub subject: String,
    /// Who is asked; none if the subject names nobody.
    pub deployment: Option<DeploymentId>,
    /// Headers as they came, in the order of their names.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub payload: Bytes,
    /// Where its sender says that it waits, unchecked.
    pub reply: Option<String>,
}

impl Asks {
    pub(crate) async fn listen(bus: &Bus) -> Result<Self, BusError> {
        let subscribed = bus.client().queue_subscribe(ASKED, Service::Ingress.name().to_owned()).await;
        let subscriber = subscribed.map_err(|error| BusError::Connection(error.to_string()))?;
        // Until the broker knows of it, who asks is told that nobody is there. A connection is read in order, so any answer that comes
        // after it will do; if none comes, what is asked meanwhile is refused, and later ones are heard.
        let _ = bus.probe().await;
        Ok(Self { subscriber })
    }

    /// The next request; none when the connection is closed, or what came before [`Asks::end`] is heard. To be called again at once: what
    /// waits for it takes memory.
    pub async fn next(&mut self) -> Option<Ask> {
        let message = self.subscriber.next().await?;
        let subject = message.subject.to_string();
        Some(Ask {
            deployment: parse_inference(&subject),
            subject,
            headers: message.headers.as_ref().map(pairs).unwrap_or_default(),
            payload: message.payload,
            reply: message.reply.map(|reply| reply.to_string()),
        })
    }

    /// Hears no new request: they go to the other replicas from now on. What has come already is still told.
    pub async fn end(&mut self) {
        // A connection that is gone brings nothing more either.
        let _ = self.subscriber.drain().await;
    }
}
