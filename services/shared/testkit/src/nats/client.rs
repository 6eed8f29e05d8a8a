//! A client of models as a stranger writes it, with a key and an inbox of its own.

use super::NatsServer;
use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use slipway_bus::{InferenceClient, topology::client_inbox};
use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

/// How long an answer is waited for: longer than anything in a test takes, shorter than a test may.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that asks models over NATS.
#[derive(Debug)]
pub struct ModelClient {
    client: Client,
    inbox: String,
    heard: Subscriber,
    complaints: Arc<Mutex<Vec<String>>>,
}

/// A message that it got.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Headers; one that is there several times stands here as often.
    pub headers: Vec<(String, String)>,
    /// Payload.
    pub payload: Bytes,
}

impl Heard {
    fn of(message: Message) -> Self {
        let headers = message.headers.unwrap_or_default();
        let headers =
            headers.iter().flat_map(|(name, all)| all.iter().map(move |value| (name.to_string(), value.to_string())));
        Self { headers: headers.collect(), payload: message.payload }
    }

    /// The first value of a header; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The payload as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, *value);
    }
    headers
}

impl NatsServer {
    /// Connects as one of the clients that the broker was [started for](Self::secured_for).
    ///
    /// # Panics
    /// When the broker does not let it in.
    pub async fn model_client(&self, name: &str) -> ModelClient {
        let client: InferenceClient = name.parse().expect("a client's name");
        let inbox = client_inbox(&client);
        let seed = self.dir().join("keys/clients").join(format!("{client}.nk"));
        let seed = fs::read_to_string(seed).expect("a seed");
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&complaints);
        let options = ConnectOptions::with_nkey(seed.trim().to_owned())
            .custom_inbox_prefix(&inbox)
            .request_timeout(Some(PATIENCE))
            .event_callback(move |event| {
                if let Event::ServerError(error) = &event {
                    told.lock().expect("no panic").push(error.to_string());
                }
                async {}
            });
        let client = options.connect(self.url()).await.expect("the broker lets it in");
        let heard = client.subscribe(format!("{inbox}.answers.>")).await.expect("a subscription");
        client.flush().await.expect("the broker hears of it");
        ModelClient { client, inbox, heard, complaints }
    }
}

impl ModelClient {
    /// A subject that [`hear`](Self::hear) listens to.
    #[must_use]
    pub fn answers(&self, name: &str) -> String {
        format!("{}.answers.{name}", self.inbox)
    }

    /// Leaves a message in the stream behind `subject`; its place there, or what the broker says against it.
    ///
    /// # Errors
    /// What the broker says.
    pub async fn leave(&self, subject: &str, pairs: &[(&str, &str)], payload: impl Into<Bytes>) -> Result<u64, String> {
        let asked = self.client.request_with_headers(subject.to_owned(), headers(pairs), payload.into()).await;
        let told: serde_json::Value =
            serde_json::from_slice(&asked.map_err(|error| error.to_string())?.payload).map_err(|e| e.to_string())?;
        // A refusal has a sequence too, which is 0.
        match told["error"]["description"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => told["seq"].as_u64().ok_or_else(|| told.to_string()),
        }
    }

    /// Asks and waits.
    ///
    /// # Errors
    /// What the broker says.
    pub async fn ask(&self, subject: &str, pairs: &[(&str, &str)], payload: impl Into<Bytes>) -> Result<Heard, String> {
        let asked = self.client.request_with_headers(subject.to_owned(), headers(pairs), payload.into()).await;
        asked.map(Heard::of).map_err(|error| error.to_string())
    }

    /// Puts an object into a bucket, as the library does it.
    ///
    /// # Errors
    /// What the broker said.
    pub async fn put(&self, bucket: &str, name: &str, content: &[u8]) -> Result<(), String> {
        let context = async_nats::jetstream::new(self.client.clone());
        let store = context.get_object_store(bucket).await.map_err(|error| error.to_string())?;
        store.put(name, &mut &*content).await.map(drop).map_err(|error| error.to_string())
    }

    /// Publishes with any reply subject, and waits until the broker has it.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn publish(&self, subject: &str, reply: Option<&str>, pairs: &[(&str, &str)], payload: impl Into<Bytes>) {
        let (subject, payload) = (subject.to_owned(), payload.into());
        let sent = match reply {
            Some(reply) => {
                self.client.publish_with_reply_and_headers(subject, reply.to_owned(), headers(pairs), payload).await
            }
            None => self.client.publish_with_headers(subject, headers(pairs), payload).await,
        };
        sent.expect("the connection holds");
        self.client.flush().await.expect("the connection holds");
    }

    /// Subscribes, and waits until the broker has it.
    ///
    /// # Panics
    /// When the connection is gone.
    pub async fn subscribe(&self, subject: &str) {
        drop(self.client.subscribe(subject.to_owned()).await.expect("the connection holds"));
        self.client.flush().await.expect("the connection holds");
    }

    /// The next message at one of its [`answers`](Self::answers).
    ///
    /// # Panics
    /// When none comes.
    pub async fn hear(&mut self) -> Heard {
        let heard = tokio::time::timeout(PATIENCE, self.heard.next()).await.expect("an answer comes");
        Heard::of(heard.expect("the connection holds"))
    }

    /// What the broker complained about.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().expect("no panic").clone()
    }
}
