//! What is to be started and stopped, decided from what shall be and what is. Pure.

use crate::{domain::manifest::outer_memory_limit, target::Group};
use slipway_kernel::{DeploymentId, Finding, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Deaths before a group that never was ready is given up: one may be chance, three are not.
pub(super) const MAX_DEATHS: u32 = 3;
/// A group that was ready so long is healthy again, whatever was before.
pub(super) const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// The longest pause before a worker is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long after its own time to drain a worker is killed.
const KILL_AFTER: Duration = Duration::from_secs(5);

/// A worker that is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Its name.
    pub(super) name: String,
    /// Which try at which revision it belongs to.
    pub(super) group: Group,
    /// Which of its workers.
    pub(super) number: u32,
    /// Memory it has resident, in bytes.
    pub(super) resident_bytes: u64,
    /// Its planned memory limit, in bytes.
    pub(super) memory_bytes: u64,
    /// Since when it is asked to end.
    pub(super) ending: Option<Timestamp>,
}

/// The troubles of a group.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Trouble {
    /// Deaths since it was healthy last.
    pub(super) deaths: u32,
    /// Not started again before.
    pub(super) not_before: Timestamp,
    /// Whether all were ready once.
    pub(super) was_ready: bool,
    /// Since when all are ready.
    pub(super) ready_since: Option<Timestamp>,
    /// Why the last one died.
    pub(super) findings: Vec<Finding>,
    /// Not started again at all.
    pub(super) given_up: bool,
}

impl Trouble {
    /// A worker died for these reasons.
    pub(super) fn died(&mut self, findings: Vec<Finding>, now: Timestamp) {
        self.deaths = self.deaths.saturating_add(1);
        self.ready_since = None;
        let exponent = self.deaths.saturating_sub(1).min(10);
        self.not_before = now.after((Duration::from_millis(500) * (1 << exponent)).min(LONGEST_PAUSE));
        let for_good = findings.iter().any(|finding| {
            finding.cause == slipway_kernel::Cause::Deterministic
                && finding.kind != slipway_kernel::FindingKind::Crashed
        });
        self.findings = findings;
        // One that has traffic is started again for ever: even a minute of service is better than none.
        self.given_up = !self.was_ready && (for_good || self.deaths >= MAX_DEATHS);
    }

    /// All are ready, or not.
    pub(super) fn observe(&mut self, all_ready: bool, now: Timestamp) {
        if !all_ready {
            self.ready_since = None;
            return;
        }
        self.was_ready = true;
        let since = *self.ready_since.get_or_insert(now);
        if now.since(since) >= HEALTHY_AFTER {
            self.deaths = 0;
            self.findings.clear();
        }
    }

    /// Whether it dies again and again.
    #[must_use]
    pub(super) const fn is_crash_loop(&self) -> bool {
        self.given_up || self.deaths >= MAX_DEATHS
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Start worker `number` of a group.
    Start {
        /// The group.
        group: Group,
        /// Which worker.
        number: u32,
    },
    /// Ask it to end.
    End {
        /// Which.
        name: String,
    },
    /// End it at once: it did not end when asked.
    Kill {
        /// Which.
        name: String,
    },
    /// End it at once: it has more memory than planned.
    KillForMemory {
        /// Which.
        name: String,
    },
}

/// What shall be and what is.
#[derive(Clone, Debug)]
pub(super) struct Picture<'a> {
    /// The workers that shall be, by group.
    pub(super) desired: &'a BTreeMap<Group, u32>,
    /// Deployments of which is known what shall be.
    pub(super) told: &'a BTreeSet<DeploymentId>,
    /// Whether all are.
    pub(super) all_told: bool,
    /// The workers that are, oldest first.
    pub(super) seen: &'a [Seen],
    /// Troubles.
    pub(super) troubles: &'a BTreeMap<Group, Trouble>,
    /// How long a worker may finish what it has.
    pub(super) drain: Duration,
    /// The time.
    pub(super) now: Timestamp,
}

/// What is to be done. Ends come before starts, so that room is made first.
#[must_use]
pub(super) fn reconcile(picture: &Picture<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut kept: BTreeSet<(&Group, u32)> = BTreeSet::new();
    for seen in picture.seen {
        if let Some(since) = seen.ending {
            if picture.now >= since.after(picture.drain + KILL_AFTER) {
                actions.push(Action::Kill { name: seen.name.clone() });
            }
        } else if seen.resident_bytes > outer_memory_limit(seen.memory_bytes) {
            actions.push(Action::KillForMemory { name: seen.name.clone() });
        } else if is_wanted(picture, seen) && kept.insert((&seen.group, seen.number)) {
            // It stays.
        } else if picture.all_told || picture.told.contains(&seen.group.deployment) {
            actions.push(Action::End { name: seen.name.clone() });
        }
    }
    for (group, replicas) in picture.desired {
        let trouble = picture.troubles.get(group);
        if trouble.is_some_and(|trouble| trouble.given_up || picture.now < trouble.not_before) {
            continue;
        }
        for number in (0..*replicas).filter(|number| !kept.contains(&(group, *number))) {
            actions.push(Action::Start { group: group.clone(), number });
        }
    }
    actions
}

fn is_wanted(picture: &Picture<'_>, seen: &Seen) -> bool {
    let given_up = picture.troubles.get(&seen.group).is_some_and(|trouble| trouble.given_up);
    !given_up && picture.desired.get(&seen.group).is_some_and(|replicas| seen.number < *replicas)
}

#[cfg(test)]
mod tests;
