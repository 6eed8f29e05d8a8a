//! Looks from time to time whether stacks are still what they were made, and says where they are not. It is told and not mended: whoever
//! changed something may have had a reason, and what serves is not changed without a person.

use crate::{
    domain::stack::chosen::cloud_of,
    effects::Effects,
    local::NotReady,
    reconcile::{LEASE, WORK, order},
    stack::StackConfig,
    telemetry::Telemetry,
};
use slipway_bus::{Bus, BusError, LeaseKey, View, WorkerTrouble};
use slipway_kernel::{
    Answer, Deployment, DeploymentId, GenerationState, Revision, RevisionId, Service, Slot, spec::Target,
};
use slipway_runtime::CancellationToken;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How often what was found is said again; who hears nothing for fifteen seconds believes that it is over.
const SAY: Duration = Duration::from_secs(5);
/// How often it is asked whose turn it is.
const TURN: Duration = Duration::from_secs(1);

/// The watch on stacks.
pub(crate) struct Watch<E> {
    cloud: Target,
    every: Duration,
    bus: Bus,
    effects: Arc<E>,
    telemetry: Telemetry,
    found: Mutex<BTreeMap<DeploymentId, WorkerTrouble>>,
}

impl<E: Effects> Watch<E> {
    /// `None` where no stacks are made, or nobody wants them looked at.
    pub(crate) fn new(config: &StackConfig, bus: &Bus, effects: &Arc<E>, telemetry: &Telemetry) -> Option<Self> {
        let every = config.drift_every.0;
        let cloud = config.cloud.filter(|_| !every.is_zero())?.target();
        let (bus, effects, telemetry) = (bus.clone(), Arc::clone(effects), telemetry.clone());
        Some(Self { cloud, every, bus, effects, telemetry, found: Mutex::default() })
    }

    /// Looks until shutdown.
    ///
    /// # Errors
    /// When the log cannot be read at the start.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), BusError> {
        let view = self.bus.log().follow().await?;
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.look_at_all(&view) => {}
            () = self.say() => {}
        }
        Ok(())
    }

    async fn look_at_all(&self, view: &View) {
        // Counted from when it was first seen here: a start is no reason for a hundred plans.
        let mut next: BTreeMap<DeploymentId, Instant> = BTreeMap::new();
        loop {
            let stands = |id: &DeploymentId| {
                view.get(id).is_some_and(|folded| standing(&folded.deployment, self.cloud).is_some())
            };
            let there: Vec<DeploymentId> = view.ids().into_iter().filter(stands).collect();
            next.retain(|id, _| there.contains(id));
            self.found().retain(|id, _| there.contains(id));
            for id in there {
                let at = *next.entry(id.clone()).or_insert_with(|| Instant::now() + self.every);
                if at > Instant::now() {
                    continue;
                }
                if let Err(error) = self.look(view, &id).await {
                    tracing::warn!(deployment = %id, %error, "it could not be looked whether the stack is what it was made");
                }
                next.insert(id, Instant::now() + self.every);
            }
            self.telemetry.drifted(self.found().len());
            sleep(TURN).await;
        }
    }

    async fn look(&self, view: &View, id: &DeploymentId) -> anyhow::Result<()> {
        let key = LeaseKey::new(id, Service::Provisioner, WORK);
        // Who has the lease makes the stack, or removes it, or looks at it.
        let Some(lease) = self.bus.leases().acquire(&key, LEASE).await? else { return Ok(()) };
        let Some(folded) = view.get(id) else { return Ok(()) };
        let Some(state) = standing(&folded.deployment, self.cloud) else { return Ok(()) };
        let order = order(state, &self.bus, id, &lease).await?;
        let drifted = tokio::select! {
            drifted = self.effects.drifted(&order) => drifted,
            () = lease.lost() => return Ok(()),
        };
        match drifted {
            Ok(words) if words.is_empty() => self.over(id).await,
            Ok(words) => {
                let detail = format!("its stack is not what it was made: {}", words.join(", "));
                tracing::warn!(deployment = %id, detail, "a stack has drifted");
                let revision = RevisionId { generation: state.generation, revision: Revision(0) };
                self.found().insert(id.clone(), WorkerTrouble { deployment: id.clone(), revision, detail });
            }
            Err(NotReady::Findings(findings)) => self.telemetry.failed(id, &findings),
            Err(NotReady::Overtaken(_)) => {}
        }
        Ok(())
    }

    async fn over(&self, id: &DeploymentId) {
        let was = self.found().remove(id);
        if let Some(trouble) = was
            && let Err(error) = self.bus.troubles().over(&trouble).await
        {
            tracing::debug!(%error, "what was wrong with a stack is left to expire");
        }
    }

    async fn say(&self) {
        loop {
            let troubles: Vec<WorkerTrouble> = self.found().values().cloned().collect();
            for trouble in troubles {
                if let Err(error) = self.bus.troubles().say(&trouble).await {
                    tracing::warn!(%error, "what is wrong with a stack could not be said");
                }
            }
            sleep(SAY).await;
        }
    }

    fn found(&self) -> std::sync::MutexGuard<'_, BTreeMap<DeploymentId, WorkerTrouble>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest generation that was made ready in the cloud, unless it is to go.
fn standing(deployment: &Deployment, cloud: Target) -> Option<&GenerationState> {
    let is_there = |state: &&GenerationState| {
        let is_ready = matches!(state.answer(Slot::Infrastructure), Some(Answer::InfrastructureReady(_)));
        is_ready && cloud_of(state) == Some(cloud)
    };
    let newest = deployment.generations.values().rev().find(is_there)?;
    (!deployment.is_retiring(newest.generation)).then_some(newest)
}
