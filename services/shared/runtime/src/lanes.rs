//! Lanes: threads that each serve some of a listener's connections by themselves.
//!
//! On a runtime whose threads share their work, a request that asks another server wakes one thread after the other, and the memory that
//! one has taken is given back by the next: with small requests that costs more than all else that is done for them. A lane reads a
//! request, asks, is answered and answers, and hands nothing to anybody on the way. What is asked from a lane has to be of that lane too:
//! [`current`] says which one a thread is.
//!
//! A connection stays where it is for as long as it lives, so a new one goes to the lane that has the fewest. One connection has one core at
//! most.

use crate::{
    drain::{self, App, HttpLimits, NotDrained, Places},
    websocket::WebSockets,
};
use axum::serve::Listener;
use std::{
    cell::Cell,
    future::Future,
    io,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::{debug, warn};

/// Connections of a lane that it has not taken yet; then the next ones wait in the kernel, where they take none of the files of this process.
const WAITING: usize = 1;

/// How long what a lane left behind on threads that may block is waited for when it ends.
const LAST_MOMENT: Duration = Duration::from_secs(1);

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(0) };
}

/// The lane that this thread is, from 1 on; 0 on a thread that is none.
#[must_use]
pub fn current() -> usize {
    LANE.get()
}

/// As many lanes as there are cores, at most 16: each keeps a connection of its own to whatever it asks, and where that many are not enough,
/// another process is of more use than another thread.
#[must_use]
pub fn one_per_core() -> NonZeroUsize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(cores.min(16)).unwrap_or(NonZeroUsize::MIN)
}

/// Why lanes did not serve, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum LanesError {
    /// What the system refused.
    #[error("no thread for connections could be started: {0}")]
    Start(#[from] io::Error),
    /// Its thread is gone.
    #[error("a thread that serves connections panicked")]
    Panicked,
    /// Requests in flight had to be dropped.
    #[error(transparent)]
    NotDrained(#[from] NotDrained),
}

/// A server of HTTP on lanes, which shares its places for connections and its WebSockets among them.
#[derive(Clone, Debug)]
pub struct HttpLanes<A> {
    /// What its threads are called, with a number behind.
    pub name: &'static str,
    /// How many lanes.
    pub count: NonZeroUsize,
    /// What answers.
    pub app: A,
    /// The bounds of all of them together.
    pub limits: HttpLimits,
    /// The WebSockets that `app` accepts.
    pub websockets: WebSockets,
    /// When to end.
    pub shutdown: CancellationToken,
}

impl<A: App> HttpLanes<A> {
    /// Serves HTTP/1.1 and HTTP/2 until the shutdown, then drains: requests in flight are finished, WebSockets ended. `dress` puts around the
    /// connections of a lane what they need.
    ///
    /// # Errors
    /// [`LanesError`].
    pub async fn serve<L>(
        self,
        listener: TcpListener,
        dress: impl Fn(Lane) -> io::Result<L> + Clone + Send + 'static,
    ) -> Result<(), LanesError>
    where
        L: Listener<Addr = SocketAddr>,
    {
        let places = Places::within_files(self.limits.max_connections);
        let (name, count) = (self.name, self.count);
        let served = serve(name, listener, count, move |lane| {
            let (server, places, dress) = (self.clone(), places.clone(), dress.clone());
            async move { server.one(places, dress(lane)?).await.map_err(LanesError::from) }
        });
        served.await?.into_iter().collect()
    }

    async fn one<L: Listener<Addr = SocketAddr>>(self, places: Places, listener: L) -> Result<(), NotDrained> {
        let Self { app, limits, websockets, shutdown, .. } = self;
        // A talk is where its connection was.
        let talks = async {
            shutdown.cancelled().await;
            if let Err(error) = drain::bounded(&shutdown, limits.notice + limits.bound, websockets.ended()).await {
                warn!(%error, "WebSockets were cut");
            }
        };
        tokio::join!(drain::http_within(places, listener, app, limits, shutdown.clone()), talks).0
    }
}

/// Runs `serve` on `count` threads, each with its share of the connections, until all have ended. When it is dropped, so is what they do.
///
/// # Errors
/// [`LanesError`].
pub async fn serve<S, F, T>(
    name: &'static str,
    listener: TcpListener,
    count: NonZeroUsize,
    serve: S,
) -> Result<Vec<T>, LanesError>
where
    S: Fn(Lane) -> F + Clone + Send + 'static,
    F: Future<Output = T>,
    T: Send + 'static,
{
    let dropped = CancellationToken::new();
    let _drop_guard = dropped.clone().drop_guard();
    let address = listener.local_addr()?;
    let (mut inlets, mut ends) = (Vec::new(), Vec::new());
    for number in 1..=count.get() {
        let (sender, incoming) = mpsc::channel(WAITING);
        let open = Arc::new(AtomicUsize::new(0));
        let lane = Lane { incoming, address, open: Arc::clone(&open) };
        inlets.push(Inlet { connections: sender, open });
        let (end, ended) = oneshot::channel();
        ends.push(ended);
        let (serve, dropped) = (serve.clone(), dropped.clone());
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
            LANE.set(number);
            let served = runtime.block_on(dropped.run_until_cancelled(async { serve(lane).await }));
            runtime.shutdown_timeout(LAST_MOMENT);
            // Nobody waits where it was dropped.
            let _ = served.map(|served| end.send(served));
        })?;
    }
    // The listener is closed as soon as one lane takes no more: who comes then is refused at once, instead of waiting for nobody.
    let closed = futures::future::select_all(inlets.iter().map(|inlet| Box::pin(inlet.connections.closed())));
    let mut all = pin!(futures::future::try_join_all(ends));
    let ended = tokio::select! {
        ended = &mut all => ended,
        _ = closed => all.await,
        () = share(listener, &inlets) => all.await,
    };
    ended.map_err(|_| LanesError::Panicked)
}

