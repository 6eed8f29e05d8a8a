//! A worker that does what a test tells it, in a runtime of its own, so that killing it closes its sockets as kill -9 does.

use super::authority::Authority;
use crate::upstream::Seat;
use slipway_kernel::{DeploymentId, RevisionId, Service};
use slipway_proto::{
    inference::{
        ModelConfig, ModelConfigRequest, ModelConfigResponse, ModelInferRequest, ModelInferResponse,
        ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ModelStatistics,
        ModelStatisticsRequest, ModelStatisticsResponse, ModelStreamInferResponse, RepositoryIndexRequest,
        RepositoryIndexResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse,
        ServerReadyRequest, ServerReadyResponse,
        grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
    },
    oip::{Tensor, raw_response, request_tensors},
    slipway::inference::v1::{
        Call, CallFrame, CallRefused, Failure, ReplyFrame, call_frame,
        direct_path_server::{DirectPath, DirectPathServer},
        reply_frame,
    },
};
use slipway_runtime::tls::{self, SpiffeId};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming, metadata::MetadataMap, transport::Server};

/// What it does with a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// Answers `y` = `x`.
    Answer,
    /// The same, after a while.
    After(Duration),
    /// Refuses with a word of the vocabulary.
    Say(&'static str, Code),
    /// Answers what is no tensor.
    Malformed,
}

pub(super) struct Shared {
    pub(super) manner: Mutex<Manner>,
    pub(super) calls: AtomicU32,
    pub(super) under_way: AtomicU32,
    pub(super) cancelled: AtomicU32,
    /// Calls that came on a stream.
    pub(super) streamed: AtomicU32,
    /// Streams that were opened.
    pub(super) streams: AtomicU32,
    pub(super) seen: Mutex<Vec<BTreeMap<String, String>>>,
}

