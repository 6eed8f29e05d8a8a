//! The sender: HTTP/1.1 over kept-alive connections, one answer read to its end.

use crate::{
    error::LoadError,
    report::FailureClass,
    run::Limits,
    workload::{Reply, Request},
};
use bytes::Bytes;
use http::{
    Uri,
    uri::{Authority, Scheme},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use std::{fmt, str::FromStr, time::Duration};

/// How long an idle connection is kept. Longer than any pause inside a run.
const IDLE: Duration = Duration::from_secs(30);

/// Who is sent to: `http://host:port`. Plain HTTP, because the door that is measured stands on the same machine or behind
/// something that ends TLS; measuring a handshake is another test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(Authority);

impl FromStr for Target {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || LoadError::Target { target: text.to_owned() };
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let bare = uri.path_and_query().is_none_or(|path| path == "/");
        match (uri.scheme(), uri.authority()) {
            (Some(scheme), Some(authority)) if *scheme == Scheme::HTTP && bare && !text.contains('@') => {
                Ok(Self(authority.clone()))
            }
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

/// Sends single requests to one target, over connections that are kept. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
    client: legacy::Client<HttpConnector, Full<Bytes>>,
    timeout: Duration,
    max_reply: usize,
}

impl Client {
    /// A client with the timeouts and bounds of `limits`.
    #[must_use]
    pub fn new(target: Target, limits: &Limits) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(limits.connect_timeout));
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(limits.max_in_flight)
            .build(connector);
        Self { target, client, timeout: limits.timeout, max_reply: limits.max_reply_bytes }
    }

    /// Sends and waits for the whole answer, at most the timeout of one request.
    ///
    /// # Errors
    /// Why there is no answer: no connection, no time, a broken connection, an answer that is too long.
    pub async fn send(&self, request: Request) -> Result<Reply, FailureClass> {
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(FailureClass::Timeout),
        }
    }

    async fn exchange(&self, request: Request) -> Result<Reply, FailureClass> {
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.target.0.clone())
            .path_and_query(request.path)
            .build()
            .map_err(|_| FailureClass::Broken)?;
        let mut outgoing = http::Request::new(Full::new(request.body));
        *outgoing.method_mut() = request.method;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = request.headers;
        let reply = self
            .client
            .request(outgoing)
            .await
            .map_err(|error| if error.is_connect() { FailureClass::Connect } else { FailureClass::Broken })?;
        let (head, body) = reply.into_parts();
        let body = Limited::new(body, self.max_reply).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { FailureClass::TooLarge } else { FailureClass::Broken }
        })?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_plain_http_address_and_nothing_more() {
        for text in ["http://127.0.0.1:8080", "http://[::1]:80", "http://localhost", "http://door:1/"] {
            assert!(text.parse::<Target>().is_ok(), "{text}");
        }
        for text in ["", "127.0.0.1:8080", "https://host", "http://host/path", "http://user:secret@host", "ftp://host"]
        {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
