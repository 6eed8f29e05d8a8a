//! The view: the whole log in memory, folded per deployment when somebody asks. Every replica has its own.

use super::{Content, Entry};
use crate::{
    connect::Bus,
    error::BusError,
    follow::{Course, Followed, MANY, Mode, follow},
    topology::{LIFECYCLE, StreamName, deployment_of},
    wire::Stored,
};
use slipway_kernel::{Answer, Deployment, DeploymentId, Fact, FactKey, SetAside, Slot, fold};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};
use tokio::sync::{broadcast, mpsc, watch};

/// How long the first reading of the whole log may take: a million facts take seconds.
const FIRST_READING: Duration = Duration::from_secs(60);
/// Changes that may wait for one who listens; beyond it he is told to look at everything.
const PENDING_CHANGES: usize = 4_096;

/// A deployment as its facts say, with the token for a guarded write.
#[derive(Clone, Debug)]
pub struct Folded {
    /// The fold.
    pub deployment: Deployment,
    /// Sequence of the last message about this deployment that the fold knows.
    pub last_sequence: u64,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One deployment.
    Deployment {
        /// Which.
        id: DeploymentId,
        /// The question that was answered; `None` for a message that is set aside or skipped.
        slot: Option<Slot>,
    },
    /// Perhaps everything: look at all.
    All,
}

/// The changes from a moment on.
#[derive(Debug)]
pub struct Changes {
    receiver: broadcast::Receiver<Change>,
}

impl Changes {
    /// The next change if it was told already. Every one that was, is found: polling [`next`](Self::next) once is not the same, since
    /// the runtime lets a task that takes many in a row wait although there are more.
    pub fn try_next(&mut self) -> Option<Change> {
        match self.receiver.try_recv() {
            Ok(change) => Some(change),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(Change::All),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => None,
        }
    }

