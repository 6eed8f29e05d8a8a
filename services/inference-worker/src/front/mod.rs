//! The protocol to anyone who asks this worker directly: Open Inference Protocol v2 over HTTP and gRPC, on the same port.
//!
//! The layers of an inference, in order: the path and whether it is this model; the body, bounded in size and time; the
//! document against the signature; the batcher; the answer in the form that was asked for. gRPC is told apart by its content
//! type and goes the way of [`crate::grpc`].
//!
//! Who is asked and who may ask is ingress's business; where a worker is asked directly, it is for who runs it to say who
//! can reach its port.

mod body;
mod path;
mod respond;
mod stream;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use body::Unread;
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use path::{Part, Resource};
use slipway_kernel::{Refusal as Value, Refusals};
use slipway_oip::binary::Parts;
use slipway_oip::health::HealthServer;
use slipway_oip::json::{self, Envelope};
use slipway_oip::{binary, configuration, events, reflection, repository, statistics};
use slipway_proto::failure::FailureCode;
use slipway_proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use slipway_runtime::CancellationToken;
use slipway_runtime::websocket::WebSockets;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tower::Service;

use crate::grpc::Direct;
use crate::health::Readiness;
use crate::inference::{Asked, Inference, Phase, SERVER};
use crate::refusal::Refusal;
use crate::telemetry::Path;

/// Bounds of the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontLimits {
    /// Most bytes of a body, and of a message.
    pub body: usize,
    /// How long a request may take that does not say otherwise.
    pub timeout: Duration,
}

/// The front of one model.
#[derive(Clone)]
pub struct Front {
    inference: Arc<Inference>,
    limits: FrontLimits,
    grpc: GrpcInferenceServiceServer<Direct>,
    /// What tools of gRPC ask of any server.
    tools: Router,
    closing: CancellationToken,
    sockets: WebSockets,
}

