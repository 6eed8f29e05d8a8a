//! A world for the properties: all other services, persons and time, driven by a tape of random bytes.

use crate::domain::{
    Deadlines, due,
    duty::Duty,
    invariants::breaches,
    scenario::{self, Scenario},
};
use proptest::prelude::*;
use slipway_kernel::{
    Answer, Approved, Cause, Deployed, Deployment, Due, FactKey, Failed, Finding, FindingKind, GenerationState,
    PlatformRejected, Released, RevisionId, RollbackRequested, Service, Shifted, Slot, Timestamp,
};
use std::collections::BTreeSet;

/// Choices taken from a tape of random bytes: when it is used up, everything succeeds.
pub(super) struct Tape<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl Tape<'_> {
    fn next(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    fn one_in(&mut self, n: u8) -> bool {
        self.next() % n == n - 1
    }

    fn finding(&mut self) -> Finding {
        let kind = FindingKind::ALL[usize::from(self.next()) % FindingKind::ALL.len()];
        let cause = if self.one_in(3) { Cause::Transient } else { Cause::Deterministic };
        let (measured, wanted) = (f64::from(self.next()), f64::from(self.next()));
        Finding { cause, ..Finding::deterministic(kind, "random").with_figures(measured, wanted, "ms") }
    }

    pub(super) fn findings(&mut self) -> Vec<Finding> {
        (0..=self.next() % 3).map(|_| self.finding()).collect()
    }
}

pub(super) struct World<'a> {
    pub(super) log: Scenario,
    /// Names of the duties that were due.
    pub(super) performed: BTreeSet<&'static str>,
    pub(super) tape: Tape<'a>,
    pub(super) deadlines: Deadlines,
}

impl<'a> World<'a> {
    /// A world in which so much has happened, and the tape says the rest.
    pub(super) fn new(log: Scenario, bytes: &'a [u8]) -> Self {
        let tape = Tape { bytes, at: 0 };
        Self { log, performed: BTreeSet::new(), tape, deadlines: Deadlines::default() }
    }

    /// What the shell makes of a duty; `false` when it can do nothing more than wait.
    fn perform(&mut self, duty: &Duty, deployment: &Deployment) {
        self.performed.insert(duty.name());
        if let Some((key, answer)) = duty.fact(deployment) {
            let command = match duty {
                Duty::RollBack { command, .. } => command.as_ref().map(ToString::to_string),
                _ => None,
            };
            self.log.write(key, answer, command);
            return;
        }
        let key = |id: RevisionId, slot| FactKey::new(scenario::id(), id, slot);
        match duty {
            Duty::Deploy { revision, attempt, deadline } => match self.tape.next() % 4 {
                0 | 1 => {
                    let deployed = Deployed { endpoints: vec![], measurements: vec![], fencing_token: 1 };
                    self.log.write(key(*revision, Slot::Deployment).at(*attempt), Answer::Deployed(deployed), None);
                }
                2 => {
                    let failed = Failed { findings: self.tape.findings() };
                    self.log.write(key(*revision, Slot::Deployment).at(*attempt), Answer::DeployFailed(failed), None);
                }
                _ => self.log.now = self.log.now.max(deadline.0 + 60_000),
            },
            Duty::Hold { .. } if deployment.newest().is_some_and(GenerationState::is_paused) => {
                self.log.now += 24 * 3_600_000;
            }
            Duty::Hold { .. } | Duty::ReportStuck { .. } => self.log.now += 30_000,
            Duty::Shift { revision, percent } => {
                if self.tape.one_in(6) {
                    self.log.now += 400_000;
                    return;
                }
                let shifted = Shifted { percent: u32::from(*percent), beside: None, measurements: vec![] };
                self.log.write(key(*revision, Slot::Shift(*percent)), Answer::Shifted(shifted), None);
            }
            Duty::Release { revision } => {
                let released = Released { replaces: None, measurements: vec![] };
                self.log.write(key(*revision, Slot::Release), Answer::Released(released), None);
            }
            other => panic!("{other:?} writes a fact"),
        }
    }

    /// Another service answers what is open, or nobody does. `false`: nothing was open.
    fn others(&mut self, deployment: &Deployment) -> bool {
        let before = self.log.facts.len();
        let answered = self.answer(deployment);
        // No service tries again what permits no further try.
        if answered && !self.log.fold().set_aside.is_empty() {
            self.log.facts.truncate(before);
            return false;
        }
        answered
    }

    fn answer(&mut self, deployment: &Deployment) -> bool {
        let Some(newest) = deployment.newest() else { return false };
        let generation = newest.generation.0;
        if deployment.is_retiring(newest.generation) {
            let missing = Service::REMOVERS.into_iter().find(|service| !newest.removed(*service));
            if let Some(service) = missing {
                self.log.removed(generation, service);
            }
            return missing.is_some();
        }
        if newest.is_terminal() {
            return false;
        }
        match newest.latest().map(|revision| revision.id.revision.0) {
            None => self.before_plan(deployment, generation),
            Some(revision) => self.prove(deployment, generation, revision),
        }
    }

