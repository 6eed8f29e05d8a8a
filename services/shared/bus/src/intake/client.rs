//! The sender's side: sign, send, wait for the answer; after a timeout send the same again, which changes nothing.

use super::{Intake, IntakeAnswer, Verb, signature::sign};
use crate::{
    envelope::{ContentType, Envelope, write},
    error::BusError,
    topology::{StreamName, intake, intake_answer},
    wire,
};
use async_nats::{Request, RequestErrorKind};
use bytes::Bytes;
use serde_json::Value;
use slipway_kernel::Namespace;
use std::time::Duration;
use tokio::time::Instant;

/// How long one sending waits before the record is looked at. The message is sent again after the 1st, 3rd, 7th… of these.
const ONE_TRY: Duration = Duration::from_secs(5);

/// A demand.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// In which namespace.
    pub namespace: Namespace,
    /// What is demanded.
    pub verb: Verb,
    /// `ce-source`: who asks, as he names himself; with `id` the key of the demand.
    pub source: String,
    /// `ce-id`. The same source and id again is the same demand.
    pub id: String,
    /// The data: a deployment for `deploy`, else which deployment and why.
    pub data: Value,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// No gate answered. The demand waits for one; sending it again with the same id finds out.
    #[error("no gate answered within {0:?}; the demand is kept and may still be carried out")]
    NoAnswer(Duration),
    /// The demand could not be signed.
    #[error("signing failed: {0}")]
    Sign(String),
    /// The answer cannot be read.
    #[error("the gate's answer cannot be read: {0}")]
    Unreadable(String),
    /// The broker.
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl Intake {
    /// Sends a demand and waits for its answer.
    ///
    /// # Errors
    /// [`IntakeError::NoAnswer`] when `timeout` is over; the demand is kept.
    pub async fn send(&self, command: &Command, timeout: Duration) -> Result<IntakeAnswer, IntakeError> {
        let subject = intake(&command.namespace, command.verb.as_str());
        let body = serde_json::to_vec(&command.data).map_err(|error| IntakeError::Unreadable(error.to_string()))?;
        let envelope = Envelope {
            id: command.id.clone(),
            source: command.source.clone(),
            kind: command.verb.kind(),
            subject: None,
            time: Some(self.bus.clock().now()),
            correlation: None,
            causation: None,
            actor: None,
            traceparent: slipway_runtime::trace::current_traceparent(),
            content: ContentType::Json,
            data: body.into(),
        };
        let mut headers = write(&envelope);
        if let Some(key) = self.bus.key() {
            sign(&mut headers, key, &subject, &envelope.data, &command.source, &command.id)
                .map_err(|error| IntakeError::Sign(error.to_string()))?;
        }
        let started = Instant::now();
        let (mut tries, mut send_at): (u32, u32) = (0, 0);
        while started.elapsed() < timeout {
            let wait = ONE_TRY.min(timeout.saturating_sub(started.elapsed())).max(Duration::from_millis(1));
            if tries == send_at {
                // Ever more rarely: the demand is kept, and a gate that is behind is not helped by hearing of it again.
                send_at = 2 * send_at + 1;
                let request =
                    Request::new().headers(headers.clone()).payload(envelope.data.clone()).timeout(Some(wait));
                match self.bus.client().send_request(subject.clone(), request).await {
                    Ok(answer) => return read(&answer.payload),
                    Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                        return Err(BusError::NobodyAnswers { action: format!("send to `{subject}`") }.into());
                    }
                    Err(error) => tracing::debug!(%error, "no answer from a gate yet"),
                }
            } else {
                tokio::time::sleep(wait).await;
            }
            tries += 1;
            // A gate may have carried it out while its answer was lost.
            if let Ok(Some(answer)) = self.answer(&command.namespace, &command.source, &command.id).await {
                return Ok(answer);
            }
        }
        Err(IntakeError::NoAnswer(timeout))
    }

    /// Reads the recorded answer to a demand.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn answer(
        &self,
        namespace: &Namespace,
        source: &str,
        id: &str,
    ) -> Result<Option<IntakeAnswer>, IntakeError> {
        let subject = intake_answer(namespace, source, id);
        let stored = wire::direct_last_of(&self.bus, StreamName::IntakeAnswers.as_str(), &subject).await?;
        stored.map(|stored| read(&stored.payload)).transpose()
    }
}

fn read(payload: &Bytes) -> Result<IntakeAnswer, IntakeError> {
    serde_json::from_slice(payload).map_err(|error| IntakeError::Unreadable(error.to_string()))
}
