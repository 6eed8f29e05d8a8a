//! The direct path: Open Inference Protocol v2 over gRPC, from ingress and the validator.
//!
//! What is not in the protocol travels as metadata (names in [`metadata`]). The peer is authenticated by mTLS before anything
//! here runs, so what ingress says about the request is believed. Results are recorded by who answers the client: one that is computed
//! twice, since a connection broke, is still recorded once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slipway_kernel::{RequestId, Timestamp};
use slipway_oip::{grpc, repository};
use slipway_proto::failure::FailureCode;
use slipway_proto::inference::grpc_inference_service_server::GrpcInferenceService;
use slipway_proto::inference::{
    ModelConfigRequest, ModelConfigResponse, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
    ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ModelStatisticsRequest, ModelStatisticsResponse,
    RepositoryIndexRequest, RepositoryIndexResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};
use slipway_runtime::{CancellationToken, trace};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::grpc_stream::{self, Answers};
use crate::inference::{Inference, Phase, SERVER};
use crate::refusal::Refusal;
use crate::telemetry::Path;

/// Metadata keys of the direct path.
pub mod metadata {
    /// Identity of the request within the deployment. Required.
    pub const REQUEST_ID: &str = "slipway-request-id";
    /// Milliseconds since the Unix epoch after which nobody waits.
    pub const DEADLINE_MS: &str = "slipway-deadline-ms";
    /// Which try this is, from 1; from the second on a request runs alone.
    pub const ATTEMPT: &str = "slipway-attempt";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
}

/// The gRPC service.
#[derive(Clone)]
pub struct Direct {
    inference: Arc<Inference>,
    callers: Callers,
    closing: CancellationToken,
}

/// Who asks, and so what is believed of what goes with a request.
#[derive(Clone)]
enum Callers {
    /// Ingress and the validator: all of it.
    Mesh,
    /// Anyone who reaches the port: nothing of it.
    Anyone {
        /// How long a request may take that does not say otherwise.
        timeout: Duration,
    },
}

impl Direct {
    /// A service over a model, for the mesh. From `closing` on streams take no request, and end with the last answer.
    #[must_use]
    pub const fn new(inference: Arc<Inference>, closing: CancellationToken) -> Self {
        Self { inference, callers: Callers::Mesh, closing }
    }

    /// A service over a model for anyone.
    #[must_use]
    pub const fn open(inference: Arc<Inference>, timeout: Duration, closing: CancellationToken) -> Self {
        Self { inference, callers: Callers::Anyone { timeout }, closing }
    }

