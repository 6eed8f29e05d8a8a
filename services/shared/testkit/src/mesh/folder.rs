//! A mesh's data folder, and what a user does through it.

use crate::{free_port, tools::slipway_binary};
use rustix::process::{Pid, Signal, kill_process};
use slipway_bus::{Bus, BusConfig, Principal};
use slipway_kernel::{DeploymentId, Span};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tempfile::TempDir;
use tokio::process::Command;

/// How long a command may take: the longest waits for a release.
const COMMAND: Duration = Duration::from_secs(300);

/// The folder of a mesh, and the port its door is on.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    temporary: Option<TempDir>,
    http: u16,
    client: reqwest::Client,
}

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Ran {
    /// The same, when it ended well.
    ///
    /// # Panics
    /// When it did not, with all it said.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.code == Some(0), "exit code {:?}\n{}\n{}", self.code, self.stdout, self.stderr);
        self
    }

    /// The lines it printed, each read as JSON.
    ///
    /// # Panics
    /// When one is not.
    #[must_use]
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let read =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{}", self.stderr));
        self.stdout.lines().filter(|line| !line.trim().is_empty()).map(read).collect()
    }
}

impl DataFolder {
    /// An empty one, for a mesh that runs here or one that `slipway connect` finds elsewhere.
    ///
    /// # Panics
    /// When none can be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("slipway-mesh-").tempdir().expect("a temporary folder");
        let path = folder.path().to_owned();
        Self::make(&path, Some(folder))
    }

    /// A folder that somebody else removes.
    pub(super) fn at(path: &Path) -> Self {
        Self::make(path, None)
    }

    fn make(path: &Path, temporary: Option<TempDir>) -> Self {
        slipway_runtime::tls::install_provider();
        let path = path.canonicalize().expect("the folder is there");
        // What is dropped kills every process that names this path, so it must be nobody else's.
        let own = path.file_name().is_some_and(|name| name.len() > 8) && path.components().count() >= 3;
        assert!(own, "{} is no folder of a test's own", path.display());
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client");
        Self { path, temporary, http: free_port(), client }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn http_port(&self) -> u16 {
        self.http
    }

    /// The door: what was noted of it, or where a mesh that starts here will have it.
    #[must_use]
    pub fn door(&self) -> String {
        self.noted("ingress_url").unwrap_or_else(|| format!("http://127.0.0.1:{}", self.http))
    }

    /// An HTTP client that uses no proxy and has a timeout.
    #[must_use]
    pub const fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Runs `slipway --data FOLDER ARGUMENTS…`.
    ///
    /// # Panics
    /// When the program was not built, or does not end in time.
    pub async fn cli<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.cli_in(Path::new("."), arguments).await
    }

    /// The same, standing in another folder.
    ///
    /// # Panics
    /// As [`cli`](Self::cli).
    pub async fn cli_in<S: AsRef<OsStr>>(&self, folder: &Path, arguments: impl IntoIterator<Item = S>) -> Ran {
        let mut command = Command::new(slipway_binary());
        command.arg("--data").arg(&self.path).args(arguments).current_dir(folder);
        command.stdin(Stdio::null()).kill_on_drop(true).env_remove("SLIPWAY_API_KEY");
        let shown = format!("{command:?}");
        let output = tokio::time::timeout(COMMAND, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{shown} does not end within {COMMAND:?}"));
        let output = output.expect("the program can be started");
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The broker's address, once the mesh is up.
    ///
    /// # Panics
    /// When no mesh has noted it.
    #[must_use]
    pub fn nats_url(&self) -> String {
        self.noted("nats_url").expect("a mesh has noted its broker")
    }

    /// A line of the context, if there is one already.
    fn noted(&self, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.path.join("context.toml")).ok()?;
        let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ").map(str::to_owned));
        found.map(|value| value.trim_matches(['"', '\'']).to_owned())
    }

    /// The file with somebody's key.
    #[must_use]
    pub fn seed_file(&self, principal: Principal) -> PathBuf {
        self.path.join("keys").join(format!("{principal}.nk"))
    }

    /// Connects as somebody.
    ///
    /// # Panics
    /// When the broker does not let it in.
    pub async fn bus(&self, principal: Principal) -> Bus {
        let config = BusConfig {
            url: self.nats_url(),
            nkey_seed_file: Some(self.seed_file(principal)),
            connect_timeout: Span::seconds(20),
            ..BusConfig::default()
        };
        Bus::connect(&config, principal, &crate::frame(principal)).await.expect("the broker lets it in")
    }

    /// The API key that was made for a deployment.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn api_key(&self, id: &DeploymentId) -> String {
        let file = self.path.join("security").join("keys").join(format!("{id}.key"));
        let key = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        key.trim().to_owned()
    }

    /// Ids of the inference workers of this folder that live.
    #[must_use]
    pub fn workers(&self) -> Vec<u32> {
        let run = format!("{}/", self.path.join("run").display());
        // A worker is started with its configuration file, `<data>/run/<instance>.toml`.
        let worker = |command: &str| command.split(' ').any(|word| word.starts_with(&run) && word.ends_with(".toml"));
        self.processes().into_iter().filter(|(_, command)| worker(command)).map(|(pid, _)| pid).collect()
    }

    /// Processes whose command line names a file of this folder, or the folder as an argument; except the caller's own.
    fn processes(&self) -> Vec<(u32, String)> {
        let folder = self.path.to_string_lossy().into_owned();
        let below = format!("{folder}/");
        let ours = move |command: &str| command.split(' ').any(|word| word == folder || word.contains(&below));
        let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let commands = pids.filter(|pid| *pid != std::process::id()).filter_map(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some((pid, String::from_utf8_lossy(&command).replace('\0', " ")))
        });
        commands.filter(|(_, command)| ours(command)).collect()
    }
}

impl Drop for DataFolder {
    #[expect(clippy::print_stderr, reason = "a failed test says where its files are")]
    fn drop(&mut self) {
        // Whatever a crashed mesh left behind: each names this folder, which nobody else uses.
        for (pid, _) in self.processes() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may end by itself meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if std::thread::panicking()
            && let Some(folder) = self.temporary.take()
        {
            eprintln!("--- the mesh's folder is kept: {}", folder.keep().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "no folder of a test's own")]
    fn a_folder_that_others_use_is_refused() {
        let _ = DataFolder::at(Path::new("/tmp"));
    }

    #[tokio::test]
    async fn a_folder_finds_the_processes_that_name_it_and_ends_them() {
        let folder = DataFolder::new();
        let mut child = std::process::Command::new("sh");
        let file = folder.path().join("run").join("digits-1-1-0-0a1b2c3d.toml");
        let mut child = child.args(["-c", "sleep 60; :", "worker", "--config"]).arg(&file).spawn().expect("a shell");
        // Its command line is there a moment after it.
        crate::eventually(Duration::from_secs(10), || async { folder.workers() == [child.id()] }).await;
        drop(folder);
        assert!(!child.wait().expect("it was a child").success());
    }
}
