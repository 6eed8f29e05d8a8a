//! Where requests go: a view of the log, swapped as a whole.
//!
//! [`build`] is pure: what the facts of one deployment say about its door. [`stats`] counts how revisions do. [`follow`] keeps
//! the table up to date, [`report`] tells the controller which part of the log it stands on.

pub mod build;
pub mod follow;
pub mod report;
pub mod stats;

pub use build::{Entry, Rules, Target};

use crate::{
    admission::{Admission, CallerRates, Permits},
    cache::Answers,
    limits,
    upstream::retry::Budget,
};
use arc_swap::{ArcSwap, ArcSwapOption};
use slipway_kernel::{ByteSize, DeploymentId, RevisionId};
use stats::RevisionCounts;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::sync::watch;
use tracing::warn;

/// One deployment as requests meet it.
#[derive(Debug)]
pub struct Door {
    /// What the log says.
    pub entry: Entry,
    /// What outlives a change of the log.
    pub state: Arc<State>,
    /// The rate limit of whoever addresses a revision of this generation or none.
    pub rates: Option<Arc<CallerRates>>,
    /// How each revision with a share does since the shares changed last.
    pub counts: BTreeMap<RevisionId, Arc<RevisionCounts>>,
}

/// What a deployment keeps while its facts change.
#[derive(Debug)]
pub struct State {
    /// Requests of clients under way.
    pub permits: Permits,
    /// Requests of validation traffic under way: an overload test must not take the places of clients.
    pub probes: Permits,
    /// Retries it may still do.
    pub retries: Budget,
    /// Requests that may still be sent to a second worker because the first is slow.
    pub hedges: Budget,
    /// Answers that are kept for equal requests, where the deployment wants that.
    pub answers: ArcSwapOption<Answers>,
}

/// All deployments, and the part of the log they stand on.
#[derive(Debug, Default)]
pub struct Table {
    /// The log is applied up to this sequence.
    pub applied: u64,
    /// The newest fact that can have moved a route: others wait for this replica to be past it.
    pub routed_at: u64,
    /// Shared with the table before it while no door changes.
    doors: Arc<HashMap<DeploymentId, Arc<Door>>>,
}

impl Table {
    /// The door of a deployment.
    #[must_use]
    pub fn door(&self, id: &DeploymentId) -> Option<&Arc<Door>> {
        self.doors.get(id)
    }

    /// All doors.
    pub fn doors(&self) -> impl Iterator<Item = &Arc<Door>> {
        self.doors.values()
    }
}

/// The table in use, and who waits for the next one.
#[derive(Debug)]
pub struct Routing {
    current: ArcSwap<Table>,
    changed: watch::Sender<u64>,
}

impl Default for Routing {
    fn default() -> Self {
        Self { current: ArcSwap::default(), changed: watch::Sender::new(0) }
    }
}

impl Routing {
    /// The table in use.
    #[must_use]
    pub fn load(&self) -> arc_swap::Guard<Arc<Table>> {
        self.current.load()
    }

    /// Sees each change of the table.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Applies what the log says about these deployments now (`None`: nothing is left of it), and which fact was the last to move a route
    /// of theirs. With it the whole table stands at `applied`. Called by one task only.
    pub fn apply(
        &self,
        admission: &Admission,
        entries: impl IntoIterator<Item = (DeploymentId, Option<Entry>)>,
        routed_at: u64,
        applied: u64,
    ) {
        let before = self.current.load_full();
        let mut doors = Arc::clone(&before.doors);
        for (id, entry) in entries {
            let old = before.door(&id);
            let doors = Arc::make_mut(&mut doors);
            match entry {
                Some(entry) => doors.insert(id, Arc::new(door(entry, old.map(Arc::as_ref), admission))),
                None => doors.remove(&id),
            };
        }
        // A log that was made anew counts from its beginning.
        let earlier = if applied < before.applied { 0 } else { before.routed_at };
        self.current.store(Arc::new(Table { applied, routed_at: routed_at.max(earlier), doors }));
        self.changed.send_modify(|version| *version += 1);
    }
}

