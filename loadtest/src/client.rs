//! The sender: HTTP/1.1 or gRPC over kept connections, one answer read to its end.

use crate::{
    error::LoadError,
    grpc,
    pool::{Outgoing, Pool},
    report::FailureClass,
    run::Limits,
    workload::{Reply, Request},
};
use http::{
    HeaderValue, Method, Uri, header,
    uri::{Authority, Scheme},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Response, body::Incoming};
use std::{fmt, str::FromStr, sync::Arc, time::Duration};

/// What is spoken to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    Http,
    /// Unary calls over HTTP/2.
    Grpc,
}

/// Who is sent to: `http://host:port` or `grpc://host:port`. Without TLS, because the door that is measured stands on the same
/// machine or behind something that ends TLS; measuring a handshake is another test.
///
/// To a target of gRPC the path of a request is that of the call and its body the encoded message, framed by
/// [`grpc_frame`](crate::grpc_frame). The body of the answer is the message without its frame, trailers stand among its headers,
/// and its status is the one of HTTP that says the same as `grpc-status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    protocol: Protocol,
    authority: Authority,
}

impl Target {
    /// What a socket connects to.
    fn address(&self) -> String {
        format!("{}:{}", self.authority.host(), self.authority.port_u16().unwrap_or(80))
    }
}

impl FromStr for Target {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || LoadError::Target { target: text.to_owned() };
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let bare = uri.path_and_query().is_none_or(|path| path == "/");
        let protocol = match uri.scheme_str() {
            Some("http") => Protocol::Http,
            Some("grpc") => Protocol::Grpc,
            _ => return Err(refused()),
        };
        match uri.authority() {
            Some(authority) if bare && !text.contains('@') => Ok(Self { protocol, authority: authority.clone() }),
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Grpc => "grpc",
        };
        write!(f, "{scheme}://{}", self.authority)
    }
}

/// Sends single requests to one target, over connections that are kept. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct Client {
    target: Target,
    host: HeaderValue,
    pool: Arc<Pool>,
    timeout: Duration,
    max_reply: usize,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("target", &self.target).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Client {
    /// A client with the timeouts and bounds of `limits`.
    #[must_use]
    pub fn new(target: Target, limits: &Limits) -> Self {
        let pool = Pool::new(target.address(), target.protocol, limits.connect_timeout);
        // An authority has no character that a header may not have.
        let host = HeaderValue::from_str(target.authority.as_str()).unwrap_or(HeaderValue::from_static(""));
        Self { target, host, pool: Arc::new(pool), timeout: limits.timeout, max_reply: limits.max_reply_bytes }
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
        let mut outgoing = self.outgoing(request)?;
        loop {
            let (mut seat, kept) = self.pool.take().await?;
            match seat.send(outgoing).await {
                Ok(reply) => {
                    let reply = self.read(reply).await?;
                    self.pool.give_back(seat);
                    return Ok(reply);
                }
                // The server closed a kept connection before anything of the request was on it: nobody's failure.
                Err(mut unsent) => match unsent.take_message() {
                    Some(request) if kept => outgoing = request,
                    _ => return Err(FailureClass::Broken),
                },
            }
        }
    }

    fn outgoing(&self, request: Request) -> Result<Outgoing, FailureClass> {
        let mut outgoing = http::Request::new(Full::new(request.body));
        *outgoing.headers_mut() = request.headers;
        match self.target.protocol {
            Protocol::Http => {
                *outgoing.method_mut() = request.method;
                *outgoing.uri_mut() = request.path.into();
                outgoing.headers_mut().entry(header::HOST).or_insert_with(|| self.host.clone());
            }
            Protocol::Grpc => {
                *outgoing.method_mut() = Method::POST;
                *outgoing.version_mut() = http::Version::HTTP_2;
                *outgoing.uri_mut() = Uri::builder()
                    .scheme(Scheme::HTTP)
                    .authority(self.target.authority.clone())
                    .path_and_query(request.path)
                    .build()
                    .map_err(|_| FailureClass::Broken)?;
                let headers = outgoing.headers_mut();
                headers.insert(header::TE, HeaderValue::from_static("trailers"));
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            }
        }
        Ok(outgoing)
    }

    async fn read(&self, reply: Response<Incoming>) -> Result<Reply, FailureClass> {
        let (head, body) = reply.into_parts();
        let whole = Limited::new(body, self.max_reply).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { FailureClass::TooLarge } else { FailureClass::Broken }
        })?;
        match self.target.protocol {
            Protocol::Http => Ok(Reply { status: head.status, headers: head.headers, body: whole.to_bytes() }),
            Protocol::Grpc => grpc::reply(head, whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_plain_address_and_nothing_more() {
        for text in
            ["http://127.0.0.1:8080", "http://[::1]:80", "http://localhost", "http://door:1/", "grpc://127.0.0.1:9000"]
        {
            assert!(text.parse::<Target>().is_ok(), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:8080",
            "https://host",
            "http://host/path",
            "http://user:secret@host",
            "ftp://host",
            "grpc://host/path",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_target_says_what_it_was_made_of() {
        for text in ["http://[::1]:80", "grpc://door:9000"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!("http://door".parse::<Target>().unwrap().address(), "door:80");
    }
}
