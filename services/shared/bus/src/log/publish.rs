//! Writing facts. A write is the only thing that decides: it says stored, taken or moved; a timeout says nothing.

use super::{Content, Entry, Log, entry::kind_of};
use crate::{
    connect::Bus,
    envelope::{ContentType, Envelope, write},
    error::BusError,
    metrics::Outcome,
    topology::{self, MAX_FACT_BYTES, StreamName},
    wire::{self, EXPECTED, MOVED},
};
use async_nats::HeaderMap;
use bytes::Bytes;
use slipway_kernel::{Answer, Fact, FactKey};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a write is repeated. A leader that dies is replaced after 4-7 s, measured; a slow election takes 9 s, and a second one may
/// follow.
const BUDGET: Duration = Duration::from_secs(20);
/// How long a taken subject may look empty before it counts as damage: on a cluster the first write may be agreed on and not yet
/// applied by the one who answers the read.
const EMPTY_GRACE: Duration = Duration::from_secs(5);
const EXPECTED_OVER: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// A fact to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The answer.
    pub answer: Answer,
    /// Who answers: the service, or the verified person behind a command.
    pub actor: String,
    /// The fact that led to it, as the text of its key.
    pub causation: Option<String>,
    /// What binds all facts of one demand together.
    pub correlation: String,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl Draft {
    /// A draft without cause and trace.
    pub fn new(answer: Answer, actor: impl Into<String>, correlation: impl Into<String>) -> Self {
        Self { answer, actor: actor.into(), causation: None, correlation: correlation.into(), traceparent: None }
    }

    /// The same, led to by `key`.
    #[must_use]
    pub fn caused_by(mut self, key: &FactKey) -> Self {
        self.causation = Some(key.to_string());
        self
    }

    /// The same, in the trace of the current span.
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.traceparent = slipway_runtime::trace::current_traceparent();
        self
    }
}

/// How a write came out.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// It is in the log. `at` is this process's clock.
    Stored(Fact),
    /// Somebody had answered already; this is that answer.
    Adopted(Fact),
}

impl Written {
    /// The answer that stands in the log.
    #[must_use]
    pub const fn fact(&self) -> &Fact {
        match self {
            Self::Stored(fact) | Self::Adopted(fact) => fact,
        }
    }

    /// The answer that stands in the log.
    #[must_use]
    pub fn into_fact(self) -> Fact {
        match self {
            Self::Stored(fact) | Self::Adopted(fact) => fact,
        }
    }

    /// Whether it is the one that was to be written.
    #[must_use]
    pub const fn is_mine(&self) -> bool {
        matches!(self, Self::Stored(_))
    }
}

/// How a guarded write came out.
#[derive(Clone, Debug, PartialEq)]
pub enum WrittenAgainst {
    /// It is in the log. `at` is this process's clock.
    Stored(Fact),
    /// Somebody had answered already; this is that answer.
    Adopted(Fact),
    /// The deployment has facts that were not folded: fold again, decide again.
    Moved,
}

/// Why a fact was not written, or is not known to be.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No answer from the log within the budget: it may be stored or not. Publishing again finds out.
    #[error("the log did not answer for {waited:?}; the fact may be stored or not")]
    Unavailable {
        /// How long was tried.
        waited: Duration,
        /// The last failure.
        #[source]
        source: BusError,
    },
    /// Larger than a fact may be: put the large part into a blob.
    #[error("a fact of {bytes} bytes; at most {MAX_FACT_BYTES} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The subject is taken, and nothing can be read there: the log is damaged. The deployment is flagged.
    #[error("`{subject}` is taken and has nothing to read: the log is damaged")]
    Damaged {
        /// Which subject.
        subject: String,
    },
    /// The subject is taken by something that is no fact of this version.
    #[error("`{subject}` is taken by what cannot be adopted: {reason}")]
    StoredUnreadable {
        /// Which subject.
        subject: String,
        /// What it is.
        reason: String,
    },
    /// The log took it for a duplicate of another message and did not store it.
    #[error("`{subject}` was swallowed as a duplicate")]
    Swallowed {
        /// Which subject.
        subject: String,
    },
    /// The answer does not belong there.
    #[error("`{answer}` does not belong to `{key}`")]
    Misplaced {
        /// The answer's name.
        answer: &'static str,
        /// Where it was to be written.
        key: String,
    },
    /// The answer has no JSON.
    #[error("the answer cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// The broker refused: the permissions, or the limits of the stream.
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl AppendError {
    /// Whether trying again later can help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Bus(error) => error.is_transient(),
            _ => false,
        }
    }
}

