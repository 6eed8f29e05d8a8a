//! One worker: its connection, what it has to do, and whether it is passed over at present.

use super::{Call, line::Line, pace::Pace, retry};
use crate::{domain::balance::Candidate, limits};
use arc_swap::ArcSwapOption;
use prost::Message as _;
use rustls::ClientConfig;
use slipway_kernel::{DeploymentId, RevisionId};
use slipway_proto::{
    inference::{ModelInferRequest, ModelInferResponse, grpc_inference_service_client::GrpcInferenceServiceClient},
    slipway::inference::v1::{Call as Framed, direct_path_client::DirectPathClient},
};
use slipway_runtime::{
    lanes,
    tls::{self, Reloadable, SpiffeId, TlsError},
    together,
};
use std::{
    fmt::Display,
    net::SocketAddr,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

/// Where a worker of which revision serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The revision.
    pub revision: RevisionId,
    /// The worker's name.
    pub instance: String,
    /// Its address.
    pub address: SocketAddr,
}

/// One worker with its connections, one for each lane that asks it.
#[derive(Debug)]
pub struct Worker {
    seat: Seat,
    route: Route,
    /// By [`lanes::current`]. What a lane asks and is answered stays on its thread.
    connections: Box<[OnceLock<Connection>]>,
    outstanding: AtomicU32,
    pace: Pace,
    health: Mutex<Health>,
    changed: watch::Sender<u64>,
}

/// How a worker is reached.
struct Route {
    endpoint: Endpoint,
    identity: Arc<ClientConfig>,
    address: SocketAddr,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A connection, which is made when the first request needs it and again whenever it broke.
#[derive(Debug)]
struct Connection {
    client: GrpcInferenceServiceClient<Channel>,
    streams: Streams,
}

impl Connection {
    fn new(route: &Route) -> Self {
        let connector = tls::connector(route.address, Arc::clone(&route.identity));
        let channel = route.endpoint.connect_with_connector_lazy(connector);
        let streams = Streams {
            client: DirectPathClient::new(channel.clone()).max_decoding_message_size(limits::MESSAGE_BYTES),
            line: ArcSwapOption::empty(),
            opening: tokio::sync::Mutex::default(),
            unused: AtomicBool::new(false),
            large: AtomicU32::new(0),
        };
        let client = GrpcInferenceServiceClient::new(channel)
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES);
        Self { client, streams }
    }
}

/// The long stream for small requests.
#[derive(Debug)]
struct Streams {
    client: DirectPathClient<Channel>,
    line: ArcSwapOption<Line>,
    /// Whoever holds it opens the next one; the others wait for that.
    opening: tokio::sync::Mutex<()>,
    /// Not for this worker: it knows none.
    unused: AtomicBool,
    /// Requests that still go as calls of their own, since one was answered with much; nothing is to wait behind another.
    large: AtomicU32,
}

impl Streams {
    /// The stream that is open, or a new one; none where calls of their own are to be made.
    async fn line(&self) -> Result<Option<Arc<Line>>, Status> {
        let open = || self.line.load_full().filter(|line| !line.is_closed());
        let one_less = |large: u32| large.checked_sub(1);
        let large = self.large.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if large || self.unused.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if let Some(line) = open() {
            return Ok(Some(line));
        }
        let _opening = self.opening.lock().await;
        if let Some(line) = open() {
            return Ok(Some(line));
        }
        match Line::open(self.client.clone()).await {
            Ok(line) => {
                self.line.store(Some(Arc::clone(&line)));
                Ok(Some(line))
            }
            Err(status) if status.code() == Code::Unimplemented => {
                self.unused.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(status) => Err(status),
        }
    }
}

#[derive(Debug, Default)]
struct Health {
    /// Failures of the connection in a row.
    strikes: u32,
    /// Passed over until then.
    ejected: Option<Instant>,
    /// One request is finding out whether it is back; the others wait for what it finds.
    probing: bool,
}

/// Whether a worker can be taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Yes.
    Healthy,
    /// It failed before; whoever takes it now finds out for all.
    Due,
    /// Not before this.
    Ejected(Instant),
    /// Somebody is finding out.
    Probing,
}

