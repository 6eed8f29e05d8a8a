//! What the keeper does to processes: start, watch, end, bury, take over.

use super::{Instance, Keeper, LOOK};
use crate::target::{
    Desired, Group,
    local::{
        autopsy::{Death, autopsy},
        cgroup, machine,
        process::{Identity, Life},
        reconcile::Action,
        records::Record,
    },
};
use rustix::process::Signal;
use slipway_bus::Lease;
use slipway_kernel::{Finding, Timestamp};
use std::time::Duration;

/// How long the end of a log may take on its way to the blob store: evidence is good to have, workers are better.
const EVIDENCE: Duration = Duration::from_secs(2);

impl Keeper {
    /// Finds the workers that an earlier keeper left.
    pub(super) fn take_over(&mut self) -> std::io::Result<()> {
        for record in self.launcher.records.all()? {
            let alive = record.process.clone().filter(Identity::is_running);
            match (record.group(), alive) {
                (Some(group), Some(process)) => {
                    tracing::info!(instance = record.instance, pid = process.pid, "a worker is taken over");
                    self.local.telemetry.worker("taken-over");
                    self.instances.push(Instance {
                        record,
                        group,
                        process,
                        child: None,
                        cgroup: None,
                        ending: None,
                        killed_at_bytes: None,
                        resident_bytes: 0,
                    });
                }
                _ => self.launcher.records.forget(&record.instance),
            }
        }
        self.instances
            .sort_by(|a, b| (a.record.started, &a.record.instance).cmp(&(b.record.started, &b.record.instance)));
        Ok(())
    }

    /// Looks at every process; those that are gone are buried.
    pub(super) async fn look(&mut self, now: Timestamp) {
        let (mut alive, mut gone) = (Vec::new(), Vec::new());
        for mut instance in self.instances.drain(..) {
            match instance.process.life() {
                Life::Running { resident_bytes } => {
                    instance.resident_bytes = resident_bytes;
                    alive.push(instance);
                }
                Life::Gone => gone.push(instance),
            }
        }
        self.instances = alive;
        for instance in gone {
            self.bury(instance, now).await;
        }
    }

    async fn bury(&mut self, mut instance: Instance, now: Timestamp) {
        let name = instance.record.instance.clone();
        let status = instance.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        let out_of_memory = instance.cgroup.as_ref().is_some_and(cgroup::Group::was_out_of_memory);
        if let Some(cgroup) = &instance.cgroup {
            cgroup.remove();
        }
        if instance.ending.is_some() && instance.killed_at_bytes.is_none() {
            tracing::info!(instance = name, "a worker ended as asked");
            self.local.telemetry.worker("ended");
        } else {
            let death = Death {
                instance: name.clone(),
                killed_at_bytes: instance.killed_at_bytes,
                out_of_memory,
                memory_bytes: instance.record.plan.memory.0,
                findings: self.launcher.records.findings(&name),
                status: status.map_or_else(|| "status unknown".to_owned(), |status| status.to_string()),
                tail: self.launcher.records.tail(&name),
            };
            let findings = self.with_evidence(autopsy(&death), death.tail).await;
            let kind = findings.first().map(|finding| finding.kind.to_string()).unwrap_or_default();
            tracing::warn!(instance = name, kind, status = death.status, "a worker died");
            self.local.telemetry.worker(if kind == "out-of-memory" { "out-of-memory" } else { "died" });
            self.troubles.entry(instance.group.clone()).or_default().died(findings, now);
        }
        self.launcher.records.forget(&name);
    }

    /// Puts the end of the log where it outlives the machine.
    async fn with_evidence(&self, findings: Vec<Finding>, tail: String) -> Vec<Finding> {
        if tail.is_empty() {
            return findings;
        }
        let blobs = self.local.bus.blobs();
        match tokio::time::timeout(EVIDENCE, blobs.put(tail.into_bytes(), "text/plain")).await {
            Ok(Ok(blob)) => {
                let reference = format!("blob:{}", blob.digest);
                findings.into_iter().map(|finding| finding.with_evidence(reference.clone())).collect()
            }
            Ok(Err(_)) | Err(_) => findings,
        }
    }

    pub(super) fn end(&mut self, action: &Action, now: Timestamp) {
        let (name, signal, for_memory) = match action {
            Action::End { name } => (name, Signal::TERM, false),
            Action::Kill { name } => (name, Signal::KILL, false),
            Action::KillForMemory { name } => (name, Signal::KILL, true),
            Action::Start { .. } => return,
        };
        let Some(instance) = self.instances.iter_mut().find(|one| one.record.instance == *name) else { return };
        if for_memory {
            instance.killed_at_bytes = Some(instance.resident_bytes);
        }
        instance.ending.get_or_insert(now);
        tracing::info!(instance = name, ?signal, for_memory, "a worker is to end");
        if let Err(error) = instance.process.signal(signal) {
            tracing::error!(instance = name, %error, "a worker could not be signalled");
        }
    }

    pub(super) fn start(&mut self, group: &Group, number: u32, name: &str, wish: &Desired, token: u64, now: Timestamp) {
        let plan = wish.wanted.plan.clone();
        if let Some(finding) = machine::memory().and_then(|memory| machine::no_room(&plan, memory)) {
            return self.troubles.entry(group.clone()).or_default().died(vec![finding], now);
        }
        let mut record = Record {
            instance: name.to_owned(),
            deployment: group.deployment.to_string(),
            revision: group.revision,
            attempt: group.attempt,
            number,
            plan,
            token,
            started: now,
            process: None,
        };
        match self.launcher.launch(&mut record, group, &wish.model) {
            Ok(launched) => {
                tracing::info!(instance = name, pid = launched.identity.pid, token, "a worker is started");
                self.local.telemetry.worker("started");
                self.instances.push(Instance {
                    record,
                    group: group.clone(),
                    process: launched.identity,
                    child: Some(launched.child),
                    cgroup: launched.cgroup,
                    ending: None,
                    killed_at_bytes: None,
                    resident_bytes: 0,
                });
            }
            Err(error) => {
                tracing::error!(instance = name, error = &error as &dyn std::error::Error, "a worker is not started");
                self.troubles.entry(group.clone()).or_default().died(vec![error.finding()], now);
                self.launcher.records.forget(name);
            }
        }
    }

    /// Ends every worker and waits until all are gone, or are killed.
    pub(super) async fn end_all(&mut self, lease: &Lease) {
        let drain = self.local.setup.around.drain.0;
        let names: Vec<String> = self.instances.iter().map(|one| one.record.instance.clone()).collect();
        for name in names {
            self.end(&Action::End { name }, self.frame.clock.now());
        }
        let deadline = tokio::time::Instant::now() + drain;
        while !self.instances.is_empty() && lease.is_held() {
            self.look(self.frame.clock.now()).await;
            if tokio::time::Instant::now() >= deadline {
                let left: Vec<String> = self.instances.iter().map(|one| one.record.instance.clone()).collect();
                left.into_iter().for_each(|name| self.end(&Action::Kill { name }, self.frame.clock.now()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
