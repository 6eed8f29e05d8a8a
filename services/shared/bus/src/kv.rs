//! A bucket: the last value of each key, guarded by revision, with a lifetime.

use crate::{
    connect::Bus,
    error::BusError,
    follow::{Course, Followed, MANY, Mode, follow},
    topology::{Bucket, bucket_key, parse_bucket_key},
    watched::Watched,
    wire::{self, EXPECTED, MOVED, Stored},
};
use async_nats::HeaderMap;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

const OPERATION: &str = "KV-Operation";
const MARKER: &str = "Nats-Marker-Reason";
const TTL: &str = "Nats-TTL";

/// A bucket of this connection.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    bus: Bus,
    bucket: Bucket,
}

/// How a guarded write came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guarded {
    /// Written, with this revision.
    Written(u64),
    /// The key is not at the expected revision.
    Conflict,
}

/// A value with its revision.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) stored: Stored,
    /// `None`: removed or expired; the revision is that of the marker.
    pub(crate) live: bool,
}

impl Table {
    pub(crate) const fn new(bus: Bus, bucket: Bucket) -> Self {
        Self { bus, bucket }
    }

    fn subject(&self, key: &str) -> String {
        bucket_key(self.bucket.as_str(), key)
    }

    /// Writes, whatever is there.
    pub(crate) async fn put(&self, key: &str, value: &impl Serialize) -> Result<u64, BusError> {
        let ack = wire::publish(&self.bus, self.subject(key), HeaderMap::new(), json(key, value)?).await?;
        Ok(ack.sequence)
    }

    /// Writes if the key is at `expected` (0: nothing was ever there).
    pub(crate) async fn put_at(
        &self,
        key: &str,
        value: &impl Serialize,
        expected: u64,
        ttl: Option<Duration>,
    ) -> Result<Guarded, BusError> {
        let mut headers = HeaderMap::new();
        if let Some(ttl) = ttl {
            headers.insert(TTL, seconds(ttl));
        }
        self.guarded(key, headers, json(key, value)?, expected).await
    }

    /// Writes if there is no live value; `None` if there is one.
    pub(crate) async fn create(
        &self,
        key: &str,
        value: &impl Serialize,
        ttl: Option<Duration>,
    ) -> Result<Option<u64>, BusError> {
        let mut expected = 0;
        loop {
            match self.put_at(key, value, expected, ttl).await? {
                Guarded::Written(revision) => return Ok(Some(revision)),
                Guarded::Conflict => match self.read(key).await? {
                    Some(there) if there.live => return Ok(None),
                    // A marker in its place, or one that has just gone: write over exactly that.
                    Some(marker) if marker.stored.sequence != expected => expected = marker.stored.sequence,
                    Some(_) => return Ok(None),
                    None if expected == 0 => return Ok(None),
                    None => expected = 0,
                },
            }
        }
    }

    /// Removes the key, whatever is there.
    pub(crate) async fn remove(&self, key: &str) -> Result<(), BusError> {
        wire::publish(&self.bus, self.subject(key), deletion(), Bytes::new()).await.map(drop)
    }

    /// Removes the key if it is at `expected`.
    pub(crate) async fn remove_at(&self, key: &str, expected: u64) -> Result<Guarded, BusError> {
        self.guarded(key, deletion(), Bytes::new(), expected).await
    }

    async fn guarded(
        &self,
        key: &str,
        mut headers: HeaderMap,
        payload: Bytes,
        expected: u64,
    ) -> Result<Guarded, BusError> {
        headers.insert(EXPECTED, expected.to_string());
        match wire::publish(&self.bus, self.subject(key), headers, payload).await {
            Ok(ack) => Ok(Guarded::Written(ack.sequence)),
            Err(BusError::Refused { code, .. }) if MOVED.contains(&code) => Ok(Guarded::Conflict),
            Err(error) => Err(error),
        }
    }

