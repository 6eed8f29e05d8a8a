//! One model file served by itself, with no mesh behind it: a model server like any other, for who wants that, and for
//! comparing it with any other.
//!
//! What the mesh adds is not here: no log, no identity, no results recorded, no one who replaces it. What a request means is the
//! same: same protocol, same checks, same batcher, same engine.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use slipway_kernel::{DeploymentId, Digest, Label, RevisionId};
use slipway_runtime::drain::{self, HttpLimits};
use slipway_runtime::lanes::{HttpLanes, LanesError};
use slipway_runtime::{CancellationToken, Frame};
use tokio::net::TcpListener;

use crate::config::{Assignment, GoldenSource, WorkerConfig};
use crate::engine::golden::Golden;
use crate::error::WorkerError;
use crate::front::{Front, FrontLimits};
use crate::inference::{Inference, Phase};
use crate::load::Order;
use crate::serve;
use crate::telemetry::Telemetry;

/// The version that is said where nobody counts versions.
const VERSION: &str = "1";

/// What to serve, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The model file.
    pub model: PathBuf,
    /// The name that requests call it by.
    pub name: Label,
    /// Where to listen; each address speaks HTTP and gRPC.
    pub listen: Vec<SocketAddr>,
    /// Batcher and engine.
    pub worker: WorkerConfig,
    /// Bounds of the front.
    pub limits: FrontLimits,
}

/// A model that is served.
#[derive(Debug)]
pub struct Standalone {
    doors: Vec<(TcpListener, SocketAddr)>,
    lanes: NonZeroUsize,
    limits: FrontLimits,
    inference: Arc<Inference>,
}

impl Standalone {
    /// Takes the addresses, loads the model and measures it.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn open(options: Options, frame: &Frame) -> Result<Self, WorkerError> {
        let mut doors = Vec::with_capacity(options.listen.len());
        for address in options.listen {
            doors.push(drain::bind(address).await.map_err(|source| WorkerError::Listen { address, source })?);
        }
        let unreadable = |source| WorkerError::Unreadable { path: options.model.clone(), source };
        let bytes = tokio::fs::read(&options.model).await.map_err(unreadable)?;
        let assignment = Assignment {
            deployment: DeploymentId { namespace: namespace(), name: options.name },
            revision: RevisionId::new(1, 1),
            instance: "standalone".to_owned(),
            host: String::new(),
            digest: Digest::of(&bytes),
        };
        let telemetry = Telemetry::default();
        telemetry.enter(&frame.metrics, &assignment, VERSION);
        let golden = match &options.worker.golden {
            None | Some(GoldenSource::Blob(_)) => None,
            Some(GoldenSource::File(path)) => {
                let unreadable = |source| WorkerError::Golden { path: path.clone(), source };
                let file = tokio::fs::read(path).await.map_err(unreadable)?;
                Some(Golden::read(&file).map_err(WorkerError::Model)?)
            }
        };
        let loaded = serve::load_model(Order { artifact: bytes, golden }, &options.worker, &telemetry).await?;
        Telemetry::enter_gpu(&frame.metrics, &assignment, loaded.measurement.gpu.as_ref()).await;
        frame.status.set("measurement", &loaded.measurement);
        let inference = serve::inference(loaded, telemetry, &options.worker, assignment, frame.clock.clone())?;
        let inference = Arc::new(inference.with_version(VERSION));
        inference.enter(Phase::Serving);
        Ok(Self { doors, lanes: options.worker.lanes(), limits: options.limits, inference })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.doors.iter().map(|(_, address)| *address).collect()
    }

    /// Serves until the shutdown, then finishes what is in hand.
    ///
    /// # Errors
    /// [`LanesError`].
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), LanesError> {
        let front = Front::new(Arc::clone(&self.inference), self.limits, shutdown.clone());
        let server = HttpLanes {
            name: "door",
            count: self.lanes,
            app: front.clone(),
            limits: HttpLimits::default(),
            websockets: front.websockets(),
            shutdown,
        };
        let serving = self.doors.into_iter().map(|(listener, _)| server.clone().serve(listener, Ok));
        let served = futures::future::try_join_all(serving).await;
        drop((front, server));
        serve::finish(self.inference).await;
        served.map(|_| ())
    }
}

fn namespace() -> Label {
    // A word of letters is a label.
    "default".parse().unwrap_or_else(|_| unreachable!("`default` is a label"))
}
