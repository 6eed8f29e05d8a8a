//! What a resource is told in each state, and what is worth an event.

use super::{
    ConditionKind, Resource, Status,
    milestones::milestones,
    status::{Said, status},
    step::{Step, step},
};
use crate::domain::scenario::{Scenario, id};
use slipway_kernel::{RevisionId, Timestamp};

fn resource(generation: u64) -> Resource {
    Resource { id: id(), uid: "u".into(), generation, is_leaving: false, is_held: true, adopts: false, status: None }
}

fn told(resource: &Resource, scenario: &Scenario, said: Option<&Said>) -> Status {
    status(resource, &scenario.fold(), said, Timestamp(10_500))
}

fn in_short(status: &Status) -> String {
    let short = |kind: ConditionKind| {
        let condition = status.conditions.iter().find(|condition| condition.kind == kind)?;
        Some(format!("{}={} {}", kind.as_str(), condition.status.as_str(), condition.reason))
    };
    let serving = status.serving.map_or_else(|| "none".to_owned(), |serving| serving.to_string());
    let conditions: Vec<String> = ConditionKind::ALL.into_iter().filter_map(short).collect();
    format!("{} {serving}: {}", status.phase, conditions.join(", "))
}

#[test]
fn each_state_of_the_log_is_told_in_conditions() {
    type Tell = fn(&mut Scenario);
    let states: [(Tell, u64, &str); 11] = [
        (|_| {}, 1, "pending none: Accepted=Unknown Pending, Progressing=Unknown Pending, Ready=False Pending"),
        (
            |s| {
                s.demanded(1, "u", 1);
            },
            1,
            "choosing-infrastructure none: Accepted=True Accepted, Progressing=True ChoosingInfrastructure, Ready=False ChoosingInfrastructure",
        ),
        (
            |s| {
                s.demanded(1, "u", 1).paused(1);
            },
            1,
            "choosing-infrastructure none: Accepted=True Accepted, Progressing=Unknown Paused, Ready=False ChoosingInfrastructure",
        ),
        (
            |s| {
                s.released(1, 1);
            },
            1,
            "refused none: Accepted=False MadeByOthers, Progressing=False MadeByOthers, Ready=False MadeByOthers, Stalled=True MadeByOthers",
        ),
        (
            |s| {
                s.released(1, 1).retire_requested(1);
            },
            1,
            "refused none: Accepted=False MadeByOthers, Progressing=False MadeByOthers, Ready=False MadeByOthers, Stalled=True MadeByOthers",
        ),
        (
            |s| {
                s.demanded_until_released(1, "u", 1);
            },
            1,
            "released 1-1: Accepted=True Accepted, Progressing=False Released, Ready=True Released",
        ),
        (
            |s| {
                s.demanded_until_released(1, "u", 1).degraded(1, 1);
            },
            1,
            "degraded 1-1: Accepted=True Accepted, Progressing=False Degraded, Ready=False Degraded",
        ),
        (
            |s| {
                s.demanded_until_released(1, "u", 1);
            },
            2,
            "released 1-1: Accepted=Unknown Pending, Progressing=False Released, Ready=False Pending",
        ),
        (
            |s| {
                s.demanded_until_released(1, "u", 1).demanded(2, "u", 2).planned(2, 1);
                s.rolled_back(2, 1, RevisionId::new(1, 1));
            },
            2,
            "rolled-back 1-1: Accepted=True Accepted, Progressing=False RolledBack, Ready=False RolledBack, Stalled=True RolledBack",
        ),
        (
            |s| {
                s.demanded(1, "u", 1).abandoned(1);
            },
            1,
            "abandoned none: Accepted=True Accepted, Progressing=False Abandoned, Ready=False Abandoned, Stalled=True Abandoned",
        ),
        (
            |s| {
                s.demanded(1, "u", 1).retire_requested(1).retired(1);
            },
            1,
            "retired none: Accepted=True Accepted, Progressing=False Retired, Ready=False Retired, Stalled=True Retired",
        ),
    ];
    for (tell, generation, expected) in states {
        let mut scenario = Scenario::new();
        tell(&mut scenario);
        assert_eq!(in_short(&told(&resource(generation), &scenario, None)), expected);
    }
}