/// A fact as it goes out.
struct Letter {
    key: FactKey,
    subject: String,
    envelope: Envelope,
    answer: Answer,
}

impl Letter {
    fn new(bus: &Bus, key: &FactKey, draft: Draft) -> Result<Self, AppendError> {
        if !draft.answer.answers(key.slot) || !key.slot.fits_revision(key.revision.0) {
            return Err(AppendError::Misplaced { answer: draft.answer.name(), key: key.to_string() });
        }
        let json = draft.answer.to_json().map_err(AppendError::Unwritable)?;
        let data = serde_json::to_vec(&json).map_err(AppendError::Unwritable)?;
        let envelope = Envelope {
            // Ordered by time, for people; identity is the subject.
            id: uuid::Uuid::now_v7().to_string(),
            source: bus.source(),
            kind: kind_of(&draft.answer),
            subject: Some(key.to_string()),
            time: Some(bus.clock().now()),
            correlation: Some(draft.correlation),
            causation: draft.causation,
            actor: Some(draft.actor),
            traceparent: draft.traceparent,
            content: ContentType::Json,
            data: data.into(),
        };
        let letter = Self { key: key.clone(), subject: topology::fact(key), envelope, answer: draft.answer };
        let bytes = letter.size();
        if bytes > MAX_FACT_BYTES { Err(AppendError::TooLarge { bytes }) } else { Ok(letter) }
    }

    /// As the broker counts it, a little more: headers with their separators, and the data.
    fn size(&self) -> usize {
        let headers = write(&self.envelope);
        let lengths = headers.iter().flat_map(|(name, values)| {
            let name = name.to_string().len();
            values.iter().map(move |value| name + value.as_str().len() + 4)
        });
        let of_headers: usize = lengths.sum();
        // Room for the two headers of a guarded write.
        of_headers + self.envelope.data.len() + 512
    }

    fn headers(&self, expected: Option<u64>) -> HeaderMap {
        let mut headers = write(&self.envelope);
        if let Some(sequence) = expected {
            headers.insert(EXPECTED, sequence.to_string());
            headers.insert(EXPECTED_OVER, topology::facts_of(&self.key.deployment));
        }
        headers
    }

    fn payload(&self) -> Bytes {
        self.envelope.data.clone()
    }

    fn into_fact(self, bus: &Bus, sequence: u64) -> Fact {
        Fact {
            key: self.key,
            id: self.envelope.id,
            actor: self.envelope.actor.unwrap_or_default(),
            causation: self.envelope.causation,
            correlation: self.envelope.correlation.unwrap_or_default(),
            traceparent: self.envelope.traceparent,
            at: bus.clock().now(),
            sequence,
            answer: self.answer,
        }
    }
}

impl Log {
    /// Writes a fact once. Whoever answered first stays: an answer that is there already is adopted, not an error.
    ///
    /// # Errors
    /// [`AppendError::Unavailable`] after 20 s without an answer; the others at once.
    pub async fn append(&self, key: &FactKey, draft: Draft) -> Result<Written, AppendError> {
        match self.write(key, draft, None).await? {
            WrittenAgainst::Stored(fact) => Ok(Written::Stored(fact)),
            WrittenAgainst::Adopted(fact) => Ok(Written::Adopted(fact)),
            // Only a guarded write is refused for this; a broker that says so of another is not understood.
            WrittenAgainst::Moved => Err(AppendError::Bus(BusError::Unreadable {
                action: format!("write `{key}`"),
                reason: "an unguarded write was refused for its sequence".to_owned(),
            })),
        }
    }

    /// Writes a fact if nothing was written about its deployment after `last_sequence` ([`super::Folded::last_sequence`]).
    ///
    /// # Errors
    /// As [`Log::append`].
    pub async fn append_against(
        &self,
        key: &FactKey,
        draft: Draft,
        last_sequence: u64,
    ) -> Result<WrittenAgainst, AppendError> {
        self.write(key, draft, Some(last_sequence)).await
    }

