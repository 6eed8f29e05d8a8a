//! The live workers by revision, and which of them a request goes to.

use super::worker::{Seat, Standing, Taken, Worker};
use crate::domain::balance::{Candidate, pick_of_two};
use arc_swap::{ArcSwap, ArcSwapOption};
use slipway_kernel::{DeploymentId, RevisionId};
use slipway_runtime::tls::{Reloadable, TlsError};
use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tracing::{debug, error};

/// How long it is remembered since when a revision has no worker. After that it counts as if it never had one.
const REMEMBERED: Duration = Duration::from_secs(600);

type Key = (DeploymentId, RevisionId);

/// The workers of one revision.
#[derive(Clone, Debug)]
pub struct Group {
    workers: Vec<Arc<Worker>>,
    /// Since when there is none.
    empty_since: Option<Instant>,
}

/// All live workers.
#[derive(Debug)]
pub struct Pool {
    connect_timeout: Duration,
    lanes: usize,
    started: Instant,
    identity: ArcSwapOption<Reloadable>,
    seats: Mutex<Vec<Seat>>,
    groups: ArcSwap<HashMap<Key, Group>>,
    changed: watch::Sender<u64>,
}

/// What a request finds.
#[derive(Debug)]
pub enum Found {
    /// This one.
    Worker(Arc<Worker>),
    /// All are passed over; one is due then, or somebody is finding out.
    Later(Option<Instant>),
    /// There is none, since then.
    Nobody(Instant),
}

impl Pool {
    /// Empty, for requests of so many lanes and of other threads.
    #[must_use]
    pub fn new(connect_timeout: Duration, lanes: NonZeroUsize) -> Self {
        Self {
            connect_timeout,
            lanes: lanes.get(),
            started: Instant::now(),
            identity: ArcSwapOption::empty(),
            seats: Mutex::default(),
            groups: ArcSwap::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Sees each change of who can be taken.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes the identity with which workers are talked to. Without one nobody can be.
    pub fn set_identity(&self, identity: Reloadable) {
        self.identity.store(Some(Arc::new(identity)));
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.rebuild(&seats);
    }

    /// Whether there is an identity.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        self.identity.load().is_some()
    }

    /// Takes the list of workers that are ready now. Who stays keeps its connection.
    pub fn set_seats(&self, seats: Vec<Seat>) {
        self.rebuild(&seats);
        *self.seats.lock().unwrap_or_else(PoisonError::into_inner) = seats;
    }

    fn rebuild(&self, seats: &[Seat]) {
        let Some(identity) = self.identity.load_full() else { return };
        let (before, now) = (self.groups.load_full(), Instant::now());
        let mut groups: HashMap<Key, Group> = HashMap::new();
        for seat in seats {
            let key = (seat.deployment.clone(), seat.revision);
            let same = |worker: &&Arc<Worker>| worker.seat() == seat;
            let known = before.get(&key).and_then(|group| group.workers.iter().find(same)).map(Arc::clone);
            let worker = match known {
                Some(worker) => worker,
                None => match self.worker(seat, &identity) {
                    Ok(worker) => Arc::new(worker),
                    Err(error) => {
                        error!(instance = seat.instance, %error, "no connection to a worker can be set up");
                        continue;
                    }
                },
            };
            groups.entry(key).or_insert(Group { workers: Vec::new(), empty_since: None }).workers.push(worker);
        }
        for (key, group) in before.iter() {
            let since = group.empty_since.unwrap_or(now);
            if !groups.contains_key(key) && now.duration_since(since) < REMEMBERED {
                debug!(deployment = %key.0, revision = %key.1, "no worker is left");
                groups.insert(key.clone(), Group { workers: Vec::new(), empty_since: Some(since) });
            }
        }
        self.groups.store(Arc::new(groups));
        self.changed.send_modify(|version| *version += 1);
    }

    fn worker(&self, seat: &Seat, identity: &Reloadable) -> Result<Worker, TlsError> {
        Worker::new(seat.clone(), identity, self.connect_timeout, self.lanes, self.changed.clone())
    }

    /// How many workers a revision has.
    #[must_use]
    pub fn count(&self, deployment: &DeploymentId, revision: RevisionId) -> usize {
        self.groups.load().get(&(deployment.clone(), revision)).map_or(0, |group| group.workers.len())
    }

    /// All workers of a revision.
    #[must_use]
    pub fn workers(&self, deployment: &DeploymentId, revision: RevisionId) -> Vec<Arc<Worker>> {
        let groups = self.groups.load();
        groups.get(&(deployment.clone(), revision)).map(|group| group.workers.clone()).unwrap_or_default()
    }

    /// A worker of the revision other than `one`, if there is one that can be taken.
    #[must_use]
    pub fn other(&self, key: &Key, one: &str, now: Instant, random: u64) -> Option<Arc<Worker>> {
        match self.find(key, Some(one), now, random) {
            Found::Worker(other) => Some(other).filter(|other| other.seat().instance != one),
            Found::Later(_) | Found::Nobody(_) => None,
        }
    }

    /// A worker of the revision, not `avoid` where there is another.
    #[must_use]
    pub fn find(&self, key: &Key, avoid: Option<&str>, now: Instant, random: u64) -> Found {
        let groups = self.groups.load();
        let Some(group) = groups.get(key) else { return Found::Nobody(self.started) };
        if group.workers.is_empty() {
            return Found::Nobody(group.empty_since.unwrap_or(self.started));
        }
        let mut able: Vec<&Arc<Worker>> = Vec::with_capacity(group.workers.len());
        let mut earliest = None;
        for worker in &group.workers {
            match worker.standing(now) {
                Standing::Healthy | Standing::Due => able.push(worker),
                Standing::Ejected(until) => earliest = Some(earliest.map_or(until, |e: Instant| e.min(until))),
                Standing::Probing => {}
            }
        }
        if able.len() > 1 {
            able.retain(|worker| Some(worker.seat().instance.as_str()) != avoid);
        }
        let candidates: Vec<Candidate> = able.iter().map(|worker| worker.candidate(now)).collect();
        match pick_of_two(&candidates, random) {
            Some(index) => Found::Worker(Arc::clone(able[index])),
            None => Found::Later(earliest),
        }
    }
}

/// Takes the worker; `None` if somebody was faster at finding out whether it is back.
pub fn take(worker: &Worker) -> Option<Taken<'_>> {
    worker.take(Instant::now())
}
