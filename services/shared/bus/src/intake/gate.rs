//! The gate's side. A demand reaches a gate by two ways: at once over core NATS, with somewhere to reply; and through the stream, for
//! what came while no gate was up. Both end in the same place, and what was answered once is answered the same for good.

use super::{Credential, Intake, IntakeAnswer, Verb, keyed::Keyed, signature::verify};
use crate::{
    connect::Bus,
    dead::DeadLetter,
    envelope::Envelope,
    error::BusError,
    react::{DutyError, open_consumer},
    topology::{INTAKE, StreamName, WorkConsumer, intake_answer, parse_intake},
    wire::{self, Stored},
};
use async_nats::{
    HeaderMap, Message, Subject, Subscriber,
    jetstream::{AckKind, message::Acker},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use slipway_kernel::{Digest, Namespace, Timestamp};
use slipway_runtime::{CancellationToken, Frame, trace};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

/// Demands in work at once in this replica. Each is a validation and two writes; more would only wait for the same disk.
const AT_ONCE: usize = 64;
/// How long the second way leaves a demand to the first: that one takes milliseconds.
const LEFT_TO_THE_FIRST: Duration = Duration::from_millis(500);
/// How often a held delivery is said to be worked on.
const BEAT: Duration = Duration::from_secs(10);
/// The digest of the body that was answered stands beside the answer.
const BODY: &str = "slipway-body-digest";

/// A demand, read and with its sender verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntakeMessage {
    /// In which namespace.
    pub namespace: Namespace,
    /// What is demanded.
    pub verb: Verb,
    /// The subject it was sent to.
    pub subject: String,
    /// The event.
    pub envelope: Envelope,
    /// Who sent it.
    pub credential: Credential,
    /// When it came.
    pub at: Timestamp,
}

/// What decides on demands.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Decides on one demand. It may come twice: source and id say so. A transient error means that there is no answer yet, and it
    /// comes again; a permanent one is answered as `internal` and dead-lettered.
    async fn handle(&self, message: &IntakeMessage) -> Result<IntakeAnswer, DutyError>;
}

/// A message as it arrived, whichever way.
#[derive(Clone, Debug)]
struct Arrived {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    at: Timestamp,
}

/// What came of a message.
enum Outcome {
    /// An answer; it may have been given before.
    Answered(IntakeAnswer),
    /// It is no demand: nothing that could be recorded.
    Unreadable(IntakeAnswer),
    /// It was given up.
    Failed(IntakeAnswer),
    /// No answer yet.
    Later(DutyError),
}

struct Serving<G> {
    bus: Bus,
    gate: G,
    keyed: Keyed,
    places: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Intake {
    /// Serves demands until the process is to end.
    ///
    /// # Errors
    /// When listening cannot begin.
    pub async fn serve(&self, frame: &Frame, gate: impl Gate) -> Result<(), BusError> {
        let first = self.bus.client().queue_subscribe(INTAKE, "gate".to_owned()).await;
        let first = first.map_err(|error| BusError::Connection(error.to_string()))?;
        let serving = Arc::new(Serving {
            bus: self.bus.clone(),
            gate,
            keyed: Keyed::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            shutdown: frame.shutdown.clone(),
        });
        let second = Box::pin(second_way(&serving, frame));
        let serve = async { tokio::join!(first_way(&serving, frame, first), second) };
        frame.shutdown.run_until_cancelled(Box::pin(serve)).await;
        Ok(())
    }
}

async fn first_way<G: Gate>(serving: &Arc<Serving<G>>, frame: &Frame, mut messages: Subscriber) {
    while let Some(message) = messages.next().await {
        let Some(place) = serving.place().await else { return };
        let serving = Arc::clone(serving);
        frame.tasks.spawn("intake", async move {
            let Message { subject, reply, payload, headers, .. } = message;
            let at = serving.bus.clock().now();
            let arrived = Arrived { subject: subject.to_string(), headers: headers.unwrap_or_default(), payload, at };
            let outcome = serving.shutdown.run_until_cancelled(serving.consider(&arrived)).await;
            drop(place);
            match outcome {
                Some(Outcome::Answered(answer) | Outcome::Unreadable(answer) | Outcome::Failed(answer)) => {
                    serving.reply(reply, &answer).await;
                }
                Some(Outcome::Later(error)) => tracing::warn!(%error, "a demand waits to come again"),
                None => {}
            }
        });
    }
}

async fn second_way<G: Gate>(serving: &Arc<Serving<G>>, frame: &Frame) {
    let mut failures: u32 = 0;
    loop {
        let mut connections = serving.bus.connections();
        connections.mark_unchanged();
        let ended = tokio::select! {
            ended = session(serving, frame) => ended,
            _ = connections.changed() => Ok(()),
        };
        failures = if ended.is_ok() { 0 } else { failures.saturating_add(1) };
        if let Err(error) = ended {
            tracing::debug!(%error, "reading the intake begins again");
        }
        tokio::time::sleep(Duration::from_millis(50 << failures.min(5))).await;
    }
}

async fn session<G: Gate>(serving: &Arc<Serving<G>>, frame: &Frame) -> Result<(), BusError> {
    let consumer = open_consumer(&serving.bus, WorkConsumer::Gate).await?;
    let broken = |error: String| BusError::Connection(error);
    let messages = consumer.stream().max_messages_per_batch(AT_ONCE).heartbeat(Duration::from_secs(5)).messages();
    let mut messages = messages.await.map_err(|error| broken(error.to_string()))?;
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| broken(error.to_string()))?;
        let Some((stored, _)) = Stored::of_delivery(&message) else { continue };
        let (serving, acker) = (Arc::clone(serving), message.split().1);
        // The consumer bounds how many there are.
        frame.tasks.spawn("intake", async move {
            let shutdown = serving.shutdown.clone();
            shutdown.run_until_cancelled(serving.deal_with(stored, &acker)).await;
        });
    }
    Err(broken("the deliveries ended".to_owned()))
}

