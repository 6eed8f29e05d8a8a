//! Following a stream: every message from a point on, in order, without gaps, through reconnects and restarts of the broker.
//!
//! Each session is an ephemeral consumer of its own in the broker's memory. A session ends at a gap, a missed heartbeat or a
//! reconnect; the next one goes on where it ended, or begins anew when the stream is not the one it was.

use crate::{
    connect::Bus,
    error::BusError,
    time::from_rfc3339,
    topology::API,
    wire::{self, Stored},
};
use async_nats::jetstream::consumer::{
    AckPolicy, Consumer, DeliverPolicy, Info as ConsumerInfo, IntoConsumerConfig, pull,
};
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};
use slipway_kernel::Timestamp;
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages asked for at once, and messages that may wait for the one who follows. With facts of 0.5 KB half a megabyte is under way.
pub(crate) const MANY: usize = 1_000;
/// A silent session is given up after two of these.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long the broker keeps a session that nobody reads.
const INACTIVE: Duration = Duration::from_secs(30);
/// How long it may be quiet while the broker's own count says that there is more, before the broker is asked again: it counts
/// messages that are damaged on its disk, and never delivers them.
const QUIET: Duration = Duration::from_millis(500);
/// The longest pause between two sessions.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is followed.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) stream: String,
    pub(crate) filter: String,
    pub(crate) mode: Mode,
    /// How many messages may be under way; beyond it the broker keeps them.
    pub(crate) batch: usize,
}

/// How a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Every message from this sequence on; a later session goes on where the last one ended.
    Every {
        /// The first sequence wanted.
        from: u64,
    },
    /// The last message of each subject, then every new one; each session begins anew, since what expired leaves no trace.
    Latest,
}

/// What the follower is told.
#[derive(Debug)]
pub(crate) enum Followed {
    /// Everything known so far is void: it begins anew. `created` is the stream's birth.
    Anew { created: Timestamp },
    /// One message.
    Message(Stored),
    /// All that was there when the session began, or came since, has been told.
    CaughtUp { last: u64 },
}

/// Follows in the background until the receiver is dropped or the bus is closed.
pub(crate) fn follow(bus: &Bus, course: Course) -> mpsc::Receiver<Followed> {
    let (sender, receiver) = mpsc::channel(course.batch);
    let next = match course.mode {
        Mode::Every { from } => from.max(1),
        Mode::Latest => 1,
    };
    let mut follower = Follower { bus: bus.clone(), course, sender, created: None, next, consumer: None };
    bus.background(async move { follower.run().await });
    receiver
}

struct Follower {
    bus: Bus,
    course: Course,
    sender: mpsc::Sender<Followed>,
    created: Option<Timestamp>,
    /// The next sequence wanted.
    next: u64,
    /// The consumer of the session, to be removed after it.
    consumer: Option<String>,
}

/// Why a session ended.
enum End {
    /// Nobody listens any more.
    Unheard,
    /// The connection was made anew.
    Reconnected,
    /// Something else; try again after a pause.
    Failed(String),
}

