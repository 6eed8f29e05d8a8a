//! The same door in gRPC, and tensors as bytes in HTTP.

use super::{
    worker::Manner,
    world::{FIRST, INFER, Setting, World},
};
use serde_json::json;
use slipway_oip::grpc::{FAILURE, RETRY_AFTER};
use slipway_proto::{
    inference::{
        ModelInferRequest, ModelMetadataRequest, ModelReadyRequest, ServerLiveRequest, ServerMetadataRequest,
        ServerReadyRequest, grpc_inference_service_client::GrpcInferenceServiceClient,
        model_infer_request::InferInputTensor,
    },
    oip::{Tensor, raw_request, response_tensors},
};
use tonic::{
    Code, Request, Status,
    codec::CompressionEncoding,
    transport::{Channel, Endpoint},
};

type Client = GrpcInferenceServiceClient<Channel>;

async fn client(world: &World) -> Client {
    let endpoint = Endpoint::from_shared(format!("http://{}", world.address)).unwrap();
    GrpcInferenceServiceClient::new(endpoint.connect().await.unwrap())
}

fn message(model: &str) -> ModelInferRequest {
    raw_request(model, "mine", [Tensor::from_f32("x", vec![1, 2], &[0.5, 2.0]).unwrap()])
}

fn with(message: ModelInferRequest, metadata: &[(&'static str, &str)]) -> Request<ModelInferRequest> {
    let mut request = Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn word(status: &Status) -> &str {
    status.metadata().get(FAILURE).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_call_is_answered_by_its_worker_with_all_ids() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let mut client = client(&world).await;
    let metadata = [("slipway-request-id", "r-1"), ("slipway-correlation-id", "c-1"), ("slipway-principal", "admin")];
    let answer = client.model_infer(with(message("digits"), &metadata)).await.unwrap();
    let header = |name| answer.metadata().get(name).unwrap().to_str().unwrap();
    assert_eq!((header("slipway-request-id"), header("slipway-revision")), ("r-1", "1-1"));
    let answer = answer.get_ref();
    assert_eq!(
        (answer.model_name.as_str(), answer.model_version.as_str(), answer.id.as_str()),
        ("digits", "1-1", "mine")
    );
    assert_eq!(response_tensors(answer).unwrap()[0].as_f32().unwrap(), [0.5, 2.0]);
    let seen = worker.last();
    assert_eq!(seen["slipway-request-id"], "r-1");
    assert!(!seen.contains_key("slipway-principal"));
    let captured = world.captured(1).await;
    assert_eq!((captured[0].principal.as_str(), captured[0].correlation_id.as_str()), ("anonymous", "c-1"));
}

#[tokio::test]
async fn a_message_of_more_fields_than_any_request_has_is_refused_before_it_is_decoded() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let mut client = client(&world).await;
    let many = ModelInferRequest { inputs: vec![InferInputTensor::default(); 2_000], ..message("digits") };
    let refused = client.model_infer(many).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("more than 1024 fields"), "{}", refused.message());
    assert!(client.model_infer(message("digits")).await.is_ok());
}

#[tokio::test]
async fn a_model_is_named_as_in_a_path_and_in_other_namespaces_with_a_point() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let mut client = client(&world).await;
    for (name, version) in [("digits", ""), ("digits", "1-1"), ("default.digits", "")] {
        let message = ModelInferRequest { model_version: version.into(), ..message(name) };
        assert!(client.model_infer(message).await.is_ok(), "{name} {version}");
        let named = ModelMetadataRequest { name: name.into(), version: version.into() };
        let metadata = client.model_metadata(named).await.unwrap().into_inner();
        assert_eq!((metadata.name.as_str(), metadata.versions[0].as_str()), ("digits", "1-1"));
        assert_eq!((metadata.inputs[0].datatype.as_str(), &metadata.inputs[0].shape[..]), ("FP32", &[-1, 2][..]));
        let ready = ModelReadyRequest { name: name.into(), version: version.into() };
        assert!(client.model_ready(ready).await.unwrap().into_inner().ready);
    }
    assert!(client.server_live(ServerLiveRequest {}).await.unwrap().into_inner().live);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let server = client.server_metadata(ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(
        (server.name.as_str(), &server.extensions[..]),
        ("slipway", &slipway_oip::documents::EXTENSIONS.map(str::to_owned)[..])
    );
    world.register(&[]);
    let ready = ModelReadyRequest { name: "digits".into(), version: String::new() };
    assert!(!client.model_ready(ready).await.unwrap().into_inner().ready);
}

#[tokio::test]
async fn each_refusal_has_the_word_it_has_in_http() {
    let mut setting = Setting::default();
    setting.history.access = json!({ "apiKeys": true });
    setting.history.release(1, 1);
    let closed = World::open(setting).await;
    let status = client(&closed).await.model_infer(message("digits")).await.unwrap_err();
    assert_eq!((status.code(), word(&status)), (Code::Unauthenticated, "unauthenticated"));

    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let mut client = client(&world).await;
    let mut short = message("digits");
    short.raw_input_contents[0].truncate(4);
    let mut strange = message("digits");
    strange.inputs[0].name = "z".into();
    let old = ModelInferRequest { model_version: "9-9".into(), ..message("digits") };
    for (message, code, expected, says) in [
        (message("cats"), Code::NotFound, "not-found", "there is no deployment `default.cats`"),
        (message("Cats!"), Code::NotFound, "not-found", "Cats!"),
        (old, Code::NotFound, "not-found", "no revision `9-9`"),
        (short, Code::InvalidArgument, "invalid-argument", "raw_input_contents[0]: 4 bytes"),
        (strange, Code::InvalidArgument, "invalid-argument", "inputs[0].name: z"),
    ] {
        let status = client.model_infer(message).await.unwrap_err();
        assert_eq!((status.code(), word(&status)), (code, expected), "{status:?}");
        assert!(status.message().contains(says), "{status:?}");
    }
    worker.set(Manner::Say("overloaded", Code::ResourceExhausted));
    let status = client.model_infer(message("digits")).await.unwrap_err();
    assert_eq!((status.code(), word(&status)), (Code::ResourceExhausted, "overloaded"));
    assert!(status.metadata().contains_key(RETRY_AFTER));
    let late = client.model_infer(with(message("digits"), &[("slipway-timeout-ms", "0")])).await.unwrap_err();
    assert_eq!(late.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_message_larger_than_the_deployment_takes_is_refused_and_one_that_is_compressed_is_read() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let rows = 1 << 20;
    let large = raw_request("digits", "", [Tensor::from_f32("x", vec![rows, 2], &vec![0.5; 2 * rows]).unwrap()]);
    let mut client = client(&world).await;
    let status = client.model_infer(large.clone()).await.unwrap_err();
    assert_eq!(word(&status), "payload-too-large", "{status:?}");
    let mut packing = client.clone().send_compressed(CompressionEncoding::Gzip);
    assert!(packing.model_infer(message("digits")).await.is_ok());
    // It is its size unpacked that counts.
    let status = packing.model_infer(large).await.unwrap_err();
    assert_eq!(word(&status), "payload-too-large", "{status:?}");
}

#[tokio::test]
async fn tensors_may_follow_the_document_as_bytes_in_both_directions() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let document = json!({
        "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": { "binary_data_size": 8 } }],
        "parameters": { "binary_data_output": true }
    })
    .to_string();
    let tensor = [0.5_f32.to_le_bytes(), 2_f32.to_le_bytes()].concat();
    let post = |length: usize, body: Vec<u8>| {
        world.http.post(world.url(INFER)).header("inference-header-content-length", length).body(body).send()
    };
    let answer = post(document.len(), [document.as_bytes(), &tensor].concat()).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()),
        (200, "application/octet-stream")
    );
    let length: usize = answer.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let body = answer.bytes().await.unwrap();
    assert_eq!(body[length..], tensor);
    let document: serde_json::Value = serde_json::from_slice(&body[..length]).unwrap();
    assert_eq!(document["outputs"][0]["parameters"], json!({ "binary_data_size": 8 }));
    // The model's only input, and nothing else.
    let raw = post(0, tensor.clone()).await.unwrap();
    assert_eq!(raw.status().as_u16(), 200);
    assert!(raw.bytes().await.unwrap().ends_with(&tensor));
    for (length, body) in [(9, tensor.clone()), (0, Vec::new()), (0, vec![0; 7])] {
        assert_eq!(post(length, body.clone()).await.unwrap().status().as_u16(), 400, "{length} {body:?}");
    }
}

#[tokio::test]
async fn a_packed_body_is_read_and_what_it_unpacks_to_is_held_to_the_same_limit() {
    let world = World::released().await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    let post = |body: Vec<u8>| {
        let request = world.http.post(world.url(INFER)).header("content-type", "application/json");
        world.send(request.header("content-encoding", "gzip").body(body))
    };
    let answer = post(gzip(super::world::body().to_string().as_bytes())).await;
    assert_eq!((answer.status, &answer.body["outputs"][0]["data"]), (200, &json!([0.5, 2.0])), "{answer:?}");
    // 64 MiB of blanks are 64 KiB packed, more than is unpacked on the async threads.
    let answer = post(gzip(&vec![b' '; 64 << 20])).await;
    assert_eq!((answer.status, answer.code()), (413, "payload-too-large"));
    let answer = post(b"plain".to_vec()).await;
    assert_eq!((answer.status, answer.code()), (400, "invalid-argument"));
}

fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}
