//! Who is asked, and what.

use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use slipway_loadtest::{Request, Target};
use slipway_testkit::{Mesh, ServedModel, workspace};
use std::{fs, path::PathBuf};

/// Rows of a request.
const ROWS: usize = 64;

/// A server with the wide digits model. It ends when it is dropped.
pub struct Server {
    pub what: &'static str,
    pub target: Target,
    key: String,
    _runs: Runs,
}

#[expect(dead_code, reason = "held for as long as it is asked")]
enum Runs {
    Worker(ServedModel),
    Mesh(Mesh),
}

fn example(file: &str) -> PathBuf {
    workspace().join("infra/examples").join(file)
}

impl Server {
    /// A worker with no mesh.
    pub async fn worker() -> Self {
        let worker = ServedModel::start(&example("digits-wide.onnx"), &["--name", "digits", "--max-batch", "8"]).await;
        let target = format!("http://{}", worker.http).parse().unwrap();
        Self { what: "worker", target, key: String::new(), _runs: Runs::Worker(worker) }
    }

    /// The door of a mesh with one worker.
    pub async fn door() -> Self {
        let mesh = Mesh::start().await;
        let folder = mesh.folder();
        let document = json!({
            "apiVersion": "slipway.dev/v1",
            "kind": "ModelDeployment",
            "metadata": { "name": "digits" },
            "spec": {
                "model": { "uri": format!("file://{}", example("digits-wide.onnx").display()) },
                "slo": { "availability": 90.0 },
                "scale": { "min": 1, "max": 1 },
                "validation": { "load": { "rate": "20/s", "duration": "500ms", "repeats": 1 }, "faults": [] },
                "rollout": { "steps": [100], "hold": "0s", "watch": "0s" },
            },
        });
        let file = folder.path().join("document.json");
        fs::write(&file, document.to_string()).unwrap();
        let _ = folder.cli(["deploy", "-f", file.to_str().unwrap()]).await.ok();
        let key = folder.api_key(&"default.digits".parse().unwrap());
        Self { what: "door", target: folder.door().parse().unwrap(), key, _runs: Runs::Mesh(mesh) }
    }

    /// Many rows as bytes: work for the engine, and little for whoever reads it.
    pub fn request(&self, deadline_ms: u64) -> Request {
        let golden = fs::read_to_string(example("digits-wide.golden.jsonl")).unwrap();
        let rows = golden.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).cycle().take(ROWS);
        let mut bytes = Vec::new();
        for row in rows {
            for value in row["inputs"]["X"].as_array().unwrap() {
                #[expect(clippy::cast_possible_truncation, reason = "pixels are 0 to 16")]
                bytes.extend((value.as_f64().unwrap() as f32).to_le_bytes());
            }
        }
        let input = json!({
            "name": "X", "datatype": "FP32", "shape": [ROWS, 64], "parameters": { "binary_data_size": bytes.len() },
        });
        let document = json!({ "inputs": [input], "parameters": { "binary_data_output": true } }).to_string();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {}", self.key).parse().unwrap());
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("inference-header-content-length", HeaderValue::from(document.len()));
        headers.insert("slipway-timeout-ms", HeaderValue::from(deadline_ms));
        let path = "/v2/models/digits/infer".parse().unwrap();
        Request { method: Method::POST, path, headers, body: [document.into_bytes(), bytes].concat().into() }
    }
}
