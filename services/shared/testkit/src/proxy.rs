//! A man in the middle of one process and its broker, who kills the process at an exact moment of its talk.
//!
//! This is how a crash "after the fact was stored, before the process knew" is made: the proxy sees the broker's answer and
//! kills the process instead of passing it on. Nothing in the product knows of it.

use crate::free_port;
use rustix::process::{Pid, Signal, kill_process};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// When a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It says the word, but the broker never hears it.
    BeforePublish,
    /// The broker has it and says so, but the process never hears that.
    AfterPublish,
    /// The process knows that the broker has it, and was about to acknowledge the message that made it act.
    BeforeAck,
}

/// A death that waits for its moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// When.
    pub moment: Moment,
    /// A part of the subject that is published (`.platform.`).
    pub subject: String,
}

#[derive(Debug, Default)]
struct State {
    pid: Option<u32>,
    traps: Vec<Trap>,
    sprung: Vec<Trap>,
    /// The trap whose word was passed on, and where the broker's answer to it goes.
    answer_at: Option<(Trap, String)>,
    /// The trap that waits for the next acknowledgement.
    ack: Option<Trap>,
}

/// The proxy of one process.
#[derive(Debug)]
pub struct NatsProxy {
    port: u16,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for NatsProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl NatsProxy {
    /// Starts a proxy to the broker at `url`.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(url: &str) -> Self {
        let upstream = url.trim_start_matches("nats://").to_owned();
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port can be listened on");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, upstream.clone(), Arc::clone(&shared)));
            }
        });
        Self { port, state, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Whom it kills.
    pub fn belongs_to(&self, pid: u32) {
        lock(&self.state).pid = Some(pid);
    }

    /// Sets a trap. Each springs once.
    pub fn set(&self, trap: Trap) {
        lock(&self.state).traps.push(trap);
    }

    /// The traps that have sprung.
    #[must_use]
    pub fn sprung(&self) -> Vec<Trap> {
        lock(&self.state).sprung.clone()
    }

    /// The traps that wait.
    #[must_use]
    pub fn waiting(&self) -> Vec<Trap> {
        lock(&self.state).traps.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl State {
    /// Kills the process; its connection goes with it.
    fn spring(&mut self, trap: Trap) {
        if let Some(pid) = self.pid.take().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
            kill_process(pid, Signal::KILL).expect("the process lives until it is killed here");
        }
        self.traps.retain(|other| *other != trap);
        self.answer_at = None;
        self.ack = None;
        self.sprung.push(trap);
    }

    /// Looks at a message of the process; whether it may pass.
    fn published(&mut self, subject: &str, reply: &str, payload: &[u8]) -> bool {
        if self.pid.is_none() {
            // It is dead already; what is left of its talk never leaves it.
            return false;
        }
        let acknowledges = subject.starts_with("$JS.ACK.") && (payload.is_empty() || payload.starts_with(b"+ACK"));
        if acknowledges && let Some(trap) = self.ack.take() {
            self.spring(trap);
            return false;
        }
        let Some(trap) = self.traps.iter().find(|trap| subject.contains(&trap.subject)).cloned() else { return true };
        if trap.moment == Moment::BeforePublish {
            self.spring(trap);
            return false;
        }
        self.answer_at = Some((trap, reply.to_owned()));
        true
    }

    /// Looks at a message of the broker; whether it may pass.
    fn delivered(&mut self, subject: &str) -> bool {
        if self.pid.is_none() {
            return false;
        }
        let Some((trap, _)) = self.answer_at.take_if(|(_, answer)| answer == subject) else { return true };
        if trap.moment == Moment::AfterPublish {
            self.spring(trap);
            return false;
        }
        self.ack = Some(trap);
        true
    }
}

async fn serve(client: TcpStream, upstream: String, state: Arc<Mutex<State>>) {
    let Ok(broker) = TcpStream::connect(&upstream).await else { return };
    // Small frames in both directions: waiting for more of them would show in every latency.
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let up = pass(from_client, to_broker, Arc::clone(&state), |state, frame| match frame.words()[..] {
        ["PUB", subject, _] | ["HPUB", subject, _, _] => state.published(subject, "", frame.body()),
        ["PUB", subject, reply, _] | ["HPUB", subject, reply, _, _] => state.published(subject, reply, frame.body()),
        _ => true,
    });
    let down = pass(from_broker, to_client, state, |state, frame| match frame.words()[..] {
        ["MSG" | "HMSG", subject, ..] => state.delivered(subject),
        _ => true,
    });
    // When one side is gone, so is the other.
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// One line of the protocol, with its payload if it has one.
struct Frame {
    line: String,
    bytes: Vec<u8>,
}

impl Frame {
    fn words(&self) -> Vec<&str> {
        self.line.split_ascii_whitespace().collect()
    }

    /// The payload without NATS headers.
    fn body(&self) -> &[u8] {
        let words = self.words();
        let headers = match words[..] {
            ["HPUB", .., headers, _] => headers.parse().unwrap_or(0),
            _ => 0,
        };
        let start = (self.line.len() + headers).min(self.bytes.len());
        &self.bytes[start..self.bytes.len().saturating_sub(2).max(start)]
    }
}

async fn pass(
    from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: Arc<Mutex<State>>,
    look: impl Fn(&mut State, &Frame) -> bool,
) {
    let mut from = BufReader::with_capacity(64 << 10, from);
    while let Some(frame) = next(&mut from).await {
        let passes = look(&mut lock(&state), &frame);
        if !passes || to.write_all(&frame.bytes).await.is_err() {
            return;
        }
    }
}

async fn next(from: &mut BufReader<OwnedReadHalf>) -> Option<Frame> {
    let mut bytes = Vec::new();
    if from.read_until(b'\n', &mut bytes).await.ok()? == 0 {
        return None;
    }
    let line = String::from_utf8_lossy(&bytes).into_owned();
    let verb = line.split_ascii_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if matches!(verb.as_str(), "PUB" | "HPUB" | "MSG" | "HMSG") {
        let size: usize = line.split_ascii_whitespace().next_back()?.parse().ok()?;
        let start = bytes.len();
        bytes.resize(start + size + 2, 0);
        from.read_exact(&mut bytes[start..]).await.ok()?;
    }
    Some(Frame { line, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap(moment: Moment) -> Trap {
        Trap { moment, subject: ".platform.".to_owned() }
    }

    /// With a process that may be killed.
    #[expect(clippy::zombie_processes, reason = "the proxy kills it, and the system reaps it with the test")]
    fn armed(moment: Moment) -> State {
        let child = std::process::Command::new("sleep").arg("30").spawn().expect("sleep can be started");
        State { pid: Some(child.id()), traps: vec![trap(moment)], ..State::default() }
    }

    const FACT: &str = "slipway.lifecycle.default.digits.1.0.platform.0";

    #[test]
    fn before_publish_the_word_is_never_heard() {
        let mut state = armed(Moment::BeforePublish);
        assert!(state.published("slipway.lifecycle.default.digits.1.0.choice.0", "r", b""));
        assert!(!state.published(FACT, "r", b"{}"));
        assert_eq!(state.sprung, [trap(Moment::BeforePublish)]);
        assert!(!state.published("anything", "r", b""), "the dead do not speak");
    }

    #[test]
    fn after_publish_the_answer_is_never_heard() {
        let mut state = armed(Moment::AfterPublish);
        assert!(state.published(FACT, "_INBOX.1", b"{}"));
        assert!(state.delivered("_INBOX.2") && state.sprung.is_empty());
        assert!(!state.delivered("_INBOX.1"));
        assert_eq!(state.sprung, [trap(Moment::AfterPublish)]);
    }

    #[test]
    fn before_ack_the_cause_stays_unacknowledged() {
        let mut state = armed(Moment::BeforeAck);
        assert!(state.published(FACT, "_INBOX.1", b"{}") && state.delivered("_INBOX.1"));
        assert!(state.published("$JS.ACK.LIFECYCLE.x.1.2.3.4.5", "", b"+WPI"), "a sign of life is no acknowledgement");
        assert!(!state.published("$JS.ACK.LIFECYCLE.x.1.2.3.4.5", "", b"+ACK"));
        assert_eq!(state.sprung, [trap(Moment::BeforeAck)]);
    }

    #[tokio::test]
    async fn talk_passes_unchanged() {
        let server = crate::NatsServer::start().await;
        let proxy = NatsProxy::start(&server.url()).await;
        proxy.belongs_to(std::process::id());
        let client = async_nats::connect(proxy.url()).await.unwrap();
        let mut heard = client.subscribe("a.>").await.unwrap();
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("k", "v");
        let large = bytes::Bytes::from(vec![7_u8; 300_000]);
        client.publish_with_headers("a.b", headers, large.clone()).await.unwrap();
        client.publish("a.c", "plain\r\nPUB x 1".into()).await.unwrap();
        let first = futures::StreamExt::next(&mut heard).await.unwrap();
        assert_eq!((first.payload, first.headers.unwrap().get("k").unwrap().as_str()), (large, "v"));
        let second = futures::StreamExt::next(&mut heard).await.unwrap();
        assert_eq!(second.payload.as_ref(), b"plain\r\nPUB x 1");
    }
}
