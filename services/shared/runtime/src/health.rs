//! Readiness: a service is ready when each of its named conditions is.

use crate::clock::Clock;
use serde::Serialize;
use slipway_kernel::Timestamp;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// The conditions of one service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health {
    conditions: Arc<Mutex<BTreeMap<&'static str, State>>>,
    changed: Arc<watch::Sender<u64>>,
    clock: Clock,
}

/// What a condition is at present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// Whether it holds.
    pub ready: bool,
    /// Why it does not; empty when it does.
    pub reason: String,
    /// Since when it has been so (Unix milliseconds).
    pub since: Timestamp,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotReady {
    /// Its name.
    pub condition: &'static str,
    /// Why.
    pub reason: String,
}

/// One condition, held by whoever knows about it. It outlives this handle: a part that died is not a part that is well.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    health: Health,
}

impl Health {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { conditions: Arc::default(), changed: Arc::new(watch::Sender::new(0)), clock }
    }

    pub(crate) fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// A condition by this name, not ready (`starting`) until it is said to be. Asking again gives the same one.
    #[must_use]
    pub fn condition(&self, name: &'static str) -> Condition {
        let since = self.clock.now();
        self.with(|conditions| {
            conditions.entry(name).or_insert(State { ready: false, reason: "starting".to_owned(), since });
        });
        Condition { name, health: self.clone() }
    }

    /// Whether every condition holds. Without any, yes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.with(|conditions| conditions.values().all(|state| state.ready))
    }

    /// Sees each change of a condition.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The conditions that do not hold, by name.
    #[must_use]
    pub fn not_ready(&self) -> Vec<NotReady> {
        self.with(|conditions| {
            conditions
                .iter()
                .filter(|(_, state)| !state.ready)
                .map(|(name, state)| NotReady { condition: name, reason: state.reason.clone() })
                .collect()
        })
    }

    /// All conditions.
    #[must_use]
    pub fn states(&self) -> BTreeMap<&'static str, State> {
        self.with(|conditions| conditions.clone())
    }

    fn with<R>(&self, read: impl FnOnce(&mut BTreeMap<&'static str, State>) -> R) -> R {
        // Nothing in here can panic half-way, so a poisoned lock guards whole data.
        read(&mut self.conditions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, name: &'static str, ready: bool, reason: String) {
        let since = self.clock.now();
        self.with(|conditions| match conditions.get_mut(name) {
            Some(state) if state.ready == ready => state.reason = reason,
            _ => {
                conditions.insert(name, State { ready, reason, since });
            }
        });
        self.changed.send_modify(|version| *version += 1);
    }
}

impl Condition {
    /// It holds.
    pub fn set_ready(&self) {
        self.health.set(self.name, true, String::new());
    }

    /// It does not hold, and why: for the person who reads `/readyz`, so no secrets.
    pub fn set_not_ready(&self, reason: impl fmt::Display) {
        self.health.set(self.name, false, reason.to_string());
    }

    /// It is no longer a condition.
    pub fn remove(self) {
        self.health.with(|conditions| conditions.remove(self.name));
        self.health.changed.send_modify(|version| *version += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_service_is_ready_when_all_its_conditions_are() {
        let health = Health::new(Clock::system());
        assert!(health.is_ready());
        let (nats, model) = (health.condition("nats"), health.condition("model"));
        nats.set_ready();
        model.set_not_ready("loading");
        assert_eq!(health.not_ready(), [NotReady { condition: "model", reason: "loading".to_owned() }]);
        drop(health.condition("nats"));
        assert_eq!(health.not_ready().len(), 1, "asking for a condition again does not reset it");
        let mut changes = health.changes();
        model.remove();
        assert!(health.is_ready());
        assert!(changes.has_changed().unwrap() && !health.changes().has_changed().unwrap());
        changes.mark_unchanged();
        nats.set_not_ready("gone");
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn a_condition_tells_since_when_it_has_been_so() {
        let (clock, hand) = Clock::manual(Timestamp(1));
        let health = Health::new(clock);
        let nats = health.condition("nats");
        hand.advance(Duration::from_millis(9));
        nats.set_not_ready("connection refused");
        assert_eq!(health.states()["nats"].since, Timestamp(1));
        nats.set_ready();
        assert_eq!(health.states()["nats"].since, Timestamp(10));
    }
}
