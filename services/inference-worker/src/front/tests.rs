//! The front as a client meets it, short of the socket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::{Method, Request, Response};
use serde_json::{Value, json};
use slipway_oip::binary::HEADER;
use slipway_runtime::{CancellationToken, Clock};
use tower::{Service as _, ServiceExt as _};

use super::{Front, FrontLimits};
use crate::inference::{Inference, Phase, fixtures};

const INFER: &str = "/v2/models/digits/infer";

fn front() -> (Front, Arc<Inference>) {
    let inference = Arc::new(fixtures::serving(Clock::system()).with_version("1"));
    let limits = FrontLimits { body: 1 << 20, timeout: Duration::from_secs(5) };
    (Front::new(Arc::clone(&inference), limits, CancellationToken::new()), inference)
}

async fn send(front: &Front, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body)).unwrap();
    front.clone().ready().await.unwrap().call(request).await.unwrap()
}

async fn document(response: Response<Body>) -> Value {
    serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap_or_default()
}

async fn post(front: &Front, body: &Value) -> (u16, Value) {
    let response = send(front, Method::POST, INFER, &[], body.to_string().into_bytes()).await;
    (response.status().as_u16(), document(response).await)
}

fn request(rows: usize) -> Value {
    let data: Vec<f32> = (0..rows * 4).map(|i| (i % 5) as f32).collect();
    json!({ "id": "mine", "inputs": [{ "name": "X", "datatype": "FP32", "shape": [rows, 4], "data": data }] })
}

