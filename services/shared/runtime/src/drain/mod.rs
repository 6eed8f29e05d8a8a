//! Serving until the shutdown, and then ending in order within a bound.
//!
//! On shutdown a server goes on accepting for a notice (so that whoever routes to it has seen that it is not ready) and tells clients of HTTP/1.1
//! with each answer to come back on another connection, because one that is closed while it idles may be closed on a request. Then it accepts
//! no more, finishes what is in flight, and after the bound drops the rest.

mod places;
mod silence;

use crate::together;
use ::http::{HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION};
use axum::{body::Body, extract::ConnectInfo, serve::Listener};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use places::Activity;
pub use places::Places;
use silence::{Heard, Listening};
use std::{
    convert::Infallible,
    fmt,
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt as _};
use tracing::debug;

/// The bounds of an HTTP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at once; for one more, the one that has been idle for longest is closed, and if all are at work the newcomer waits. Never
    /// more than three quarters of the files that the process may have open: the rest is for what it needs itself. 1,024: with its buffers a connection holds some
    /// 20 KiB, so all of them stay near 20 MiB.
    pub max_connections: usize,
    /// Requests at once on one HTTP/2 connection. 256: more than a client needs, less than lets one connection hold the
    /// whole server.
    pub max_streams: u32,
    /// Bytes of the head of a request that are kept; more are refused with 431. 64 KiB: what hyper would keep by itself (400 KiB)
    /// is sixteen times what any client sends, for every connection. At least 8 KiB.
    pub max_head: u32,
    /// How long a client may take to send the head of a request, which for hyper is also how long it may idle between
    /// two on HTTP/1.1. 75 s: longer than the 60 s that load balancers keep their side open, so that it is never the
    /// server who closes just as the next request arrives; clients that hold connections by sending a byte now and then
    /// are bounded by `max_connections` and ended after this.
    pub header_timeout: Duration,
    /// How long to go on accepting after the shutdown began. None unless something routes by readiness.
    pub notice: Duration,
    /// How long requests in flight may take after that. 15 s: it leaves the process time for the rest of its drain.
    pub bound: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            max_connections: 1_024,
            max_streams: 256,
            max_head: 64 * 1024,
            header_timeout: Duration::from_secs(75),
            notice: Duration::ZERO,
            bound: Duration::from_secs(15),
        }
    }
}

/// A connection of HTTP/2 without traffic is asked whether its peer lives (and must say so within hyper's 20 s), so that a client that
/// vanished does not keep its streams for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// What was being served did not end within the bound, and was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not drained within {} ms, the rest was dropped", bound.as_millis())]
pub struct NotDrained {
    /// The bound.
    pub bound: Duration,
}

/// Runs a server that ends by itself on shutdown (tonic's `serve_with_incoming_shutdown`), and drops it when it has not
/// ended `bound` after that: a client that never closes must not hold the process.
///
/// # Errors
/// When it was dropped.
pub async fn bounded<T>(
    shutdown: &CancellationToken,
    bound: Duration,
    serving: impl Future<Output = T>,
) -> Result<T, NotDrained> {
    let mut serving = pin!(serving);
    tokio::select! {
        served = &mut serving => return Ok(served),
        () = shutdown.cancelled() => {}
    }
    timeout(bound, serving).await.map_err(|_| NotDrained { bound })
}

/// What answers requests of HTTP: an axum `Router`, or anything of the same shape.
pub trait App:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> App for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// Serves HTTP/1.1 and HTTP/2 until the shutdown, then drains. Handlers find the peer in `ConnectInfo<L::Addr>`.
///
/// # Errors
/// When requests in flight had to be dropped.
pub async fn http<L>(
    listener: L,
    app: impl App,
    limits: HttpLimits,
    shutdown: CancellationToken,
) -> Result<(), NotDrained>
where
    L: Listener,
    L::Addr: Clone + fmt::Debug + Sync + 'static,
{
    http_within(Places::within_files(limits.max_connections), listener, app, limits, shutdown).await
}

