//! The loop always ends: arbitrary answers of all other services, persons and time, against `due` and `revise`.

mod world;

use super::{
    history::History,
    invariants::breaches,
    revise::{NextStep, revise},
    scenario::{self, Scenario},
};
use proptest::prelude::*;
use serde_json::json;
use slipway_kernel::{Answer, Attempt, Cause, Deployment, RevisionId, Slot, Timestamp};
use std::collections::BTreeSet;
use world::{Tape, World};

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
        let mut world = World::new(log, &bytes);
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
        let mut world = World::new(log, &bytes);
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
    let mut world = World::new(log, &[]);
    world.run(100).unwrap();
    let end = world.log.fold();
    assert_eq!(end.serving(), Some(RevisionId::new(1, 1)));
    assert_eq!(end.newest().unwrap().attempts(Slot::Deployment).next(), Attempt(0));
}

/// What the properties hold is worth something only if the histories go everywhere.
#[test]
fn the_random_histories_lead_to_every_duty_and_every_end() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let strategy = (parts(), proptest::collection::vec(any::<u8>(), 0..120));
    let (mut duties, mut ends) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..2_000 {
        let (part, bytes) = strategy.new_tree(&mut runner).unwrap().current();
        let mut log = Scenario::with(part);
        log.requested(1);
        let mut world = World::new(log, &bytes);
        world.run(600).unwrap();
        duties.append(&mut world.performed);
        let end = world.log.fold();
        ends.extend(end.generations.values().map(|generation| end.phase_of(generation).to_string()));
    }
    let all_duties =
        ["abandon", "deploy", "fail-deploy", "hold", "plan", "release", "retire", "roll-back", "shift", "supersede"];
    assert_eq!(duties.into_iter().filter(|duty| *duty != "report-stuck").collect::<Vec<_>>(), all_duties);
    let all_ends = ["abandoned", "degraded", "released", "retired", "rolled-back", "superseded"];
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), all_ends);
}