impl Worker {
    /// A worker at its seat, to be talked to only if it shows the identity of exactly that revision.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        seat: Seat,
        identity: &Reloadable,
        connect_timeout: Duration,
        lanes: usize,
        changed: watch::Sender<u64>,
    ) -> Result<Self, TlsError> {
        let revision = SpiffeId::Revision { deployment: seat.deployment.clone(), revision: seat.revision };
        let endpoint = Endpoint::from(uri(seat.address))
            .executor(together::Folding)
            .connect_timeout(connect_timeout)
            .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
            // A worker that is stopped (not dead) answers no ping; eight seconds later its requests go elsewhere.
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(true);
        let route = Route { endpoint, identity: identity.client_config(revision)?, address: seat.address };
        // And one for all other threads.
        let connections = (0..=lanes).map(|_| OnceLock::new()).collect();
        let (outstanding, pace) = (AtomicU32::new(0), Pace::new(Instant::now()));
        Ok(Self { seat, route, connections, outstanding, pace, health: Mutex::default(), changed })
    }

    /// Its seat.
    #[must_use]
    pub const fn seat(&self) -> &Seat {
        &self.seat
    }

    /// The connection of this thread's lane.
    fn connection(&self) -> &Connection {
        let of_lane = self.connections.get(lanes::current()).unwrap_or(&self.connections[0]);
        of_lane.get_or_init(|| Connection::new(&self.route))
    }

    /// A handle on a connection, for what is no inference.
    pub(super) fn client(&self) -> GrpcInferenceServiceClient<Channel> {
        self.connection().client.clone()
    }

    /// Requests it has from here.
    #[must_use]
    pub fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// As it is compared with others.
    #[must_use]
    pub fn candidate(&self, now: Instant) -> Candidate {
        let (latency_s, age) = (self.pace.latency_s(now), self.pace.age(now));
        Candidate { outstanding: self.outstanding(), latency_s, age }
    }

    /// Whether it can be taken now.
    #[must_use]
    pub fn standing(&self, now: Instant) -> Standing {
        let health = self.health();
        match health.ejected {
            None => Standing::Healthy,
            Some(_) if health.probing => Standing::Probing,
            Some(until) if until > now => Standing::Ejected(until),
            Some(_) => Standing::Due,
        }
    }

    /// Takes it for one request; `None` if it was due and somebody else is finding out already.
    pub fn take(&self, now: Instant) -> Option<Taken<'_>> {
        let mut health = self.health();
        let probing = match health.ejected {
            None => false,
            Some(until) if until > now || health.probing => return None,
            Some(_) => {
                health.probing = true;
                true
            }
        };
        self.outstanding.fetch_add(1, Ordering::Relaxed);
        Some(Taken { worker: self, probing })
    }

    /// Passes it over for a while.
    pub fn eject(&self, now: Instant) {
        let mut health = self.health();
        // Many requests fail with one connection; they are one failure.
        if health.ejected.is_none_or(|until| until <= now) {
            health.strikes = health.strikes.saturating_add(1);
            health.ejected = Some(now + retry::ejection(health.strikes));
        }
    }

    fn restore(&self) {
        let mut health = self.health();
        if health.ejected.is_some() || health.strikes > 0 {
            *health = Health { probing: health.probing, ..Health::default() };
        }
    }

    fn health(&self) -> std::sync::MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker taken for one request.
#[derive(Debug)]
pub struct Taken<'a> {
    worker: &'a Worker,
    probing: bool,
}

