//! `inference-floor`: the least a server can do with the bytes of an inference request. No engine, no queue, no figures.
//!
//! What a model server takes beyond this is its own cost. `echo`: axum returns the body, JSON or binary. `json`: axum reads a
//! request of the Open Inference Protocol and writes an answer. `grpc`: tonic decodes a request and encodes an answer.

use anyhow::Context;
use axum::{Json, Router, body::Bytes, routing::post, serve::ListenerExt};
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use slipway_proto::inference::{
    ModelConfigRequest, ModelConfigResponse, ModelInferRequest, ModelInferResponse, ModelMetadataRequest,
    ModelMetadataResponse, ModelReadyRequest, ModelReadyResponse, ModelStatisticsRequest, ModelStatisticsResponse,
    ModelStreamInferResponse, RepositoryIndexRequest, RepositoryIndexResponse, ServerLiveRequest, ServerLiveResponse,
    ServerMetadataRequest, ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
    grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer},
    model_infer_response::InferOutputTensor,
};
use std::net::{Ipv4Addr, SocketAddr};
use tonic::{Request, Response, Status, Streaming};

/// The least a server can do with the bytes of an inference request.
#[derive(Debug, Parser)]
#[command(name = "inference-floor", version)]
struct Arguments {
    /// What is done with them.
    #[arg(value_enum)]
    floor: Floor,
    /// The port, on loopback.
    #[arg(long)]
    port: u16,
}

/// What is done with a request.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Floor {
    /// HTTP: the body is the answer.
    Echo,
    /// HTTP: JSON is read, JSON is written.
    Json,
    /// gRPC: a message is decoded, a message is encoded.
    Grpc,
}

/// The largest body: what a picture of 224 x 224 takes as JSON numbers, and more.
const MAX_BODY: usize = 64 << 20;
/// As many values as the tiny perceptron answers.
const ANSWER: [f32; 3] = [0.25, 0.25, 0.5];
const OUTPUT: &str = "output";
const TYPE: &str = "FP32";

// One thread: the other core of a small machine is the client's, and two threads are slower there than one.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let call = match arguments.floor {
        Floor::Echo => post(|body: Bytes| async { body }),
        Floor::Json => post(answer_json),
        Floor::Grpc => return serve_grpc(address).await,
    };
    let limit = axum::extract::DefaultBodyLimit::max(MAX_BODY);
    let router = Router::new().route("/v2/models/{model}/infer", call.layer(limit));
    let listener =
        tokio::net::TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    // Nagle's algorithm holds small answers back.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, router).await?)
}

async fn serve_grpc(address: SocketAddr) -> anyhow::Result<()> {
    let service = GrpcInferenceServiceServer::new(Decoded).max_decoding_message_size(MAX_BODY);
    let server = tonic::transport::Server::builder().tcp_nodelay(true).add_service(service);
    Ok(server.serve(address).await?)
}

#[derive(Deserialize)]
struct JsonRequest {
    #[serde(default)]
    id: Option<String>,
    inputs: Vec<JsonTensor>,
}

#[derive(Serialize)]
struct JsonAnswer {
    model_name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<JsonTensor>,
}

#[derive(Serialize, Deserialize)]
struct JsonTensor {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    data: Vec<f32>,
}

async fn answer_json(Json(request): Json<JsonRequest>) -> Json<JsonAnswer> {
    let rows = rows(request.inputs.first().map(|tensor| tensor.shape.as_slice()));
    let output =
        JsonTensor { name: OUTPUT.to_owned(), datatype: TYPE.to_owned(), shape: vec![rows, 3], data: ANSWER.to_vec() };
    Json(JsonAnswer { model_name: "floor", id: request.id, outputs: vec![output] })
}

fn rows(shape: Option<&[i64]>) -> i64 {
    shape.and_then(|shape| shape.first()).copied().unwrap_or(1)
}

/// Decodes, and answers the same to everything.
struct Decoded;

#[tonic::async_trait]
impl GrpcInferenceService for Decoded {
    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        let request = request.into_inner();
        let output = InferOutputTensor {
            name: OUTPUT.to_owned(),
            datatype: TYPE.to_owned(),
            shape: vec![rows(request.inputs.first().map(|tensor| tensor.shape.as_slice())), 3],
            ..InferOutputTensor::default()
        };
        let raw: Vec<u8> = ANSWER.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(Response::new(ModelInferResponse {
            model_name: request.model_name,
            id: request.id,
            outputs: vec![output],
            raw_output_contents: vec![raw.into()],
            ..ModelInferResponse::default()
        }))
    }

    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: true }))
    }

    async fn model_ready(&self, _: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        Ok(Response::new(ModelReadyResponse { ready: true }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Err(Status::unimplemented("a floor has none"))
    }

    async fn model_metadata(
        &self,
        _: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        Err(Status::unimplemented("a floor has none"))
    }

    type ModelStreamInferStream = tonic::codegen::BoxStream<ModelStreamInferResponse>;

    async fn model_stream_infer(
        &self,
        _: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        Err(Status::unimplemented("a floor has none"))
    }

    async fn model_config(&self, _: Request<ModelConfigRequest>) -> Result<Response<ModelConfigResponse>, Status> {
        Err(Status::unimplemented("a floor has none"))
    }

    async fn model_statistics(
        &self,
        _: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        Err(Status::unimplemented("a floor has none"))
    }

    async fn repository_index(
        &self,
        _: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        Err(Status::unimplemented("a floor has none"))
    }
}
