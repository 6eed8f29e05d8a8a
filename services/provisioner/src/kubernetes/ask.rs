//! Questions to an API server, and what its refusals mean. Objects come as they are: what is not looked at needs no type.

use crate::domain::cluster::Unanswered;
use http::Request;
use kube::Client;
use serde_json::{Value, json};

/// Objects of one page: the API server's own bound of what it likes to give at once.
const PAGE: usize = 500;

/// An API server.
pub(super) struct Api {
    client: Client,
}

impl Api {
    pub(super) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// One object.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Unanswered> {
        self.send(Request::get(path).body(Vec::new())).await
    }

    /// The answer to a question.
    pub(super) async fn post(&self, path: &str, question: &Value) -> Result<Value, Unanswered> {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(request.body(question.to_string().into_bytes())).await
    }

    /// All objects of a kind whose fields are so, as `items`; of each only what `keep` keeps, page by page, because a large cluster has a hundred
    /// megabytes of pods.
    pub(super) async fn list(&self, path: &str, fields: &str, keep: fn(&Value) -> Value) -> Result<Value, Unanswered> {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let (fields, from) = (field("fieldSelector", fields), field("continue", &token));
            let page = self.get(&format!("{path}?limit={PAGE}{fields}{from}")).await?;
            all.extend(page["items"].as_array().into_iter().flatten().map(keep));
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(next) if !next.is_empty() => next.clone_into(&mut token),
                _ => return Ok(json!({ "items": all })),
            }
        }
    }

    async fn send(&self, request: http::Result<Request<Vec<u8>>>) -> Result<Value, Unanswered> {
        let request = request.map_err(|error| Unanswered::Away(error.to_string()))?;
        self.client.request(request).await.map_err(unanswered)
    }
}

/// `&name=value` of an address, if there is a value.
fn field(name: &str, value: &str) -> String {
    let mut text = String::new();
    if !value.is_empty() {
        text = format!("&{name}=");
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    text
}

fn unanswered(error: kube::Error) -> Unanswered {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => Unanswered::Unauthenticated(status.message),
            403 => Unanswered::Forbidden(status.message),
            404 => Unanswered::Missing,
            code => Unanswered::Away(format!("{code} {}", status.message)),
        },
        other => Unanswered::Away(chain(&other)),
    }
}

/// What failed, and why: the outermost error only says that a request did not work.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_cannot_bear_is_written_otherwise() {
        assert_eq!(field("continue", ""), "");
        assert_eq!(
            field("fieldSelector", "status.phase!=Failed,a=b"),
            "&fieldSelector=status.phase%21%3DFailed%2Ca%3Db"
        );
    }
}
