//! The transition table as a text that a person can read: `tests/due_table.txt`.
//!
//! Each block is a state, told by a history; the first line says what is due at once, at its deadline and who has
//! workers. Then one line for each answer that may come next there and that changes what is due. A change of the table
//! shows up as a change of that file; `UPDATE_GOLDEN=1` writes it anew.

use super::{
    Deadlines, due,
    duty::Duty,
    scenario::{self, Scenario, finding},
    wanted,
};
use slipway_kernel::{
    Answer, Approved, Cause, Degraded, Due, Failed, FindingKind, PlatformRejected, RevisionId, Service, Slot, Timestamp,
};
use std::fmt::Write as _;

const NOW: u64 = 1_000_000;

/// What is due in words.
fn told(due: &Due<Duty>) -> String {
    match due {
        Due::Nothing => "nothing".to_owned(),
        Due::Wait(until) => format!("wait {}", slipway_kernel::Span::millis(until.0 - NOW)),
        Due::Now(duty) => match duty {
            Duty::Plan { revision, revises, changes, .. } => {
                let changes: Vec<_> = changes.iter().map(|c| format!("{} {}->{}", c.path, c.from, c.to)).collect();
                let from = revises.map_or(String::new(), |id| format!(" from {id}"));
                format!("plan {revision}{from} {}", changes.join(", ")).trim_end().to_owned()
            }
            Duty::Deploy { revision, attempt, .. } => format!("deploy {revision} try {attempt}"),
            Duty::FailDeploy { revision, attempt } => format!("fail-deploy {revision} try {attempt}"),
            Duty::Hold { revision, percent } => format!("hold {revision} at {percent}"),
            Duty::Shift { revision, percent } => format!("shift {revision} to {percent}"),
            Duty::Release { revision } => format!("release {revision}"),
            Duty::RollBack { revision, to, command, .. } => {
                format!("roll back {revision} to {to}{}", if command.is_some() { " as demanded" } else { "" })
            }
            Duty::Supersede { generation, by } => format!("supersede {generation} by {by}"),
            Duty::Abandon { generation, .. } => format!("abandon {generation}"),
            Duty::Retire { generation } => format!("retire {generation}"),
            Duty::ReportStuck { missing, .. } => format!("report stuck, {} missing", missing.len()),
        },
    }
}

