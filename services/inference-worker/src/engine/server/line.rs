//! Questions to the server, from threads that wait for the answer.
//!
//! The line has a thread of its own: whoever waits may be a thread of the worker's runtime, and a runtime of one thread would wait for itself.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use slipway_proto::codec::BoundedCodec;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::settings::ServerConfig;
use crate::door::MAX_MESSAGE_BYTES;
use crate::engine::EngineError;

/// How often it is looked whether the server is there.
const LOOK: Duration = Duration::from_millis(100);
/// How long a question may take that is not a run.
pub(super) const ASK: Duration = Duration::from_secs(10);

/// The way to the server.
pub(super) struct Line {
    address: SocketAddr,
    model: String,
    start_timeout: Duration,
    run_timeout: Duration,
    channel: Channel,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl Line {
    pub(super) fn open(config: &ServerConfig) -> Result<Self, EngineError> {
        let unusable = |reason: String| EngineError::ServerSilent { address: config.address, reason };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("model-server")
            .enable_all()
            .build()
            .map_err(|error| unusable(format!("no thread to ask it: {error}")))?;
        let endpoint = Endpoint::from_shared(format!("http://{}", config.address))
            .map_err(|error| unusable(error.to_string()))?
            .connect_timeout(ASK);
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_lazy()
        };
        Ok(Self {
            address: config.address,
            model: config.model.clone(),
            start_timeout: config.start_timeout.0,
            run_timeout: config.run_timeout.0,
            channel,
            runtime: Some(runtime),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn model(&self) -> &str {
        &self.model
    }

    pub(super) const fn start_timeout(&self) -> Duration {
        self.start_timeout
    }

    pub(super) const fn run_timeout(&self) -> Duration {
        self.run_timeout
    }

    /// Waits until it is so.
    pub(super) fn wait(&self, is_so: impl Fn() -> Result<bool, Status>) -> Result<(), EngineError> {
        let started = Instant::now();
        loop {
            let reason = match is_so() {
                Ok(true) => return Ok(()),
                Ok(false) => "it says that it is not ready".to_owned(),
                Err(status) if status.code() == Code::FailedPrecondition => return Err(self.refuses(&status)),
                Err(status) => said(&status),
            };
            if started.elapsed() >= self.start_timeout {
                let waited = slipway_kernel::Span(self.start_timeout);
                let reason = format!("after {waited}: {reason}");
                return Err(EngineError::ServerSilent { address: self.address, reason });
            }
            thread::sleep(LOOK);
        }
    }

    /// One question and its answer.
    pub(super) fn unary<M, R>(&self, path: &'static str, message: M, time: Duration) -> Result<R, Status>
    where
        M: prost::Message + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let request = within(message, time);
        self.ask(async move {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            grpc.unary(request, PathAndQuery::from_static(path), BoundedCodec::default()).await
        })
    }

    /// What it says against the model or a question about it.
    pub(super) fn refuses(&self, status: &Status) -> EngineError {
        EngineError::ServerRefuses { address: self.address, reason: said(status) }
    }

    /// What it says of a run.
    pub(super) fn failed(&self, status: &Status) -> EngineError {
        EngineError::Run(format!("the model server at {}: {}", self.address, said(status)))
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<Response<T>, Status>> + Send + 'static,
    ) -> Result<T, Status> {
        let lost = || Status::internal("the thread that asks it has ended");
        let runtime = self.runtime.as_ref().ok_or_else(lost)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            // Who asked waits until there is an answer.
            let _ = sender.send(question.await);
        });
        receiver.recv().map_err(|_| lost())?.map(Response::into_inner)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // A runtime that waits for its end may not be dropped by a thread of another.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Line").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A question with the time that its answer may take, told to the server too.
fn within<T>(message: T, time: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time);
    request
}

/// What a status says, in one line.
fn said(status: &Status) -> String {
    let message = match (status.message(), status.code()) {
        ("", code) => code.description(),
        (message, _) => message,
    };
    let source = std::error::Error::source(status).map(|source| format!(": {}", crate::findings::chain(source)));
    let source = if status.code() == Code::Unavailable { source.unwrap_or_default() } else { String::new() };
    format!("{message}{source}")
}
