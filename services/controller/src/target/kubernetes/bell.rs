//! Rings when something of ours changed in the cluster. It says nothing of what: whoever hears it looks at everything, so a watch that was
//! closed, expired or behind costs a moment and never a wrong picture.

use super::objects::{KINDS, POD};
use futures::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use slipway_cluster::{Kind, Objects};
use std::sync::Arc;
use tokio::{sync::Notify, task::JoinSet};

/// Watches until it is dropped.
pub(super) fn hang(objects: &Objects, labels: &str, bell: &Arc<Notify>) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    for kind in KINDS.into_iter().filter(|kind| !kind.is_optional) {
        watches.spawn(metadata(objects.clone(), kind, labels.to_owned(), Arc::clone(bell)));
    }
    // Of pods the status is what matters.
    watches.spawn(metadata(objects.clone(), POD, labels.to_owned(), Arc::clone(bell)));
    watches
}

async fn metadata(objects: Objects, kind: Kind, labels: String, bell: Arc<Notify>) {
    let config = watcher::Config::default().labels(&labels);
    let mut events = std::pin::pin!(watcher(objects.metadata_of(kind), config).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(_) => bell.notify_one(),
            Err(error) => tracing::debug!(kind = kind.kind, %error, "a watch is begun anew"),
        }
    }
}
