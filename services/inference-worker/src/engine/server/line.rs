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
use slipway_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use slipway_proto::inference::{
    ModelConfigRequest, ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ServerLiveRequest,
};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use super::settings::ServerConfig;
use super::triton::{RepositoryModelLoadRequest, RepositoryModelLoadResponse};
use crate::door::MAX_MESSAGE_BYTES;
use crate::engine::EngineError;

/// How often it is looked whether the server is there.
const LOOK: Duration = Duration::from_millis(100);
/// How long a question may take that is not a run.
const ASK: Duration = Duration::from_secs(10);

/// The way to the server.
pub(super) struct Line {
    address: SocketAddr,
    model: String,
    start_timeout: Duration,
    run_timeout: Duration,
    channel: Channel,
    client: GrpcInferenceServiceClient<Channel>,
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
        let client = GrpcInferenceServiceClient::new(channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self {
            address: config.address,
            model: config.model.clone(),
            start_timeout: config.start_timeout.0,
            run_timeout: config.run_timeout.0,
            channel,
            client,
            runtime: Some(runtime),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn model(&self) -> &str {
        &self.model
    }

    pub(super) fn wait_until_it_lives(&self) -> Result<(), EngineError> {
        self.wait(|| {
            let (mut client, request) = (self.client.clone(), within(ServerLiveRequest {}, ASK));
            self.ask(async move { client.server_live(request).await }).map(|answer| answer.live)
        })
    }

    pub(super) fn wait_until_it_has_the_model(&self) -> Result<(), EngineError> {
        self.wait(|| {
            let request = ModelReadyRequest { name: self.model.clone(), ..ModelReadyRequest::default() };
            let (mut client, request) = (self.client.clone(), within(request, ASK));
            self.ask(async move { client.model_ready(request).await }).map(|answer| answer.ready)
        })
    }

    fn wait(&self, is_so: impl Fn() -> Result<bool, Status>) -> Result<(), EngineError> {
        let started = Instant::now();
        loop {
            let reason = match is_so() {
                Ok(true) => return Ok(()),
                Ok(false) => "it says that it is not ready".to_owned(),
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

    /// Has Triton load the model that lies in its repository.
    pub(super) fn have_it_loaded(&self) -> Result<(), EngineError> {
        const PATH: &str = "/inference.GRPCInferenceService/RepositoryModelLoad";
        let request = RepositoryModelLoadRequest { model_name: self.model.clone(), ..Default::default() };
        let (channel, request) = (self.channel.clone(), within(request, self.start_timeout));
        let answered: Result<RepositoryModelLoadResponse, Status> = self.ask(async move {
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            grpc.unary(request, PathAndQuery::from_static(PATH), BoundedCodec::default()).await
        });
        answered.map(drop).map_err(|status| self.refuses(&status))
    }

    /// The server must take what the worker sends: runs of up to so many rows.
    pub(super) fn check_batch(&self, rows: usize) -> Result<(), EngineError> {
        let request = ModelConfigRequest { name: self.model.clone(), ..ModelConfigRequest::default() };
        let (mut client, request) = (self.client.clone(), within(request, ASK));
        // Not every server has the question.
        let Ok(answer) = self.ask(async move { client.model_config(request).await }) else { return Ok(()) };
        let most = answer.config.and_then(|config| usize::try_from(config.max_batch_size).ok()).unwrap_or(0);
        if most == 0 || most >= rows {
            return Ok(());
        }
        let reason = format!(
            "it takes {most} rows at once where worker.max_batch is {rows}; configure the same, or none (0) there"
        );
        Err(EngineError::ServerRefuses { address: self.address, reason })
    }

    pub(super) fn metadata(&self) -> Result<ModelMetadataResponse, EngineError> {
        let request = ModelMetadataRequest { name: self.model.clone(), ..ModelMetadataRequest::default() };
        let (mut client, request) = (self.client.clone(), within(request, ASK));
        self.ask(async move { client.model_metadata(request).await }).map_err(|status| self.refuses(&status))
    }

    pub(super) fn infer(&self, request: ModelInferRequest) -> Result<ModelInferResponse, EngineError> {
        let (mut client, request) = (self.client.clone(), within(request, self.run_timeout));
        let answered = self.ask(async move { client.model_infer(request).await });
        answered.map_err(|status| EngineError::Run(format!("the model server at {}: {}", self.address, said(&status))))
    }

    fn refuses(&self, status: &Status) -> EngineError {
        EngineError::ServerRefuses { address: self.address, reason: said(status) }
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
