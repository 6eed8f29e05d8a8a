//! The nats-server of `slipway up`: found, started in the data folder, watched, stopped.

use crate::failure::Failure;
use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

/// The oldest server whose write-once streams and per-key expiry behave as the log needs.
const OLDEST: (u32, u32) = (2, 12);
/// A server with a large store reads it before it answers; a minute per ten million messages.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the server may take to write what it holds. It is killed after that; the log is synced on every write.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A running nats-server.
#[derive(Debug)]
pub(super) struct NatsServer {
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    pid_file: PathBuf,
    port: u16,
    child: Child,
}

impl NatsServer {
    /// Finds a binary that is recent enough: `SLIPWAY_NATS_SERVER`, beside this program, `.tools/bin`, then `PATH`.
    pub(super) async fn find() -> Result<PathBuf, Failure> {
        let mut tried = Vec::new();
        for candidate in candidates() {
            if !candidate.is_file() {
                continue;
            }
            match version(&candidate).await {
                Some(found) if found >= OLDEST => return Ok(candidate),
                Some((major, minor)) => tried.push(format!("{} is {major}.{minor}", candidate.display())),
                None => tried.push(format!("{} does not tell its version", candidate.display())),
            }
        }
        let found = if tried.is_empty() { "none was found".to_owned() } else { tried.join("; ") };
        Err(Failure::local(format!("a nats-server of version {}.{} or newer is needed: {found}", OLDEST.0, OLDEST.1))
            .hint("`make tools` installs one into .tools/bin; or set SLIPWAY_NATS_SERVER to its path"))
    }

    /// Starts the server with `config` and waits until it accepts connections.
    pub(super) async fn start(binary: PathBuf, config: PathBuf, port: u16, data: &Path) -> Result<Self, Failure> {
        let (log, pid_file) = (data.join("run").join("nats-server.log"), pid_file(data));
        stop_leftover(&pid_file, &config).await;
        let child = spawn(&binary, &config, &log)?;
        let mut server = Self { binary, config, log, pid_file, port, child };
        server.note_pid();
        server.wait_ready().await?;
        Ok(server)
    }

    fn note_pid(&self) {
        if let Some(pid) = self.child.id() {
            // Only a help for the next start after a crash of this process.
            let _ = fs::write(&self.pid_file, pid.to_string());
        }
    }

    async fn wait_ready(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::local(format!("nats-server ended with {status}: {}", self.last_words()))
                    .hint(format!("its log: {}", self.log.display())));
            }
            if Instant::now() > deadline {
                return Err(Failure::local("nats-server does not accept connections")
                    .hint(format!("its log: {}", self.log.display())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().rev().find(|line| line.contains("[FTL]") || line.contains("[ERR]")).unwrap_or("").to_owned()
    }

    /// Starts it again whenever it ends by itself. Never returns.
    pub(super) async fn keep(&mut self) -> ! {
        let mut pause = Duration::from_millis(200);
        loop {
            let status = self.child.wait().await;
            tracing::error!(?status, "nats-server ended; it is started again");
            loop {
                tokio::time::sleep(pause).await;
                match spawn(&self.binary, &self.config, &self.log) {
                    Ok(child) => {
                        self.child = child;
                        self.note_pid();
                        break;
                    }
                    Err(failure) => tracing::error!(%failure, "nats-server cannot be started"),
                }
                pause = (pause * 2).min(Duration::from_secs(10));
            }
        }
    }

    /// Ends the server.
    pub(super) async fn stop(mut self) {
        if let Some(pid) = self.child.id() {
            terminate(pid);
        }
        if tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        let _ = fs::remove_file(&self.pid_file);
    }
}

fn candidates() -> Vec<PathBuf> {
    let named = std::env::var_os("SLIPWAY_NATS_SERVER").map(PathBuf::from);
    if let Some(named) = named {
        return vec![named];
    }
    let mut all = Vec::new();
    if let Some(folder) = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf)) {
        all.push(folder.join("nats-server"));
        // A program built in the project finds the project's tools.
        all.extend(folder.ancestors().map(|up| up.join(".tools/bin/nats-server")));
    }
    all.push(PathBuf::from(".tools/bin/nats-server"));
    if let Some(path) = std::env::var_os("PATH") {
        all.extend(std::env::split_paths(&path).map(|folder| folder.join("nats-server")));
    }
    all
}

async fn version(binary: &Path) -> Option<(u32, u32)> {
    let asked = Command::new(binary).arg("--version").stdin(Stdio::null()).output();
    let output = tokio::time::timeout(Duration::from_secs(5), asked).await.ok()?.ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// `nats-server: v2.15.1`
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let numbers = text.trim().rsplit('v').next()?;
    let mut parts = numbers.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn spawn(binary: &Path, config: &Path, log: &Path) -> Result<Child, Failure> {
    let open = || fs::OpenOptions::new().create(true).append(true).open(log);
    let (out, err) = open()
        .and_then(|out| Ok((out, open()?)))
        .map_err(|error| Failure::local(format!("{}: {error}", log.display())))?;
    Command::new(binary)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        // Ctrl-C in the terminal is for `slipway up`, which drains before it stops the broker.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::local(format!("{} cannot be started: {error}", binary.display())))
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("run").join("nats-server.pid")
}

/// The server that was noted, if it runs and really is the one of this configuration.
fn noted(pid_file: &Path, config: &Path) -> Option<u32> {
    let pid = fs::read_to_string(pid_file).ok()?.trim().parse::<u32>().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains(&*config.to_string_lossy()).then_some(pid)
}

/// The server that runs in a data folder.
pub(super) fn running(data: &Path) -> Option<u32> {
    noted(&pid_file(data), &data.join("nats.conf"))
}

/// Has a server read its configuration again; whether it could be told. Who is connected stays so.
pub(super) fn reload(pid: u32) -> bool {
    signal(pid, rustix::process::Signal::HUP)
}

/// After a crash of `slipway up` its server may still run and hold the store. It is stopped, by pid, if it really is it.
async fn stop_leftover(pid_file: &Path, config: &Path) {
    let Some(pid) = noted(pid_file, config) else { return };
    tracing::warn!(pid, "the nats-server of an earlier run is still there; it is stopped");
    terminate(pid);
    let deadline = Instant::now() + STOP_TIMEOUT;
    while Path::new(&format!("/proc/{pid}")).exists() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn terminate(pid: u32) {
    // It may have ended in the meantime.
    let _ = signal(pid, rustix::process::Signal::TERM);
}

fn signal(pid: u32, signal: rustix::process::Signal) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok())
}

/// `wanted` if it is free, else one that is.
pub(super) fn free_port(wanted: u16) -> Result<u16, Failure> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|listener| listener.local_addr());
    let address = bind(wanted).or_else(|_| bind(0));
    address.map(|address| address.port()).map_err(|error| Failure::local(format!("no port is free: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_the_server_says() {
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(parse_version("nonsense"), None);
    }
}
