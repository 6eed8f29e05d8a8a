//! The loop always ends: arbitrary answers of all other services, persons and time, against `due` and `revise`.

use super::{
    Deadlines, due,
    duty::{Due, Duty},
    history::History,
    invariants::breaches,
    revise::{NextStep, revise},
    scenario::{self, Scenario},
};
use proptest::prelude::*;
use serde_json::json;
use slipway_kernel::{
    Answer, Approved, Attempt, Cause, Deployed, Deployment, FactKey, Failed, Finding, FindingKind, GenerationState,
    PlatformRejected, Released, RevisionId, RollbackRequested, Service, Shifted, Slot, Timestamp,
};

/// Choices taken from a tape of random bytes: when it is used up, everything succeeds.
struct Tape<'a> {
    bytes: &'a [u8],
    at: usize,
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

    fn findings(&mut self) -> Vec<Finding> {
        (0..=self.next() % 3).map(|_| self.finding()).collect()
    }
}

struct World<'a> {
    log: Scenario,
    tape: Tape<'a>,
    deadlines: Deadlines,
}

impl World<'_> {
    /// What the shell makes of a duty; `false` when it can do nothing more than wait.
    fn perform(&mut self, duty: &Duty, deployment: &Deployment) {
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
    fn run(&mut self, bound: usize) -> Result<usize, TestCaseError> {
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

fn settled(deployment: &Deployment) -> bool {
    deployment.newest().is_none_or(|newest| {
        newest.is_terminal()
            || newest.latest().is_some_and(|revision| revision.is_released() || revision.is_rolled_back())
    })
}

fn parts() -> impl Strategy<Value = serde_json::Value> {
    let fixed = proptest::sample::subsequence(slipway_kernel::Plan::SPEC_PATHS.map(|(_, path)| path).to_vec(), 0..=5);
    (1u32..8, fixed, 1u32..4, 1u32..12).prop_map(|(revisions, fixed, min, max)| {
        json!({
            "validation": { "maxRevisions": revisions }, "fixed": fixed,
            "scale": { "min": min, "max": max.max(min) },
            "rollout": { "steps": [10, 50, 100], "hold": "30s", "watch": "10m" },
        })
    })
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 10_000, max_shrink_iters: 2_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_history_ends_in_a_state_where_nothing_more_is_due(
        part in parts(), bytes in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut log = Scenario::with(part);
        log.requested(1);
        let mut world = World { log, tape: Tape { bytes: &bytes, at: 0 }, deadlines: Deadlines::default() };
        world.run(600)?;
        let end = world.log.fold();
        prop_assert!(settled(&end), "{:?} {:#?}", end.phase(), world.log.facts);
        if end.retiring().is_some() {
            prop_assert!(matches!(end.newest().unwrap().ended(), Some(Answer::Retired(_))));
            prop_assert!(!end.is_open());
            prop_assert!(super::wanted(&end, Timestamp(world.log.now)).0.is_empty());
        }
        if let Some(serving) = end.serving() {
            let (wanted, _) = super::wanted(&end, Timestamp(world.log.now));
            prop_assert!(wanted.iter().any(|w| w.revision == serving), "who has the traffic has workers");
        }
    }

    #[test]
    fn retirement_wins_from_any_state(
        part in parts(), bytes in proptest::collection::vec(any::<u8>(), 0..60), steps in 0usize..40,
    ) {
        let mut log = Scenario::with(part);
        log.requested(1);
        let mut world = World { log, tape: Tape { bytes: &bytes, at: 0 }, deadlines: Deadlines::default() };
        // As far as it comes in so many steps; it may have ended before.
        let _ = world.run(steps);
        let before = world.log.fold();
        if before.retiring().is_none() {
            world.log.retire_requested(before.newest().unwrap().generation.0);
        }
        let retiring = world.log.fold();
        prop_assert!(super::wanted(&retiring, Timestamp(world.log.now)).0.is_empty());
        prop_assert!(retiring.routes().shares.is_empty());
        world.run(100)?;
        let end = world.log.fold();
        prop_assert!(matches!(end.newest().unwrap().ended(), Some(Answer::Retired(_))), "{:#?}", world.log.facts);
        prop_assert!(!end.is_open());
    }

    #[test]
    fn the_loop_ends_by_itself_whatever_it_finds(
        part in parts(), bytes in proptest::collection::vec(any::<u8>(), 0..200), good in any::<bool>(),
    ) {
        let mut tape = Tape { bytes: &bytes, at: 0 };
        let mut log = Scenario::with(part);
        log.ready(1);
        let plan = super::first_plan(
            log.fold().newest().unwrap().spec(), &scenario::platform_selected(), &scenario::infrastructure_ready(),
        ).unwrap();
        log.planned_as(1, 1, plan, Vec::new());
        for revision in 1u32..=8 {
            let folded = log.fold();
            let newest = folded.newest().unwrap();
            let history = History::of(newest, good.then(|| RevisionId::new(0, 1)));
            let findings = tape.findings();
            match revise(&history, &findings) {
                NextStep::Redeploy { plan, changes } => {
                    let repeated = history.tried.last().unwrap().digest == plan.digest();
                    prop_assert!(!history.is_burnt(&plan.digest()));
                    prop_assert_eq!(repeated, changes.is_empty());
                    prop_assert!(!repeated || findings.iter().all(|f| f.cause == Cause::Transient));
                    log.deployed(1, revision).validation_failed_with(1, revision, findings);
                    log.planned_as(1, revision + 1, plan, changes);
                    prop_assert_eq!(breaches(&log.fold()), Vec::<String>::new());
                }
                NextStep::ReturnTo { revision, reason } => {
                    prop_assert!(good && revision == RevisionId::new(0, 1) && !reason.is_empty());
                    return Ok(());
                }
                NextStep::Abandon { reason, advice } => {
                    prop_assert!(!good && !reason.is_empty() && !advice.is_empty());
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "the loop goes on");
    }
}

#[test]
fn a_tape_that_is_used_up_leads_to_release() {
    let mut log = Scenario::new();
    log.requested(1);
    let mut world = World { log, tape: Tape { bytes: &[], at: 0 }, deadlines: Deadlines::default() };
    world.run(100).unwrap();
    let end = world.log.fold();
    assert_eq!(end.serving(), Some(RevisionId::new(1, 1)));
    assert_eq!(end.newest().unwrap().attempts(Slot::Deployment).next(), Attempt(0));
}
