use super::*;
use crate::domain::scenario::{Scenario, document, intake};
use slipway_kernel::Service;

fn command(verb: Verb) -> Command {
    let deployment = crate::domain::scenario::id();
    Command { verb, deployment, generation: None, reason: "because".into(), to: None, fact: None }
}

fn outcome(scenario: &Scenario, command: Command) -> String {
    match decide(&scenario.fold(), &Demand::Command(command), intake(0)) {
        Ok((key, answer)) => {
            // What the gate writes must count.
            let mut after = scenario.clone();
            after.write(key.clone(), answer.clone(), None);
            let aside: Vec<_> = after.fold().set_aside.into_iter().map(|aside| aside.subject).collect();
            assert!(!aside.contains(&key.to_string()), "{key} does not count");
            format!("{} {}", key.to_string().trim_start_matches("default.digits."), answer.name())
        }
        Err(refused) => refused.name().to_owned(),
    }
}

fn told(tell: &dyn Fn(&mut Scenario)) -> Scenario {
    let mut scenario = Scenario::new();
    tell(&mut scenario);
    scenario
}

fn all_removed(scenario: &mut Scenario) {
    scenario.released(1, 1).retire_requested(1);
    for service in Service::REMOVERS {
        scenario.removed(1, service);
    }
}

#[test]
fn each_command_meets_each_state_with_a_fact_or_a_named_error() {
    use Verb::{Annul, Approve, Decline, Pause, Resume, Retire, Revalidate, Rollback};
    let one = RevisionId::new(1, 1);
    type State = (&'static str, &'static dyn Fn(&mut Scenario), [(Verb, &'static str); 7]);
    let states: [State; 10] = [
        (
            "unknown",
            &|_| {},
            [Approve, Decline, Pause, Resume, Rollback, Revalidate, Retire].map(|v| (v, "unknown-deployment")),
        ),
        (
            "requested",
            &|s| {
                s.requested(1);
            },
            [
                (Approve, "no-pending-approval"),
                (Decline, "no-pending-approval"),
                (Pause, "1.0.command-0.0 paused"),
                (Resume, "not-paused"),
                (Rollback, "nothing-to-go-back-to"),
                (Revalidate, "nothing-to-revalidate"),
                (Retire, "1.0.command-0.0 retire-requested"),
            ],
        ),
        (
            "awaiting approval",
            &|s| {
                s.requested(1).chosen(1, true);
            },
            [
                (Approve, "1.0.approval.0 approved"),
                (Decline, "1.0.approval.0 declined"),
                (Pause, "1.0.command-0.0 paused"),
                (Resume, "not-paused"),
                (Rollback, "nothing-to-go-back-to"),
                (Revalidate, "nothing-to-revalidate"),
                (Retire, "1.0.command-0.0 retire-requested"),
            ],
        ),
        (
            "declined",
            &|s| {
                s.requested(1).chosen(1, true).declined(1);
            },
            [
                (Approve, "no-pending-approval"),
                (Decline, "no-pending-approval"),
                (Pause, "1.0.command-0.0 paused"),
                (Resume, "not-paused"),
                (Rollback, "nothing-to-go-back-to"),
                (Revalidate, "nothing-to-revalidate"),
                (Retire, "1.0.command-0.0 retire-requested"),
            ],
        ),
        (
            "paused while it shifts",
            &|s| {
                s.released(1, 1).proved(2, 1).shifted(2, 1, 5).paused(2);
            },
            [
                (Approve, "no-pending-approval"),
                (Decline, "no-pending-approval"),
                (Pause, "already-paused"),
                (Resume, "2.0.command-1.0 resumed"),
                (Rollback, "2.0.command-1.0 rollback-requested"),
                (Revalidate, "2.0.command-1.0 revalidation-requested"),
                (Retire, "2.0.command-1.0 retire-requested"),
            ],
        ),
        (
            "released over the first",
            &|s| {
                s.released(1, 1).released(2, 1);
            },
            [
                (Approve, "no-pending-approval"),
                (Decline, "no-pending-approval"),
                (Pause, "no-rollout"),
                (Resume, "not-paused"),
                (Rollback, "2.0.command-0.0 rollback-requested"),
                (Revalidate, "2.0.command-0.0 revalidation-requested"),
                (Retire, "2.0.command-0.0 retire-requested"),
            ],
        ),
        (
            "rollback demanded",
            &|s| {
                s.released(1, 1).released(2, 1).rollback_requested(2);
            },
            [
                (Approve, "no-pending-approval"),
                (Decline, "no-pending-approval"),
                (Pause, "no-rollout"),
                (Resume, "not-paused"),
                (Rollback, "rollback-pending"),
                (Revalidate, "2.0.command-1.0 revalidation-requested"),
                (Retire, "2.0.command-1.0 retire-requested"),
            ],
        ),
        (
            "abandoned",
            &|s| {
                s.ready(1).planned(1, 1).abandoned(1);
            },
            [
                (Approve, "no-pending-approval"),
                (Decline, "no-pending-approval"),
                (Pause, "no-rollout"),
                (Resume, "not-paused"),
                (Rollback, "nothing-to-go-back-to"),
                (Revalidate, "nothing-to-revalidate"),
                (Retire, "1.0.command-0.0 retire-requested"),
            ],
        ),
        (
            "retiring",
            &|s| {
                s.released(1, 1).retire_requested(1);
            },
            [Approve, Decline, Pause, Resume, Rollback, Revalidate, Retire].map(|v| (v, "retiring")),
        ),
        (
            "retired",
            &|s| {
                all_removed(s);
                let retired = slipway_kernel::Retired { removed: vec![] };
                s.put(1, 0, Slot::End, Answer::Retired(retired));
            },
            [Approve, Decline, Pause, Resume, Rollback, Revalidate, Retire].map(|v| (v, "retired")),
        ),
    ];
    for (name, tell, cases) in states {
        let scenario = told(tell);
        for (verb, expected) in cases {
            assert_eq!(outcome(&scenario, command(verb)), expected, "{verb} when {name}");
        }
        let unknown = Command { fact: Some("default.digits.9.0.request.0".parse().unwrap()), ..command(Annul) };
        assert!(
            ["unknown-fact", "unknown-deployment", "retired"].contains(&outcome(&scenario, unknown).as_str()),
            "{name}"
        );
    }
    let rolled_back = told(&|s| {
        s.released(1, 1).released(2, 1).rolled_back(2, 1, one);
    });
    assert_eq!(outcome(&rolled_back, command(Rollback)), "nothing-to-go-back-to");
}

#[test]
fn a_rollback_names_a_good_revision_or_is_refused() {
    let scenario = told(&|s| {
        s.released(1, 1).released(2, 1).rolled_back(2, 1, RevisionId::new(1, 1)).ready(3).planned(3, 1).released(4, 1);
    });
    for (to, expected) in [
        (RevisionId::new(1, 1), "4.0.command-0.0 rollback-requested"),
        (RevisionId::new(2, 1), "revision-not-good"),
        (RevisionId::new(3, 1), "revision-not-good"),
        (RevisionId::new(4, 1), "revision-taken-back"),
        (RevisionId::new(4, 2), "unknown-revision"),
        (RevisionId::new(9, 1), "unknown-revision"),
    ] {
        assert_eq!(outcome(&scenario, Command { to: Some(to), ..command(Verb::Rollback) }), expected, "{to}");
    }
}

#[test]
fn a_command_about_a_generation_that_is_not_the_newest_is_refused() {
    let scenario = told(&|s| {
        s.released(1, 1).requested(2);
    });
    for (generation, expected) in
        [(1, "not-newest-generation"), (2, "2.0.command-0.0 paused"), (3, "not-newest-generation")]
    {
        let command = Command { generation: Some(Generation(generation)), ..command(Verb::Pause) };
        assert_eq!(outcome(&scenario, command), expected, "{generation}");
    }
}

#[test]
fn a_fact_is_annulled_once_and_an_annulment_never() {
    let mut scenario = told(&|s| {
        s.requested(1).chosen(1, true).declined(1);
    });
    let annul = |fact: &str| Command { fact: Some(fact.parse().unwrap()), ..command(Verb::Annul) };
    assert_eq!(outcome(&scenario, annul("default.digits.1.0.approval.0")), "1.0.command-0.0 annulled");
    let demand = Demand::Command(annul("default.digits.1.0.approval.0"));
    let (key, answer) = decide(&scenario.fold(), &demand, intake(0)).unwrap();
    scenario.write(key, answer, None);
    assert_eq!(outcome(&scenario, annul("default.digits.1.0.approval.0")), "unknown-fact");
    assert_eq!(outcome(&scenario, annul("default.digits.1.0.command-0.0")), "not-annullable");
    assert_eq!(outcome(&scenario, annul("default.other.1.0.choice.0")), "unknown-fact");
}

#[test]
fn generations_are_counted_up_and_never_reused() {
    let deploy = |scenario: &Scenario| {
        let demand = Demand::Deploy(Box::new(document(&serde_json::json!({}))));
        decide(&scenario.fold(), &demand, intake(0)).map(|(key, _)| key.to_string()).map_err(|refused| refused.name())
    };
    assert_eq!(deploy(&Scenario::new()).unwrap(), "default.digits.1.0.request.0");
    let mut scenario = Scenario::new();
    scenario.released(1, 1).requested(2);
    assert_eq!(deploy(&scenario).unwrap(), "default.digits.3.0.request.0");
    // A fact of a generation that has no `requested` any more is set aside, and its number stays taken.
    scenario.chosen(7, false);
    assert_eq!(deploy(&scenario).unwrap(), "default.digits.8.0.request.0");
    let mut retiring = Scenario::new();
    all_removed(&mut retiring);
    assert_eq!(deploy(&retiring), Err("retiring"));
    retiring.put(1, 0, Slot::End, Answer::Retired(slipway_kernel::Retired { removed: vec![] }));
    assert_eq!(deploy(&retiring).unwrap(), "default.digits.2.0.request.0");
}
