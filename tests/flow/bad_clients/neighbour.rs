//! A client that behaves, and what a server has of memory meanwhile.

use crate::documents::digits;
use std::{
    fmt, fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// How a server is asked well.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) address: String,
    pub(super) path: String,
    pub(super) key: String,
    pub(super) body: String,
}

impl Way {
    pub(super) fn new(address: &str, key: &str) -> Self {
        let path = "/v2/models/digits/infer".to_owned();
        Self { address: address.to_owned(), path, key: key.to_owned(), body: digits()[0].body.to_string() }
    }

    /// A client of its own, whose connections nobody else uses.
    pub(super) fn client(&self) -> reqwest::Client {
        slipway_runtime::tls::install_provider();
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
    }

    /// Asks once.
    pub(super) async fn ask(&self, client: &reqwest::Client) -> Result<(), String> {
        let post = client.post(format!("http://{}{}", self.address, self.path)).bearer_auth(&self.key);
        let answer = post.header("content-type", "application/json").body(self.body.clone()).send().await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
        if status == 200 { Ok(()) } else { Err(format!("{status} {text}")) }
    }
}

/// One that asks, again and again, until it is stopped.
pub(super) struct Neighbour {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    task: JoinHandle<Told>,
}

/// How it fared.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) answered: usize,
    pub(super) failures: Vec<String>,
    took: Vec<Duration>,
}

impl Neighbour {
    pub(super) fn start(way: Way) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            let (client, mut told) = (way.client(), Told::default());
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                match way.ask(&client).await {
                    Ok(()) => told.answered += 1,
                    Err(error) => told.failures.push(error),
                }
                told.took.push(begun.elapsed());
                count.fetch_add(1, Ordering::Relaxed);
            }
            told
        });
        Self { stop, asked, task }
    }

    /// How often it has asked.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) async fn stop(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut took = self.took.clone();
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
        write!(f, "{} answered, p50 {:.1?}, p99 {:.1?}", self.answered, at(50), at(99))
    }
}

/// What a process has of the machine's memory, in bytes.
pub(super) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}