    fn before_plan(&mut self, deployment: &Deployment, generation: u32) -> bool {
        let newest = deployment.newest().unwrap();
        if newest.fact(Slot::Choice).is_none() {
            let needs_approval = self.tape.one_in(8);
            self.log.chosen(generation, needs_approval);
            return true;
        }
        let chosen = newest.answer(Slot::Choice);
        let needs_approval = matches!(chosen, Some(Answer::InfrastructureChosen(c)) if c.needs_approval);
        if needs_approval && newest.fact(Slot::Approval).is_none() {
            if self.tape.one_in(4) {
                self.log.declined(generation);
            } else {
                let approved = Approved { reason: String::new(), intake: scenario::intake(0) };
                self.log.put(generation, 0, Slot::Approval, Answer::Approved(approved));
            }
            return true;
        }
        if !matches!(newest.answer(Slot::Infrastructure), Some(Answer::InfrastructureReady(_))) {
            if self.tape.one_in(8) {
                let failed = Answer::InfrastructureFailed(Failed { findings: self.tape.findings() });
                self.log.put(generation, 0, Slot::Infrastructure, failed);
            } else {
                self.log.infrastructure_ready(generation);
            }
            return true;
        }
        if newest.platform().is_some() {
            return false;
        }
        if self.tape.one_in(8) {
            let rejected = PlatformRejected { findings: self.tape.findings(), candidates: vec![], model: None };
            self.log.put(generation, 0, Slot::Platform, Answer::PlatformRejected(rejected));
        } else {
            let selected = Answer::PlatformSelected(scenario::platform_selected());
            self.log.put(generation, 0, Slot::Platform, selected);
        }
        true
    }

    fn prove(&mut self, deployment: &Deployment, generation: u32, revision: u32) -> bool {
        let id = RevisionId::new(generation, revision);
        let state = deployment.revision(id).unwrap();
        if state.is_rolled_back() || !state.is_deployed() {
            return false;
        }
        if state.is_released() {
            if state.answer(Slot::Degradation).is_none() && self.tape.one_in(4) {
                self.log.degraded(generation, revision);
                return true;
            }
            return false;
        }
        if state.is_validated() {
            return false;
        }
        match self.tape.next() % 4 {
            0 | 1 => self.log.validated(generation, revision),
            2 => self.log.inconclusive(generation, revision),
            _ => {
                let findings = self.tape.findings();
                self.log.validation_failed_with(generation, revision, findings)
            }
        };
        true
    }

    /// A person interferes now and then.
    fn person(&mut self, deployment: &Deployment) {
        let Some(newest) = deployment.newest() else { return };
        let generation = newest.generation.0;
        if deployment.retiring().is_some() {
            return;
        }
        match self.tape.next() {
            250 => {
                self.log.paused(generation);
            }
            251 => {
                self.log.resumed(generation);
            }
            252 | 253 => {
                let request = RollbackRequested { to: None, reason: String::new(), intake: scenario::intake(0) };
                self.log.command(generation, Answer::RollbackRequested(request));
            }
            254 if generation < 4 => {
                self.log.requested(generation + 1);
            }
            255 => {
                self.log.retire_requested(generation);
            }
            _ => {}
        }
    }

    /// Runs until nothing is due and nobody has anything to say. Returns the steps it took.
    pub(super) fn run(&mut self, bound: usize) -> Result<usize, TestCaseError> {
        let mut length = 0;
        let mut deployment = self.log.fold();
        for step in 0..bound {
            if self.log.facts.len() != length {
                length = self.log.facts.len();
                deployment = self.log.fold();
                prop_assert_eq!(&deployment.set_aside, &[], "every fact written counts");
                prop_assert_eq!(breaches(&deployment), Vec::<String>::new());
            }
            self.person(&deployment);
            if self.log.facts.len() != length {
                continue;
            }
            self.log.now += 10;
            match due(&deployment, Timestamp(self.log.now), &self.deadlines) {
                Due::Now(duty) => {
                    if matches!(duty, Duty::ReportStuck { .. }) && self.others(&deployment) {
                        continue;
                    }
                    // Between two looks of the controller the others may be faster.
                    if self.tape.one_in(5) && self.others(&deployment) {
                        continue;
                    }
                    self.perform(&duty, &deployment);
                }
                Due::Wait(until) => {
                    prop_assert!(until.0 > self.log.now, "a wait ends in the future");
                    if self.tape.one_in(6) || !self.others(&deployment) {
                        self.log.now = until.0;
                    }
                }
                Due::Nothing => {
                    if !self.others(&deployment) {
                        return Ok(step);
                    }
                }
            }
        }
        Err(TestCaseError::fail(format!("no end after {bound} steps: {:#?}", self.log.facts)))
    }
}
