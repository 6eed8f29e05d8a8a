//! A table of requests that no model can answer, each sent to the door and to a worker that is asked directly, over HTTP/1.1 and
//! HTTP/2, and as messages of gRPC. Each is refused by status and word, and the refusal names the field and what stood there.

mod grpc;
mod http;

use crate::{alone, client::Caller, documents::Document};
use serde_json::json;
use slipway_testkit::{DataFolder, Mesh, ServedModel, workspace};
use std::path::PathBuf;

/// A model with inputs of three kinds: `colour` BYTES, `size` INT64, `weight` FP32, each `[-1, 1]`.
fn model() -> PathBuf {
    workspace().join("services/inference-worker/tests/data/ml/columns-one-hot-logistic.onnx")
}

/// The largest body that both servers take.
const MAX_BODY: usize = 1 << 20;

/// Who is asked.
struct Server {
    what: &'static str,
    address: String,
    key: String,
}

/// Deploys the model, and names the door and the worker.
async fn servers(folder: &DataFolder, worker: &ServedModel) -> [Server; 2] {
    let mut document = Document::digits("columns", "digits-v1")
        .with("spec.model.uri", json!(format!("file://{}", model().display())))
        .with("spec.inputs", json!([{ "http": { "maxBody": "1Mi" } }]));
    document.0["spec"]["validation"].as_object_mut().unwrap().remove("golden");
    document.deploy(folder).await.ok();
    let caller = Caller::of(folder, "columns");
    let door = Server { what: "door", address: caller.door.trim_start_matches("http://").to_owned(), key: caller.key };
    [door, Server { what: "worker", address: worker.http.clone(), key: String::new() }]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_request_is_refused_by_the_field_and_value_on_every_way_in() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let mut worker = ServedModel::start(&model(), &["--name", "columns", "--max-body", "1Mi"]).await;
    let servers = servers(mesh.folder(), &worker).await;
    let mut wrong = Vec::new();
    for server in &servers {
        wrong.extend(http::check(server).await);
        wrong.extend(grpc::check(server).await);
    }
    assert!(worker.program.is_running(), "{}", worker.program.last_words());
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}