/// A door for `entry` that keeps of the old one what should be kept.
fn door(entry: Entry, old: Option<&Door>, admission: &Admission) -> Door {
    let fresh = || {
        let retries = Budget::new(limits::RETRY_RESERVE, limits::RETRY_PERCENT, limits::RETRIES_PER_SECOND);
        let hedges = Budget::new(limits::HEDGE_RESERVE, limits::HEDGE_PERCENT, 0);
        let (permits, probes) = (admission.of_deployment(), admission.of_deployment());
        Arc::new(State { permits, probes, retries, hedges, answers: ArcSwapOption::empty() })
    };
    let state = old.map_or_else(fresh, |door| Arc::clone(&door.state));
    keep_answers(&state, &entry, admission);
    let rate = entry.rules().and_then(|rules| rules.access.rate_limit);
    let same = |rates: &&Arc<CallerRates>| Some(rates.rate()) == rate;
    let rates = old
        .and_then(|door| door.rates.as_ref().filter(same).map(Arc::clone))
        .or_else(|| rate.map(|rate| Arc::new(CallerRates::new(rate))));
    let unshifted = old.filter(|door| door.entry.routes.shares == entry.routes.shares);
    let counts = match unshifted {
        Some(door) => door.counts.clone(),
        // A shift begins a new measurement.
        None => entry.routes.shares.iter().map(|route| (route.revision, Arc::default())).collect(),
    };
    Door { entry, state, rates, counts }
}

/// Gives the deployment the room for answers that it wants. If that changes, what was kept is forgotten.
fn keep_answers(state: &State, entry: &Entry, admission: &Admission) {
    let wanted = entry.rules().and_then(|rules| rules.cache);
    if state.answers.load().as_ref().map(|answers| answers.wanted()) == wanted {
        return;
    }
    // What the old ones take is free before the new ones ask.
    state.answers.store(None);
    let Some(wanted) = wanted else { return };
    let answers = admission.answers.answers(wanted);
    if answers.granted() < wanted.0 {
        let granted = ByteSize(answers.granted());
        warn!(deployment = %entry.id, %wanted, %granted, "other deployments have the memory for kept answers (limits.cache_memory)");
    }
    state.answers.store(Some(Arc::new(answers)));
}

#[cfg(test)]
mod tests {
    use super::{build::tests::History, *};
    use crate::config::LimitsConfig;

    #[test]
    fn a_change_keeps_what_a_deployment_has_and_a_shift_begins_to_count_anew() {
        let (routing, admission) = (Routing::default(), Admission::new(&LimitsConfig::default()));
        let id: DeploymentId = "default.digits".parse().unwrap();
        let mut history = History::new();
        let apply = |history: &History, applied| {
            let deployment = history.fold();
            routing.apply(&admission, [(id.clone(), build::build(&deployment))], deployment.routed_at(), applied);
        };
        history.release(1, 1);
        apply(&history, 1);
        let first = Arc::clone(routing.load().door(&id).unwrap());
        first.counts[&RevisionId::new(1, 1)].record(true, std::time::Duration::ZERO);
        history.deploy(2, 1);
        apply(&history, 2);
        let second = Arc::clone(routing.load().door(&id).unwrap());
        assert!(Arc::ptr_eq(&first.state, &second.state));
        assert_eq!(second.counts[&RevisionId::new(1, 1)].summary().requests, 1);
        history.shift(2, 1, 25);
        apply(&history, 3);
        let third = Arc::clone(routing.load().door(&id).unwrap());
        assert_eq!(third.counts.len(), 2);
        assert_eq!(third.counts[&RevisionId::new(1, 1)].summary().requests, 0);
        assert_eq!((routing.load().applied, routing.load().routed_at), (3, history.fold().routed_at()));
        routing.apply(&admission, [(id.clone(), None)], 0, 4);
        assert!(routing.load().door(&id).is_none());
        assert_eq!((routing.load().applied, routing.load().routed_at), (4, history.fold().routed_at()));
        routing.apply(&admission, [(id.clone(), None)], 2, 2);
        assert_eq!((routing.load().applied, routing.load().routed_at), (2, 2), "another log");
    }
}
