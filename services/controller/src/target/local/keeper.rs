//! The keeper: holds the host's lease and does what [`reconcile`] decides.

mod hands;

use super::{
    GroupState, Local, Published,
    cgroup::{self, ControlGroups},
    launch::Launcher,
    process::Identity,
    reconcile::{Action, Picture, Seen, Trouble, reconcile},
    records::{Record, Records},
};
use crate::target::{Desired, Group, wishes::Wishes};
use slipway_bus::{Lease, LeaseError, LeaseKey, Watched, WorkerRecord, WorkerState};
use slipway_kernel::{Endpoint, Service, Timestamp};
use slipway_runtime::Frame;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::process::Child;

/// How often processes are looked at. A death is noticed within this; looking costs one small read per worker.
const LOOK: Duration = Duration::from_millis(200);
/// How often a replica without the lease tries to get it.
const CONTEND: Duration = Duration::from_secs(1);

/// A worker of this machine.
struct Instance {
    record: Record,
    group: Group,
    process: Identity,
    /// To be reaped; none for one that was taken over.
    child: Option<Child>,
    cgroup: Option<cgroup::Group>,
    ending: Option<Timestamp>,
    killed_at_bytes: Option<u64>,
    resident_bytes: u64,
}

struct Keeper {
    local: Arc<Local>,
    frame: Frame,
    launcher: Launcher,
    registry: Watched<Vec<WorkerRecord>>,
    instances: Vec<Instance>,
    troubles: BTreeMap<Group, Trouble>,
    /// What the lease lists.
    listed: Option<Vec<String>>,
}

/// Runs until shutdown.
pub(super) async fn run(local: Arc<Local>, frame: Frame) -> anyhow::Result<()> {
    let setup = &local.setup;
    let records = Records::open(&setup.around.data)?;
    let groups = if setup.control_groups { ControlGroups::detect() } else { None };
    let launcher = Launcher { command: setup.command.clone(), records, around: setup.around.clone(), groups };
    let registry = local.bus.workers().follow().await?;
    let key = LeaseKey::host(&setup.around.host, Service::Controller, "workers");
    let mut keeper = Keeper {
        launcher,
        registry,
        frame: frame.clone(),
        instances: Vec::new(),
        troubles: BTreeMap::new(),
        listed: None,
        local: Arc::clone(&local),
    };
    let shutdown = frame.shutdown.clone();
    while !shutdown.is_cancelled() {
        match local.bus.leases().acquire(&key, setup.lease).await {
            Ok(Some(lease)) => keeper.keep(lease).await,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the lease of this host's workers cannot be asked for"),
        }
        keeper.forget_all();
        let _ = tokio::time::timeout(CONTEND, shutdown.cancelled()).await;
    }
    Ok(())
}

