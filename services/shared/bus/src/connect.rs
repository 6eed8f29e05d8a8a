//! The connection of one principal.

mod first;
mod rooms;

use crate::{
    error::BusError,
    keys,
    log::View,
    metrics::BusMetrics,
    principal::Principal,
    routes::Known,
    topology::{StreamName, nudge},
    watched::Watched,
    wire,
};
use async_nats::{
    Client,
    jetstream::{self, object_store::ObjectStore},
};
use first::{Listener, Patience, check_version, first_connection};
use nkeys::KeyPair;
use serde::{Deserialize, Serialize};
use slipway_kernel::{DeploymentId, Service, Span};
use slipway_runtime::{CancellationToken, Clock, Condition, Frame};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{OnceCell, broadcast, watch},
    time::Instant,
};
use tokio_util::task::TaskTracker;

/// Where the broker is and how to be recognised there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct BusConfig {
    /// Address of one or more servers, separated by commas.
    pub url: String,
    /// File with the seed of the own key; none only where the broker asks for none.
    pub nkey_seed_file: Option<PathBuf>,
    /// Certificates to trust, for `tls://` addresses.
    pub ca_file: Option<PathBuf>,
    /// How long the broker, and for a service the streams it needs, may take to be there at the start; 0: as long as it takes. After that,
    /// reconnecting never gives up.
    pub connect_timeout: Span,
    /// How long one request waits for its answer. A leader change takes longer: whoever must get through repeats.
    pub request_timeout: Span,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".to_owned(),
            nkey_seed_file: None,
            ca_file: None,
            connect_timeout: Span::seconds(30),
            request_timeout: Span::seconds(5),
        }
    }
}

/// A connection to the broker as one principal. Cloning is cheap.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    context: jetstream::Context,
    principal: Principal,
    key: Option<KeyPair>,
    instance: String,
    clock: Clock,
    metrics: BusMetrics,
    condition: Condition,
    request_timeout: Duration,
    closed: CancellationToken,
    farewells: TaskTracker,
    connections: watch::Receiver<u64>,
    violations: broadcast::Sender<Arc<str>>,
    view: OnceCell<View>,
    blobs: OnceCell<ObjectStore>,
    routes: OnceCell<Watched<Known>>,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("principal", &self.inner.principal).field("instance", &self.inner.instance).finish()
    }
}

impl Bus {
    /// Connects as `principal`. Tries for `connect_timeout`, then gives up; once connected it reconnects for ever. A service is connected
    /// when the broker has the streams of this version, too; what it waits for, `/readyz` tells.
    ///
    /// # Errors
    /// When the key cannot be read, the broker cannot be reached, refuses the key, has no streams, or is too old, or when the process ends
    /// meanwhile.
    pub async fn connect(config: &BusConfig, principal: Principal, frame: &Frame) -> Result<Self, BusError> {
        let connecting = Self::connect_in_time(config, principal, frame);
        Box::pin(frame.shutdown.run_until_cancelled(connecting)).await.unwrap_or(Err(BusError::Ended))
    }

    async fn connect_in_time(config: &BusConfig, principal: Principal, frame: &Frame) -> Result<Self, BusError> {
        let seed = config.nkey_seed_file.as_deref().map(read_seed).transpose()?;
        let key = seed
            .as_ref()
            .map(|(_, key)| KeyPair::from_seed(key))
            .transpose()
            .map_err(|_| BusError::Seed { path: config.nkey_seed_file.clone().unwrap_or_default() })?;
        let patience = Patience::of(config.connect_timeout);
        let (connected, connections) = watch::channel(0);
        let listener = Listener {
            connections: connected,
            violations: broadcast::channel(64).0,
            condition: frame.health.condition("nats"),
            metrics: BusMetrics::register(&frame.metrics),
            principal,
        };
        listener.condition.set_not_ready("connecting to the broker");
        // From before the connection, which alone does not make a service ready.
        let streams = principal.service().map(|_| frame.health.condition("streams"));
        let client = first_connection(config, principal, seed.map(|(_, seed)| seed), &listener, patience).await?;
        check_version(&client)?;
        listener.condition.set_ready();
        listener.metrics.connected.set(1);
        let mut context = jetstream::new(client.clone());
        context.set_timeout(config.request_timeout.0);
        let inner = Inner {
            client,
            context,
            principal,
            key,
            instance: format!("{principal}-{}", short_id()),
            clock: frame.clock.clone(),
            metrics: listener.metrics.clone(),
            condition: listener.condition.clone(),
            request_timeout: config.request_timeout.0,
            closed: CancellationToken::new(),
            farewells: TaskTracker::new(),
            connections,
            violations: listener.violations.clone(),
            view: OnceCell::new(),
            blobs: OnceCell::new(),
            routes: OnceCell::new(),
        };
        let bus = Self { inner: Arc::new(inner) };
        if let Some(condition) = streams {
            first::topology(&bus, &condition, patience).await?;
            condition.remove();
        }
        Ok(bus)
    }

