//! The connection of one principal.

use crate::{
    api_keys::ApiKeys,
    blobs::Blobs,
    dead::DeadLetters,
    error::BusError,
    flags::Flags,
    identities::Identities,
    intake::Intake,
    keys,
    ledger::Ledger,
    lease::Leases,
    log::{Log, View},
    metrics::BusMetrics,
    principal::Principal,
    queue::{AcceptedRequests, Requests, Results},
    routes::RouteReports,
    sinks::Sinks,
    topology::{StreamName, inbox, nudge},
    wire,
    workers::Workers,
};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, jetstream};
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

/// The oldest broker that has all that is used: per-key lifetimes with markers (2.11), guarded writes over a filter, asynchronous
/// persistence (2.12).
const OLDEST: (u32, u32) = (2, 12);
const OLDEST_TEXT: &str = "2.12";
/// The longest pause between two attempts to connect. A broker that restarts is found again within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

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
    /// How long the first connection may take; after it, reconnecting never gives up.
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
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("principal", &self.inner.principal).field("instance", &self.inner.instance).finish()
    }
}

/// What the event callback of the connection reports to.
#[derive(Clone)]
struct Listener {
    connections: watch::Sender<u64>,
    violations: broadcast::Sender<Arc<str>>,
    condition: Condition,
    metrics: BusMetrics,
    principal: Principal,
}

impl Listener {
    fn hear(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.connections.send_modify(|count| *count += 1);
                self.condition.set_ready();
                self.metrics.connected.set(1);
            }
            Event::Disconnected | Event::Closed => {
                self.condition.set_not_ready("not connected to the broker");
                self.metrics.connected.set(0);
            }
            Event::ServerError(error) => {
                let text = error.to_string();
                tracing::warn!(principal = %self.principal, error = %text, "the broker objects");
                // Nobody may be waiting for it.
                let _ = self.violations.send(text.into());
            }
            Event::SlowConsumer(subscription) => {
                tracing::warn!(subscription, "messages were dropped because nobody took them in time");
            }
            Event::LameDuckMode | Event::Draining | Event::ClientError(_) => {
                tracing::debug!(%event, "connection");
            }
        }
    }
}

impl Bus {
    /// Connects as `principal`. Tries for `connect_timeout`, then gives up; once connected it reconnects for ever.
    ///
    /// # Errors
    /// When the key cannot be read, the broker cannot be reached, refuses the key, or is too old.
    pub async fn connect(config: &BusConfig, principal: Principal, frame: &Frame) -> Result<Self, BusError> {
        let seed = config.nkey_seed_file.as_deref().map(read_seed).transpose()?;
        let key = seed.as_ref().map(|(_, key)| KeyPair::from_seed(key)).transpose().map_err(|_| BusError::Seed {
            path: config.nkey_seed_file.clone().unwrap_or_default(),
        })?;
        let (connected, connections) = watch::channel(0);
        let listener = Listener {
            connections: connected,
            violations: broadcast::channel(64).0,
            condition: frame.health.condition("nats"),
            metrics: BusMetrics::register(&frame.metrics),
            principal,
        };
        listener.condition.set_not_ready("connecting to the broker");
        let client = first_connection(config, principal, seed.map(|(_, seed)| seed), &listener).await?;
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
        };
        Ok(Self { inner: Arc::new(inner) })
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

    /// The log.
    #[must_use]
    pub fn log(&self) -> Log {
        Log::new(self.clone())
    }

