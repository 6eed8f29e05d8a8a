//! Rings when something of ours changed in the cluster.

use super::objects::{KINDS, POD};
use crate::changes::ring;
use slipway_cluster::Objects;
use std::sync::Arc;
use tokio::{sync::Notify, task::JoinSet};

/// Watches until it is dropped.
pub(super) fn hang(objects: &Objects, labels: &str, bell: &Arc<Notify>) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    // Of pods the status is what matters.
    for kind in KINDS.into_iter().filter(|kind| !kind.is_optional).chain([POD]) {
        watches.spawn(ring(objects.metadata_of(kind), labels.to_owned(), Arc::clone(bell)));
    }
    watches
}