impl Taken<'_> {
    /// Sends the request.
    ///
    /// # Errors
    /// What the worker or the transport says.
    pub async fn infer(
        &self,
        call: &Call,
        attempt: u32,
        message: &ModelInferRequest,
    ) -> Result<ModelInferResponse, Status> {
        let begun = Instant::now();
        let result = self.send(call, attempt, message).await;
        let able = match &result {
            Ok(_) => true,
            Err(status) => match retry::verdict(status) {
                retry::Verdict::Final(_) => true,
                retry::Verdict::ElseWhere(error) => error.is_overload(),
                retry::Verdict::Gone(_) => false,
            },
        };
        if able {
            self.worker.restore();
        }
        if result.is_ok() {
            let now = Instant::now();
            self.worker.pace.answered(now, now.saturating_duration_since(begun));
        }
        result
    }

    async fn send(&self, call: &Call, attempt: u32, message: &ModelInferRequest) -> Result<ModelInferResponse, Status> {
        let connection = self.worker.connection();
        if message.encoded_len() <= limits::STREAMED_BYTES
            && let Some(line) = connection.streams.line().await?
        {
            let answer = line.call(framed(call, attempt, message)).await?;
            if answer.encoded_len() > limits::STREAMED_BYTES {
                connection.streams.large.store(limits::AFTER_A_LARGE_ANSWER, Ordering::Relaxed);
            }
            return Ok(answer);
        }
        // A clone of the client is a handle on the same connection.
        let mut client = connection.client.clone();
        client.model_infer(request(call, attempt, message)).await.map(tonic::Response::into_inner)
    }

    /// The worker.
    pub(super) const fn worker(&self) -> &Worker {
        self.worker
    }

    /// Another worker answered before it, after so long.
    pub(super) fn outrun(&self, took: Duration) {
        self.worker.pace.answered(Instant::now(), took);
    }

    /// Whether this request finds out for all whether the worker is back.
    #[must_use]
    pub const fn is_probing(&self) -> bool {
        self.probing
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.worker.outstanding.fetch_sub(1, Ordering::Relaxed);
        if self.probing {
            // Also when the request was dropped and nothing was found out: the next one tries.
            self.worker.health().probing = false;
            self.worker.changed.send_modify(|version| *version += 1);
        }
    }
}

/// The message with its terms, for a stream. Names are copied, tensors are shared.
fn framed(call: &Call, attempt: u32, message: &ModelInferRequest) -> Framed {
    Framed {
        request_id: call.request_id.to_string(),
        deadline_unix_ms: i64::try_from(call.deadline_unix_ms).unwrap_or(i64::MAX),
        attempt,
        traceparent: call.traceparent.clone(),
        message: Some(message.clone()),
    }
}

/// The message with its metadata. None of it is taken from the client's headers as it stands: each is made here from what
/// was checked, so no header of a client can pose as ours.
fn request(call: &Call, attempt: u32, message: &ModelInferRequest) -> Request<ModelInferRequest> {
    // Names are copied, tensors are shared.
    let mut request = Request::new(message.clone());
    let metadata = request.metadata_mut();
    let mut set = |name: &'static str, value: &dyn Display| {
        // All of it is visible ASCII by construction.
        if let Ok(value) = MetadataValue::try_from(value.to_string()) {
            metadata.insert(name, value);
        }
    };
    set("slipway-request-id", &call.request_id);
    set("slipway-deadline-ms", &call.deadline_unix_ms);
    set("slipway-attempt", &attempt);
    set("traceparent", &call.traceparent);
    request
}

/// The address as a URI of plain HTTP: TLS is the connector's.
fn uri(address: SocketAddr) -> http::Uri {
    let authority = http::uri::Authority::try_from(address.to_string());
    let parts =
        authority.map(|authority| http::Uri::builder().scheme("http").authority(authority).path_and_query("/").build());
    // An address with a port is always an authority.
    parts.ok().and_then(Result::ok).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_uri() {
        assert_eq!(uri("127.0.0.1:81".parse().unwrap()).to_string(), "http://127.0.0.1:81/");
        assert_eq!(uri("[::1]:81".parse().unwrap()).to_string(), "http://[::1]:81/");
    }
}