impl From<BusError> for End {
    fn from(error: BusError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Follower {
    async fn run(&mut self) {
        let mut failures = 0;
        loop {
            let before = self.next;
            let end = self.session().await;
            self.clear_away().await;
            match end {
                End::Unheard => return,
                End::Reconnected => failures = 0,
                End::Failed(reason) => {
                    failures = if self.next > before { 1 } else { failures + 1 };
                    tracing::debug!(stream = self.course.stream, reason, failures, "following begins a new session");
                }
            }
            if self.sender.is_closed() {
                return;
            }
            self.bus.metrics().follow_restarts.inc();
            tokio::time::sleep(pause(failures)).await;
        }
    }

    async fn session(&mut self) -> End {
        let mut connections = self.bus.connections();
        connections.mark_unchanged();
        let sender = self.sender.clone();
        tokio::select! {
            end = self.read() => end,
            _ = connections.changed() => End::Reconnected,
            () = sender.closed() => End::Unheard,
        }
    }

    /// Removes the consumer of the session. Should that fail, the broker removes it when nobody has read it for a while.
    async fn clear_away(&mut self) {
        if let Some(name) = self.consumer.take() {
            let subject = format!("{API}.CONSUMER.DELETE.{}.{name}", self.course.stream);
            if let Err(error) = self.bus.client().publish(subject, Bytes::new()).await {
                tracing::debug!(%error, "a session is left to the broker");
            }
        }
    }

    async fn read(&mut self) -> End {
        match self.read_on().await {
            Ok(end) | Err(end) => end,
        }
    }

    async fn read_on(&mut self) -> Result<End, End> {
        let last = self.inspect().await?;
        let consumer = self.consumer().await?;
        let mut told = self.tell_if_caught_up(consumer.cached_info().num_pending, last).await?;
        let messages =
            consumer.stream().max_messages_per_batch(self.course.batch).heartbeat(HEARTBEAT).messages().await;
        let mut messages = messages.map_err(|error| End::Failed(error.to_string()))?;
        let mut expected = 1;
        loop {
            let message = match tokio::time::timeout(QUIET, messages.next()).await {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(_) if told => continue,
                Err(_) => {
                    if self.nothing_is_left(expected - 1).await? {
                        tracing::warn!(stream = self.course.stream, "the broker counts messages that it does not have");
                        self.tell(Followed::CaughtUp { last: last.max(self.next - 1) }).await?;
                        told = true;
                    }
                    continue;
                }
            };
            let message = message.map_err(|error| End::Failed(error.to_string()))?;
            let Some((stored, delivery)) = Stored::of_delivery(&message) else {
                return Err(End::Failed("a delivery without its place".to_owned()));
            };
            if delivery.consumer_sequence != expected {
                return Err(End::Failed(format!("expected delivery {expected}, got {}", delivery.consumer_sequence)));
            }
            expected += 1;
            let sequence = stored.sequence;
            self.next = sequence + 1;
            self.tell(Followed::Message(stored)).await?;
            if delivery.pending == 0 {
                self.tell(Followed::CaughtUp { last: sequence.max(last) }).await?;
                told = true;
            }
        }
        Err(End::Failed(format!("the session ended, caught up: {told}")))
    }

    async fn tell(&self, what: Followed) -> Result<(), End> {
        self.sender.send(what).await.map_err(|_| End::Unheard)
    }

    async fn tell_if_caught_up(&self, pending: u64, last: u64) -> Result<bool, End> {
        if pending == 0 {
            self.tell(Followed::CaughtUp { last }).await?;
        }
        Ok(pending == 0)
    }

    /// Whether the broker has delivered all it has, and all of that arrived.
    async fn nothing_is_left(&self, arrived: u64) -> Result<bool, End> {
        let Some(name) = &self.consumer else { return Ok(false) };
        let info = wire::api(&self.bus, &format!("CONSUMER.INFO.{}.{name}", self.course.stream), &json!({})).await?;
        let number = |path: &str| info.pointer(path).and_then(Value::as_u64);
        Ok(number("/num_pending") == Some(0) && number("/delivered/consumer_seq") == Some(arrived))
    }

    /// Looks at the stream: is it the one that was followed, and does it still have what was read? Returns its last sequence.
    async fn inspect(&mut self) -> Result<u64, End> {
        let info = wire::api(&self.bus, &format!("STREAM.INFO.{}", self.course.stream), &json!({})).await?;
        let created = info.get("created").and_then(Value::as_str).and_then(from_rfc3339);
        let created = created.ok_or_else(|| End::Failed("a stream without a birth".to_owned()))?;
        let last = info.pointer("/state/last_seq").and_then(Value::as_u64).unwrap_or(0);
        let another = self.created.is_some_and(|known| known != created);
        // A broker that lost its tail gives the lost numbers to other messages.
        let shorter = last + 1 < self.next && self.created.is_some();
        if self.created.is_none() || another || shorter || self.course.mode == Mode::Latest {
            if another || shorter {
                tracing::warn!(
                    stream = self.course.stream,
                    last,
                    next = self.next,
                    another,
                    "the stream is not what it was"
                );
                self.next = 1;
            }
            self.created = Some(created);
            self.tell(Followed::Anew { created }).await?;
        }
        Ok(last)
    }

    async fn consumer(&mut self) -> Result<Consumer<pull::Config>, End> {
        let name = format!("view-{}-{:016x}", self.bus.principal(), rand::random::<u64>());
        let config = pull::Config {
            name: Some(name.clone()),
            filter_subject: self.course.filter.clone(),
            deliver_policy: match self.course.mode {
                Mode::Every { .. } => DeliverPolicy::ByStartSequence { start_sequence: self.next },
                Mode::Latest => DeliverPolicy::LastPerSubject,
            },
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: INACTIVE,
            ..pull::Config::default()
        };
        let stream = &self.course.stream;
        let request = json!({
            "stream_name": stream,
            "config": config.clone().into_consumer_config(),
            "action": "create",
        });
        let subject = format!("CONSUMER.CREATE.{stream}.{name}.{}", self.course.filter);
        self.consumer = Some(name);
        let info = wire::api(&self.bus, &subject, &request).await?;
        let info: ConsumerInfo = serde_json::from_value(info).map_err(|error| End::Failed(error.to_string()))?;
        Ok(Consumer::new(config, info, self.bus.context().clone()))
    }
}

fn pause(failures: u32) -> Duration {
    let full = Duration::from_millis(50 << failures.min(6)).min(LONGEST_PAUSE);
    full.mul_f64(1.0 - rand::random::<f64>() / 2.0)
}