    /// As whom it is connected.
    #[must_use]
    pub fn principal(&self) -> Principal {
        self.inner.principal
    }

    /// The clock of the process.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// A name for this connection that no other has: holder of leases, replica of a service.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// The public key it is recognised by.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        self.inner.key.as_ref().map(KeyPair::public_key)
    }

    /// Whether the broker is reachable at this moment, as far as the connection knows.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.client().connection_state(), async_nats::connection::State::Connected)
    }

    /// Knocks at a service's door about a deployment. Best effort: the sweep comes anyway.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn nudge(&self, service: Service, id: &DeploymentId) -> Result<(), BusError> {
        let sent = self.client().publish(nudge(service, id), bytes::Bytes::new()).await;
        sent.map_err(|error| BusError::Connection(error.to_string()))
    }

    /// How long JetStream takes to answer a read by the leader of the log. A server can be reachable with its disk full or its
    /// leader gone; this finds the latter.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub async fn probe(&self) -> Result<Duration, BusError> {
        let started = Instant::now();
        wire::api(self, &format!("STREAM.INFO.{}", StreamName::Lifecycle.as_str()), &serde_json::json!({})).await?;
        Ok(started.elapsed())
    }

    /// Releases what was dropped, sends what is buffered and ends the connection. Followers end too.
    pub async fn close(&self) {
        self.inner.farewells.close();
        // Leases and registrations that cannot be released now run out by themselves.
        let _ = tokio::time::timeout(self.inner.request_timeout, self.inner.farewells.wait()).await;
        self.inner.closed.cancel();
        // A closed connection has nothing left to send.
        let _ = tokio::time::timeout(self.inner.request_timeout, self.client().flush()).await;
        let _ = self.client().drain().await;
        self.inner.condition.clone().remove();
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn context(&self) -> &jetstream::Context {
        &self.inner.context
    }

    pub(crate) fn key(&self) -> Option<&KeyPair> {
        self.inner.key.as_ref()
    }

    /// Runs a follower or a renewal beside everything else, until it ends or the bus is closed. It is not one of the supervised
    /// tasks of the process, since those are waited for when the process drains, and draining still needs these.
    pub(crate) fn background(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closed = self.inner.closed.clone();
        tokio::spawn(async move { closed.run_until_cancelled(task).await });
    }

    /// Runs what releases something that was held: [`Bus::close`] waits for it.
    pub(crate) fn farewell(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Without a runtime nothing can be sent any more; what was held runs out by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.inner.farewells.spawn_on(task, &runtime);
        }
    }

    pub(crate) fn metrics(&self) -> &BusMetrics {
        &self.inner.metrics
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.inner.request_timeout
    }

    /// Counts connections: a change means that there was a reconnect.
    pub(crate) fn connections(&self) -> watch::Receiver<u64> {
        self.inner.connections.clone()
    }

    /// What the broker objects to, as it says it.
    pub(crate) fn violations(&self) -> broadcast::Receiver<Arc<str>> {
        self.inner.violations.subscribe()
    }

    pub(crate) fn view_cell(&self) -> &OnceCell<View> {
        &self.inner.view
    }

    pub(crate) fn routes_cell(&self) -> &OnceCell<Watched<Known>> {
        &self.inner.routes
    }

    /// The own object store, opened by the first who needs it.
    pub(crate) fn blobs_cell(&self) -> &OnceCell<ObjectStore> {
        &self.inner.blobs
    }

    /// `ce-source` of what this principal says.
    pub(crate) fn source(&self) -> String {
        format!("slipway/{}", self.inner.principal)
    }
}

fn read_seed(path: &Path) -> Result<(PathBuf, String), BusError> {
    let seed = keys::read_seed(path).map_err(|source| BusError::Key { path: path.to_owned(), source })?;
    Ok((path.to_owned(), seed))
}

fn short_id() -> String {
    format!("{:08x}", rand::random::<u32>())
}