impl Keeper {
    /// Keeps the workers as long as the lease is held.
    async fn keep(&mut self, lease: Lease) {
        tracing::info!(token = lease.token(), "this replica keeps the workers of this host");
        if let Err(error) = self.take_over() {
            tracing::error!(%error, "what is remembered of the workers cannot be read");
            return;
        }
        let shutdown = self.frame.shutdown.clone();
        loop {
            match self.round(&lease).await {
                Ok(()) => {}
                Err(LeaseError::Lost { .. }) => return tracing::warn!("the lease of this host's workers is lost"),
                // Nothing was started that is not listed; the next round tries again, as long as the lease is held.
                Err(LeaseError::Bus(error)) => tracing::warn!(%error, "the list of workers is written later"),
            }
            let local = Arc::clone(&self.local);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = lease.lost() => return tracing::warn!("the lease of this host's workers is lost"),
                () = local.wished.notified() => {}
                _ = self.registry.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        if self.local.setup.stop_with_controller {
            self.end_all(&lease).await;
        }
        if let Err(error) = lease.release().await {
            tracing::debug!(%error, "the lease runs out by itself");
        }
    }

    /// Without the lease nothing is known. Children go on; the runtime reaps them.
    fn forget_all(&mut self) {
        self.instances.clear();
        self.troubles.clear();
        self.listed = None;
        self.local.publish(Published::default());
    }

    async fn round(&mut self, lease: &Lease) -> Result<(), LeaseError> {
        let now = self.frame.clock.now();
        self.look(now).await;
        let wishes = self.local.wishes();
        let desired = wishes.by_group();
        self.troubles.retain(|group, _| desired.contains_key(group));
        self.observe(&desired, now);
        let actions = self.decide(&wishes, &desired, now);
        let starts = self.named(&actions);
        self.list(lease, &starts).await?;
        for action in &actions {
            self.end(action, now);
        }
        for (group, number, name) in starts {
            let Some(wish) = desired.get(&group) else { continue };
            self.start(&group, number, &name, wish, lease.token(), now);
        }
        // Only while the lease is certainly held may others believe what is published.
        if lease.is_held() {
            self.publish(&desired);
        }
        Ok(())
    }

    fn ready(&self) -> HashMap<String, WorkerRecord> {
        let is_ready = |record: &&WorkerRecord| matches!(record.state, WorkerState::Warm | WorkerState::Ready);
        let registry = self.registry.get();
        registry.iter().filter(is_ready).map(|record| (record.instance.clone(), record.clone())).collect()
    }

    fn observe(&mut self, desired: &BTreeMap<Group, Desired>, now: Timestamp) {
        let ready = self.ready();
        for (group, wish) in desired {
            let mine = self.instances.iter().filter(|one| one.group == *group && one.ending.is_none());
            let count = mine.filter(|one| ready.contains_key(&one.record.instance)).count();
            let all = count >= usize::try_from(wish.wanted.plan.replicas).unwrap_or(usize::MAX);
            if all || self.troubles.contains_key(group) {
                self.troubles.entry(group.clone()).or_default().observe(all, now);
            }
        }
    }

    fn decide(&self, wishes: &Wishes, desired: &BTreeMap<Group, Desired>, now: Timestamp) -> Vec<Action> {
        let seen: Vec<Seen> = self
            .instances
            .iter()
            .map(|instance| Seen {
                name: instance.record.instance.clone(),
                group: instance.group.clone(),
                number: instance.record.number,
                resident_bytes: instance.resident_bytes,
                memory_bytes: instance.record.plan.memory.0,
                ending: instance.ending,
            })
            .collect();
        reconcile(&Picture {
            desired: &desired.iter().map(|(group, wish)| (group.clone(), wish.wanted.plan.replicas)).collect(),
            told: &wishes.told,
            all_told: wishes.all_told,
            seen: &seen,
            troubles: &self.troubles,
            drain: self.local.setup.around.drain.0,
            now,
        })
    }

    /// The workers to start, each with a name of its own.
    fn named(&self, actions: &[Action]) -> Vec<(Group, u32, String)> {
        let named = actions.iter().filter_map(|action| match action {
            Action::Start { group, number } => Some((group.clone(), *number, instance_name(group, *number))),
            Action::End { .. } | Action::Kill { .. } | Action::KillForMemory { .. } => None,
        });
        named.collect()
    }

    /// Lists the wanted workers with the lease, before any of them is started: one that is not listed ends by itself.
    async fn list(&mut self, lease: &Lease, starts: &[(Group, u32, String)]) -> Result<(), LeaseError> {
        let staying = self.instances.iter().filter(|one| one.ending.is_none()).map(|one| one.record.instance.clone());
        let mut names: Vec<String> = staying.chain(starts.iter().map(|(_, _, name)| name.clone())).collect();
        names.sort();
        if self.listed.as_ref() != Some(&names) {
            lease.set_value(&serde_json::json!({ "instances": names })).await?;
            self.listed = Some(names);
        }
        Ok(())
    }

    fn publish(&self, desired: &BTreeMap<Group, Desired>) {
        let ready = self.ready();
        let mut groups: BTreeMap<Group, GroupState> = BTreeMap::new();
        for (group, wish) in desired {
            let state = groups.entry(group.clone()).or_default();
            state.of = wish.wanted.plan.replicas;
            state.trouble = self.troubles.get(group).cloned().unwrap_or_default();
        }
        for instance in &self.instances {
            let state = groups.entry(instance.group.clone()).or_default();
            state.present += 1;
            let Some(record) = ready.get(&instance.record.instance).filter(|_| instance.ending.is_none()) else {
                continue;
            };
            if state.ready.is_empty() {
                state.measurements.clone_from(&record.measurements);
            }
            state.ready.push(Endpoint { instance: record.instance.clone(), address: record.address.clone() });
            state.token = state.token.max(instance.record.token);
        }
        self.local.telemetry.running(self.instances.len());
        self.local.publish(Published { holds: true, groups });
    }
}

/// A name that is one DNS label: `<deployment>-<revision>-<number>-<8 hexadecimal digits>`, the deployment's name cut
/// where that would be too long.
fn instance_name(group: &Group, number: u32) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let rest = format!("-{}-{number}-{}", group.revision, &random[..8]);
    let room = 63_usize.saturating_sub(rest.len());
    let name: String = group.deployment.name.as_str().chars().take(room).collect();
    format!("{name}{rest}")
}
