//! One process with one service, or with many (`slipway up`).

use crate::{
    admin::{self, Board},
    clock::Clock,
    config::Common,
    drain,
    frame::Frame,
    metrics::{Exposition, Metrics, ProcessMetrics},
    tasks::Supervisor,
    telemetry::{Telemetry, TelemetryError},
};
use rustix::process::{Resource, Rlimit};
use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The last traces get this long at the end. A collector that does not answer by then will not.
const FLUSH: Duration = Duration::from_secs(2);

/// What a process is started with.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// The name it goes by in logs and on `/status`: the service's, or `up`.
    pub name: &'static str,
    /// Admin endpoints, telemetry, data folder, drain.
    pub common: Common,
}

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Logs or traces could not be set up.
    #[error("cannot set up telemetry")]
    Telemetry(#[from] TelemetryError),
    /// The admin address could not be taken.
    #[error("cannot listen on {address} for the admin endpoints")]
    Admin {
        /// The address of the configuration.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] std::io::Error),
}

/// A running process: admin endpoints and telemetry are up, services are given their [`Frame`]s.
#[derive(Debug)]
pub struct Process {
    board: Board,
    common: Common,
    supervisor: Supervisor,
    telemetry: Telemetry,
    admin: Option<(SocketAddr, tokio::task::JoinHandle<()>)>,
    admin_end: CancellationToken,
    signals: [Signal; 2],
}

/// Takes as many open files as this process may have: connections are files, and the usual 1,024 are meant for programs that use
/// `select`.
fn raise_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        warn!(%error, current = limit.current, maximum = limit.maximum, "the limit of open files stays as it is");
    }
}

impl Process {
    /// Sets up telemetry (once per operating system process: a second start keeps the first's), the admin endpoints, and
    /// the answer to SIGTERM and SIGINT.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn start(config: ProcessConfig) -> Result<Self, ProcessError> {
        let ProcessConfig { name, common } = config;
        crate::tls::install_provider();
        let telemetry = Telemetry::install(&common.telemetry, name)?;
        raise_files();
        let signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        let [terminate, interrupt] = signals;
        let signals = [terminate.map_err(ProcessError::Signals)?, interrupt.map_err(ProcessError::Signals)?];
        let supervisor = Supervisor::new();
        let exposition = Exposition::default();
        let machine = Metrics::bare();
        machine.with(|registry| {
            registry.register_collector(Box::new(ProcessMetrics::new()));
            telemetry.register(registry);
        });
        exposition.add(&machine);
        let board = Board {
            process: name,
            started: Instant::now(),
            shutdown: supervisor.shutdown.clone(),
            frames: Arc::default(),
            exposition,
        };
        let admin_end = CancellationToken::new();
        let admin = match common.admin.listen {
            None => None,
            Some(address) => {
                let (listener, address) =
                    drain::bind(address).await.map_err(|source| ProcessError::Admin { address, source })?;
                let serving = admin::serve(listener, board.clone(), admin_end.clone());
                let server = tokio::spawn(async move {
                    if let Err(error) = serving.await {
                        warn!(%error, "admin endpoints");
                    }
                });
                info!(%address, process = name, version = crate::VERSION, "admin endpoints are up");
                Some((address, server))
            }
        };
        Ok(Self { board, common, supervisor, telemetry, admin, admin_end, signals })
    }

    /// The frame of a service in this process. Asking again for the same service gives the same frame.
    #[must_use]
    pub fn frame(&self, service: &'static str) -> Frame {
        let mut frames = self.board.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = frames.iter().find(|frame| frame.service == service) {
            return frame.clone();
        }
        let mut frame = Frame::new(service, Clock::system(), self.common.data_dir.clone(), &self.supervisor);
        frame.admin = self.admin_address();
        self.board.exposition.add(&frame.metrics);
        frames.push(frame.clone());
        frame
    }

    /// Where the admin endpoints listen.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(address, _)| *address)
    }

    /// Begins the shutdown.
    pub fn shutdown(&self) {
        self.supervisor.shutdown.cancel();
    }

    /// The token that the shutdown cancels.
    #[must_use]
    pub fn shutdown_token(&self) -> CancellationToken {
        self.supervisor.shutdown.clone()
    }

    /// Waits for the shutdown to begin: by SIGTERM, SIGINT, [`Self::shutdown`] or a failed task.
    pub async fn until_shutdown(&mut self) {
        let [terminate, interrupt] = &mut self.signals;
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = self.supervisor.shutdown.cancelled() => return,
        };
        info!(signal, "shutting down");
        self.supervisor.shutdown.cancel();
    }

    /// Shuts down in order: tasks get the time of `common.drain`, then the admin endpoints end, then the last traces go
    /// out. A further signal meanwhile drops what still runs at once.
    ///
    /// # Errors
    /// The first failure of a task, or else that tasks had to be dropped.
    pub async fn drain(mut self) -> anyhow::Result<()> {
        self.supervisor.shutdown.cancel();
        let [terminate, interrupt] = &mut self.signals;
        let drained = tokio::select! {
            drained = self.supervisor.drain(self.common.drain.0) => drained,
            _ = terminate.recv() => self.supervisor.drain(Duration::ZERO).await,
            _ = interrupt.recv() => self.supervisor.drain(Duration::ZERO).await,
        };
        self.admin_end.cancel();
        if let Some((_, server)) = self.admin.take() {
            // The server bounds its own drain.
            let _ = server.await;
        }
        self.telemetry.flush(FLUSH).await;
        match self.supervisor.take_failure() {
            Some(failure) => Err(failure),
            None => Ok(drained?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::Span;

    async fn dies() {
        panic!("two is less than three");
    }

    async fn start(drain: Span) -> Process {
        Process::start(ProcessConfig { name: "up", common: Common { drain, ..Common::default() } }).await.unwrap()
    }

    #[tokio::test]
    async fn services_of_one_process_share_its_shutdown_and_keep_their_own_health() {
        let process = start(Span::seconds(5)).await;
        let (one, two) = (process.frame("controller"), process.frame("validator"));
        one.health.condition("nats").set_ready();
        two.health.condition("nats").set_not_ready("no");
        assert!(process.frame("controller").health.is_ready(), "the same frame again");
        assert!(!two.health.is_ready());
        one.tasks.spawn("run", two.shutdown.clone().cancelled_owned());
        process.shutdown();
        process.drain().await.unwrap();
    }

    #[tokio::test]
    async fn a_service_that_panics_ends_the_process_with_its_failure() {
        let mut process = start(Span::seconds(5)).await;
        let (bad, good) = (process.frame("controller"), process.frame("validator"));
        good.tasks.spawn("run", good.shutdown.clone().cancelled_owned());
        bad.tasks.spawn("run", dies());
        process.until_shutdown().await;
        let error = format!("{:#}", process.drain().await.unwrap_err());
        assert_eq!(error, "task controller/run failed: panicked: two is less than three");
    }

    #[tokio::test]
    async fn a_drain_ends_at_its_bound() {
        let process = start(Span::millis(50)).await;
        process.frame("controller").tasks.spawn("run", std::future::pending::<()>());
        let error = process.drain().await.unwrap_err().to_string();
        assert!(error.ends_with("controller/run"), "{error}");
    }

    #[tokio::test]
    async fn a_taken_admin_address_is_an_error_that_names_it() {
        let (_listener, address) = drain::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let mut common = Common::default();
        common.admin.listen = Some(address);
        let error = Process::start(ProcessConfig { name: "up", common }).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address} for the admin endpoints"));
    }
}
