//! Proving that strangers stay outside, by trying to get in.

mod door;
mod knock;
mod visitors;

pub(crate) use door::Door;
pub(crate) use visitors::Visitors;

use crate::{
    config::ProofConfig,
    domain::proof::{Knock, Visit, Visitor, judge},
    effects::{Place, Trouble},
    telemetry::SecurityMetrics,
};
use futures::{StreamExt as _, stream};
use slipway_bus::{Watched, WorkerRecord, WorkerState};
use slipway_kernel::{Finding, FindingKind, Proof};
use slipway_runtime::tls::SpiffeId;
use std::{net::SocketAddr, sync::Arc};

/// Workers that are tried at once. A try takes a few round trips; a revision with a hundred workers is through in a second.
const AT_ONCE: usize = 8;

/// Tries each worker of a revision.
#[derive(Clone, Debug)]
pub(crate) struct WorkerProof {
    workers: Watched<Vec<WorkerRecord>>,
    config: ProofConfig,
    metrics: SecurityMetrics,
}

impl WorkerProof {
    pub(crate) const fn new(
        workers: Watched<Vec<WorkerRecord>>,
        config: ProofConfig,
        metrics: SecurityMetrics,
    ) -> Self {
        Self { workers, config, metrics }
    }

    /// Waits for the revision's workers to have their identities, then knocks at each door as everybody.
    pub(crate) async fn of(&self, place: &Place, visitors: Visitors) -> Result<Vec<Proof>, Trouble> {
        let ready = self.when_ready(place).await?;
        let expected = SpiffeId::Revision { deployment: place.deployment.clone(), revision: place.revision };
        let visitors = Arc::new(visitors);
        let tried = stream::iter(ready).map(|worker| {
            let (visitors, expected) = (Arc::clone(&visitors), expected.clone());
            async move { self.visit(&worker, &visitors, &expected).await }
        });
        let visits: Vec<Visit> =
            tried.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().flatten().collect();
        for _ in
            visits.iter().filter(|visit| visit.visitor != Visitor::Ingress && matches!(visit.knock, Knock::LetIn(_)))
        {
            self.metrics.hole();
        }
        judge(&visits).map_err(Trouble::Findings)
    }

    /// The workers that have their identities, once there are as many as planned.
    async fn when_ready(&self, place: &Place) -> Result<Vec<WorkerRecord>, Trouble> {
        let wanted = usize::try_from(place.replicas.max(1)).unwrap_or(usize::MAX);
        let enough = |records: &Vec<WorkerRecord>| ready(records, place).count() >= wanted;
        let mut workers = self.workers.clone();
        if let Some(records) = workers.wait(self.config.worker_wait.0, enough).await {
            return Ok(ready(&records, place).cloned().collect());
        }
        let records = workers.get();
        let found = ready(&records, place).count();
        let message = format!(
            "{found} of {wanted} workers of {} {} have their identities after {}",
            place.deployment, place.revision, self.config.worker_wait
        );
        let finding = Finding::transient(FindingKind::Timeout, message);
        let states =
            of_place(&records, place).map(|record| format!("worker:{} is {:?}", record.instance, record.state));
        Err(Trouble::finding(states.fold(finding, Finding::with_evidence)))
    }

    async fn visit(&self, worker: &WorkerRecord, visitors: &Visitors, expected: &SpiffeId) -> Vec<Visit> {
        let mut visits = Vec::with_capacity(Visitor::ALL.len());
        for visitor in Visitor::ALL {
            let knock = match worker.address.parse::<SocketAddr>() {
                Ok(address) => visitors.knock(visitor, address, expected, self.config.timeout.0).await,
                Err(_) => Knock::Undecided(format!("{:?} is no address", worker.address)),
            };
            let knock = match knock {
                // Another process may have been given the port of a worker that went away meanwhile.
                Knock::LetIn(heard) if visitor != Visitor::Ingress && !self.is_still_there(worker) => {
                    Knock::Undecided(format!("the worker went away meanwhile; what answered: {heard}"))
                }
                knock => knock,
            };
            visits.push(Visit { worker: worker.instance.clone(), visitor, knock });
        }
        visits
    }

    fn is_still_there(&self, worker: &WorkerRecord) -> bool {
        let same = |record: &WorkerRecord| record.instance == worker.instance && record.address == worker.address;
        self.workers.get().iter().any(same)
    }
}

fn of_place<'a>(records: &'a [WorkerRecord], place: &'a Place) -> impl Iterator<Item = &'a WorkerRecord> {
    records.iter().filter(|record| record.deployment == place.deployment && record.revision == place.revision)
}

fn ready<'a>(records: &'a [WorkerRecord], place: &'a Place) -> impl Iterator<Item = &'a WorkerRecord> {
    of_place(records, place).filter(|record| record.state == WorkerState::Ready)
}

#[cfg(test)]
mod tests;
