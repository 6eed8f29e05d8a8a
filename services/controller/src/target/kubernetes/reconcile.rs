//! What is to be made and removed, decided from what shall be and what is. Pure.

use super::objects::{CLAIM, Key, is_workload};
use crate::{
    domain::manifest::kubernetes::{ATTEMPT, TOKEN},
    target::Group,
};
use serde_json::Value;
use slipway_cluster::{Kind, annotation, is_leaving, label, text};
use slipway_kernel::{DeploymentId, Digest, names};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An object that is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) key: Key,
    pub(super) uid: String,
    /// The value of the label of its deployment.
    pub(super) deployment: String,
    pub(super) revision: String,
    pub(super) attempt: u32,
    /// The fencing token of an anchor, or that of a workload's pods.
    pub(super) token: u64,
    pub(super) is_anchor: bool,
    pub(super) is_leaving: bool,
    pub(super) fingerprint: Digest,
}

impl Seen {
    /// An object of a list.
    pub(super) fn of(kind: Kind, object: &Value, fingerprint: Digest) -> Self {
        let is_anchor = !label(object, "slipway.dev/anchor").is_empty();
        let token = match is_anchor {
            true => annotation(object, TOKEN),
            false => {
                object["spec"]["template"]["metadata"]["annotations"].get(TOKEN).and_then(Value::as_str).unwrap_or("")
            }
        };
        Self {
            key: Key { kind: kind.kind, name: text(object, "/metadata/name").to_owned() },
            uid: text(object, "/metadata/uid").to_owned(),
            deployment: label(object, "slipway.dev/deployment").to_owned(),
            revision: label(object, "slipway.dev/revision").to_owned(),
            attempt: label(object, ATTEMPT).parse().unwrap_or(0),
            token: token.parse().unwrap_or(0),
            is_anchor,
            is_leaving: is_leaving(object),
            fingerprint,
        }
    }
}

/// The objects that one try at a revision is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Made {
    pub(super) group: Group,
    /// None where they are not known: then nothing of it is made or removed.
    pub(super) keys: Vec<Key>,
}

/// What shall be and what is.
#[derive(Debug)]
pub(super) struct Picture<'a> {
    pub(super) wanted: &'a [Made],
    /// Deployments of which is known what shall be.
    pub(super) told: &'a BTreeSet<DeploymentId>,
    /// Whether all are.
    pub(super) all_told: bool,
    /// What is there, in the order in which it is to be removed.
    pub(super) seen: &'a [Seen],
    /// How many pods there are, by the labels of deployment and revision.
    pub(super) pods: &'a BTreeMap<(String, String), usize>,
    /// The fingerprints of what was applied, as they were then.
    pub(super) applied: &'a HashMap<Key, Digest>,
}

/// Why an object is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It was not applied yet, by this keeper at least.
    New,
    /// It belongs to another try.
    AnotherTry,
    /// It was removed by others.
    Removed,
    /// It was changed by others.
    Changed,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Make item `number` of what a group is what it shall be.
    Apply {
        /// Whose.
        group: Group,
        /// Which of its items.
        number: usize,
        /// Why.
        why: Why,
        /// The token under which its pods were started, if they were.
        token: Option<u64>,
        /// Whether it is not there at all.
        is_absent: bool,
    },
    /// Remove what nobody wants.
    Remove {
        /// What.
        key: Key,
        /// Exactly this one.
        uid: String,
    },
}

/// What is to be done: removals first, so that room is made.
#[must_use]
pub(super) fn reconcile(picture: &Picture<'_>) -> Vec<Action> {
    let mut actions: Vec<Action> = removals(picture).collect();
    let there: HashMap<&Key, &Seen> = picture.seen.iter().map(|seen| (&seen.key, seen)).collect();
    for made in picture.wanted {
        for (number, key) in made.keys.iter().enumerate() {
            let seen = there.get(key).copied();
            // Its name is free only when it is gone.
            if seen.is_some_and(|seen| seen.is_leaving) {
                continue;
            }
            let same_try = seen.is_some_and(|seen| !is_workload(key.kind) || seen.attempt == made.group.attempt);
            let why = match (seen, picture.applied.get(key)) {
                (None, None) | (Some(_), None) => Why::New,
                (None, Some(_)) => Why::Removed,
                (Some(_), Some(_)) if !same_try => Why::AnotherTry,
                (Some(seen), Some(applied)) if seen.fingerprint != *applied => Why::Changed,
                (Some(_), Some(_)) => continue,
            };
            let token = seen.filter(|seen| same_try && seen.token > 0).map(|seen| seen.token);
            actions.push(Action::Apply { group: made.group.clone(), number, why, token, is_absent: seen.is_none() });
        }
    }
    actions
}