impl<G: Gate> Serving<G> {
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Deals with a delivery of the stream until there is an answer; it is kept alive meanwhile.
    async fn deal_with(&self, stored: Stored, acker: &Acker) {
        let arrived =
            Arrived { subject: stored.subject, headers: stored.headers, payload: stored.payload, at: stored.at };
        if self.bus.clock().now().since(arrived.at) < LEFT_TO_THE_FIRST {
            tokio::time::sleep(LEFT_TO_THE_FIRST).await;
        }
        let settling = self.settle(&arrived);
        tokio::pin!(settling);
        let kind = loop {
            tokio::select! {
                kind = &mut settling => break kind,
                () = tokio::time::sleep(BEAT) => self.say(acker, AckKind::Progress).await,
            }
        };
        self.say(acker, kind).await;
    }

    async fn say(&self, acker: &Acker, kind: AckKind) {
        if let Err(error) = acker.ack_with(kind).await {
            tracing::debug!(%error, "a delivery of the intake comes again");
        }
    }

    async fn settle(&self, arrived: &Arrived) -> AckKind {
        let mut pause = Duration::from_secs(1);
        loop {
            // Taken after the wait above and given back before the one below: who waits for the first way, or for a broker,
            // must not keep others from being heard.
            let place = self.place().await;
            let outcome = self.consider(arrived).await;
            drop(place);
            match outcome {
                Outcome::Answered(_) => return AckKind::Ack,
                Outcome::Unreadable(answer) | Outcome::Failed(answer) => {
                    self.bury(arrived, &answer).await;
                    return AckKind::Term;
                }
                Outcome::Later(error) => {
                    tracing::warn!(subject = arrived.subject, %error, "a demand is tried again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(15));
                }
            }
        }
    }

    async fn bury(&self, arrived: &Arrived, answer: &IntakeAnswer) {
        let headers = arrived
            .headers
            .iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string())));
        let letter = DeadLetter {
            service: self.bus.principal().name().to_owned(),
            subject: arrived.subject.clone(),
            headers: headers.collect(),
            payload: arrived.payload.clone(),
            reason: format!("{}: {}", answer.error.as_deref().unwrap_or_default(), answer.message),
        };
        if let Err(error) = self.bus.dead().put(&letter).await {
            tracing::error!(subject = arrived.subject, %error, "the dead letter could not be written");
        }
    }

    async fn reply(&self, reply: Option<Subject>, answer: &IntakeAnswer) {
        let Some(reply) = reply else { return };
        let Ok(body) = serde_json::to_vec(answer) else { return };
        if let Err(error) = self.bus.client().publish(reply, body.into()).await {
            tracing::debug!(%error, "the sender reads the recorded answer");
        }
    }

    async fn consider(&self, arrived: &Arrived) -> Outcome {
        let message = match read(arrived) {
            Ok(message) => message,
            Err(answer) => return Outcome::Unreadable(answer),
        };
        let place = intake_answer(&message.namespace, &message.envelope.source, &message.envelope.id);
        let _alone = self.keyed.lock(&place).await;
        let span = tracing::info_span!("intake", verb = %message.verb, namespace = %message.namespace);
        if let Some(traceparent) = &message.envelope.traceparent {
            trace::parent_from(&span, traceparent);
        }
        match self.answer(&message, &place, &body_digest(&message)).instrument(span).await {
            Ok(answer) => Outcome::Answered(answer),
            Err(error @ DutyError::Transient(_)) => Outcome::Later(error),
            Err(DutyError::Permanent(error)) => {
                tracing::error!(error = format!("{error:#}"), "a demand could not be decided on");
                Outcome::Failed(IntakeAnswer::refused("internal", "the demand could not be decided on"))
            }
        }
    }

    async fn answer(&self, message: &IntakeMessage, place: &str, body: &Digest) -> Result<IntakeAnswer, DutyError> {
        if let Some(answer) = self.recorded(place, body).await? {
            return Ok(answer);
        }
        let answer = self.gate.handle(message).await?;
        if !answer.is_recorded() {
            return Ok(answer);
        }
        let payload = serde_json::to_vec(&answer).map_err(DutyError::permanent)?;
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json");
        headers.insert(BODY, body.as_str());
        match wire::publish(&self.bus, place.to_owned(), headers, payload.into()).await {
            Ok(_) => Ok(answer),
            // Another gate was first: its answer is the answer.
            Err(error) if wire::is_taken(&error) => {
                self.recorded(place, body).await?.ok_or_else(|| DutyError::transient(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn recorded(&self, place: &str, body: &Digest) -> Result<Option<IntakeAnswer>, DutyError> {
        let stored = wire::last_of(&self.bus, StreamName::IntakeAnswers.as_str(), place).await?;
        let Some(stored) = stored else { return Ok(None) };
        if stored.header(BODY) != Some(body.as_str()) {
            return Ok(Some(IntakeAnswer::refused(
                "id-reused",
                "this source and id were used for another demand; give each demand an id of its own",
            )));
        }
        serde_json::from_slice(&stored.payload).map(Some).map_err(DutyError::permanent)
    }
}

/// The demand as such: what and with which data. When it was sent, and in which mode, makes no other demand of it.
fn body_digest(message: &IntakeMessage) -> Digest {
    let mut bytes = format!("{}\n{}\n", message.subject, message.envelope.content.as_str()).into_bytes();
    bytes.extend_from_slice(&message.envelope.data);
    Digest::of(&bytes)
}

fn read(arrived: &Arrived) -> Result<IntakeMessage, IntakeAnswer> {
    let unknown = |text: &str| text.chars().take(80).collect::<String>();
    let (namespace, verb) = parse_intake(&arrived.subject)
        .ok_or_else(|| IntakeAnswer::refused("unknown-verb", "the subject is slipway.intake.<namespace>.<verb>"))?;
    let namespace: Namespace = namespace.parse().map_err(|allowed| {
        IntakeAnswer::refused(
            "invalid-namespace",
            format!("`{}` is no namespace; allowed: {allowed}", unknown(namespace)),
        )
    })?;
    let verb: Verb = verb.parse().map_err(|allowed| {
        IntakeAnswer::refused("unknown-verb", format!("`{}` cannot be demanded; allowed: {allowed}", unknown(verb)))
    })?;
    let envelope = Envelope::read(&arrived.headers, &arrived.payload)
        .map_err(|error| IntakeAnswer::refused("malformed-event", error.to_string()))?;
    if envelope.kind != verb.kind() {
        let message =
            format!("type `{}` does not belong to `{verb}`; expected `{}`", unknown(&envelope.kind), verb.kind());
        return Err(IntakeAnswer::refused("malformed-event", message));
    }
    let credential = verify(&arrived.headers, &arrived.subject, &arrived.payload, &envelope.source, &envelope.id);
    Ok(IntakeMessage { namespace, verb, subject: arrived.subject.clone(), envelope, credential, at: arrived.at })
}