    /// Reads the key, or its marker, from the leader.
    pub(crate) async fn read(&self, key: &str) -> Result<Option<Value>, BusError> {
        let stored = wire::last_of(&self.bus, &self.bucket.stream(), &self.subject(key)).await?;
        Ok(stored.map(|stored| Value { live: is_live(&stored), stored }))
    }

    /// The sequence of the newest write to the bucket, by its leader.
    pub(crate) async fn newest(&self) -> Result<u64, BusError> {
        let what = format!("STREAM.INFO.{}", self.bucket.stream());
        let info = wire::api(&self.bus, &what, &serde_json::json!({})).await?;
        let last = info.pointer("/state/last_seq").and_then(serde_json::Value::as_u64);
        last.ok_or_else(|| BusError::Unreadable { action: what, reason: "no last sequence in it".to_owned() })
    }

    /// Reads and decodes the live value of a key.
    pub(crate) async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, BusError> {
        match self.read(key).await? {
            Some(value) if value.live => decode(key, &value.stored).map(Some),
            _ => Ok(None),
        }
    }

    /// All live values whose key matches `filter` now.
    pub(crate) async fn list(&self, filter: &str) -> Result<BTreeMap<String, Stored>, BusError> {
        let mut told = self.follow_raw(filter);
        let mut found = BTreeMap::new();
        let reading = async {
            while let Some(what) = told.recv().await {
                match what {
                    Followed::Anew { .. } => found.clear(),
                    Followed::Message(stored) => note(self.bucket, &mut found, stored),
                    Followed::CaughtUp { .. } => return Ok(()),
                }
            }
            Err(BusError::Connection("closed".to_owned()))
        };
        match tokio::time::timeout(self.bus.request_timeout() * 2, reading).await {
            Ok(done) => done.map(|()| found),
            Err(_) => Err(BusError::Timeout {
                action: format!("list {}", self.bucket.as_str()),
                waited: self.bus.request_timeout() * 2,
            }),
        }
    }

    fn follow_raw(&self, filter: &str) -> mpsc::Receiver<Followed> {
        follow(
            &self.bus,
            Course { stream: self.bucket.stream(), filter: self.subject(filter), mode: Mode::Latest, batch: MANY },
        )
    }

    /// Follows all values whose key matches `filter`, as what `project` makes of them. Returns when it has seen all once.
    pub(crate) async fn follow<T: Send + Sync + 'static>(
        &self,
        filter: &str,
        project: impl Fn(&BTreeMap<String, Stored>) -> T + Send + 'static,
    ) -> Result<Watched<T>, BusError> {
        self.follow_marked(filter, move |entries, _| project(entries)).await
    }

    /// The same, with the sequence up to which the bucket was read.
    pub(crate) async fn follow_marked<T: Send + Sync + 'static>(
        &self,
        filter: &str,
        project: impl Fn(&BTreeMap<String, Stored>, u64) -> T + Send + 'static,
    ) -> Result<Watched<T>, BusError> {
        let mut told = self.follow_raw(filter);
        let mut view = Latest::new(self.bucket);
        let first = async {
            while let Some(what) = told.recv().await {
                let caught_up = matches!(what, Followed::CaughtUp { .. });
                view.hear(what);
                if caught_up {
                    return true;
                }
            }
            false
        };
        let budget = self.bus.request_timeout() * 4;
        if !tokio::time::timeout(budget, first).await.unwrap_or(false) {
            return Err(BusError::Timeout { action: format!("follow {}", self.bucket.as_str()), waited: budget });
        }
        let (sender, receiver) = watch::channel(Arc::new(project(&view.known, view.read)));
        self.bus.background(async move { view.run(&mut told, &sender, project).await });
        Ok(Watched::new(receiver))
    }
}

