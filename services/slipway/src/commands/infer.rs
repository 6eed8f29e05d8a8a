//! `slipway infer`: one request through the public door.

use super::{api_key, id};
use crate::{
    cli::{Format, Global, InferArgs},
    context::Context,
    failure::{Failure, chain},
    output,
};
use reqwest::{Client, RequestBuilder, Response, StatusCode, header};
use serde_json::Value;
use std::{
    fs,
    io::Read as _,
    time::{Duration, Instant},
};

/// The largest request read from a file or pipe: the largest body any door accepts.
const MAX_BYTES: u64 = 64 << 20;

pub(crate) async fn run(args: InferArgs, global: &Global) -> Result<(), Failure> {
    let body = read(&args.request)?;
    let id = id(global, &args.name);
    let context = match &args.url {
        Some(_) => None,
        None => Some(Context::read(&global.data)?),
    };
    let url =
        args.url.clone().or_else(|| context.as_ref().map(|context| context.ingress_url.clone())).unwrap_or_default();
    let base = url.trim_end_matches('/');
    let path = format!("/v2/namespaces/{}/models/{}/infer", id.namespace, id.name);
    let key = match args.api_key.clone() {
        Some(key) => Some(key),
        None => fs::read_to_string(Context::api_key_file(&global.data, &id)).ok().map(|key| key.trim().to_owned()),
    };
    let key = match (key, &context) {
        // A mesh that runs elsewhere keeps no key here: the first call has one made.
        (None, Some(context)) if context.remote => made(api_key::make(context, global, &id).await)?,
        (key, _) => key,
    };
    let client = Client::builder().timeout(args.timeout).build().map_err(|error| Failure::local(chain(&error)))?;
    let with_key = |request: RequestBuilder| match &key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let mut request = with_key(client.post(format!("{base}{path}"))).header(header::CONTENT_TYPE, "application/json");
    if args.respond_async {
        request = request.header("prefer", "respond-async");
    }
    let mut response = request.body(body).send().await.map_err(|error| unreachable(base, &error))?;
    if response.status() == StatusCode::ACCEPTED {
        response = poll(&client, base, response, args.timeout, with_key).await?;
    }
    let revision = header_of(&response, "slipway-revision");
    let request_id = header_of(&response, "slipway-request-id");
    let status = response.status();
    let text = response.text().await.map_err(|error| unreachable(base, &error))?;
    if !status.is_success() {
        return Err(Failure::refused(format!("{status}: {text}")).hint(match status {
            StatusCode::UNAUTHORIZED => "name a key with --api-key, or the data folder that holds it with --data",
            StatusCode::NOT_FOUND => "`slipway status` lists what is deployed",
            _ => "the answer says what is allowed",
        }));
    }
    match global.output {
        Format::Json => output::line(text),
        Format::Human => {
            let pretty = serde_json::from_str::<Value>(&text).and_then(|value| serde_json::to_string_pretty(&value));
            output::line(pretty.unwrap_or(text));
            output::line(format!("{} revision {revision}, request {request_id}", output::Mark::Note.sign()));
        }
    }
    Ok(())
}

/// A deployment that wants no keys, or is not there, is asked without one: the door says what it thinks of that.
fn made(key: Result<String, Failure>) -> Result<Option<String>, Failure> {
    match key {
        Ok(key) => Ok(Some(key)),
        Err(failure) if failure.is_refusal() => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn header_of(response: &Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("?").to_owned()
}

fn unreachable(base: &str, error: &reqwest::Error) -> Failure {
    Failure::unreachable(format!("{base} does not answer: {}", chain(error)))
        .hint("is `slipway up` running, or the cluster's door reachable from here?")
}

async fn poll(
    client: &Client,
    base: &str,
    accepted: Response,
    timeout: Duration,
    with_key: impl Fn(RequestBuilder) -> RequestBuilder,
) -> Result<Response, Failure> {
    let location = header_of(&accepted, "location");
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_millis(20);
    loop {
        let response = with_key(client.get(format!("{base}{location}")))
            .send()
            .await
            .map_err(|error| unreachable(base, &error))?;
        if response.status() != StatusCode::ACCEPTED {
            return Ok(response);
        }
        if Instant::now() > deadline {
            return Err(Failure::unreachable("the result is not there yet").hint(format!("poll {base}{location}")));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

fn read(data: &str) -> Result<String, Failure> {
    if data == "-" {
        let mut text = String::new();
        let read = std::io::stdin().take(MAX_BYTES).read_to_string(&mut text);
        read.map_err(|error| Failure::input(format!("standard input: {error}")))?;
        return Ok(text);
    }
    match data.strip_prefix('@') {
        Some(file) => fs::read_to_string(file).map_err(|error| Failure::input(format!("{file}: {error}"))),
        None => Ok(data.to_owned()),
    }
}
