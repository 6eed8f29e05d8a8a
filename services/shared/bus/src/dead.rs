//! Dead letters: what could not be handled, with the reason, kept for a person. A redrive sends it through the same door again.

use crate::{
    connect::Bus,
    envelope::insert,
    error::BusError,
    follow::{Course, Followed, MANY, Mode, follow},
    queue::CaptureBatch,
    topology::{DEAD, StreamName, dead, deployment_of, parse_capture, parse_dead, parse_intake, parse_result},
    wire::{self, Stored},
};
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use serde_json::json;
use slipway_kernel::{Service, Timestamp};

const SUBJECT: &str = "slipway-dead-subject";
const REASON: &str = "slipway-dead-reason";
/// Original headers carry this before their names, so that none of them steers the write of the letter.
const ORIGINAL: &str = "slipway-original-";
/// A reason is for a person; what is longer is cut.
const MAX_REASON: usize = 2_000;

/// What could not be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Who gave up.
    pub service: String,
    /// The message's own subject.
    pub subject: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its payload.
    pub payload: Bytes,
    /// Why.
    pub reason: String,
}

/// A dead letter in the list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterInfo {
    /// By which it is shown, redriven and discarded.
    pub id: u64,
    /// Who gave up.
    pub service: String,
    /// The message's own subject.
    pub subject: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The dead letters.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    bus: Bus,
}

impl DeadLetters {
    pub(crate) const fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Writes a dead letter.
    ///
    /// # Errors
    /// When the write fails.
    pub async fn put(&self, letter: &DeadLetter) -> Result<u64, BusError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &letter.headers {
            let name = format!("{ORIGINAL}{}", name.to_ascii_lowercase());
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                headers.append(name, value);
            }
        }
        let reason: String = letter.reason.chars().take(MAX_REASON).collect();
        insert(&mut headers, SUBJECT, Some(&letter.subject));
        insert(&mut headers, REASON, Some(&reason));
        self.bus.metrics().dead_letters.inc();
        let ack = wire::publish(&self.bus, dead(&letter.service), headers, letter.payload.clone()).await?;
        Ok(ack.sequence)
    }

    /// All dead letters, oldest first.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn list(&self) -> Result<Vec<DeadLetterInfo>, BusError> {
        let course = Course {
            stream: StreamName::Dead.as_str().to_owned(),
            filter: DEAD.to_owned(),
            mode: Mode::Every { from: 1 },
            batch: MANY,
        };
        let mut told = follow(&self.bus, course);
        let mut found = Vec::new();
        let reading = async {
            while let Some(what) = told.recv().await {
                match what {
                    Followed::Anew { .. } => found.clear(),
                    Followed::Message(stored) => found.extend(read(&stored).map(|letter| info(&stored, letter))),
                    Followed::CaughtUp { .. } => return true,
                }
            }
            false
        };
        let budget = self.bus.request_timeout() * 4;
        match tokio::time::timeout(budget, reading).await {
            Ok(true) => Ok(found),
            _ => Err(BusError::Timeout { action: "list dead letters".to_owned(), waited: budget }),
        }
    }

    /// One dead letter.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn show(&self, id: u64) -> Result<Option<DeadLetter>, BusError> {
        Ok(wire::message_at(&self.bus, StreamName::Dead.as_str(), id).await?.as_ref().and_then(read))
    }

    /// Sends a message through its own door again and removes the letter; `false` if there is none. What a service could not do about
    /// a deployment is not sent, since its fact stands in the log: the service is nudged. A result goes to the outputs as one that was
    /// captured: where it is recorded it stands already, and is not taken twice.
    ///
    /// # Errors
    /// When the broker does not answer or it is not allowed; the letter then stays.
    pub async fn redrive(&self, id: u64) -> Result<bool, BusError> {
        let Some(letter) = self.show(id).await? else { return Ok(false) };
        match deployment_of(&letter.subject) {
            Some(deployment) => {
                let service: Service = letter
                    .service
                    .parse()
                    .map_err(|reason| BusError::Unreadable { action: format!("redrive {id}"), reason })?;
                self.bus.nudge(service, &deployment).await?;
            }
            None => self.send_again(letter).await?,
        }
        self.discard(id).await
    }

    async fn send_again(&self, letter: DeadLetter) -> Result<(), BusError> {
        let result = match parse_result(&letter.subject) {
            Some((deployment, request)) => Some((deployment, request.to_string())),
            None => parse_capture(&letter.subject).map(|deployment| (deployment, String::new())),
        };
        if let Some((deployment, request_id)) = result {
            let mut batch = CaptureBatch::default();
            batch.push_bytes(&request_id, "", &letter.payload);
            return self.bus.captures().put(&deployment, batch.finish()).await;
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &letter.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                headers.append(name, value);
            }
        }
        if parse_intake(&letter.subject).is_none() {
            return wire::publish(&self.bus, letter.subject, headers, letter.payload).await.map(drop);
        }
        // The intake does not acknowledge, so this waits for the server only.
        let sent = self.bus.client().publish_with_headers(letter.subject, headers, letter.payload).await;
        sent.map_err(|error| BusError::Connection(error.to_string()))?;
        self.bus.client().flush().await.map_err(|error| BusError::Connection(error.to_string()))
    }

    /// Removes a dead letter; `false` if there is none.
    ///
    /// # Errors
    /// When the broker does not answer or it is not allowed.
    pub async fn discard(&self, id: u64) -> Result<bool, BusError> {
        let what = format!("STREAM.MSG.DELETE.{}", StreamName::Dead.as_str());
        match wire::api(&self.bus, &what, &json!({ "seq": id, "no_erase": true })).await {
            Ok(_) => Ok(true),
            // 10043 deletion of what is not there, 10057 sequence not found.
            Err(BusError::Refused { code: 10_043 | 10_057, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn read(stored: &Stored) -> Option<DeadLetter> {
    let headers = stored.headers.iter().flat_map(|(name, values)| {
        let name = AsRef::<str>::as_ref(name).strip_prefix(ORIGINAL).map(str::to_owned);
        values.iter().filter_map(move |value| Some((name.clone()?, value.as_str().to_owned())))
    });
    let mut headers: Vec<(String, String)> = headers.collect();
    headers.sort();
    Some(DeadLetter {
        service: parse_dead(&stored.subject)?.to_owned(),
        subject: crate::envelope::text(stored.header(SUBJECT)?),
        headers,
        payload: stored.payload.clone(),
        reason: crate::envelope::text(stored.header(REASON)?),
    })
}

fn info(stored: &Stored, letter: DeadLetter) -> DeadLetterInfo {
    DeadLetterInfo {
        id: stored.sequence,
        service: letter.service,
        subject: letter.subject,
        reason: letter.reason,
        at: stored.at,
    }
}