/// What is known of a bucket. After a new session, keys that were not seen again are kept for one more lifetime: a broker that was
/// away longer than that has expired every entry, though their owners live and are about to renew them.
struct Latest {
    bucket: Bucket,
    known: BTreeMap<String, Stored>,
    /// What the running session has told before it caught up.
    fresh: Option<BTreeMap<String, Stored>>,
    /// Keys kept from before, and until when.
    doubtful: BTreeMap<String, Instant>,
    /// Whether it was caught up before.
    settled: bool,
    /// Until then an expiry is the broker's doing: it was away while the owners could not renew.
    forgiving: Option<Instant>,
    /// The sequence up to which the bucket was read.
    read: u64,
}

impl Latest {
    const fn new(bucket: Bucket) -> Self {
        Self {
            bucket,
            known: BTreeMap::new(),
            fresh: None,
            doubtful: BTreeMap::new(),
            settled: false,
            forgiving: None,
            read: 0,
        }
    }

    /// Whether there is something to tell.
    fn hear(&mut self, what: Followed) -> bool {
        match what {
            Followed::Anew { .. } => {
                self.fresh = Some(BTreeMap::new());
                false
            }
            Followed::Message(stored) => match &mut self.fresh {
                Some(fresh) => {
                    note(self.bucket, fresh, stored);
                    false
                }
                None => {
                    self.read = stored.sequence;
                    self.changed(stored)
                }
            },
            Followed::CaughtUp { last } => {
                self.read = last;
                self.settle()
            }
        }
    }

    /// A message of the running session. What the broker expires soon after its return is doubtful, not gone.
    fn changed(&mut self, stored: Stored) -> bool {
        let key = parse_bucket_key(self.bucket.as_str(), &stored.subject).map(str::to_owned);
        if let Some(key) = key {
            let forgiven = self.forgiving.filter(|until| is_expiry(&stored) && Instant::now() < *until);
            if let Some(until) = forgiven.filter(|_| self.known.contains_key(&key)) {
                self.doubtful.insert(key, until);
                return true;
            }
            self.doubtful.remove(&key);
        }
        note(self.bucket, &mut self.known, stored);
        true
    }

    fn settle(&mut self) -> bool {
        let Some(mut fresh) = self.fresh.take() else { return false };
        self.doubtful.clear();
        if std::mem::replace(&mut self.settled, true) {
            self.forgiving = self.bucket.max_age().map(|grace| Instant::now() + grace);
        }
        // Only entries that expire by themselves can be missing without having been removed.
        if let Some(grace) = self.bucket.max_age() {
            let until = Instant::now() + grace;
            for (key, stored) in std::mem::take(&mut self.known) {
                if let std::collections::btree_map::Entry::Vacant(gap) = fresh.entry(key.clone()) {
                    gap.insert(stored);
                    self.doubtful.insert(key, until);
                }
            }
        }
        self.known = fresh;
        true
    }

    fn drop_overdue(&mut self) -> bool {
        let now = Instant::now();
        let overdue: Vec<String> =
            self.doubtful.iter().filter(|(_, until)| **until <= now).map(|(key, _)| key.clone()).collect();
        for key in &overdue {
            self.doubtful.remove(key);
            self.known.remove(key);
        }
        !overdue.is_empty()
    }

    async fn run<T>(
        mut self,
        told: &mut mpsc::Receiver<Followed>,
        sender: &watch::Sender<Arc<T>>,
        project: impl Fn(&BTreeMap<String, Stored>, u64) -> T,
    ) {
        loop {
            let overdue = self.doubtful.values().min().copied();
            let mut changed = tokio::select! {
                what = told.recv() => match what {
                    Some(what) => self.hear(what),
                    None => return,
                },
                () = sleep_until(overdue) => self.drop_overdue(),
                () = sender.closed() => return,
            };
            // Many changes at once are told as one.
            while let Ok(what) = told.try_recv() {
                changed |= self.hear(what);
            }
            if changed {
                sender.send_replace(Arc::new(project(&self.known, self.read)));
            }
        }
    }
}