/// The same where several serve together: the places for connections are those of all of them.
///
/// # Errors
/// As [`http`].
pub async fn http_within<L>(
    places: Places,
    mut listener: L,
    app: impl App,
    limits: HttpLimits,
    shutdown: CancellationToken,
) -> Result<(), NotDrained>
where
    L: Listener,
    L::Addr: Clone + fmt::Debug + Sync + 'static,
{
    let (finish, connections) = (CancellationToken::new(), TaskTracker::new());
    // Dropping this future (a bound further out, a test that ends) must not leave connections behind.
    let drop_all = CancellationToken::new();
    let _drop_guard = drop_all.clone().drop_guard();
    let mut closing = pin!(async {
        shutdown.cancelled().await;
        tokio::time::sleep(limits.notice).await;
    });
    loop {
        let (io, peer) = tokio::select! {
            biased;
            () = &mut closing => break,
            accepted = listener.accept() => accepted,
        };
        let place = tokio::select! {
            biased;
            () = &mut closing => break,
            place = places.take() => place,
        };
        let ending = Ending { begun: shutdown.child_token(), finish: finish.clone() };
        let serving = connection::<L>(io, peer.clone(), app.clone(), limits, ending, place.activity());
        let drop_all = drop_all.clone();
        connections.spawn(async move {
            tokio::select! {
                result = serving => if let Err(error) = result {
                    debug!(?peer, error, "connection ended with an error");
                },
                () = place.wanted() => debug!(?peer, "an idle connection gave way to a new one"),
                () = drop_all.cancelled() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    finish.cancel();
    connections.close();
    timeout(limits.bound, connections.wait()).await.map_err(|_| NotDrained { bound: limits.bound })
}

/// How a connection ends with its server.
struct Ending {
    /// The shutdown has begun: nobody should come back on this connection. Its own, so that no answer waits for another connection's.
    begun: CancellationToken,
    /// The notice is over: what is in flight is finished.
    finish: CancellationToken,
}

/// What the answers of a connection say at its end.
struct Farewell {
    begun: CancellationToken,
    /// A connection speaks one version, and HTTP/2 has frames of its own for its end.
    is_http1: AtomicBool,
}

impl Farewell {
    fn say(&self, answer: &mut Response<Body>) {
        // Who becomes a WebSocket meanwhile does.
        let closes = self.is_http1.load(Ordering::Relaxed) && answer.status() != StatusCode::SWITCHING_PROTOCOLS;
        if closes && self.begun.is_cancelled() {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

async fn connection<L: Listener>(
    io: L::Io,
    peer: L::Addr,
    app: impl App,
    limits: HttpLimits,
    ending: Ending,
    activity: Activity,
) -> Result<(), String>
where
    L::Addr: Clone + Sync + 'static,
{
    let heard = Heard::default();
    let io = Listening::new(io, heard.clone(), activity.clone());
    let silence = async {
        tokio::time::sleep(limits.header_timeout).await;
        if heard.enough() { std::future::pending().await } else { Err("the client said nothing".to_owned()) }
    };
    let (talked, others) = (heard.clone(), activity.clone());
    let Ending { begun, finish } = ending;
    let farewell = Arc::new(Farewell { begun, is_http1: AtomicBool::new(false) });
    let answers = Arc::clone(&farewell);
    let service = app.map_request(move |mut request: Request<hyper::body::Incoming>| {
        talked.request();
        farewell.is_http1.store(request.version() <= Version::HTTP_11, Ordering::Relaxed);
        request.extensions_mut().insert(ConnectInfo(peer.clone()));
        request.map(Body::new)
    });
    let service = service.map_future(move |answering| {
        let (busy, farewell) = (activity.busy(), Arc::clone(&answers));
        async move {
            let mut answer: Result<Response<Body>, Infallible> = answering.await;
            drop(busy);
            if let Ok(answer) = &mut answer {
                farewell.say(answer);
            }
            answer
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(usize::try_from(limits.max_head).unwrap_or(usize::MAX).max(8 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(limits.max_head);
    let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service)));
    let result = tokio::select! {
        result = together::folded(together::polled(serving.as_mut(), move || others.requests() > 1)) => result,
        silent = silence => return silent,
        () = finish.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    result.map_err(|error| error.to_string())
}

/// The address a listener took.
///
/// # Errors
/// When the address cannot be had.
pub async fn bind(address: SocketAddr) -> std::io::Result<(tokio::net::TcpListener, SocketAddr)> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::Notify,
    };

    async fn loopback() -> (tokio::net::TcpListener, SocketAddr) {
        bind("127.0.0.1:0".parse().unwrap()).await.unwrap()
    }

    async fn send(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn all(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    const REQUEST: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    #[tokio::test]
    async fn a_request_in_flight_is_finished_and_no_new_one_accepted() {
        let (listener, address) = loopback().await;
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let app = Router::new().route(
            "/",
            get({
                let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
                move |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move {
                    entered.notify_one();
                    leave.notified().await;
                    format!("to {}", peer.ip())
                }
            }),
        );
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(http(listener, app, HttpLimits::default(), shutdown.clone()));
        let stream = send(address, REQUEST).await;
        entered.notified().await;
        shutdown.cancel();
        // The listener is gone as soon as a connection is refused; until then the server has not seen the shutdown.
        timeout(Duration::from_secs(5), async { while TcpStream::connect(address).await.is_ok() {} }).await.unwrap();
        leave.notify_one();
        let answer = all(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("to 127.0.0.1"), "{answer}");
        assert_eq!(server.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn during_the_notice_clients_are_answered_and_told_to_come_back_elsewhere() {
        let (listener, address) = loopback().await;
        let app = Router::new().route("/", get(|| async { "hello" }));
        let shutdown = CancellationToken::new();
        // Longer than any test lasts: only its clients end these connections.
        let limits = HttpLimits { notice: Duration::from_secs(600), ..HttpLimits::default() };
        let server = tokio::spawn(http(listener, app, limits, shutdown.clone()));
        let mut stays = send(address, REQUEST).await;
        let mut answer = [0; 15];
        stays.read_exact(&mut answer).await.unwrap();
        shutdown.cancel();
        stays.write_all(REQUEST.as_bytes()).await.unwrap();
        for stream in [stays, send(address, REQUEST).await] {
            let answer = timeout(Duration::from_secs(5), all(stream)).await.unwrap();
            assert!(answer.contains("connection: close") && answer.ends_with("hello"), "{answer}");
        }
        server.abort();
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_dropped_at_the_bound() {
        let (listener, address) = loopback().await;
        let entered = Arc::new(Notify::new());
        let app = Router::new().route(
            "/",
            get({
                let entered = Arc::clone(&entered);
                move || async move {
                    entered.notify_one();
                    std::future::pending::<()>().await;
                }
            }),
        );
        let shutdown = CancellationToken::new();
        let limits = HttpLimits { bound: Duration::from_millis(50), ..HttpLimits::default() };
        let server = tokio::spawn(http(listener, app, limits, shutdown.clone()));
        let stream = send(address, REQUEST).await;
        entered.notified().await;
        shutdown.cancel();
        assert_eq!(server.await.unwrap(), Err(NotDrained { bound: limits.bound }));
        assert_eq!(all(stream).await, "");
    }

    #[tokio::test]
    async fn a_client_that_dawdles_over_its_head_is_cut_off() {
        let (listener, address) = loopback().await;
        let limits = HttpLimits { header_timeout: Duration::from_millis(50), ..HttpLimits::default() };
        let server = tokio::spawn(http(listener, Router::new(), limits, CancellationToken::new()));
        for head in ["", "PRI * HT", "GET / HT"] {
            let stream = send(address, head).await;
            timeout(Duration::from_secs(5), all(stream)).await.unwrap();
        }
        server.abort();
    }

    #[tokio::test]
    async fn an_idle_connection_gives_way_to_a_new_one_and_a_busy_one_does_not() {
        let (listener, address) = loopback().await;
        let limits = HttpLimits { max_connections: 1, ..HttpLimits::default() };
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
            move || async move {
                entered.notify_one();
                leave.notified().await;
                "slow"
            }
        };
        let app = Router::new().route("/", get(|| async { "hello" })).route("/slow", get(slow));
        let server = tokio::spawn(http(listener, app, limits, CancellationToken::new()));
        let mut first = send(address, "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await;
        entered.notified().await;
        let second = tokio::spawn(async move {
            let stream = send(address, "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
            all(stream).await
        });
        // The newcomer gets the place only when the first has its answer, and nothing to do any more.
        leave.notify_one();
        let answer = timeout(Duration::from_secs(5), second).await.unwrap().unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
        let mut told = String::new();
        timeout(Duration::from_secs(5), first.read_to_string(&mut told)).await.unwrap().unwrap();
        assert!(told.ends_with("slow"), "the busy one was not cut off, and closed after its answer: {told}");
        server.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_end_is_dropped_at_the_bound() {
        let shutdown = CancellationToken::new();
        let bound = Duration::from_secs(3);
        assert_eq!(bounded(&shutdown, bound, async { 1 }).await, Ok(1));
        shutdown.cancel();
        assert_eq!(bounded(&shutdown, bound, async { 2 }).await, Ok(2));
        assert_eq!(bounded(&shutdown, bound, std::future::pending::<()>()).await, Err(NotDrained { bound }));
    }
}