    /// The next change. Never ends; after the bus is closed it waits for ever.
    pub async fn next(&mut self) -> Change {
        match self.receiver.recv().await {
            Ok(change) => change,
            Err(broadcast::error::RecvError::Lagged(_)) => Change::All,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// The whole log, folded. Cheap to clone.
#[derive(Clone, Debug)]
pub struct View {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    known: RwLock<HashMap<DeploymentId, Arc<Mutex<Facts>>>>,
    applied: watch::Sender<u64>,
    changes: broadcast::Sender<Change>,
    strays: Mutex<Vec<SetAside>>,
}

/// What is known of one deployment.
#[derive(Debug, Default)]
struct Facts {
    facts: HashMap<FactKey, Arc<Fact>>,
    aside: BTreeMap<String, SetAside>,
    last_sequence: u64,
    folded: Option<Arc<Folded>>,
}

impl Facts {
    fn note(&mut self, entry: Entry) {
        self.last_sequence = self.last_sequence.max(entry.sequence);
        self.folded = None;
        match entry.content {
            Content::Fact(fact) => {
                if let Answer::Archived(archived) = &fact.answer {
                    // The tombstone stands for everything that was purged.
                    let last = archived.last_generation;
                    self.facts.retain(|key, _| key.generation > last);
                }
                self.facts.insert(fact.key.clone(), fact);
            }
            Content::SetAside(aside) => {
                self.aside.insert(entry.subject, aside);
            }
            Content::UnknownType(kind) => {
                tracing::info!(subject = entry.subject, kind, "a fact of a type unknown to this version is skipped");
            }
        }
    }

    fn folded(&mut self, id: &DeploymentId) -> Arc<Folded> {
        if let Some(folded) = &self.folded {
            return Arc::clone(folded);
        }
        let mut deployment = fold(id, self.facts.values().cloned());
        deployment.set_aside.extend(self.aside.values().cloned());
        deployment.set_aside.sort();
        let folded = Arc::new(Folded { deployment, last_sequence: self.last_sequence });
        self.folded = Some(Arc::clone(&folded));
        folded
    }

    fn is_archived(&self) -> bool {
        self.facts.values().any(|fact| fact.key.slot == Slot::End && matches!(fact.answer, Answer::Archived(_)))
    }
}

/// A panic elsewhere leaves the facts as they were; they are replaced as a whole, never half.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl View {
    pub(super) async fn start(bus: &Bus) -> Result<Self, BusError> {
        let shared = Arc::new(Shared {
            known: RwLock::default(),
            applied: watch::Sender::new(0),
            changes: broadcast::Sender::new(PENDING_CHANGES),
            strays: Mutex::default(),
        });
        let course = Course {
            stream: StreamName::Lifecycle.as_str().to_owned(),
            filter: LIFECYCLE.to_owned(),
            mode: Mode::Every { from: 1 },
            batch: MANY,
        };
        let mut told = follow(bus, course);
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let reader = Reader { bus: bus.clone(), shared: Arc::clone(&shared), rebuilding: None, ready: Some(ready) };
        bus.background(async move { reader.run(&mut told).await });
        match tokio::time::timeout(FIRST_READING, is_ready).await {
            Ok(Ok(())) => Ok(Self { shared }),
            Ok(Err(_)) => Err(BusError::Connection("closed while the log was read".to_owned())),
            Err(_) => Err(BusError::Timeout { action: "read the whole log".to_owned(), waited: FIRST_READING }),
        }
    }

    /// A deployment, folded from what has been read so far.
    #[must_use]
    pub fn get(&self, id: &DeploymentId) -> Option<Arc<Folded>> {
        let facts = self.shared.facts(id)?;
        let folded = lock(&facts).folded(id);
        Some(folded)
    }

    /// Every deployment that has facts.
    #[must_use]
    pub fn ids(&self) -> Vec<DeploymentId> {
        let mut ids: Vec<DeploymentId> = self.shared.read().keys().cloned().collect();
        ids.sort();
        ids
    }

    /// The facts of a deployment, in no order.
    #[must_use]
    pub fn facts(&self, id: &DeploymentId) -> Vec<Arc<Fact>> {
        self.shared.facts(id).map(|facts| lock(&facts).facts.values().cloned().collect()).unwrap_or_default()
    }

    /// Messages in the log that belong to no deployment at all.
    #[must_use]
    pub fn strays(&self) -> Vec<SetAside> {
        lock(&self.shared.strays).clone()
    }

    /// The sequence up to which the log has been read. The changes up to it were told before.
    #[must_use]
    pub fn applied(&self) -> u64 {
        *self.shared.applied.borrow()
    }

    /// Waits until the log has been read up to `sequence`; `false` when `timeout` was over first.
    pub async fn wait_applied(&self, sequence: u64, timeout: Duration) -> bool {
        let mut applied = self.shared.applied.subscribe();
        let reached = applied.wait_for(|applied| *applied >= sequence);
        matches!(tokio::time::timeout(timeout, reached).await, Ok(Ok(_)))
    }

    /// Follows the sequence up to which the log has been read.
    #[must_use]
    pub fn applied_changes(&self) -> watch::Receiver<u64> {
        self.shared.applied.subscribe()
    }

    /// The changes from now on.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes { receiver: self.shared.changes.subscribe() }
    }

    /// Waits until a deployment is as wanted, at most `timeout`.
    pub async fn wait_until(
        &self,
        id: &DeploymentId,
        timeout: Duration,
        mut wanted: impl FnMut(&Folded) -> bool + Send,
    ) -> Option<Arc<Folded>> {
        let mut changes = self.changes();
        let waiting = async {
            loop {
                if let Some(folded) = self.get(id).filter(|folded| wanted(folded)) {
                    return folded;
                }
                loop {
                    match changes.next().await {
                        Change::Deployment { id: other, .. } if other != *id => {}
                        Change::Deployment { .. } | Change::All => break,
                    }
                }
            }
        };
        tokio::time::timeout(timeout, waiting).await.ok()
    }
}

impl Shared {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<DeploymentId, Arc<Mutex<Facts>>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<DeploymentId, Arc<Mutex<Facts>>>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn facts(&self, id: &DeploymentId) -> Option<Arc<Mutex<Facts>>> {
        self.read().get(id).cloned()
    }

    fn facts_or_new(&self, id: &DeploymentId) -> Arc<Mutex<Facts>> {
        match self.facts(id) {
            Some(facts) => facts,
            None => Arc::clone(self.write().entry(id.clone()).or_default()),
        }
    }

    /// Tells of a change, always before [`reached`](Self::reached) tells of its sequence: who reads `applied` first and takes every
    /// change that is there then has seen all that led up to it.
    fn changed(&self, change: Change) {
        // Nobody may be listening.
        let _ = self.changes.send(change);
    }