fn note(bucket: Bucket, found: &mut BTreeMap<String, Stored>, stored: Stored) {
    let Some(key) = parse_bucket_key(bucket.as_str(), &stored.subject).map(str::to_owned) else { return };
    if is_live(&stored) {
        found.insert(key, stored);
    } else {
        found.remove(&key);
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn is_live(stored: &Stored) -> bool {
    stored.header(OPERATION).is_none() && stored.header(MARKER).is_none()
}

/// Whether the broker says with it that a lifetime is over.
fn is_expiry(stored: &Stored) -> bool {
    stored.header(MARKER) == Some("MaxAge")
}

fn deletion() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(OPERATION, "DEL");
    // The marker need not outlive those who have to hear of it.
    headers.insert(TTL, "60s");
    headers
}

/// The broker counts lifetimes in whole seconds, at least one.
fn seconds(ttl: Duration) -> String {
    format!("{}s", ttl.as_secs_f64().ceil().max(1.0))
}

fn json(key: &str, value: &impl Serialize) -> Result<Bytes, BusError> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| BusError::Unreadable { action: format!("write `{key}`"), reason: error.to_string() })
}

/// Decodes a value.
pub(crate) fn decode<T: DeserializeOwned>(key: &str, stored: &Stored) -> Result<T, BusError> {
    serde_json::from_slice(&stored.payload)
        .map_err(|error| BusError::Unreadable { action: format!("read `{key}`"), reason: error.to_string() })
}

/// Decodes all values; what cannot be decoded is left out with a warning, since one bad entry must not hide the others.
pub(crate) fn decode_all<T: DeserializeOwned>(entries: &BTreeMap<String, Stored>) -> Vec<(String, T)> {
    let decoded = entries.iter().filter_map(|(key, stored)| match decode(key, stored) {
        Ok(value) => Some((key.clone(), value)),
        Err(error) => {
            tracing::warn!(key, %error, "an entry is left out");
            None
        }
    });
    decoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::WORKER_TTL;
    use slipway_kernel::Timestamp;

    fn told(key: &str, headers: &[(&'static str, &'static str)]) -> Followed {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let subject = bucket_key(Bucket::Workers.as_str(), key);
        Followed::Message(Stored { subject, sequence: 1, at: Timestamp(0), headers: map, payload: Bytes::new() })
    }

    /// A session from its begin until it has told all there is.
    fn session(view: &mut Latest, keys: &[&str]) {
        view.hear(Followed::Anew { created: Timestamp(0) });
        for key in keys {
            view.hear(told(key, &[]));
        }
        view.hear(Followed::CaughtUp { last: 1 });
    }

    fn keys(view: &Latest) -> Vec<&str> {
        view.known.keys().map(String::as_str).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_broker_forgets_or_expires_on_its_return_is_kept_until_its_owner_had_time_to_say_it_again() {
        let mut view = Latest::new(Bucket::Workers);
        session(&mut view, &["a", "b", "c"]);
        // It was away for longer than a lifetime: `a` is gone already, `b` and `c` go now.
        session(&mut view, &["b", "c"]);
        assert_eq!(keys(&view), ["a", "b", "c"]);
        assert!(view.hear(told("b", &[(MARKER, "MaxAge")])), "it was read, and that is told");
        assert!(view.hear(told("c", &[(OPERATION, "DEL")])), "its owner took it away");
        assert_eq!(keys(&view), ["a", "b"]);
        tokio::time::advance(WORKER_TTL / 2).await;
        view.hear(told("a", &[]));
        tokio::time::advance(WORKER_TTL / 2).await;
        assert!(view.drop_overdue());
        assert_eq!(keys(&view), ["a"], "who said it again stays");
        // From now on an expiry is what it says.
        assert!(view.hear(told("a", &[(MARKER, "MaxAge")])));
        assert!(keys(&view).is_empty());
    }

    #[test]
    fn a_lifetime_is_a_whole_number_of_seconds() {
        assert_eq!(seconds(Duration::from_millis(200)), "1s");
        assert_eq!(seconds(Duration::from_millis(2_500)), "3s");
        assert_eq!(seconds(Duration::from_secs(15)), "15s");
    }
}