/// Where a lane is given connections.
struct Inlet {
    connections: mpsc::Sender<(std::net::TcpStream, SocketAddr)>,
    /// Those that it has.
    open: Arc<AtomicUsize>,
}

/// Gives each connection to the lane with the fewest, of those that are not behind with taking them; until one takes no more.
async fn share(mut listener: TcpListener, inlets: &[Inlet]) {
    loop {
        // axum's listener waits out what is no fault of one connection (no file descriptors left).
        let (stream, peer) = Listener::accept(&mut listener).await;
        // Small frames must not wait for each other: Nagle costs up to 40 ms.
        let bare = stream.set_nodelay(true).and_then(|()| stream.into_std());
        let bare = match bare {
            Ok(bare) => bare,
            Err(error) => {
                debug!(%peer, %error, "a connection ended before it was served");
                continue;
            }
        };
        let load = |inlet: &&Inlet| (inlet.connections.capacity() == 0, inlet.open.load(Ordering::Relaxed));
        let Some(fewest) = inlets.iter().min_by_key(load) else { return };
        fewest.open.fetch_add(1, Ordering::Relaxed);
        if fewest.connections.send((bare, peer)).await.is_err() {
            return;
        }
    }
}

/// The connections of one lane, as a listener.
#[derive(Debug)]
pub struct Lane {
    incoming: mpsc::Receiver<(std::net::TcpStream, SocketAddr)>,
    address: SocketAddr,
    open: Arc<AtomicUsize>,
}

impl Listener for Lane {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // None comes any more: whoever serves is about to hear that it is over.
            let Some((bare, peer)) = self.incoming.recv().await else { return std::future::pending().await };
            let counted = Counted(Arc::clone(&self.open));
            match TcpStream::from_std(bare) {
                Ok(stream) => return (Connection { stream, _counted: counted }, peer),
                Err(error) => debug!(%peer, %error, "a connection ended before it was served"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A connection of a lane.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    _counted: Counted,
}

/// One of the open connections of a lane.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashMap, sync::Mutex};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

    /// Says on each connection which lane and which thread has it, for as long as the client stays.
    async fn telling(mut lane: Lane, end: CancellationToken) -> usize {
        let serving = async {
            loop {
                let (mut connection, _) = lane.accept().await;
                tokio::spawn(async move {
                    connection.write_all(&[u8::try_from(current()).unwrap()]).await.unwrap();
                    let _ = connection.read_u8().await;
                });
            }
        };
        end.run_until_cancelled(serving).await;
        current()
    }

    async fn lane_of(address: SocketAddr) -> (TcpStream, u8) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let lane = stream.read_u8().await.unwrap();
        (stream, lane)
    }

    #[tokio::test]
    async fn connections_go_to_the_lane_that_has_the_fewest() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
        let ends = end.clone();
        let serving = tokio::spawn(serve("test", listener, TWO, move |lane| telling(lane, ends.clone())));
        let mut open: HashMap<u8, Vec<TcpStream>> = HashMap::new();
        for _ in 0..6 {
            let (stream, lane) = lane_of(address).await;
            open.entry(lane).or_default().push(stream);
        }
        assert_eq!((open[&1].len(), open[&2].len()), (3, 3));
        // Those of one lane end, and once it knows, the next ones are its own.
        open.remove(&2);
        let mut next = Vec::new();
        let balanced = async {
            while next.iter().filter(|(_, lane)| *lane == 2).count() < 3 {
                next.push(lane_of(address).await);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), balanced).await.unwrap();
        assert_eq!(current(), 0);
        end.cancel();
        assert_eq!(serving.await.unwrap().unwrap(), [1, 2]);
    }

    #[tokio::test]
    async fn who_comes_when_a_lane_takes_no_more_is_refused_although_others_are_served_still() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, end) = (listener.local_addr().unwrap(), CancellationToken::new());
        let ends = end.clone();
        let serving = tokio::spawn(serve("test", listener, TWO, move |lane| {
            let end = ends.clone();
            async move {
                if current() == 1 {
                    drop(lane);
                    end.cancelled().await;
                } else {
                    telling(lane, end).await;
                }
            }
        }));
        let refused = async { while TcpStream::connect(address).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
        assert!(!serving.is_finished());
        end.cancel();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_is_dropped_ends_on_its_threads_and_a_panic_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve("test", listener, TWO, |lane| telling(lane, CancellationToken::new())));
        let (mut stream, _) = lane_of(address).await;
        serving.abort();
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "the connection went with it");

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let lanes = Arc::new(Mutex::new(Vec::new()));
        let served = serve("test", listener, TWO, move |lane| {
            let lanes = Arc::clone(&lanes);
            async move {
                lanes.lock().unwrap().push(lane);
                assert!(current() != 2, "the second falls over");
            }
        });
        assert!(matches!(served.await, Err(LanesError::Panicked)));
    }
}