/// A name, and what puts the answer there.
type Next = (&'static str, Box<dyn Fn(&mut Scenario)>);

/// Answers that may follow, each with its name and where it is put.
fn next(generation: u32, revision: u32) -> Vec<Next> {
    let deterministic = |kind| Failed { findings: vec![finding(kind, Cause::Deterministic)] };
    let transient = || Failed { findings: vec![finding(FindingKind::DependencyUnavailable, Cause::Transient)] };
    let at = move |slot: Slot, answer: Answer| -> Box<dyn Fn(&mut Scenario)> {
        let revision = if slot.fits_revision(0) && slot != Slot::Rollback { 0 } else { revision };
        Box::new(move |scenario: &mut Scenario| {
            scenario.put(generation, revision, slot, answer.clone());
        })
    };
    let mut next: Vec<Next> = vec![
        ("infrastructure-chosen", Box::new(move |s| drop(s.chosen(generation, false)))),
        ("infrastructure-chosen, approval needed", Box::new(move |s| drop(s.chosen(generation, true)))),
        (
            "approved",
            at(Slot::Approval, Answer::Approved(Approved { reason: String::new(), intake: scenario::intake(0) })),
        ),
        ("declined", Box::new(move |s| drop(s.declined(generation)))),
        ("infrastructure-ready", Box::new(move |s| drop(s.infrastructure_ready(generation)))),
        ("infrastructure-failed, transient", at(Slot::Infrastructure, Answer::InfrastructureFailed(transient()))),
        (
            "infrastructure-failed",
            at(Slot::Infrastructure, Answer::InfrastructureFailed(deterministic(FindingKind::ExecutorMissing))),
        ),
        ("platform-selected", at(Slot::Platform, Answer::PlatformSelected(scenario::platform_selected()))),
        (
            "platform-rejected",
            at(
                Slot::Platform,
                Answer::PlatformRejected(PlatformRejected {
                    findings: deterministic(FindingKind::ArtifactInvalid).findings,
                    candidates: vec![],
                    model: None,
                }),
            ),
        ),
    ];
    if revision > 0 {
        let failed = |findings| Answer::ValidationFailed(scenario::report(findings));
        next.extend([
            ("deployed", Box::new(move |s: &mut Scenario| drop(s.deployed(generation, revision))) as Box<_>),
            ("deploy-failed, transient", at(Slot::Deployment, Answer::DeployFailed(transient()))),
            ("deploy-failed", at(Slot::Deployment, Answer::DeployFailed(deterministic(FindingKind::OutOfMemory)))),
            (
                "security-failed",
                at(Slot::Security, Answer::SecurityFailed(deterministic(FindingKind::PolicyViolation))),
            ),
            ("validated", Box::new(move |s: &mut Scenario| drop(s.validated(generation, revision))) as Box<_>),
            (
                "validation-inconclusive",
                Box::new(move |s: &mut Scenario| drop(s.inconclusive(generation, revision))) as Box<_>,
            ),
            (
                "validation-failed, latency",
                Box::new(move |s: &mut Scenario| drop(s.validation_failed(generation, revision))) as Box<_>,
            ),
            ("validation-failed, transient", at(Slot::Validation, failed(transient().findings))),
            (
                "validation-failed, wrong outputs",
                at(Slot::Validation, failed(deterministic(FindingKind::OutputMismatch).findings)),
            ),
            ("shifted 5", Box::new(move |s: &mut Scenario| drop(s.shifted(generation, revision, 5))) as Box<_>),
            ("shifted 50", Box::new(move |s: &mut Scenario| drop(s.shifted(generation, revision, 50))) as Box<_>),
            (
                "degraded",
                at(
                    Slot::Degradation,
                    Answer::Degraded(Degraded { findings: deterministic(FindingKind::Latency).findings }),
                ),
            ),
            ("recovered", Box::new(move |s: &mut Scenario| drop(s.recovered(generation, revision))) as Box<_>),
        ]);
    }
    next.extend([
        ("paused", Box::new(move |s: &mut Scenario| drop(s.paused(generation))) as Box<_>),
        ("resumed", Box::new(move |s: &mut Scenario| drop(s.resumed(generation))) as Box<_>),
        ("rollback-requested", Box::new(move |s: &mut Scenario| drop(s.rollback_requested(generation))) as Box<_>),
        ("retire-requested", Box::new(move |s: &mut Scenario| drop(s.retire_requested(generation))) as Box<_>),
        (
            "requested, the next generation",
            Box::new(move |s: &mut Scenario| drop(s.requested(generation + 1))) as Box<_>,
        ),
    ]);
    next
}

fn states() -> Vec<(&'static str, Scenario)> {
    let mut states = Vec::new();
    let mut state = |name: &'static str, tell: &dyn Fn(&mut Scenario)| {
        let mut scenario = Scenario::new();
        scenario.at(NOW);
        tell(&mut scenario);
        states.push((name, scenario));
    };
    let one = RevisionId::new(1, 1);
    state("requested", &|s| drop(s.requested(1)));
    state("awaiting approval", &|s| drop(s.requested(1).chosen(1, true)));
    state("chosen", &|s| drop(s.requested(1).chosen(1, false)));
    state("infrastructure ready", &|s| drop(s.requested(1).chosen(1, false).infrastructure_ready(1)));
    state("platform selected", &|s| drop(s.ready(1)));
    state("planned", &|s| drop(s.ready(1).planned(1, 1)));
    state("deployed for the second time after a transient failure", &|s| {
        drop(s.ready(1).planned(1, 1).deploy_failed_transiently(1, 1));
    });
    state("deploy failed three times transiently", &|s| {
        s.ready(1).planned(1, 1);
        drop(s.deploy_failed_transiently(1, 1).deploy_failed_transiently(1, 1).deploy_failed_transiently(1, 1));
    });
    state("deployed", &|s| drop(s.ready(1).planned(1, 1).deployed(1, 1)));
    state("twice inconclusive", &|s| {
        drop(s.ready(1).planned(1, 1).deployed(1, 1).four_ready(1, 1).inconclusive(1, 1).inconclusive(1, 1));
    });
    state("validated, nobody else serves", &|s| drop(s.proved(1, 1)));
    state("released, the first", &|s| drop(s.released(1, 1)));
    state("degraded, the first", &|s| drop(s.released(1, 1).degraded(1, 1)));
    state("revised after degradation, the degraded one serves", &|s| {
        drop(s.released(1, 1).degraded(1, 1).planned(1, 2).deployed(1, 2));
    });
    state("a second generation is deployed beside the first", &|s| {
        drop(s.released(1, 1).ready(2).planned(2, 1).deployed(2, 1));
    });
    state("validated beside the first", &|s| drop(s.released(1, 1).proved(2, 1)));
    state("at 5 percent beside the first", &|s| drop(s.released(1, 1).proved(2, 1).shifted(2, 1, 5)));
    state("paused at 5 percent", &|s| drop(s.released(1, 1).proved(2, 1).shifted(2, 1, 5).paused(2)));
    state("paused before the first share", &|s| drop(s.released(1, 1).proved(2, 1).paused(2)));
    state("released over the first", &|s| drop(s.released(1, 1).released(2, 1)));
    state("released over the first, which is superseded", &|s| drop(s.released(1, 1).released(2, 1).superseded(1)));
    state("degraded over the first, which is superseded", &|s| {
        drop(s.released(1, 1).released(2, 1).superseded(1).degraded(2, 1));
    });
    state("released over the first, which is superseded, to be proved again", &|s| {
        drop(s.released(1, 1).released(2, 1).superseded(1).revalidation_requested(2));
    });
    state("rolled back to the first", &|s| drop(s.released(1, 1).released(2, 1).rolled_back(2, 1, one)));
    state("rolled back within the generation", &|s| {
        drop(s.released(1, 1).released(1, 2).rolled_back(1, 2, one));
    });
    state("abandoned", &|s| drop(s.ready(1).planned(1, 1).abandoned(1)));
    state("retiring", &|s| drop(s.released(1, 1).retire_requested(1)));
    state("retiring, all five have removed", &|s| {
        s.released(1, 1).retire_requested(1);
        Service::REMOVERS.into_iter().for_each(|service| drop(s.removed(1, service)));
    });
    states
}

