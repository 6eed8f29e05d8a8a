//! What wakes the bridge: something changed in the cluster, or the log went on. Neither says what is to be done.

use super::objects::Resources;
use crate::changes::ring;
use slipway_bus::{Changes, View};
use slipway_runtime::CancellationToken;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Notify, task::JoinSet};

pub(super) struct Bell {
    rung: Arc<Notify>,
    changes: Changes,
    watches: JoinSet<()>,
}

impl Bell {
    pub(super) fn new(view: &View) -> Self {
        Self { rung: Arc::default(), changes: view.changes(), watches: JoinSet::new() }
    }

    /// Watches the cluster, if it is not watched already.
    pub(super) fn hang(&mut self, resources: &Resources) {
        if !self.watches.is_empty() {
            return;
        }
        for api in resources.metadata() {
            self.watches.spawn(ring(api, String::new(), Arc::clone(&self.rung)));
        }
    }

    /// A cluster that does not serve the resource would be asked again and again.
    pub(super) fn take_down(&mut self) {
        self.watches.abort_all();
        self.watches = JoinSet::new();
    }

    /// Waits until something rang, at most `sweep`, and a little longer for what rings with it. Whether the time was over first.
    pub(super) async fn wait(&mut self, sweep: Duration, together: Duration, shutdown: &CancellationToken) -> bool {
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = tokio::time::sleep(sweep) => return true,
            () = self.rung.notified() => {}
            _ = self.changes.next() => {}
        }
        tokio::time::sleep(together).await;
        while self.changes.try_next().is_some() {}
        false
    }
}