fn removals<'a>(picture: &'a Picture<'_>) -> impl Iterator<Item = Action> + 'a {
    let told: BTreeSet<String> = picture.told.iter().map(names::label).collect();
    let wanted: BTreeSet<&Key> = picture.wanted.iter().flat_map(|made| &made.keys).collect();
    let with_wishes: BTreeSet<String> =
        picture.wanted.iter().map(|made| names::label(&made.group.deployment)).collect();
    let revision_of = |made: &Made| (names::label(&made.group.deployment), made.group.revision.to_string());
    let unknown = picture.wanted.iter().filter(|made| made.keys.is_empty());
    let unknown: BTreeSet<(String, String)> = unknown.map(revision_of).collect();
    // Claims are no items: the workload of the revision makes them.
    let with_claims: BTreeSet<(String, String)> = picture.wanted.iter().map(revision_of).collect();
    let others: BTreeSet<&str> =
        picture.seen.iter().filter(|seen| !seen.is_anchor).map(|seen| seen.deployment.as_str()).collect();
    let unwanted = picture.seen.iter().filter(move |seen| {
        // Of whom nothing is known yet nothing is removed.
        if seen.is_leaving || !(picture.all_told || told.contains(&seen.deployment)) {
            return false;
        }
        if seen.is_anchor {
            return !with_wishes.contains(&seen.deployment) && !others.contains(seen.deployment.as_str());
        }
        let of_revision = (seen.deployment.clone(), seen.revision.clone());
        if wanted.contains(&seen.key) || unknown.contains(&of_revision) {
            return false;
        }
        if seen.key.kind == CLAIM && with_claims.contains(&of_revision) {
            return false;
        }
        // What workers use stays as long as they do.
        let pods = picture.pods.get(&of_revision).copied().unwrap_or(0);
        is_workload(seen.key.kind) || ["HorizontalPodAutoscaler", "ScaledObject"].contains(&seen.key.kind) || pods == 0
    });
    unwanted.map(|seen| Action::Remove { key: seen.key.clone(), uid: seen.uid.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_kernel::RevisionId;

    fn group(revision: u32, attempt: u32) -> Group {
        Group { deployment: "default.digits".parse().unwrap(), revision: RevisionId::new(1, revision), attempt }
    }

    fn key(kind: &'static str, name: &str) -> Key {
        Key { kind, name: name.to_owned() }
    }

    fn made(revision: u32, attempt: u32) -> Made {
        let name = format!("digits-1-{revision}");
        Made { group: group(revision, attempt), keys: vec![key("ConfigMap", &name), key("Deployment", &name)] }
    }

    fn seen(kind: &'static str, revision: u32) -> Seen {
        let name = format!("digits-1-{revision}");
        Seen {
            uid: format!("uid-{kind}-{revision}"),
            fingerprint: Digest::of(name.as_bytes()),
            key: key(kind, &name),
            deployment: "default.digits".into(),
            revision: format!("1-{revision}"),
            attempt: 0,
            token: 7,
            is_anchor: false,
            is_leaving: false,
        }
    }

    fn anchor() -> Seen {
        Seen { key: key("ConfigMap", "digits"), revision: String::new(), is_anchor: true, ..seen("ConfigMap", 0) }
    }

    struct World {
        wanted: Vec<Made>,
        told: bool,
        seen: Vec<Seen>,
        pods: usize,
        applied: Vec<Seen>,
    }

    fn decided(world: &World) -> Vec<String> {
        let id: DeploymentId = "default.digits".parse().unwrap();
        let told = if world.told { BTreeSet::from([id]) } else { BTreeSet::new() };
        let pods = (1..3).map(|n| (("default.digits".to_owned(), format!("1-{n}")), world.pods)).collect();
        let applied = world.applied.iter().map(|seen| (seen.key.clone(), seen.fingerprint.clone())).collect();
        let actions = reconcile(&Picture {
            wanted: &world.wanted,
            told: &told,
            all_told: false,
            seen: &world.seen,
            pods: &pods,
            applied: &applied,
        });
        let told = actions.iter().map(|action| match action {
            Action::Apply { group, number, why, token, .. } => {
                format!("{why:?} {}/{} {number} {}", group.revision, group.attempt, token.unwrap_or(0))
            }
            Action::Remove { key, .. } => format!("remove {} {}", key.kind, key.name),
        });
        told.collect()
    }

    #[test]
    fn what_is_not_there_is_made_and_what_is_as_it_was_is_left_alone() {
        let mut world = World { wanted: vec![made(1, 0)], told: true, seen: vec![], pods: 0, applied: vec![] };
        assert_eq!(decided(&world), ["New 1-1/0 0 0", "New 1-1/0 1 0"]);
        world.seen = vec![seen("Deployment", 1), seen("ConfigMap", 1), anchor()];
        world.applied = world.seen.clone();
        assert_eq!(decided(&world), [""; 0]);
    }

    #[test]
    fn a_keeper_that_has_just_begun_applies_all_once_and_leaves_the_pods_their_token() {
        let seen = vec![seen("Deployment", 1), seen("ConfigMap", 1), anchor()];
        let world = World { wanted: vec![made(1, 0)], told: true, seen, pods: 1, applied: vec![] };
        assert_eq!(decided(&world), ["New 1-1/0 0 7", "New 1-1/0 1 7"]);
    }

    #[test]
    fn what_others_removed_or_changed_is_noticed() {
        let both = vec![seen("Deployment", 1), seen("ConfigMap", 1)];
        let changed = Seen { fingerprint: Digest::of(b"other"), ..seen("Deployment", 1) };
        let world = World { wanted: vec![made(1, 0)], told: true, seen: vec![changed], pods: 1, applied: both };
        assert_eq!(decided(&world), ["Removed 1-1/0 0 0", "Changed 1-1/0 1 7"]);
    }

    #[test]
    fn another_try_has_other_pods_with_a_token_of_their_own() {
        let both = vec![seen("Deployment", 1), seen("ConfigMap", 1)];
        let world = World { wanted: vec![made(1, 1)], told: true, seen: both.clone(), pods: 1, applied: both };
        assert_eq!(decided(&world), ["AnotherTry 1-1/1 1 0"]);
    }

    #[test]
    fn workers_go_before_what_they_use_and_the_anchor_last() {
        let all = vec![seen("Deployment", 1), seen("ConfigMap", 1), anchor()];
        let mut world = World { wanted: vec![], told: true, seen: all, pods: 1, applied: vec![] };
        assert_eq!(decided(&world), ["remove Deployment digits-1-1"]);
        world.pods = 0;
        assert_eq!(decided(&world), ["remove Deployment digits-1-1", "remove ConfigMap digits-1-1"]);
        world.seen = vec![anchor()];
        assert_eq!(decided(&world), ["remove ConfigMap digits"]);
    }

    #[test]
    fn claims_stay_while_their_revision_is_wanted_and_go_when_no_pod_is_left() {
        let claim = Seen { key: key(CLAIM, "models-digits-1-1-0"), ..seen(CLAIM, 1) };
        let set = key("StatefulSet", "digits-1-1");
        let wanted = Made { keys: vec![set.clone()], ..made(1, 0) };
        let all = vec![Seen { key: set, ..seen("StatefulSet", 1) }, claim];
        let mut world = World { wanted: vec![wanted], told: true, applied: all.clone(), seen: all, pods: 0 };
        assert_eq!(decided(&world), [""; 0]);
        world.wanted.clear();
        world.pods = 1;
        assert_eq!(decided(&world), ["remove StatefulSet digits-1-1"]);
        world.seen.remove(0);
        world.pods = 0;
        assert_eq!(decided(&world), ["remove PersistentVolumeClaim models-digits-1-1-0"]);
    }

    #[test]
    fn another_try_at_a_stateful_set_has_other_pods() {
        let set = key("StatefulSet", "digits-1-1");
        let wanted = Made { keys: vec![set.clone()], ..made(1, 1) };
        let all = vec![Seen { key: set, ..seen("StatefulSet", 1) }];
        let world = World { wanted: vec![wanted], told: true, applied: all.clone(), seen: all, pods: 1 };
        assert_eq!(decided(&world), ["AnotherTry 1-1/1 0 0"]);
    }

    #[test]
    fn what_runs_of_a_revision_whose_manifests_cannot_be_read_goes_on() {
        let unknown = Made { keys: vec![], ..made(1, 0) };
        let all = vec![seen("Deployment", 1), seen("ConfigMap", 1), anchor()];
        let world = World { wanted: vec![unknown], told: true, seen: all, pods: 0, applied: vec![] };
        assert_eq!(decided(&world), [""; 0]);
    }

    #[test]
    fn of_whom_nothing_is_known_yet_nothing_is_removed() {
        let all = vec![seen("Deployment", 1), anchor()];
        let world = World { wanted: vec![], told: false, seen: all, pods: 0, applied: vec![] };
        assert_eq!(decided(&world), [""; 0]);
    }

    #[test]
    fn a_name_is_used_again_only_when_its_object_is_gone() {
        let leaving = Seen { is_leaving: true, ..seen("Deployment", 1) };
        let world = World { wanted: vec![made(1, 0)], told: true, seen: vec![leaving], pods: 1, applied: vec![] };
        assert_eq!(decided(&world), ["New 1-1/0 0 0"]);
    }
}
