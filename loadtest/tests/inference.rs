//! Model servers as a workload, against real servers of gRPC and HTTP with known misbehaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::{Json, Router, body::Bytes, routing::post};
use serde_json::{Value, json};
use slipway_loadtest::{
    FailureClass, Limits, Report, Shape, Stop,
    inference::{Case, Inference, Mismatch, Protocol, address},
    run,
};
use slipway_proto::inference::{
    ModelConfigRequest, ModelConfigResponse, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
    ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ModelStatisticsRequest, ModelStatisticsResponse,
    ModelStreamInferResponse, RepositoryIndexRequest, RepositoryIndexResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
    grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
};
use std::{
    future::Future,
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_stream::{StreamExt, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Two samples of one value each; the right answer is its double.
fn case() -> Case {
    let text = json!({
        "model": "double",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1]}],
        "output": {"name": "y", "datatype": "FP32", "shape": [1, 1]},
        "samples": [{"inputs": [[1.5]], "expected": [3.0]}, {"inputs": [[2.0]], "expected": [4.0]}],
        "atol": 1e-6,
    });
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.to_string().as_bytes()).unwrap();
    Case::read(file.path()).unwrap()
}

/// On a thread of its own, so that the test's runtime is no part of what is measured.
fn serve<F, Fut>(server: F) -> SocketAddr
where
    F: FnOnce(TcpListener) -> Fut + Send + 'static,
    Fut: Future<Output = ()>,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move { server(TcpListener::from_std(listener).unwrap()).await });
    });
    address
}

#[derive(Clone, Copy)]
enum Manner {
    Right,
    AlwaysThree,
    Refusing,
}

struct Doubling(Manner);

#[tonic::async_trait]
impl GrpcInferenceService for Doubling {
    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        let request = request.into_inner();
        let raw: [u8; 4] = request.raw_input_contents[0].as_ref().try_into().unwrap();
        let answer = match self.0 {
            Manner::Right => 2.0 * f32::from_le_bytes(raw),
            Manner::AlwaysThree => 3.0,
            Manner::Refusing => return Err(Status::resource_exhausted("too many")),
        };
        let raw_output_contents = vec![Bytes::copy_from_slice(&answer.to_le_bytes())];
        Ok(Response::new(ModelInferResponse { raw_output_contents, ..Default::default() }))
    }

    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn model_ready(&self, _: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn model_metadata(
        &self,
        _: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    type ModelStreamInferStream = tonic::codegen::BoxStream<ModelStreamInferResponse>;

    async fn model_stream_infer(
        &self,
        _: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn model_config(&self, _: Request<ModelConfigRequest>) -> Result<Response<ModelConfigResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn model_statistics(
        &self,
        _: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn repository_index(
        &self,
        _: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

/// A server of gRPC, and how many connections it was asked for.
fn grpc(manner: Manner) -> (String, Arc<AtomicU64>) {
    let connections = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&connections);
    let address = serve(move |listener| async move {
        let incoming = TcpListenerStream::new(listener).map(move |stream| {
            counter.fetch_add(1, Ordering::Relaxed);
            stream
        });
        let service = GrpcInferenceServiceServer::new(Doubling(manner));
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
    (format!("http://{address}"), connections)
}

async fn load(url: &str, protocol: Protocol, callers: usize) -> Report {
    let (target, path) = address(protocol, &url.parse().unwrap()).unwrap();
    let workload = Inference::new(case(), protocol, &path, true).unwrap();
    let shape = Shape::Closed { callers, duration: Duration::from_millis(300) };
    run(&target, Arc::new(workload), shape, Limits::default(), &Stop::default()).await.unwrap()
}

async fn verify(url: &str, protocol: Protocol) -> Result<usize, Mismatch> {
    let (target, path) = address(protocol, &url.parse().unwrap()).unwrap();
    Inference::new(case(), protocol, &path, true).unwrap().verify(&target, &Limits::default()).await
}

#[tokio::test]
async fn every_answer_over_grpc_is_compared() {
    let (url, _) = grpc(Manner::Right);
    assert_eq!(verify(&url, Protocol::OipGrpc).await.unwrap(), 2);
    let right = load(&url, Protocol::OipGrpc, 4).await;
    assert!(right.ok > 10 && right.failed() == 0, "{right}");

    let (url, _) = grpc(Manner::AlwaysThree);
    let wrong = verify(&url, Protocol::OipGrpc).await;
    assert!(matches!(&wrong, Err(Mismatch::Wrong { sample: 1, got, .. }) if *got == [3.0]), "{wrong:?}");
    let half = load(&url, Protocol::OipGrpc, 4).await;
    assert!(half.failed_with(FailureClass::Wrong).abs_diff(half.ok) <= 1, "every second request: {half}");
}

#[tokio::test]
async fn a_refusal_over_grpc_is_told_by_what_it_means() {
    let (url, _) = grpc(Manner::Refusing);
    let report = load(&url, Protocol::OipGrpc, 2).await;
    assert_eq!((report.ok, report.failed_with(FailureClass::Status(429))), (0, report.sent), "{report}");
    let refused = verify(&url, Protocol::OipGrpc).await;
    assert!(matches!(&refused, Err(Mismatch::Refused { said, .. }) if said.contains("too")), "{refused:?}");
}

#[tokio::test]
async fn eight_calls_share_a_connection_of_grpc() {
    for (callers, connections) in [(1, 1), (8, 1), (20, 3)] {
        let (url, counted) = grpc(Manner::Right);
        load(&url, Protocol::OipGrpc, callers).await;
        assert_eq!(counted.load(Ordering::Relaxed), connections, "{callers} callers");
    }
}

#[tokio::test]
async fn nobody_there_is_a_failure_to_connect_over_grpc_too() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let report = load(&format!("http://127.0.0.1:{port}"), Protocol::OipGrpc, 1).await;
    assert!(report.failed_with(FailureClass::Connect) > 0 && report.failed_with(FailureClass::Connect) == report.sent);
}

#[tokio::test]
async fn every_answer_in_json_is_compared() {
    let address = serve(|listener| async move {
        let double = |Json(document): Json<Value>| async move {
            let value = document["inputs"][0]["data"][0].as_f64().unwrap();
            Json(json!({"outputs": [{"name": "y", "data": [2.0 * value]}]}))
        };
        axum::serve(listener, Router::new().route("/infer", post(double))).await.unwrap();
    });
    let url = format!("http://{address}/infer");
    assert_eq!(verify(&url, Protocol::OipJson).await.unwrap(), 2);
    let report = load(&url, Protocol::OipJson, 4).await;
    assert!(report.ok > 10 && report.failed() == 0, "{report}");
}