    async fn write(&self, key: &FactKey, draft: Draft, expected: Option<u64>) -> Result<WrittenAgainst, AppendError> {
        let letter = Letter::new(&self.bus, key, draft)?;
        // On the heap: a fact may hold a whole spec, and the future of whoever writes it would hold it several times.
        let written = Box::pin(self.post(letter, expected)).await;
        self.bus.metrics().appended(match &written {
            Ok(WrittenAgainst::Stored(_)) => Outcome::Stored,
            Ok(WrittenAgainst::Adopted(_)) => Outcome::Adopted,
            Ok(WrittenAgainst::Moved) => Outcome::Moved,
            Err(_) => Outcome::Failed,
        });
        written
    }

    async fn post(&self, letter: Letter, expected: Option<u64>) -> Result<WrittenAgainst, AppendError> {
        let started = Instant::now();
        let mut unknown = false;
        loop {
            let posted =
                wire::publish(&self.bus, letter.subject.clone(), letter.headers(expected), letter.payload()).await;
            match posted {
                Ok(ack) if ack.duplicate => return Err(AppendError::Swallowed { subject: letter.subject }),
                Ok(ack) => return Ok(WrittenAgainst::Stored(letter.into_fact(&self.bus, ack.sequence))),
                Err(error) if wire::is_taken(&error) => return self.adopt(letter, started).await,
                Err(BusError::Refused { code, .. }) if MOVED.contains(&code) => {
                    // The write whose answer was lost may be what moved it.
                    return if unknown { self.mine_or_moved(letter, started).await } else { Ok(WrittenAgainst::Moved) };
                }
                Err(error) if error.is_transient() && started.elapsed() < BUDGET => {
                    tracing::debug!(subject = letter.subject, %error, "writing a fact again");
                    unknown = true;
                    pause().await;
                }
                Err(source) if source.is_transient() => {
                    return Err(AppendError::Unavailable { waited: started.elapsed(), source });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn mine_or_moved(&self, letter: Letter, started: Instant) -> Result<WrittenAgainst, AppendError> {
        match self.stored_at(&letter.subject, started).await? {
            Some(entry) if entry.content.fact().is_some_and(|fact| fact.id == letter.envelope.id) => {
                Ok(WrittenAgainst::Stored(letter.into_fact(&self.bus, entry.sequence)))
            }
            _ => Ok(WrittenAgainst::Moved),
        }
    }

    /// Takes over the answer that is there, whoever wrote it.
    async fn adopt(&self, letter: Letter, started: Instant) -> Result<WrittenAgainst, AppendError> {
        let refused = Instant::now();
        loop {
            if let Some(entry) = self.stored_at(&letter.subject, started).await? {
                return match entry.content {
                    Content::Fact(fact) if fact.id == letter.envelope.id => {
                        Ok(WrittenAgainst::Stored(letter.into_fact(&self.bus, entry.sequence)))
                    }
                    Content::Fact(fact) => Ok(WrittenAgainst::Adopted(Arc::unwrap_or_clone(fact))),
                    Content::UnknownType(kind) => Err(unreadable(letter.subject, kind)),
                    Content::SetAside(aside) => Err(unreadable(letter.subject, aside.reason)),
                };
            }
            if refused.elapsed() > EMPTY_GRACE {
                return Err(self.damaged(letter).await);
            }
            pause().await;
        }
    }

    async fn damaged(&self, letter: Letter) -> AppendError {
        let reason = format!("`{}` is taken and has nothing to read", letter.subject);
        if let Err(error) = self.bus.flags().raise(&letter.key.deployment, &reason).await {
            tracing::error!(%error, reason, "the integrity flag could not be raised");
        }
        AppendError::Damaged { subject: letter.subject }
    }

    /// Reads a subject from the leader, through leader changes.
    async fn stored_at(&self, subject: &str, started: Instant) -> Result<Option<Entry>, AppendError> {
        loop {
            match wire::last_of(&self.bus, StreamName::Lifecycle.as_str(), subject).await {
                Ok(stored) => return Ok(stored.as_ref().map(Entry::read)),
                Err(error) if error.is_transient() && started.elapsed() < BUDGET => pause().await,
                Err(source) if source.is_transient() => {
                    return Err(AppendError::Unavailable { waited: started.elapsed(), source });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn unreadable(subject: String, reason: String) -> AppendError {
    AppendError::StoredUnreadable { subject, reason }
}

/// Between two tries: 100 to 300 ms, so that the replicas of a service do not repeat in step.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(100).mul_f64(1.0 + 2.0 * rand::random::<f64>())).await;
}
