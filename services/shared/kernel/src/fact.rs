//! A fact: one answer to one question, with its envelope.

use crate::{
    answer::Answer,
    ids::{Attempt, DeploymentId, Generation, Label, Revision, RevisionId, decimal},
    slot::Slot,
    time::Timestamp,
};
use std::{fmt, str::FromStr};

/// The identity of a fact. Its text is `<namespace>.<deployment>.<generation>.<revision>.<slot>.<attempt>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FactKey {
    /// Whose fact it is.
    pub deployment: DeploymentId,
    /// The generation.
    pub generation: Generation,
    /// The revision; 0 before the first plan.
    pub revision: Revision,
    /// The question.
    pub slot: Slot,
    /// Which try at it.
    pub attempt: Attempt,
}

impl FactKey {
    /// The key of the first try at `slot` of a revision.
    #[must_use]
    pub const fn new(deployment: DeploymentId, id: RevisionId, slot: Slot) -> Self {
        Self { deployment, generation: id.generation, revision: id.revision, slot, attempt: Attempt(0) }
    }

    /// The same question, at `attempt`.
    #[must_use]
    pub const fn at(mut self, attempt: Attempt) -> Self {
        self.attempt = attempt;
        self
    }

    /// The revision with its generation.
    #[must_use]
    pub const fn revision_id(&self) -> RevisionId {
        RevisionId { generation: self.generation, revision: self.revision }
    }

    /// The order of the fold. Never stream position, never time.
    #[must_use]
    pub const fn order(&self) -> (Generation, Revision, Slot, Attempt) {
        (self.generation, self.revision, self.slot, self.attempt)
    }
}

impl fmt::Display for FactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}.{}", self.deployment, self.generation, self.revision, self.slot, self.attempt)
    }
}

impl fmt::Debug for FactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for FactKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let tokens: Vec<&str> = text.split('.').collect();
        let [namespace, name, generation, revision, slot, attempt] = tokens[..] else {
            return Err("six tokens: <namespace>.<deployment>.<generation>.<revision>.<slot>.<attempt>".to_owned());
        };
        let number = |name: &str, text: &str| decimal(text).ok_or_else(|| format!("{name}: a decimal, not `{text}`"));
        Ok(Self {
            deployment: DeploymentId { namespace: namespace.parse::<Label>()?, name: name.parse::<Label>()? },
            generation: Generation(number("generation", generation)?),
            revision: Revision(number("revision", revision)?),
            slot: slot.parse::<Slot>().map_err(|error| error.to_string())?,
            attempt: Attempt(number("attempt", attempt)?),
        })
    }
}

/// One stored answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Which question, of whom.
    pub key: FactKey,
    /// `ce-id`.
    pub id: String,
    /// Who answered: a service, or the verified person behind a command (`ce-actor`).
    pub actor: String,
    /// The fact that led to this one (`ce-causationid`), as the text of its key.
    pub causation: Option<String>,
    /// What binds all facts of one demand together (`ce-correlationid`).
    pub correlation: String,
    /// W3C trace context of the work that led to it.
    pub traceparent: Option<String>,
    /// When the log appended it, by the log's clock. For deadlines and reading, never for order.
    pub at: Timestamp,
    /// Where it stands in the stream. A token for one guarded write, never an identity, never an order.
    pub sequence: u64,
    /// The answer.
    pub answer: Answer,
}

/// A fact that the fold does not count, and why. It stays in the log; an operator may annul it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetAside {
    /// Subject or key as text.
    pub subject: String,
    /// Why.
    pub reason: String,
}
