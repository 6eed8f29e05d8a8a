//! A model served by itself, with no mesh: `slipway serve`.

use crate::{
    ports::free_port,
    program::Program,
    tools::{slipway_binary, workspace},
};
use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The slowest is a debug build that measures a large model on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A worker that is asked directly. It ends when it is dropped.
#[derive(Debug)]
pub struct ServedModel {
    /// The process.
    pub program: Program,
    /// Host and port of HTTP.
    pub http: String,
    /// Host and port of gRPC.
    pub grpc: String,
    /// Host and port of metrics and status.
    pub admin: String,
    /// From the start of the process until it said that it is ready.
    pub ready_after: Duration,
    _folder: TempDir,
}

impl ServedModel {
    /// Starts the program for a model, with these arguments besides, and waits until it is ready. Its folder is that of the workspace,
    /// where it finds ONNX Runtime.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn start(model: &Path, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [http, grpc, admin] = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let mut command = Command::new(slipway_binary());
        command.arg("serve").arg(model).args(arguments);
        command.args(["--http", &http, "--grpc", &grpc, "--admin", &admin]).current_dir(workspace());
        slipway_runtime::tls::install_provider();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build();
        let client = client.expect("a client without settings that can fail");
        let url = format!("http://{http}/v2/health/ready");
        let begun = Instant::now();
        let mut program = Program::start("slipway serve", command, &folder.path().join("log"));
        let ready = || async { client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) };
        program.wait_ready(READY_WITHIN, ready).await;
        Self { program, http, grpc, admin, ready_after: begun.elapsed(), _folder: folder }
    }
}
