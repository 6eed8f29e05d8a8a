//! Reading the log: one fact, one deployment, everything from a point on.

use super::{Content, Entry, Folded, Log};
use crate::{
    connect::Bus,
    error::BusError,
    follow::{Course, Followed, MANY, Mode, follow},
    time::from_rfc3339,
    topology::{self, StreamName},
    wire,
};
use serde_json::{Value, json};
use slipway_kernel::{DeploymentId, FactKey, Timestamp, fold};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the next message may take while there are more: a broker that is slower has lost its leader for good.
const STALLED: Duration = Duration::from_secs(30);

/// How the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Sequence of the first message that is there.
    pub first: u64,
    /// Sequence of the last message that was ever written.
    pub last: u64,
    /// How many there are, as the broker counts: a damaged one is counted and cannot be read.
    pub messages: u64,
    /// When this log was made. Another time means another log.
    pub created: Timestamp,
}

/// What comes of following the raw log.
#[derive(Clone, Debug)]
pub enum TailEvent {
    /// It begins, at first or anew: this log was made at `created`. What was read before may not be in it.
    Anew {
        /// Birth of the log.
        created: Timestamp,
    },
    /// A message.
    Entry(Entry),
    /// Everything up to this sequence has been told.
    CaughtUp {
        /// Last sequence.
        last: u64,
    },
}

/// The raw log from a point on, through reconnects.
#[derive(Debug)]
pub struct Tail {
    receiver: mpsc::Receiver<Followed>,
}

impl Tail {
    fn start(bus: &Bus, filter: String, from: u64) -> Self {
        let course = Course {
            stream: StreamName::Lifecycle.as_str().to_owned(),
            filter,
            mode: Mode::Every { from },
            batch: MANY,
        };
        Self { receiver: follow(bus, course) }
    }

    /// The next event; `None` when the bus is closed.
    pub async fn next(&mut self) -> Option<TailEvent> {
        Some(match self.receiver.recv().await? {
            Followed::Anew { created } => TailEvent::Anew { created },
            Followed::Message(stored) => TailEvent::Entry(Entry::read(&stored)),
            Followed::CaughtUp { last } => TailEvent::CaughtUp { last },
        })
    }
}

impl Log {
    /// Reads one fact from the leader. That there is none decides nothing.
    ///
    /// # Errors
    /// When the leader does not answer.
    pub async fn get(&self, key: &FactKey) -> Result<Option<Entry>, BusError> {
        let stored = wire::last_of(&self.bus, StreamName::Lifecycle.as_str(), &topology::fact(key)).await?;
        Ok(stored.as_ref().map(Entry::read))
    }

    /// Reads one deployment and folds it: what a view will say when it is no longer behind.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn fold(&self, id: &DeploymentId) -> Result<Folded, BusError> {
        let entries = self.read(id).await?;
        let last_sequence = entries.iter().map(|entry| entry.sequence).max().unwrap_or(0);
        let mut deployment = fold(id, entries.iter().filter_map(|entry| entry.content.fact().cloned()));
        deployment.set_aside.extend(entries.into_iter().filter_map(|entry| match entry.content {
            Content::SetAside(aside) => Some(aside),
            Content::Fact(_) | Content::UnknownType(_) => None,
        }));
        Ok(Folded { deployment, last_sequence })
    }

    /// Reads all messages of one deployment, in the order of the stream.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn read(&self, id: &DeploymentId) -> Result<Vec<Entry>, BusError> {
        let mut entries = Vec::new();
        self.collect(topology::facts_of(id), 1, |entry| entries.push(entry)).await?;
        Ok(entries)
    }

    /// Reads every message from a sequence on and returns the last sequence. A message that is damaged at the broker is skipped by
    /// it in silence: who verifies compares with what should be there.
    ///
    /// # Errors
    /// When the log cannot be read, or was made anew meanwhile.
    pub async fn read_all(&self, from: u64, each: impl FnMut(Entry) + Send) -> Result<u64, BusError> {
        self.collect(topology::LIFECYCLE.to_owned(), from, each).await
    }

    /// Follows the raw log from a sequence on.
    #[must_use]
    pub fn tail(&self, from: u64) -> Tail {
        Tail::start(&self.bus, topology::LIFECYCLE.to_owned(), from)
    }

    /// How the log stands.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn state(&self) -> Result<LogState, BusError> {
        let what = format!("STREAM.INFO.{}", StreamName::Lifecycle.as_str());
        let info = wire::api(&self.bus, &what, &json!({})).await?;
        let number = |path: &str| info.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let created = info.get("created").and_then(Value::as_str).and_then(from_rfc3339);
        Ok(LogState {
            first: number("/state/first_seq"),
            last: number("/state/last_seq"),
            messages: number("/state/messages"),
            created: created.ok_or(BusError::Unreadable { action: what, reason: "no birth".to_owned() })?,
        })
    }

    async fn collect(&self, filter: String, from: u64, mut each: impl FnMut(Entry) + Send) -> Result<u64, BusError> {
        let mut tail = Tail::start(&self.bus, filter, from);
        let mut begun = false;
        loop {
            let event = tokio::time::timeout(STALLED, tail.next()).await;
            let event = event.map_err(|_| BusError::Timeout { action: "read the log".to_owned(), waited: STALLED })?;
            match event {
                Some(TailEvent::Anew { .. }) if begun => {
                    return Err(BusError::Connection("the log was made anew while it was read".to_owned()));
                }
                Some(TailEvent::Anew { .. }) => begun = true,
                Some(TailEvent::Entry(entry)) => each(entry),
                Some(TailEvent::CaughtUp { last }) => return Ok(last),
                None => return Err(BusError::Connection("closed".to_owned())),
            }
        }
    }
}