impl Front {
    /// A front before a model. From `closing` on streams end with their last answer.
    #[must_use]
    pub fn new(inference: Arc<Inference>, limits: FrontLimits, closing: CancellationToken) -> Self {
        let tools = Routes::new(HealthServer::new(Readiness::new(Arc::clone(&inference), closing.clone())))
            .add_service(reflection::v1())
            .add_service(reflection::v1alpha())
            .into_axum_router();
        let direct = Direct::open(Arc::clone(&inference), limits.timeout, closing.clone());
        let grpc = GrpcInferenceServiceServer::new(direct)
            .max_decoding_message_size(limits.body)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Deflate)
            .max_encoding_message_size(usize::MAX);
        let sockets = WebSockets::new(stream::MOST, closing.clone());
        Self { inference, limits, grpc, tools, closing, sockets }
    }

    /// Its WebSockets.
    #[must_use]
    pub fn websockets(&self) -> WebSockets {
        self.sockets.clone()
    }

    async fn answer(self, request: Request<Body>) -> Response<Body> {
        let Some(resource) = Resource::of(request.uri().path(), self.inference.name()) else {
            return respond::refusal(&Refusal::new(FailureCode::NotFound, "there is nothing at this path"));
        };
        if resource.is_posted() != (request.method() == Method::POST) || !is_known(request.method()) {
            return respond::method(if resource.is_posted() { "POST" } else { "GET" });
        }
        match resource {
            Resource::Server => respond::document(&SERVER),
            Resource::Live => respond::empty(StatusCode::OK),
            Resource::Ready => respond::empty(self.readiness()),
            Resource::Index => self.index(request).await.unwrap_or_else(|refusal| respond::refusal(&refusal)),
            Resource::Statistics => respond::document(&statistics::Document::from(self.inference.statistics())),
            Resource::Model { name, version, part } => {
                let refused = self.inference.is_meant(name, version).err();
                match (refused, part) {
                    (Some(refusal), _) => respond::refusal(&refusal),
                    (None, Part::Metadata) => respond::document(&self.inference.document()),
                    (None, Part::Ready) => respond::empty(self.readiness()),
                    (None, Part::Configuration) => {
                        respond::document(&configuration::document(&self.inference.configuration()))
                    }
                    (None, Part::Statistics) => {
                        respond::document(&statistics::Document::from(self.inference.statistics()))
                    }
                    (None, Part::Stream) => self.stream(request).unwrap_or_else(|refusal| respond::refusal(&refusal)),
                    (None, Part::Infer) => {
                        let wants_event = events::are_wanted(request.headers());
                        match self.infer(request).await {
                            Ok(response) if wants_event => events::of(response).map(Body::new),
                            Ok(response) => response,
                            Err(refusal) => respond::refusal(&refusal),
                        }
                    }
                }
            }
        }
    }

    fn readiness(&self) -> StatusCode {
        if self.inference.phase() == Phase::Serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    async fn index(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let (parts, body) = request.into_parts();
        let body = match body::read(&parts.headers, body, INDEX_BYTES, Instant::now() + self.limits.timeout).await {
            Ok(body) => body,
            Err(Unread::TooSlow) => return Ok(respond::too_slow()),
            Err(Unread::Refused(refusal)) => return Err(refusal),
        };
        Ok(respond::document(&repository::Asked::read(&body)?.of(self.inference.index())))
    }

    async fn infer(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let deadline = Instant::now() + self.timeout(request.headers())?;
        let (parts, body) = request.into_parts();
        let body = match body::read(&parts.headers, body, self.limits.body, deadline).await {
            Ok(body) => body,
            Err(Unread::TooSlow) => return Ok(respond::too_slow()),
            Err(Unread::Refused(refusal)) => return Err(refusal),
        };
        let asked = self.ask(&parts.headers, body, deadline).await;
        let forms: Vec<bool> = match &asked {
            Ok(asked) => asked.request.outputs.iter().map(|wanted| wanted.binary).collect(),
            Err(_) => Vec::new(),
        };
        let response = self.inference.compute(Path::Direct, asked).await?;
        let is_long = response.bytes_in_text(&forms) > INLINE_BYTES;
        let written = aside_if(is_long, move || json::write(&response, &forms)).await?;
        let written = written.map_err(|error| Refusal::new(FailureCode::Internal, error.to_string()))?;
        Ok(slipway_oip::http::response(written).map(Body::new))
    }

    async fn ask(&self, headers: &HeaderMap, body: Bytes, deadline: Instant) -> Result<Asked, Refusal> {
        let parts = slipway_oip::http::parts(headers, body).map_err(|refusal| Refusals(vec![refusal]))?;
        self.read(parts, deadline).await
    }

    async fn read(&self, parts: Parts, deadline: Instant) -> Result<Asked, Refusal> {
        let (is_long, inference) = (parts.document.len() > INLINE_BYTES, Arc::clone(&self.inference));
        let read = move || {
            let (signature, rules) = (inference.signature(), inference.rules());
            if parts.is_tensor {
                return binary::raw(parts.tensors, signature, rules);
            }
            json::read(Envelope::read(&parts.document)?, parts.tensors, signature, rules)
        };
        let request = aside_if(is_long, read).await??;
        Ok(Asked { request, deadline: Some(deadline), alone: false })
    }

    /// How long the request may take: what it says in milliseconds, else the usual.
    fn timeout(&self, headers: &HeaderMap) -> Result<Duration, Refusal> {
        let Some(value) = headers.get(TIMEOUT_MS) else { return Ok(self.limits.timeout) };
        let longest = LONGEST_TIMEOUT.as_millis();
        let milliseconds = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
        match milliseconds
            .map(Duration::from_millis)
            .filter(|timeout| !timeout.is_zero() && *timeout <= LONGEST_TIMEOUT)
        {
            Some(timeout) => Ok(timeout),
            None => {
                let found = String::from_utf8_lossy(value.as_bytes()).into_owned();
                let value = Value::new(format!("header.{TIMEOUT_MS}"), found, format!("1 to {longest}"));
                Err(Refusals(vec![value]).into())
            }
        }
    }
}

/// Text is read and written on the async threads up to this size, above it on a thread that may block: below, it takes less than a
/// millisecond, which is what a neighbour may have to wait.
pub(crate) const INLINE_BYTES: usize = 256 * 1024;

/// Most bytes of what is asked of the index: a wish in a few words.
const INDEX_BYTES: usize = 4 * 1024;

/// Does work here, or aside if it is long.
pub(crate) async fn aside_if<T: Send + 'static>(
    is_long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    if !is_long {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal::new(FailureCode::Internal, error.to_string()))
}

/// Header of a deadline of the client's own, in milliseconds from now.
const TIMEOUT_MS: &str = "slipway-timeout-ms";
/// How long a request may take at most, whatever it says.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(300);

/// Where the services of gRPC itself are.
const TOOLS: &str = "/grpc.";

fn is_known(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::POST)
}

impl Service<Request<Body>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_grpc =
            request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if is_grpc && request.uri().path().starts_with(TOOLS) {
            // Who keeps asking does not hold a worker that ends.
            let closing = self.closing.clone().cancelled_owned();
            let request = request.map(|body| Body::from_stream(body.into_data_stream().take_until(closing)));
            return Box::pin(self.tools.call(request));
        }
        if is_grpc {
            let answer = self.grpc.call(request);
            return Box::pin(async {
                let mut response = answer.await?;
                slipway_oip::grpc::name_refusal(&mut response);
                Ok(response.map(Body::new))
            });
        }
        let front = self.clone();
        Box::pin(async { Ok(front.answer(request).await) })
    }
}