    fn is_serving(&self) -> bool {
        self.inference.phase() == Phase::Serving
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Direct {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.is_serving() }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        let request = request.into_inner();
        self.inference.is_meant(&request.name, &request.version).map_err(|refusal| status(&refusal))?;
        Ok(Response::new(ModelReadyResponse { ready: self.is_serving() }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(SERVER.message()))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let request = request.into_inner();
        self.inference.is_meant(&request.name, &request.version).map_err(|refusal| status(&refusal))?;
        Ok(Response::new(self.inference.document().message()))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let answered = match &self.callers {
            Callers::Mesh => match Terms::read(&metadata) {
                Ok(terms) => answer(&self.inference, terms, text(&metadata, metadata::TRACEPARENT), message).await,
                Err(refusal) => Err(refusal),
            },
            Callers::Anyone { timeout } => {
                let timeout = grpc::timeout(&metadata).unwrap_or(*timeout);
                let asked = self.inference.ask(&message, Instant::now().checked_add(timeout), false);
                self.inference.compute(Path::Direct, asked).await.map(slipway_oip::Response::into_message)
            }
        };
        answered.map(Response::new).map_err(|refusal| status(&refusal))
    }

    type ModelStreamInferStream = Answers;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let (metadata, _, incoming) = request.into_parts();
        let (inference, closing) = (Arc::clone(&self.inference), self.closing.clone());
        let answers = match &self.callers {
            Callers::Mesh => {
                let deadline = number(&metadata, metadata::DEADLINE_MS).map_err(|refusal| status(&refusal))?;
                let traceparent = text(&metadata, metadata::TRACEPARENT).map(str::to_owned);
                grpc_stream::of_mesh(inference, deadline.map(Timestamp), traceparent, incoming, closing)
            }
            Callers::Anyone { timeout } => {
                let ends = grpc::timeout(&metadata).and_then(|timeout| Instant::now().checked_add(timeout));
                grpc_stream::of_anyone(inference, *timeout, ends, incoming, closing)
            }
        };
        Ok(Response::new(answers))
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Result<Response<ModelConfigResponse>, Status> {
        let request = request.into_inner();
        self.inference.is_meant(&request.name, &request.version).map_err(|refusal| status(&refusal))?;
        Ok(Response::new(self.inference.configuration()))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        let request = request.into_inner();
        self.inference.is_meant(&request.name, &request.version).map_err(|refusal| status(&refusal))?;
        Ok(Response::new(self.inference.statistics()))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let asked = repository::Asked { ready: request.into_inner().ready };
        Ok(Response::new(repository::message(asked.of(self.inference.index()))))
    }
}

/// Answers a request of the mesh, within its trace.
pub(crate) async fn answer(
    inference: &Inference,
    terms: Terms,
    traceparent: Option<&str>,
    message: ModelInferRequest,
) -> Result<ModelInferResponse, Refusal> {
    let Terms { request_id, deadline, attempt } = terms;
    let work = async {
        let asked = inference.read(deadline, attempt, &message);
        inference.compute(Path::Direct, asked).await.map(slipway_oip::Response::into_message)
    };
    let Some(traceparent) = traceparent.filter(|traceparent| trace::is_recorded(traceparent)) else {
        return work.await;
    };
    let span = tracing::info_span!(
        "infer",
        otel.kind = "server",
        deployment = %inference.assignment().deployment,
        revision = %inference.assignment().revision,
        %request_id,
    );
    trace::parent_from(&span, traceparent);
    work.instrument(span).await
}

/// What goes with a request of the mesh.
pub(crate) struct Terms {
    /// Identity of the request within the deployment.
    pub(crate) request_id: RequestId,
    /// Nobody waits after this.
    pub(crate) deadline: Option<Timestamp>,
    /// Which try this is, from 1.
    pub(crate) attempt: u32,
}

impl Terms {
    fn read(metadata: &MetadataMap) -> Result<Self, Refusal> {
        let request_id = text(metadata, metadata::REQUEST_ID)
            .ok_or_else(|| malformed(metadata::REQUEST_ID, "it is missing"))?
            .parse()
            .map_err(|allowed: String| malformed(metadata::REQUEST_ID, &format!("allowed: {allowed}")))?;
        Ok(Self {
            request_id,
            deadline: number(metadata, metadata::DEADLINE_MS)?.map(Timestamp),
            attempt: number(metadata, metadata::ATTEMPT)?.unwrap_or(1),
        })
    }
}

fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name).and_then(|value| value.to_str().ok())
}

fn number<N: std::str::FromStr>(metadata: &MetadataMap, name: &str) -> Result<Option<N>, Refusal> {
    text(metadata, name)
        .map(|value| value.parse().map_err(|_| malformed(name, &format!("`{value}` is no number"))))
        .transpose()
}

fn malformed(name: &str, what: &str) -> Refusal {
    Refusal::new(FailureCode::InvalidArgument, format!("metadata `{name}`: {what}"))
}

