//! The whole mesh, as a user starts it: the `slipway` program in a folder of its own on free ports.

mod folder;
mod parts;

pub use folder::{DataFolder, Ran};
pub use parts::{MeshParts, Part};

use crate::{Program, free_port, tools::slipway_binary};
use slipway_kernel::Service;
use std::{path::Path, process::Command, time::Duration};

/// How long a mesh may take to be ready: on two busy cores a debug build needs some seconds.
pub(crate) const READY: Duration = Duration::from_secs(90);

/// What a mesh is started with.
#[derive(Clone, Debug, Default)]
pub struct MeshOptions {
    /// Where traces go.
    pub otlp: Option<String>,
    /// Settings, as `--set` takes them.
    pub set: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// What is logged; `info` if empty.
    pub log: String,
}

impl MeshOptions {
    fn apply(&self, command: &mut Command) {
        let log = if self.log.is_empty() { "info" } else { &self.log };
        command.args(["--log", log]);
        if let Some(otlp) = &self.otlp {
            command.args(["--otlp", otlp]);
        }
        for setting in &self.set {
            command.args(["--set", setting]);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
    }
}

/// `slipway up` with everything in it. Ends, workers included, when it is dropped.
#[derive(Debug)]
pub struct Mesh {
    // Before the folder: it ends before its files go.
    program: Program,
    folder: DataFolder,
    options: MeshOptions,
    admin: u16,
}

impl Mesh {
    /// Starts a mesh and waits until it is ready.
    ///
    /// # Panics
    /// When the program was not built, or is not ready in time.
    pub async fn start() -> Self {
        Self::start_with(MeshOptions::default()).await
    }

    /// Starts a mesh with these settings.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with(options: MeshOptions) -> Self {
        let folder = DataFolder::new();
        let admin = free_port();
        let program = launch(&folder, &options, admin);
        let mut mesh = Self { program, folder, options, admin };
        mesh.wait_ready().await;
        mesh
    }

    async fn wait_ready(&mut self) {
        let (admin, client) = (self.admin, self.folder.client().clone());
        let (services, noted) = (MeshParts::services(), format!("pid = {}\n", self.program.pid()));
        let context = self.folder.path().join("context.toml");
        let known = || std::fs::read_to_string(&context).is_ok_and(|text| text.contains(&noted));
        let ready = || async { known() && is_ready(&client, admin, &services).await };
        self.program.wait_ready(READY, ready).await;
    }

    /// What a user does with it: commands, requests, keys.
    #[must_use]
    pub const fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Where `/metrics`, `/status` and the like are.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin)
    }

    /// Address of the admin endpoints, as a scrape target.
    #[must_use]
    pub fn admin_address(&self) -> String {
        format!("127.0.0.1:{}", self.admin)
    }

    /// The program.
    pub const fn program(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Ends it as a power cut would. Its broker lives on until [`start_again`](Self::start_again) replaces it.
    pub async fn kill9(&mut self) {
        self.program.kill9().await;
    }

    /// Ends it as an operator would.
    pub async fn stop(&mut self) -> std::process::ExitStatus {
        self.program.stop().await
    }

    /// Starts it again in the same folder, at the same addresses.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn start_again(&mut self) {
        self.program = launch(&self.folder, &self.options, self.admin);
        self.wait_ready().await;
    }
}

fn launch(folder: &DataFolder, options: &MeshOptions, admin: u16) -> Program {
    let mut command = Command::new(slipway_binary());
    command.arg("--data").arg(folder.path()).args(["up", "--nats-port", "0"]);
    command.args(["--http", &format!("127.0.0.1:{}", folder.http_port()), "--admin", &format!("127.0.0.1:{admin}")]);
    options.apply(&mut command);
    clean_environment(&mut command, folder.path());
    Program::start("slipway up", command, &folder.path().join("up.log"))
}

/// No setting of the caller's shell reaches the mesh, and the mesh stands in its own folder.
fn clean_environment(command: &mut Command, folder: &Path) {
    let ours = |name: &str| name.starts_with("SLIPWAY_") && name != "SLIPWAY_NATS_SERVER";
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| ours(name) || name.starts_with("OTEL_")) {
            command.env_remove(name);
        }
    }
    command.env("SLIPWAY_NATS_SERVER", crate::nats_binary()).current_dir(folder);
}

/// Whether these services are there and ready. The admin endpoints answer before the services have begun.
async fn is_ready(client: &reqwest::Client, admin: u16, services: &[Service]) -> bool {
    let Ok(answer) = client.get(format!("http://127.0.0.1:{admin}/status")).send().await else { return false };
    let Ok(text) = answer.text().await else { return false };
    let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let ready = |service: &Service| status["services"][service.name()]["ready"] == true;
    status["ready"] == true && services.iter().all(ready)
}
