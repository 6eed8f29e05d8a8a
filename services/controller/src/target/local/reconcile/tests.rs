use super::*;
use proptest::prelude::*;
use slipway_kernel::{FindingKind, RevisionId};

const DRAIN: Duration = Duration::from_secs(10);

fn group(revision: u32, attempt: u32) -> Group {
    Group { deployment: crate::domain::scenario::id(), revision: RevisionId::new(1, revision), attempt }
}

fn seen(group: Group, number: u32) -> Seen {
    let name = format!("{}-{}-{number}", group.revision, group.attempt);
    Seen { name, group, number, resident_bytes: 1 << 20, memory_bytes: 64 << 20, ending: None }
}

struct Machine {
    desired: BTreeMap<Group, u32>,
    told: BTreeSet<DeploymentId>,
    all_told: bool,
    seen: Vec<Seen>,
    troubles: BTreeMap<Group, Trouble>,
    now: Timestamp,
}

impl Machine {
    fn new(desired: &[(Group, u32)], seen: Vec<Seen>) -> Self {
        Self {
            desired: desired.iter().cloned().collect(),
            told: BTreeSet::new(),
            all_told: true,
            seen,
            troubles: BTreeMap::new(),
            now: Timestamp(100_000),
        }
    }

    fn actions(&self) -> Vec<Action> {
        reconcile(&Picture {
            desired: &self.desired,
            told: &self.told,
            all_told: self.all_told,
            seen: &self.seen,
            troubles: &self.troubles,
            drain: DRAIN,
            now: self.now,
        })
    }

    fn told(&self) -> Vec<String> {
        let say = |action| match action {
            Action::Start { group, number } => format!("start {}/{} {number}", group.revision, group.attempt),
            Action::End { name } => format!("end {name}"),
            Action::Kill { name } => format!("kill {name}"),
            Action::KillForMemory { name } => format!("kill {name} for memory"),
        };
        self.actions().into_iter().map(say).collect()
    }
}

#[test]
fn what_is_missing_is_started_and_what_is_too_much_is_ended_first() {
    let machine =
        Machine::new(&[(group(2, 0), 2)], vec![seen(group(1, 0), 0), seen(group(2, 0), 1), seen(group(2, 0), 2)]);
    assert_eq!(machine.told(), ["end 1-1-0-0", "end 1-2-0-2", "start 1-2/0 0"]);
}

#[test]
fn another_try_has_other_workers() {
    let machine = Machine::new(&[(group(1, 1), 1)], vec![seen(group(1, 0), 0)]);
    assert_eq!(machine.told(), ["end 1-1-0-0", "start 1-1/1 0"]);
}

#[test]
fn nobody_is_ended_before_it_is_known_what_shall_be() {
    let mut machine = Machine::new(&[], vec![seen(group(1, 0), 0)]);
    machine.all_told = false;
    assert_eq!(machine.told(), [""; 0]);
    machine.told.insert(crate::domain::scenario::id());
    assert_eq!(machine.told(), ["end 1-1-0-0"]);
}

#[test]
fn who_does_not_end_when_asked_is_killed_after_its_time_to_drain() {
    let asked = Seen { ending: Some(Timestamp(100_000)), ..seen(group(1, 0), 0) };
    let mut machine = Machine::new(&[(group(1, 0), 1)], vec![asked]);
    assert_eq!(machine.told(), ["start 1-1/0 0"], "one that ends does not count");
    machine.now = Timestamp(115_000);
    assert_eq!(machine.told(), ["kill 1-1-0-0", "start 1-1/0 0"]);
}

#[test]
fn who_passes_the_outer_limit_is_killed() {
    let mut fat = seen(group(1, 0), 0);
    fat.resident_bytes = 72 << 20;
    let mut machine = Machine::new(&[(group(1, 0), 1)], vec![fat]);
    assert_eq!(machine.told(), [""; 0], "an eighth above the plan is the worker's own affair");
    machine.seen[0].resident_bytes += 1;
    assert_eq!(machine.told()[0], "kill 1-1-0-0 for memory");
}

#[test]
fn who_dies_is_started_again_after_a_growing_pause_and_then_given_up() {
    let mut machine = Machine::new(&[(group(1, 0), 1)], vec![]);
    let crashed = || vec![Finding::deterministic(FindingKind::Crashed, "ended")];
    let mut trouble = Trouble::default();
    for (death, pause) in [(1, 500), (2, 1_000)] {
        trouble.died(crashed(), machine.now);
        assert_eq!((trouble.deaths, trouble.not_before.0), (death, machine.now.0 + pause));
        machine.troubles.insert(group(1, 0), trouble.clone());
        assert_eq!(machine.told(), [""; 0]);
        machine.now = trouble.not_before;
        assert_eq!(machine.told(), ["start 1-1/0 0"]);
    }
    trouble.died(crashed(), machine.now);
    assert!(trouble.given_up && trouble.is_crash_loop());
    machine.troubles.insert(group(1, 0), trouble);
    machine.now = Timestamp(10_000_000);
    assert_eq!(machine.told(), [""; 0]);
}

#[test]
fn what_will_fail_again_is_given_up_at_once_and_what_has_traffic_never() {
    let invalid = || vec![Finding::deterministic(FindingKind::ArtifactInvalid, "no model")];
    let mut fresh = Trouble::default();
    fresh.died(invalid(), Timestamp(0));
    assert!(fresh.given_up);
    let mut serving = Trouble::default();
    serving.observe(true, Timestamp(0));
    for _ in 0..20 {
        serving.died(invalid(), Timestamp(0));
    }
    assert!(!serving.given_up && serving.is_crash_loop());
    assert_eq!(serving.not_before, Timestamp(30_000));
    serving.observe(true, Timestamp(0));
    serving.observe(true, Timestamp(60_000));
    assert_eq!((serving.deaths, serving.findings.len()), (0, 0), "healthy again");
}

proptest! {
    #[test]
    fn doing_what_is_decided_leads_to_what_shall_be(
        desired in proptest::collection::btree_map((0u32..3, 0u32..2), 1u32..4, 0..4),
        found in proptest::collection::vec((0u32..3, 0u32..2, 0u32..5), 0..12),
    ) {
        let desired: Vec<_> = desired.into_iter().map(|((r, a), n)| (group(r, a), n)).collect();
        let found = found.into_iter().enumerate().map(|(n, (r, a, number))| {
            let mut one = seen(group(r, a), number);
            one.name = format!("{n}");
            one
        });
        let mut machine = Machine::new(&desired, found.collect());
        for action in machine.actions() {
            match action {
                Action::Start { group, number } => machine.seen.push(seen(group, number)),
                Action::End { name } | Action::Kill { name } | Action::KillForMemory { name } => {
                    machine.seen.retain(|one| one.name != name);
                }
            }
        }
        prop_assert_eq!(machine.actions(), vec![]);
        let total: u32 = desired.iter().map(|(_, n)| n).sum();
        prop_assert_eq!(machine.seen.len(), total as usize);
    }
}