    fn reached(&self, sequence: u64) {
        self.applied.send_if_modified(|applied| {
            let further = sequence > *applied;
            *applied = (*applied).max(sequence);
            further
        });
    }
}

struct Reader {
    bus: Bus,
    shared: Arc<Shared>,
    /// The log that took the place of the one that was read: shown when it has been read to its end.
    rebuilding: Option<HashMap<DeploymentId, Facts>>,
    ready: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Reader {
    async fn run(mut self, told: &mut mpsc::Receiver<Followed>) {
        while let Some(what) = told.recv().await {
            match what {
                Followed::Anew { .. } if self.ready.is_some() => self.shared.write().clear(),
                Followed::Anew { .. } => self.rebuilding = Some(HashMap::new()),
                Followed::Message(stored) => self.note(&stored),
                Followed::CaughtUp { last } => self.caught_up(last),
            }
        }
    }

    fn note(&mut self, stored: &Stored) {
        let entry = Entry::read(stored);
        let sequence = entry.sequence;
        if let Content::SetAside(aside) = &entry.content {
            self.bus.metrics().set_aside.inc();
            tracing::warn!(subject = aside.subject, reason = aside.reason, "a message of the log is set aside");
        }
        let Some(id) = deployment_of(&entry.subject) else {
            if let Content::SetAside(aside) = entry.content {
                lock(&self.shared.strays).push(aside);
            }
            self.shared.reached(sequence);
            return;
        };
        if let Some(rebuilding) = &mut self.rebuilding {
            rebuilding.entry(id).or_default().note(entry);
            return;
        }
        let slot = match &entry.content {
            Content::Fact(fact) => Some(fact.key.slot),
            Content::SetAside(_) | Content::UnknownType(_) => None,
        };
        lock(&self.shared.facts_or_new(&id)).note(entry);
        self.shared.changed(Change::Deployment { id, slot });
        self.shared.reached(sequence);
    }

    fn caught_up(&mut self, last: u64) {
        if let Some(fresh) = self.rebuilding.take() {
            self.replace(fresh, last);
        } else {
            self.shared.reached(last);
        }
        if let Some(ready) = self.ready.take() {
            // Whoever waited may have given up.
            let _ = ready.send(());
        }
    }

    /// Another log, or one that lost its end, takes the place of what was known. A fact that is gone is damage: the deployment is
    /// flagged, so that nobody decides again what was decided.
    fn replace(&self, fresh: HashMap<DeploymentId, Facts>, last: u64) {
        let fresh: HashMap<DeploymentId, Arc<Mutex<Facts>>> =
            fresh.into_iter().map(|(id, facts)| (id, Arc::new(Mutex::new(facts)))).collect();
        let before = std::mem::replace(&mut *self.shared.write(), fresh.clone());
        for (id, facts) in before {
            let now = fresh.get(&id);
            if now.is_some_and(|now| lock(now).is_archived()) {
                continue;
            }
            let lost = lock(&facts)
                .facts
                .keys()
                .find(|key| now.is_none_or(|now| !lock(now).facts.contains_key(*key)))
                .cloned();
            if let Some(lost) = lost {
                let flags = self.bus.flags();
                self.bus.background(async move {
                    let reason = format!("`{lost}` was in the log and is no more");
                    if let Err(error) = flags.raise(&id, &reason).await {
                        tracing::error!(%error, reason, "the integrity flag could not be raised");
                    }
                });
            }
        }
        self.shared.changed(Change::All);
        self.shared.applied.send_replace(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_that_was_told_is_found_at_once() {
        let sender = broadcast::Sender::new(PENDING_CHANGES);
        let mut changes = Changes { receiver: sender.subscribe() };
        for n in 0..PENDING_CHANGES {
            let id = format!("default.d{n}").parse().unwrap();
            sender.send(Change::Deployment { id, slot: None }).unwrap();
        }
        assert_eq!(std::iter::from_fn(|| changes.try_next()).count(), PENDING_CHANGES);
        for _ in 0..=PENDING_CHANGES {
            sender.send(Change::All).unwrap();
        }
        assert_eq!(changes.try_next(), Some(Change::All), "too many: look at all");
    }
}
