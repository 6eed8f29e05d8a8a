//! Clients of the door.

use crate::documents::{Digit, digits, label};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use slipway_testkit::DataFolder;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

/// A caller with the key of one deployment.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) client: Client,
    pub(crate) door: String,
    pub(crate) name: String,
    pub(crate) key: String,
}

impl Caller {
    pub(crate) fn of(folder: &DataFolder, name: &str) -> Self {
        let key = folder.api_key(&crate::id(name));
        Self { client: folder.client().clone(), door: folder.door(), name: name.to_owned(), key }
    }

    pub(crate) fn post(&self, body: &Value) -> RequestBuilder {
        let url = format!("{}/v2/models/{}/infer", self.door, self.name);
        self.client.post(url).bearer_auth(&self.key).header("content-type", "application/json").body(body.to_string())
    }

    /// One digit, answered with its label.
    pub(crate) async fn ask(&self, digit: &Digit) -> Answered {
        let response = self.post(&digit.body).send().await.unwrap();
        let answered = Answered::read(response).await;
        assert_eq!(answered.status, StatusCode::OK, "{}", answered.text);
        assert_eq!(label(&answered.json()), Some(digit.label), "{}", answered.text);
        answered
    }
}

/// An answer of the door.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Answered {
    pub(crate) async fn read(response: Response) -> Self {
        let text_of = |value: &reqwest::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text_of(value)));
        Self { status: response.status(), headers: headers.collect(), text: response.text().await.unwrap() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}: {:?}", self.headers))
    }
}

/// What a client that sends without pause saw.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) answered: u64,
    pub(crate) wrong: u64,
    pub(crate) by_revision: BTreeMap<String, u64>,
    pub(crate) failures: Vec<String>,
}

/// Sends one digit after the other until it is stopped.
pub(crate) struct Sender {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Traffic>,
}

impl Sender {
    pub(crate) fn start(caller: Caller) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut traffic = Traffic::default();
            for digit in digits().iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                send(&caller, digit, &mut traffic).await;
                // A client that leaves the two cores to what is tested.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            traffic
        });
        Self { stop, task }
    }

    pub(crate) async fn stop(self) -> Traffic {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

async fn send(caller: &Caller, digit: &Digit, traffic: &mut Traffic) {
    match caller.post(&digit.body).send().await {
        Ok(response) => {
            let answered = Answered::read(response).await;
            if answered.status != StatusCode::OK {
                traffic.failures.push(format!("{}: {}", answered.status, answered.text));
                return;
            }
            traffic.answered += 1;
            traffic.wrong += u64::from(label(&answered.json()) != Some(digit.label));
            *traffic.by_revision.entry(answered.header("slipway-revision").to_owned()).or_default() += 1;
        }
        Err(error) => traffic.failures.push(format!("{error:?}")),
    }
}