    /// Leases.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases::new(self.clone())
    }

    /// Blobs.
    #[must_use]
    pub fn blobs(&self) -> Blobs {
        Blobs::new(self.clone())
    }

    /// The registry of live workers.
    #[must_use]
    pub fn workers(&self) -> Workers {
        Workers::new(self.clone())
    }

    /// What the ingress replicas route by.
    #[must_use]
    pub fn routes(&self) -> RouteReports {
        RouteReports::new(self.clone())
    }

    /// Certificate requests.
    #[must_use]
    pub fn identities(&self) -> Identities {
        Identities::new(self.clone())
    }

    /// Hashed API keys.
    #[must_use]
    pub fn api_keys(&self) -> ApiKeys {
        ApiKeys::new(self.clone())
    }

    /// Integrity flags.
    #[must_use]
    pub fn flags(&self) -> Flags {
        Flags::new(self.clone())
    }

    /// The intake.
    #[must_use]
    pub fn intake(&self) -> Intake {
        Intake::new(self.clone())
    }

    /// Queues of inference requests.
    #[must_use]
    pub fn requests(&self) -> Requests {
        Requests::new(self.clone())
    }

    /// Accepted asynchronous requests.
    #[must_use]
    pub fn accepted(&self) -> AcceptedRequests {
        AcceptedRequests::new(self.clone())
    }

    /// Recorded results.
    #[must_use]
    pub fn results(&self) -> Results {
        Results::new(self.clone())
    }

    /// Dead letters.
    #[must_use]
    pub fn dead(&self) -> DeadLetters {
        DeadLetters::new(self.clone())
    }

    /// What lies in the sinks.
    #[must_use]
    pub fn sinks(&self) -> Sinks {
        Sinks::new(self.clone())
    }

    /// The log against its ledger.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        Ledger::new(self.clone())
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

    pub(crate) fn closed(&self) -> &CancellationToken {
        &self.inner.closed
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

fn options(config: &BusConfig, principal: Principal, seed: Option<String>, listener: &Listener) -> ConnectOptions {
    let heard = listener.clone();
    let mut options = match seed {
        Some(seed) => ConnectOptions::with_nkey(seed),
        None => ConnectOptions::new(),
    };
    if let Some(ca) = &config.ca_file {
        options = options.add_root_certificates(ca.clone());
    }
    options
        .name(principal)
        .custom_inbox_prefix(inbox(principal))
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(config.request_timeout.0))
        // A dead peer is noticed after two of these.
        .ping_interval(Duration::from_secs(10))
        .max_reconnects(None)
        .reconnect_delay_callback(pause)
        // What may wait for the connection's writer: beyond it senders wait, which is the back-pressure wanted.
        .client_capacity(2_048)
        // Deliveries that may wait for one subscriber; a follower that is slower than this reads the gap again.
        .subscription_capacity(65_536)
        .event_callback(move |event| {
            let heard = heard.clone();
            async move { heard.hear(&event) }
        })
}

/// The pause before the nth attempt: doubling from 50 ms, at most `LONGEST_PAUSE`, each shortened by up to a half at random so that
/// all services of a mesh do not knock at once.
fn pause(attempt: usize) -> Duration {
    let exponent = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    let full = Duration::from_millis(50 << exponent).min(LONGEST_PAUSE);
    full.mul_f64(1.0 - rand::random::<f64>() / 2.0)
}

async fn first_connection(
    config: &BusConfig,
    principal: Principal,
    seed: Option<String>,
    listener: &Listener,
) -> Result<Client, BusError> {
    let deadline = Instant::now() + config.connect_timeout.0;
    let servers: Vec<&str> = config.url.split(',').map(str::trim).collect();
    let mut attempt = 0;
    loop {
        attempt += 1;
        match options(config, principal, seed.clone(), listener).connect(servers.as_slice()).await {
            Ok(client) => return Ok(client),
            Err(source) => {
                let refused =
                    matches!(source.kind(), ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation);
                if refused || Instant::now() >= deadline {
                    return Err(BusError::Connect { url: config.url.clone(), principal, source });
                }
                tracing::debug!(error = %source, attempt, "no connection to the broker yet");
                tokio::time::sleep(pause(attempt)).await;
            }
        }
    }
}

fn check_version(client: &Client) -> Result<(), BusError> {
    let found = client.server_info().version;
    if is_recent(&found) { Ok(()) } else { Err(BusError::TooOld { found, needed: OLDEST_TEXT }) }
}

fn is_recent(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= OLDEST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_broker_is_known_by_its_version() {
        for version in ["2.12.0", "2.15.1", "2.12.0-beta.1", "3.0.0", "10.1.0"] {
            assert!(is_recent(version), "{version}");
        }
        for version in ["2.9.10", "2.11.9", "1.4.1", "", "latest"] {
            assert!(!is_recent(version), "{version}");
        }
    }

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        assert!(pause(1) <= Duration::from_millis(50));
        for attempt in [0, 1, 5, 100, usize::MAX] {
            assert!(pause(attempt) <= LONGEST_PAUSE && pause(attempt) >= Duration::from_millis(25));
        }
    }
}