#[test]
fn a_refusal_stays_until_the_spec_is_another_and_its_time_is_that_of_the_change() {
    let (mut resource, scenario) = (resource(1), Scenario::new());
    let asking = Said::Asking { id: "u.1".into() };
    resource.status = Some(told(&resource, &scenario, Some(&asking)));
    assert_eq!(step(&resource, &scenario.fold(), false), Step::Deploy { id: "u.1".into() }, "it may be under way");
    let refused = Said::Refused { error: "invalid-spec".into(), message: "spec.fixed: no".into() };
    let first = told(&resource, &scenario, Some(&refused));
    resource.status = Some(first.clone());
    assert!(in_short(&first).starts_with("refused none: Accepted=False InvalidSpec"), "{}", in_short(&first));
    let later = status(&resource, &scenario.fold(), None, Timestamp(99_000));
    assert_eq!(later, first, "nothing changed");
    assert_eq!(step(&resource, &scenario.fold(), true), Step::Tell);
    assert!(first.conditions.iter().all(|condition| condition.since == Timestamp(10_000)));
    resource.generation = 2;
    assert_eq!(step(&resource, &scenario.fold(), false), Step::Deploy { id: "u.2".into() });
}

#[test]
fn what_is_refused_for_lack_of_rights_is_tried_again_at_a_sweep() {
    let (mut resource, scenario) = (resource(1), Scenario::new());
    resource.status = Some(told(&resource, &scenario, Some(&Said::Asking { id: "u.1".into() })));
    let refused = Said::Refused { error: "permission-denied".into(), message: "no".into() };
    resource.status = Some(told(&resource, &scenario, Some(&refused)));
    assert_eq!(step(&resource, &scenario.fold(), false), Step::Tell);
    assert_eq!(step(&resource, &scenario.fold(), true), Step::Deploy { id: "u.1".into() });
}

#[test]
fn an_older_spec_that_came_in_late_is_demanded_over() {
    let mut scenario = Scenario::new();
    scenario.demanded(1, "u", 2).demanded(2, "u", 1);
    assert_eq!(step(&resource(2), &scenario.fold(), false), Step::Deploy { id: "u.2.after-2".into() });
}

#[test]
fn a_log_that_was_made_anew_is_told_everything_again_and_an_archived_deployment_is_not() {
    let mut resource = resource(1);
    let mut scenario = Scenario::new();
    scenario.demanded_until_released(1, "u", 1);
    resource.status = Some(told(&resource, &scenario, None));
    assert_eq!(step(&resource, &Scenario::new().fold(), false), Step::Deploy { id: "u.1".into() });
    let mut archived = Scenario::new();
    archived.retired(1);
    assert_eq!(step(&resource, &archived.fold(), false), Step::Tell, "what is left of it says that there was one");
}

#[test]
fn a_milestone_is_told_once_and_by_the_same_name_whoever_tells_it() {
    let mut scenario = Scenario::new();
    let mut resource = resource(1);
    scenario.at(1_000).demanded_until_released(1, "u", 1);
    let first = told(&resource, &scenario, None);
    let events = milestones(&resource, &scenario.fold(), &first);
    assert_eq!(events.iter().map(|event| event.reason).collect::<Vec<_>>(), ["Accepted", "Released"]);
    assert_eq!(milestones(&resource, &scenario.fold(), &first), events);
    resource.status = Some(first.clone());
    assert_eq!(milestones(&resource, &scenario.fold(), &first), []);
    scenario.at(2_000).degraded(1, 1).at(3_000).requested(2).abandoned(2);
    let next = told(&resource, &scenario, None);
    let events = milestones(&resource, &scenario.fold(), &next);
    let reasons: Vec<_> = events.iter().map(|event| (event.reason, event.is_warning)).collect();
    assert_eq!(reasons, [("DemandedByOthers", true), ("Abandoned", true)]);
}
