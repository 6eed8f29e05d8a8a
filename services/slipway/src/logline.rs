//! One fact as a line of JSON: what `slipway log --output json` prints, enough to fold the same state from the lines alone.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use slipway_kernel::{Answer, Fact, FactKey, Timestamp};

/// A fact as a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// The fact's key: its subject without the stream's prefix.
    pub subject: String,
    /// The CloudEvent type.
    #[serde(rename = "type")]
    pub kind: String,
    /// When the log appended it, RFC 3339, UTC.
    pub time: String,
    /// Who answered.
    pub actor: String,
    /// The data.
    pub data: Value,
    /// The event's id.
    pub id: String,
    /// What led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation: Option<String>,
    /// What binds all facts of one demand together.
    pub correlation: String,
    /// W3C trace context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Position in the stream.
    pub sequence: u64,
}

/// Why a line is no fact.
#[derive(Debug, thiserror::Error)]
#[error("line is no fact: {0}")]
pub struct NoFact(String);

impl LogLine {
    /// The line of a fact.
    #[must_use]
    pub fn of(fact: &Fact) -> Self {
        Self {
            subject: fact.key.to_string(),
            kind: format!("dev.slipway.{}.v1", fact.answer.name()),
            time: time(fact.at),
            actor: fact.actor.clone(),
            data: fact.answer.to_json().unwrap_or(Value::Null),
            id: fact.id.clone(),
            causation: fact.causation.clone(),
            correlation: fact.correlation.clone(),
            traceparent: fact.traceparent.clone(),
            sequence: fact.sequence,
        }
    }

    /// The fact of a line.
    ///
    /// # Errors
    /// If subject, type, time or data do not fit.
    pub fn fact(&self) -> Result<Fact, NoFact> {
        let key: FactKey = self.subject.parse().map_err(NoFact)?;
        let name = self.kind.strip_prefix("dev.slipway.").and_then(|rest| rest.strip_suffix(".v1"));
        let name = name.ok_or_else(|| NoFact(format!("type `{}`", self.kind)))?;
        let data = serde_json::to_vec(&self.data).map_err(|error| NoFact(error.to_string()))?;
        let answer = Answer::from_json(name, &data).map_err(|error| NoFact(error.to_string()))?;
        let at: jiff::Timestamp = self.time.parse().map_err(|error: jiff::Error| NoFact(error.to_string()))?;
        Ok(Fact {
            key,
            id: self.id.clone(),
            actor: self.actor.clone(),
            causation: self.causation.clone(),
            correlation: self.correlation.clone(),
            traceparent: self.traceparent.clone(),
            at: Timestamp(u64::try_from(at.as_millisecond()).unwrap_or(0)),
            sequence: self.sequence,
            answer,
        })
    }
}

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn time(at: Timestamp) -> String {
    i64::try_from(at.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| at.0.to_string(), |timestamp| format!("{timestamp:.3}"))
}
