//! An API server of a few lines: HTTP/1.1, one request to a connection, canned answers.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

#[derive(Default)]
struct Said {
    /// What is said, by path; with what follows a `?` where that matters.
    answers: BTreeMap<String, (u16, Value)>,
    /// What was asked, by path.
    asked: BTreeMap<String, Vec<Value>>,
}

/// The server; it ends with its value.
pub struct ApiServer {
    said: Arc<Mutex<Said>>,
    folder: tempfile::TempDir,
    address: String,
    serving: JoinHandle<()>,
}

impl ApiServer {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let said = Arc::<Mutex<Said>>::default();
        let shared = Arc::clone(&said);
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(answer(connection, Arc::clone(&shared)));
            }
        });
        Self { said, folder: tempfile::tempdir().unwrap(), address, serving }
    }

    pub fn says(&self, path: &str, code: u16, body: Value) {
        self.said.lock().unwrap().answers.insert(path.to_owned(), (code, body));
    }

    pub fn asked(&self, path: &str) -> Vec<Value> {
        self.said.lock().unwrap().asked.get(path).cloned().unwrap_or_default()
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self, namespace: &str) -> PathBuf {
        let path = self.folder.path().join("kubeconfig");
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "test", "user": {} }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test", "namespace": namespace } }],
        });
        std::fs::write(&path, text.to_string()).unwrap();
        path
    }

    pub fn stop(&self) {
        self.serving.abort();
    }
}

async fn answer(connection: TcpStream, said: Arc<Mutex<Said>>) {
    let mut connection = BufReader::new(connection);
    let (mut target, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if target.is_empty() {
            target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if let Some(bytes) = line.strip_prefix("content-length: ") {
            length = bytes.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.unwrap();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let (code, body) = {
        let mut said = said.lock().unwrap();
        said.asked.entry(path.clone()).or_default().push(serde_json::from_slice(&body).unwrap_or_default());
        let exact = said.answers.iter().find(|(known, _)| known.to_ascii_lowercase() == target);
        let (code, body) =
            exact.map(|(_, answer)| answer).or_else(|| said.answers.get(&path)).cloned().unwrap_or((404, Value::Null));
        (code, if code < 300 { body } else { status(code, &body) })
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {code} Said\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
}

fn status(code: u16, body: &Value) -> Value {
    serde_json::json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": body["message"] })
}