fn status(refusal: &Refusal) -> Status {
    grpc::status(refusal.code, refusal.message.clone(), refusal.retry_after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::fixtures;
    use slipway_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
    use slipway_proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
    use slipway_proto::oip::{Tensor, response_tensors};
    use slipway_runtime::Clock;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tokio_util::sync::{CancellationToken, DropGuard};
    use tonic::Code;
    use tonic::transport::{Channel, Endpoint, Server};

    struct Served {
        client: GrpcInferenceServiceClient<Channel>,
        inference: Arc<Inference>,
        _server: DropGuard,
    }

    /// The service over a real connection.
    async fn served() -> Served {
        let inference = Arc::new(fixtures::serving(Clock::system()));
        let direct = Direct::new(Arc::clone(&inference), CancellationToken::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = Server::builder()
            .add_service(GrpcInferenceServiceServer::new(direct))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.clone().cancelled_owned());
        tokio::spawn(server);
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let client = GrpcInferenceServiceClient::new(channel);
        Served { client, inference, _server: shutdown.drop_guard() }
    }

    fn request(rows: usize, pairs: &[(&'static str, &str)]) -> Request<ModelInferRequest> {
        let mut request = Request::new(fixtures::message(rows));
        for (name, value) in pairs {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    const ID: (&str, &str) = (metadata::REQUEST_ID, "r-7");

    #[tokio::test]
    async fn refusals_carry_code_word_and_time_to_come_back() {
        let mut served = served().await;
        let late = [ID, (metadata::DEADLINE_MS, "1000")];
        let bad_deadline = [ID, (metadata::DEADLINE_MS, "soon")];
        let bad_id = [(metadata::REQUEST_ID, "a b")];
        let mut wrong = request(1, &[ID]);
        wrong.get_mut().inputs[0].shape = vec![1, 5];
        let cases = [
            (request(1, &[]), Code::InvalidArgument, "invalid-argument", "`slipway-request-id`: it is missing"),
            (request(1, &bad_id), Code::InvalidArgument, "invalid-argument", "slipway-request-id"),
            (request(1, &bad_deadline), Code::InvalidArgument, "invalid-argument", "`soon` is no number"),
            (request(1, &late), Code::DeadlineExceeded, "deadline-exceeded", "deadline"),
            (wrong, Code::InvalidArgument, "invalid-argument", "inputs[0].shape: [1, 5]"),
        ];
        for (request, code, word, message) in cases {
            let status = served.client.model_infer(request).await.unwrap_err();
            assert_eq!(status.code(), code, "{status:?}");
            assert_eq!(text(status.metadata(), grpc::FAILURE), Some(word));
            assert!(status.message().contains(message), "{status:?}");
        }
        served.inference.enter(Phase::Draining);
        let status = served.client.model_infer(request(1, &[ID])).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(text(status.metadata(), grpc::RETRY_AFTER), Some("1"));
    }

    #[tokio::test]
    async fn metadata_and_readiness_are_those_of_the_model() {
        let mut served = served().await;
        let model = served
            .client
            .model_metadata(ModelMetadataRequest { name: "digits".into(), version: String::new() })
            .await
            .unwrap()
            .into_inner();
        assert_eq!((model.name.as_str(), model.platform.as_str()), ("digits", "onnx_tract"));
        assert_eq!(model.versions, ["2-1"]);
        assert_eq!(model.inputs[0].datatype, "FP32");
        assert_eq!(model.inputs[0].shape, [-1, 4]);
        assert_eq!(model.outputs[0].name, "label");
        let unknown = served
            .client
            .model_ready(ModelReadyRequest { name: "cats".into(), version: String::new() })
            .await
            .unwrap_err();
        assert_eq!(unknown.code(), Code::NotFound);
        let ready = |client: GrpcInferenceServiceClient<Channel>| async move {
            let mut client = client;
            client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready
        };
        assert!(ready(served.client.clone()).await);
        assert!(served.client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
        served.inference.enter(Phase::Draining);
        assert!(!ready(served.client.clone()).await);
        assert!(served.client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    }

    #[tokio::test]
    async fn many_callers_at_once_each_get_their_own_answer() {
        let served = served().await;
        let mut alone = served.client.clone();
        let mut expected = Vec::new();
        for rows in 1..4 {
            let request = request(rows, &[ID]);
            expected.push(alone.model_infer(request).await.unwrap().into_inner());
        }
        let calls: Vec<_> = (0..12_usize)
            .map(|number| {
                let mut client = served.client.clone();
                let rows = number % 3 + 1;
                tokio::spawn(async move { (rows, client.model_infer(request(rows, &[ID])).await) })
            })
            .collect();
        for call in calls {
            let (rows, response) = call.await.unwrap();
            let found = response_tensors(&response.unwrap().into_inner()).unwrap();
            let expected = response_tensors(&expected[rows - 1]).unwrap();
            assert_eq!(found[0], expected[0]);
            // Batches of other sizes add in another order, so the last bits may differ.
            let values = |tensors: &[Tensor]| tensors[1].as_f32().unwrap();
            let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
            assert!(values(&found).iter().zip(&values(&expected)).all(close));
        }
    }
}
