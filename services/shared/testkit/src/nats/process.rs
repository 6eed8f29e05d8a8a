//! One nats-server process.

use crate::{eventually, free_port};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
};

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(20);

/// The broker's program: `SLIPWAY_NATS_SERVER`, else `.tools/bin/nats-server` of the workspace, else the `PATH`.
#[must_use]
pub fn nats_binary() -> PathBuf {
    if let Some(path) = std::env::var_os("SLIPWAY_NATS_SERVER") {
        return path.into();
    }
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("three folders up is the workspace");
    let own = workspace.join(".tools/bin/nats-server");
    if own.is_file() { own } else { PathBuf::from("nats-server") }
}

#[derive(Debug)]
pub(super) struct Process {
    child: Option<Child>,
    config: PathBuf,
    log: PathBuf,
    monitor: u16,
}

impl Process {
    /// Writes the configuration and starts; `None` if it ended at once, for example because a port is taken.
    pub(super) async fn start(dir: &Path, name: &str, config: &str, monitor: Option<u16>) -> Option<Self> {
        let path = dir.join(format!("{name}.conf"));
        fs::write(&path, config).expect("the configuration is written");
        let mut process = Self {
            child: None,
            config: path,
            log: dir.join(format!("{name}.log")),
            monitor: monitor.unwrap_or_else(free_port),
        };
        process.launch();
        process.wait().await.ok().map(|()| process)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    fn launch(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let child = Command::new(nats_binary())
            .arg("-c")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        self.child = Some(child.expect("nats-server is found: see SLIPWAY_NATS_SERVER"));
    }

    /// Waits until it is healthy, or has ended.
    async fn wait(&mut self) -> Result<(), ()> {
        let (monitor, child) = (self.monitor, &mut self.child);
        let ended = async {
            match child {
                Some(child) => drop(child.wait().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = eventually(START, || healthy(monitor)) => Ok(()),
            () = ended => Err(()),
        }
    }

    pub(super) async fn start_again(&mut self) {
        // The system may need a moment to give the port back.
        for _ in 0..50 {
            self.launch();
            if self.wait().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the broker does not start again; see {}", self.log.display());
    }

    pub(super) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.ended().await;
    }

    pub(super) async fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            kill_process(pid, signal).expect("its own child can be signalled");
        }
    }

    async fn ended(&mut self) {
        if let Some(mut child) = self.child.take() {
            let ended = tokio::time::timeout(STOP, child.wait()).await;
            ended.expect("the broker ends in time").expect("the broker can be waited for");
        }
    }
}

async fn healthy(monitor: u16) -> Result<(), io::Error> {
    let mut stream = TcpStream::connect(("127.0.0.1", monitor)).await?;
    stream.write_all(b"GET /healthz?js-server-only=true HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let first = answer.lines().next().unwrap_or_default();
    if first.contains(" 200 ") { Ok(()) } else { Err(io::Error::other(first.to_owned())) }
}