/// Lets a chain of builders end a closure without a value.
fn drop(_: &mut Scenario) {}

fn table() -> String {
    let mut text = String::from(
        "What the controller does next. Each block: a state, what is due there, what is due when nobody answers until\n\
         the deadline, who has workers; then each answer that changes it. Written by `cargo test` with UPDATE_GOLDEN=1.\n",
    );
    let deadlines = Deadlines::default();
    for (name, scenario) in states() {
        let deployment = scenario.fold();
        let now = due(&deployment, Timestamp(NOW), &deadlines);
        let _ = writeln!(text, "\n{name}");
        let _ = writeln!(text, "  now: {}", told(&now));
        if let Due::Wait(until) = now {
            let _ = writeln!(text, "  then: {}", told(&due(&deployment, until, &deadlines)));
        }
        let (workers, _) = wanted(&deployment, Timestamp(NOW));
        let workers: Vec<_> = workers.iter().map(|w| w.revision.to_string()).collect();
        let _ = writeln!(text, "  workers: {}", if workers.is_empty() { "none".into() } else { workers.join(", ") });
        let newest = deployment.newest().unwrap();
        let revision = newest.latest().map_or(0, |revision| revision.id.revision.0);
        for (answer, put) in next(newest.generation.0, revision) {
            let mut after = scenario.clone();
            put(&mut after);
            let folded = after.fold();
            if folded.set_aside.len() > deployment.set_aside.len() {
                continue;
            }
            let due = due(&folded, Timestamp(NOW), &deadlines);
            if due != now {
                let _ = writeln!(text, "  {answer:<40} -> {}", told(&due));
            }
        }
    }
    text
}

#[test]
fn the_table_is_the_one_that_was_agreed_upon() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/due_table.txt");
    let table = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let agreed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(table, agreed, "the table changed: read the difference, then UPDATE_GOLDEN=1");
}
