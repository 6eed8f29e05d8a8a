//! Clients of a deployment's door: requests that are answered at once, and requests that are left and asked for later.

use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use slipway_loadtest::{FailureClass, Judgement, Reply, Request, Workload};
use slipway_testkit::{DataFolder, workspace};
use std::{fs, sync::Mutex};
use tokio::task::JoinSet;

/// A client with the key of one deployment of a digits model.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    door: String,
    name: String,
    key: String,
    body: String,
}

/// What the door said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: u16,
    /// The revision that answered; empty if none did.
    pub(crate) revision: String,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn of(folder: &DataFolder, name: &str) -> Self {
        let key = folder.api_key(&crate::id(name));
        Self {
            http: folder.client().clone(),
            door: folder.door(),
            name: name.to_owned(),
            key,
            body: digit().to_string(),
        }
    }

    /// Asks and waits for the answer; an error is that of the connection.
    pub(crate) async fn ask(&self, request: &str) -> Result<Said, String> {
        self.post(request, &[]).await
    }

    /// Leaves a request in the queue.
    pub(crate) async fn leave(&self, request: &str) -> Result<Said, String> {
        self.post(request, &[("prefer", "respond-async")]).await
    }

    /// Asks for the result of a request that was left.
    pub(crate) async fn result(&self, request: &str) -> Result<Said, String> {
        let url = format!("{}/v2/requests/default.{}.{request}", self.door, self.name);
        said(self.http.get(url).bearer_auth(&self.key).send().await).await
    }

    async fn post(&self, request: &str, headers: &[(&str, &str)]) -> Result<Said, String> {
        let url = format!("{}/v2/models/{}/infer", self.door, self.name);
        let mut post = self.http.post(url).bearer_auth(&self.key).header("content-type", "application/json");
        for (name, value) in headers {
            post = post.header(*name, *value);
        }
        said(post.header("slipway-request-id", request).body(self.body.clone()).send().await).await
    }
}

async fn said(response: reqwest::Result<reqwest::Response>) -> Result<Said, String> {
    let response = response.map_err(|error| format!("{error:?}"))?;
    let revision = response.headers().get("slipway-revision").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (status, revision) = (response.status().as_u16(), revision.to_owned());
    Ok(Said { status, revision, text: response.text().await.map_err(|error| format!("{error:?}"))? })
}

/// A request with one digit.
fn digit() -> Value {
    let golden = fs::read_to_string(workspace().join("infra/examples/digits-v1.golden.jsonl")).unwrap();
    let row: Value = serde_json::from_str(golden.lines().next().unwrap()).unwrap();
    json!({ "inputs": [{ "name": "X", "datatype": "FP32", "shape": [1, 64], "data": row["inputs"]["X"] }] })
}

/// Does something for each of `ids`, so many at once, and gives what came of it in the order in which it came.
pub(crate) async fn for_each<F, Fut>(ids: &[String], at_once: usize, mut doing: F) -> Vec<(String, Fut::Output)>
where
    F: FnMut(String) -> Fut,
    Fut: Future<Output: Send> + Send + 'static,
{
    let (mut running, mut done, mut left) = (JoinSet::new(), Vec::with_capacity(ids.len()), ids.iter());
    loop {
        while running.len() < at_once
            && let Some(id) = left.next()
        {
            let (id, work) = (id.clone(), doing(id.clone()));
            running.spawn(async move { (id, work.await) });
        }
        match running.join_next().await {
            Some(one) => done.push(one.unwrap()),
            None => return done,
        }
    }
}

/// One request after the other under ids of their own, for the load generator.
pub(crate) struct Stream {
    client: Client,
    what: &'static str,
    leaves: bool,
    answered: Mutex<Vec<u64>>,
    wrong: Mutex<Vec<String>>,
}

/// What goes wrong is shown up to this number.
const SHOWN: usize = 5;

impl Client {
    /// Requests `<what>-0`, `<what>-1`…, asked or left in the queue.
    pub(crate) fn stream(&self, what: &'static str, leaves: bool) -> Stream {
        Stream { client: self.clone(), what, leaves, answered: Mutex::default(), wrong: Mutex::default() }
    }
}

impl Stream {
    /// The ids that were answered, or accepted if they were left.
    pub(crate) fn answered(&self) -> Vec<String> {
        self.answered.lock().unwrap().iter().map(|n| format!("{}-{n}", self.what)).collect()
    }

    /// The first that were not.
    pub(crate) fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }

    fn note(&self, wrong: String) {
        let mut all = self.wrong.lock().unwrap();
        if all.len() < SHOWN {
            all.push(wrong);
        }
    }
}

impl Workload for Stream {
    fn request(&self, n: u64) -> Request {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {}", self.client.key).parse().unwrap());
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("slipway-request-id", format!("{}-{n}", self.what).parse().unwrap());
        if self.leaves {
            headers.insert("prefer", HeaderValue::from_static("respond-async"));
        }
        let path = format!("/v2/models/{}/infer", self.client.name).parse().unwrap();
        Request { method: Method::POST, path, headers, body: self.client.body.clone().into() }
    }

    fn judge(&self, n: u64, reply: &Reply) -> Judgement {
        if reply.status == if self.leaves { 202 } else { 200 } {
            self.answered.lock().unwrap().push(n);
            return Judgement::Answered;
        }
        self.note(format!("{n}: {} {}", reply.status, String::from_utf8_lossy(&reply.body)));
        Judgement::Failed(FailureClass::Status(reply.status.as_u16()))
    }

    fn unanswered(&self, n: u64, class: FailureClass) {
        self.note(format!("{n}: {class}"));
    }
}