#[tokio::test]
async fn a_request_is_answered_with_the_names_and_version_of_the_model() {
    let (front, _) = front();
    let (status, answer) = post(&front, &request(2)).await;
    assert_eq!((status, &answer["model_name"], &answer["model_version"]), (200, &json!("digits"), &json!("1")));
    assert_eq!((&answer["id"], &answer["outputs"][0]["shape"]), (&json!("mine"), &json!([2])));
    assert_eq!(answer["outputs"][1]["shape"], json!([2, 3]));
    for path in ["/v2/models/digits/versions/1/infer", "/v2/models/digits/infer/"] {
        let body = request(1).to_string().into_bytes();
        assert_eq!(send(&front, Method::POST, path, &[], body).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn what_the_server_and_the_model_are_is_told_and_whether_they_answer() {
    let (front, inference) = front();
    let get = async |path: &str| send(&front, Method::GET, path, &[], Vec::new()).await;
    assert_eq!(document(get("/v2").await).await["extensions"], json!(slipway_oip::documents::EXTENSIONS));
    let model = document(get("/v2/models/digits").await).await;
    assert_eq!((&model["versions"], &model["inputs"][0]["shape"]), (&json!(["1"]), &json!([-1, 4])));
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/digits/ready"] {
        assert_eq!(get(path).await.status(), 200, "{path}");
    }
    inference.enter(Phase::Draining);
    assert_eq!(get("/v2/health/live").await.status(), 200);
    for path in ["/v2/health/ready", "/v2/models/digits/ready"] {
        assert_eq!(get(path).await.status(), 503, "{path}");
    }
    let (status, refusal) = post(&front, &request(1)).await;
    assert_eq!((status, &refusal["code"]), (503, &json!("unavailable")));
}

#[tokio::test]
async fn tensors_as_bytes_are_the_same_request() {
    let (front, _) = front();
    let (_, expected) = post(&front, &request(1)).await;
    let tensor: Vec<u8> = (0..4).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let mut document = request(1);
    document["inputs"][0]["data"].take();
    document["inputs"][0].as_object_mut().unwrap().remove("data");
    document["inputs"][0]["parameters"] = json!({ "binary_data_size": tensor.len() });
    document["outputs"] = json!([{ "name": "probabilities", "parameters": { "binary_data": true } }]);
    let document = document.to_string().into_bytes();
    let length = document.len().to_string();
    let body = [document, tensor.clone()].concat();
    let response = send(&front, Method::POST, INFER, &[(HEADER, &length)], body).await;
    assert_eq!(response.status(), 200);
    let length: usize = response.headers()[HEADER].to_str().unwrap().parse().unwrap();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let probabilities: Vec<f64> =
        body[length..].as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect();
    let expected: Vec<f64> = serde_json::from_value(expected["outputs"][1]["data"].clone()).unwrap();
    assert!(probabilities.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{probabilities:?} {expected:?}");
    // All of the body is the only input.
    assert_eq!(send(&front, Method::POST, INFER, &[(HEADER, "0")], tensor).await.status(), 200);
}

#[tokio::test]
async fn each_refusal_has_its_status_its_word_and_names_what_was_wrong() {
    let (front, _) = front();
    let mut wide = request(1);
    wide["inputs"][0]["shape"] = json!([1, 5]);
    let (status, refusal) = post(&front, &wide).await;
    assert_eq!((status, &refusal["code"]), (400, &json!("invalid-argument")));
    assert_eq!(refusal["refusals"][0]["path"], "inputs[0].shape");
    assert!(refusal["error"].as_str().unwrap().contains("inputs[0].shape: [1, 5]"), "{refusal}");
    let body = || request(1).to_string().into_bytes();
    for (method, path, headers, body, status, code) in [
        (Method::POST, "/v2/models/cats/infer", &[][..], body(), 404, "not-found"),
        (Method::POST, "/v2/models/digits/versions/7/infer", &[], body(), 404, "not-found"),
        (Method::POST, "/v3", &[], body(), 404, "not-found"),
        (Method::GET, INFER, &[], Vec::new(), 405, "method-not-allowed"),
        (Method::DELETE, "/v2", &[], Vec::new(), 405, "method-not-allowed"),
        (Method::POST, INFER, &[], Vec::new(), 400, "invalid-argument"),
        (Method::POST, INFER, &[], vec![b' '; (1 << 20) + 1], 413, "payload-too-large"),
        (Method::POST, INFER, &[("content-length", "5000000")], body(), 413, "payload-too-large"),
        (Method::POST, INFER, &[(HEADER, "9999")], body(), 400, "invalid-argument"),
        (Method::POST, INFER, &[("content-encoding", "br")], body(), 400, "invalid-argument"),
        (Method::POST, INFER, &[("content-encoding", "gzip")], body(), 400, "invalid-argument"),
        (Method::POST, INFER, &[("slipway-timeout-ms", "0")], body(), 400, "invalid-argument"),
        (Method::POST, INFER, &[("slipway-timeout-ms", "300001")], body(), 400, "invalid-argument"),
    ] {
        let response = send(&front, method.clone(), path, headers, body).await;
        assert_eq!(response.status().as_u16(), status, "{method} {path} {headers:?}");
        assert_eq!(document(response).await["code"], code, "{method} {path} {headers:?}");
    }
}

#[tokio::test]
async fn a_document_that_is_read_aside_is_the_same_request() {
    let (front, _) = front();
    let (_, expected) = post(&front, &request(2)).await;
    // Blanks between the elements make it long without making it many rows.
    let long = request(2).to_string().replace(',', &format!(",{}", " ".repeat(40_000)));
    assert!(long.len() > super::INLINE_BYTES);
    let response = send(&front, Method::POST, INFER, &[], long.into_bytes()).await;
    assert_eq!((response.status().as_u16(), document(response).await), (200, expected));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up_at_the_deadline() {
    let (front, _) = front();
    let never = futures::stream::pending::<Result<bytes::Bytes, std::convert::Infallible>>();
    let request = Request::post(INFER).header("slipway-timeout-ms", "20").body(Body::from_stream(never)).unwrap();
    let response = front.clone().ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(response.status(), 408);
    assert_eq!(document(response).await["code"], "body-too-slow");
}

#[tokio::test]
async fn what_is_served_how_and_what_it_has_done_is_told_as_the_public_client_asks() {
    let (front, _) = front();
    post(&front, &request(2)).await;
    let get = async |path: &str| document(send(&front, Method::GET, path, &[], Vec::new()).await).await;
    let index = async |body: &str| send(&front, Method::POST, "/v2/repository/index", &[], body.into()).await;
    let served = json!([{ "name": "digits", "version": "1", "state": "READY" }]);
    assert_eq!(document(index("").await).await, served);
    assert_eq!(document(index(r#"{"ready":true}"#).await).await, served);
    assert_eq!(index("nonsense").await.status(), 400);
    for path in ["/v2/models/digits/stats", "/v2/models/digits/versions/1/stats", "/v2/models/stats"] {
        let stats = get(path).await;
        let own = &stats["model_stats"][0];
        assert_eq!((&own["name"], &own["inference_count"]), (&json!("digits"), &json!(2)), "{path}");
        assert_eq!(own["inference_stats"]["success"]["count"], json!(1), "{path}");
        assert_eq!(own["batch_stats"][0]["batch_size"], json!(2), "{path}");
    }
    assert_eq!(get("/v2/models/digits/config").await["max_batch_size"], json!(8));
    for path in ["/v2/models/cats/stats", "/v2/models/digits/versions/9/config"] {
        assert_eq!(get(path).await["code"], json!("not-found"), "{path}");
    }
    assert_eq!(send(&front, Method::POST, "/v2/models/digits/stats", &[], Vec::new()).await.status(), 405);
}

#[tokio::test]
async fn an_answer_is_an_event_where_that_is_wanted_and_a_refusal_is_none() {
    let (front, _) = front();
    let wanted = [("accept", "text/event-stream")];
    let body = request(1).to_string().into_bytes();
    let answer = send(&front, Method::POST, INFER, &wanted, body).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let text = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let document = text.strip_prefix(b"data: ").and_then(|rest| rest.strip_suffix(b"\n\n")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(document).unwrap()["id"], json!("mine"));
    let refused = send(&front, Method::POST, INFER, &wanted, b"{}".to_vec()).await;
    assert_eq!(refused.status(), 400);
    assert_eq!(refused.headers()["content-type"], "application/json");
}