pub(super) struct Worker {
    pub(super) seat: Seat,
    pub(super) shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Worker {
    /// Serves the revision, with its certificate.
    pub(super) fn start(
        authority: &Authority,
        deployment: &DeploymentId,
        revision: RevisionId,
        instance: &str,
    ) -> Self {
        Self::posing(authority, deployment, revision, revision, instance)
    }

    /// Registered for one revision, with the certificate of another.
    pub(super) fn posing(
        authority: &Authority,
        deployment: &DeploymentId,
        revision: RevisionId,
        certified: RevisionId,
        instance: &str,
    ) -> Self {
        let shared = Arc::new(Shared {
            manner: Mutex::new(Manner::Answer),
            calls: AtomicU32::new(0),
            under_way: AtomicU32::new(0),
            cancelled: AtomicU32::new(0),
            streamed: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            seen: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let identity = authority.worker(deployment, certified);
        let config = identity.server_config(|peer| *peer == SpiffeId::Service(Service::Ingress)).unwrap();
        let service = GrpcInferenceServiceServer::new(Double(Arc::clone(&shared)));
        let streams = DirectPathServer::new(Double(Arc::clone(&shared)));
        let (sender, address) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let incoming = tls::incoming(listener, config).unwrap();
            Server::builder().add_service(service).add_service(streams).serve_with_incoming(incoming).await.unwrap();
        });
        let address = address.recv_timeout(Duration::from_secs(10)).unwrap();
        let seat = Seat { deployment: deployment.clone(), revision, instance: instance.to_owned(), address };
        Self { seat, shared, runtime: Some(runtime) }
    }

    pub(super) fn set(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    pub(super) fn calls(&self) -> u32 {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// Metadata of the last request.
    pub(super) fn last(&self) -> BTreeMap<String, String> {
        self.shared.seen.lock().unwrap().last().cloned().unwrap()
    }

    pub(super) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Clone)]
struct Double(Arc<Shared>);

/// Counts a request that was dropped before it was answered.
struct UnderWay(Arc<Shared>, bool);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
        if !self.1 {
            self.0.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tonic::async_trait]
impl DirectPath for Double {
    type ExchangeStream = ReceiverStream<Result<ReplyFrame, Status>>;

    async fn exchange(&self, request: Request<Streaming<CallFrame>>) -> Result<Response<Self::ExchangeStream>, Status> {
        self.0.streams.fetch_add(1, Ordering::SeqCst);
        let (sender, replies) = tokio::sync::mpsc::channel(1_024);
        let (double, mut incoming) = (self.clone(), request.into_inner());
        tokio::spawn(async move {
            let mut calls = BTreeMap::new();
            while let Ok(Some(CallFrame { call, kind })) = incoming.message().await {
                match kind.unwrap() {
                    call_frame::Kind::Infer(framed) => {
                        double.0.streamed.fetch_add(1, Ordering::SeqCst);
                        let (double, sender) = (double.clone(), sender.clone());
                        let task = tokio::spawn(async move {
                            let kind = double.streamed(framed).await;
                            let _ = sender.send(Ok(ReplyFrame { call, kind: Some(kind) })).await;
                        });
                        calls.insert(call, task.abort_handle());
                    }
                    call_frame::Kind::Cancel(_) => calls[&call].abort(),
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(replies)))
    }
}

impl Double {
    async fn streamed(&self, framed: Call) -> reply_frame::Kind {
        let mut request = Request::new(framed.message.unwrap());
        for (name, value) in [
            ("slipway-request-id", framed.request_id),
            ("slipway-deadline-ms", framed.deadline_unix_ms.to_string()),
            ("slipway-attempt", framed.attempt.to_string()),
            ("traceparent", framed.traceparent),
        ] {
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        match self.model_infer(request).await {
            Ok(answer) => reply_frame::Kind::Answer(answer.into_inner()),
            Err(status) => {
                let text = |name: &str| status.metadata().get(name).unwrap().to_str().unwrap().to_owned();
                let failure = Failure { code: text("slipway-failure"), message: status.message().to_owned() };
                let retry_after_s = text("retry-after").parse().unwrap();
                reply_frame::Kind::Refused(CallRefused { failure: Some(failure), retry_after_s })
            }
        }
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Double {
    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
        let mut under_way = UnderWay(Arc::clone(&self.0), false);
        let text = |name: &str| request.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        let names = [
            "slipway-request-id",
            "slipway-principal",
            "slipway-deadline-ms",
            "slipway-attempt",
            "traceparent",
            "x-forwarded-for",
            "authorization",
        ];
        let seen = names.into_iter().filter_map(|name| Some((name.to_owned(), text(name)?))).collect();
        self.0.seen.lock().unwrap().push(seen);
        let manner = *self.0.manner.lock().unwrap();
        if let Manner::After(wait) = manner {
            tokio::time::sleep(wait).await;
        }
        under_way.1 = true;
        let message = request.into_inner();
        let tensors = request_tensors(&message).unwrap();
        let x = &tensors[0];
        let y = Tensor::new("y", x.data_type(), x.shape().to_vec(), x.bytes().clone()).unwrap();
        let mut response = raw_response(message.model_name, message.model_version, message.id, [y]);
        match manner {
            Manner::Answer | Manner::After(_) => Ok(Response::new(response)),
            Manner::Malformed => {
                response.outputs[0].shape = vec![77];
                Ok(Response::new(response))
            }
            Manner::Say(word, code) => {
                let mut metadata = MetadataMap::new();
                metadata.insert("slipway-failure", word.parse().unwrap());
                metadata.insert("retry-after", "3".parse().unwrap());
                Err(Status::with_metadata(code, format!("the worker says {word}"), metadata))
            }
        }
    }

    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn model_ready(&self, _: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn model_metadata(
        &self,
        _: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    type ModelStreamInferStream = ReceiverStream<Result<ModelStreamInferResponse, Status>>;

    async fn model_stream_infer(
        &self,
        _: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Result<Response<ModelConfigResponse>, Status> {
        let config = ModelConfig { name: request.into_inner().name, max_batch_size: 8, ..ModelConfig::default() };
        Ok(Response::new(ModelConfigResponse { config: Some(config) }))
    }

    /// As many requests as it was asked to compute.
    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        let ModelStatisticsRequest { name, version } = request.into_inner();
        let inference_count = u64::from(self.0.calls.load(Ordering::SeqCst));
        let told = ModelStatistics { name, version, inference_count, ..ModelStatistics::default() };
        Ok(Response::new(ModelStatisticsResponse { model_stats: vec![told] }))
    }

    async fn repository_index(
        &self,
        _: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}
