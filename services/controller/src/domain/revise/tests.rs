use super::*;
use crate::domain::scenario::{finding, machine, plan, platform_selected, spec};
use serde_json::json;
use slipway_kernel::{ByteSize, CpuMillis, Span};

fn tried(revision: u32, plan: Plan, burnt: bool) -> Tried {
    Tried {
        revision: RevisionId::new(2, revision),
        digest: plan.digest(),
        plan,
        useful_batch: None,
        throughput: None,
        burnt,
    }
}

fn history(part: &serde_json::Value, plans: Vec<Tried>) -> History {
    History {
        spec: spec(part),
        machine: machine(),
        cost_per_hour: 0.0,
        model: Some(platform_selected().model),
        tried: plans,
        good: None,
    }
}

fn first(part: &serde_json::Value) -> History {
    history(part, vec![tried(1, plan(), false)])
}

fn found(kind: FindingKind, measured: f64, wanted: f64, unit: &str) -> Finding {
    Finding::deterministic(kind, "test").with_figures(measured, wanted, unit)
}

fn told(step: &NextStep) -> String {
    match step {
        NextStep::Redeploy { changes, .. } if changes.is_empty() => "again".to_owned(),
        NextStep::Redeploy { changes, .. } => {
            changes.iter().map(|c| format!("{} {}->{}", c.path, c.from, c.to)).collect::<Vec<_>>().join(", ")
        }
        NextStep::ReturnTo { revision, .. } => format!("back to {revision}"),
        NextStep::Abandon { .. } => "abandon".to_owned(),
    }
}

#[test]
fn a_longer_queue_is_only_for_those_that_a_full_one_refused() {
    // One worker is all there may be.
    let alone = json!({ "scale": { "min": 1, "max": 1 } });
    let remedy = |class: &str| {
        let finding = found(FindingKind::ErrorRate, 0.1, 0.001, "ratio").with_evidence(class.to_owned());
        told(&revise(&first(&alone), &[finding]))
    };
    assert_eq!(remedy("failures:status-429"), "queueLimit 100->200");
    assert_eq!(remedy("spec.slo.availability"), "queueLimit 100->200", "nobody counted what failed");
    assert_eq!(remedy("failures:connect"), "cpu 1->2, threads 1->2");
}

#[test]
fn each_kind_of_finding_has_its_remedy() {
    for (finding, expected) in [
        (found(FindingKind::Latency, 55.0, 50.0, "ms"), "maxDelay 2ms->500us"),
        (found(FindingKind::Latency, 500.0, 50.0, "ms"), "replicas 1->4, maxDelay 2ms->500us"),
        (found(FindingKind::Throughput, 90.0, 100.0, "requests/s"), "maxBatch 8->16"),
        (found(FindingKind::Throughput, 10.0, 100.0, "requests/s"), "maxBatch 8->64, queueLimit 100->128"),
        (found(FindingKind::ErrorRate, 0.1, 0.001, "ratio"), "replicas 1->2"),
        (found(FindingKind::OutOfMemory, 600e6, 512e6, "bytes"), "memory 512Mi->1Gi"),
        (found(FindingKind::Unschedulable, 1.0, 1.0, "count"), "cpu 1->500m"),
        (found(FindingKind::StartTimeout, 120.0, 60.0, "s"), "cpu 1->2, threads 1->2"),
        (found(FindingKind::Crashed, 0.0, 0.0, ""), "memory 512Mi->1Gi"),
        (found(FindingKind::AutoscalerIdle, 0.0, 0.0, ""), "replicas 1->2"),
        (found(FindingKind::Overload, 0.0, 0.0, ""), "queueLimit 100->50"),
        (found(FindingKind::Resilience, 3.0, 0.0, "count"), "replicas 1->2"),
    ] {
        assert_eq!(told(&revise(&first(&json!({})), std::slice::from_ref(&finding))), expected, "{}", finding.kind);
    }
}

#[test]
fn what_no_manifest_heals_goes_back_or_ends_with_advice() {
    let kinds = FindingKind::ALL.into_iter().filter(|k| unhealed::concerns(*k) || straight_back::concerns(*k));
    for kind in kinds {
        let finding = finding(kind, Cause::Deterministic);
        let mut history = first(&json!({}));
        match revise(&history, std::slice::from_ref(&finding)) {
            NextStep::Abandon { advice, .. } => assert!(!advice.is_empty(), "{kind}"),
            other => panic!("{kind}: {other:?}"),
        }
        history.good = Some(RevisionId::new(1, 1));
        assert_eq!(told(&revise(&history, &[finding])), "back to 1-1", "{kind}");
    }
}

#[test]
fn wrong_outputs_go_back_at_once_even_if_they_may_pass_and_something_else_could_be_healed() {
    let findings =
        [found(FindingKind::Latency, 55.0, 50.0, "ms"), finding(FindingKind::OutputMismatch, Cause::Transient)];
    assert_eq!(told(&revise(&first(&json!({})), &findings)), "abandon");
}

#[test]
fn a_failure_that_may_pass_is_tried_again_with_the_same_plan_but_not_for_ever() {
    let passing = [finding(FindingKind::Latency, Cause::Transient)];
    let repeats = |n| history(&json!({}), (1..=n).map(|r| tried(r, plan(), false)).collect());
    assert_eq!(told(&revise(&repeats(1), &passing)), "again");
    assert_eq!(told(&revise(&repeats(2), &passing)), "again");
    assert_eq!(told(&revise(&repeats(3), &passing)), "maxDelay 2ms->500us");
}

#[test]
fn a_fixed_path_is_left_alone_and_the_next_remedy_is_taken() {
    let slow = [found(FindingKind::Latency, 55.0, 50.0, "ms")];
    let with = |fixed: &[&str]| told(&revise(&first(&json!({ "fixed": fixed })), &slow));
    assert_eq!(with(&["serving.batching.maxDelay"]), "replicas 1->2");
    assert_eq!(with(&["serving.batching.maxDelay", "scale.min"]), "cpu 1->2, threads 1->2");
    assert_eq!(with(&["serving.batching.maxDelay", "scale.min", "resources.cpu"]), "maxBatch 8->4");
    let all = slipway_kernel::Plan::SPEC_PATHS.map(|(_, path)| path);
    assert_eq!(with(&all), "abandon");
}

#[test]
fn a_burnt_plan_is_never_tried_again() {
    let slow = [found(FindingKind::Latency, 55.0, 50.0, "ms")];
    let burnt = Plan { max_delay: Span(std::time::Duration::from_micros(500)), ..plan() };
    let history = history(&json!({}), vec![tried(1, burnt, true), tried(2, plan(), false)]);
    assert_eq!(told(&revise(&history, &slow)), "maxDelay 2ms->0s");
}

#[test]
fn findings_that_come_together_are_answered_together_where_they_do_not_contradict() {
    let findings = [
        found(FindingKind::Latency, 55.0, 50.0, "ms"),
        found(FindingKind::Throughput, 90.0, 100.0, "requests/s"),
        found(FindingKind::Resilience, 1.0, 0.0, "count"),
    ];
    let step = revise(&first(&json!({})), &findings);
    assert_eq!(told(&step), "replicas 1->2, maxBatch 8->16, maxDelay 2ms->500us");
    let NextStep::Redeploy { changes, .. } = step else { panic!() };
    let kinds: Vec<_> = changes.iter().map(|change| change.finding).collect();
    assert_eq!(kinds, [FindingKind::Resilience, FindingKind::Throughput, FindingKind::Latency]);
}

#[test]
fn the_number_of_revisions_is_bounded() {
    let part = json!({ "validation": { "maxRevisions": 2 } });
    let plans = vec![tried(1, Plan { max_batch: 4, ..plan() }, true), tried(2, plan(), false)];
    let NextStep::Abandon { reason, .. } =
        revise(&history(&part, plans), &[found(FindingKind::Latency, 55.0, 50.0, "ms")])
    else {
        panic!()
    };
    assert!(reason.starts_with("all 2 revisions"), "{reason}");
}

#[test]
fn the_machine_the_scale_and_the_budget_bound_every_remedy() {
    let short = [found(FindingKind::Throughput, 10.0, 100.0, "requests/s")];
    let at = |part: serde_json::Value, cores: u32, memory_bytes: u64, cost: f64| {
        let mut history = first(&part);
        history.machine.cores = cores;
        history.machine.memory_bytes = memory_bytes;
        history.cost_per_hour = cost;
        history.tried[0].plan.max_batch = 256;
        told(&revise(&history, &short))
    };
    assert_eq!(at(json!({}), 8, 16 << 30, 0.0), "replicas 1->4", "by scale.max");
    assert_eq!(at(json!({ "scale": { "max": 100 } }), 3, 16 << 30, 0.0), "replicas 1->3", "by cores");
    assert_eq!(at(json!({ "scale": { "max": 100 } }), 8, 1 << 30, 0.0), "replicas 1->2", "by memory");
    assert_eq!(at(json!({ "scale": { "max": 1 } }), 2, 16 << 30, 0.0), "cpu 1->2, threads 1->2");
    assert_eq!(at(json!({}), 1, 16 << 30, 0.0), "abandon", "one core, in use");
    let budget = json!({ "infrastructure": { "budgetPerHour": 1.5 } });
    assert_eq!(at(budget, 8, 16 << 30, 1.0), "abandon", "two would cost 2.0");
}

#[test]
fn a_batch_is_not_made_larger_than_what_warm_up_found_useful() {
    let mut history = first(&json!({}));
    let slow = [found(FindingKind::Throughput, 10.0, 100.0, "requests/s")];
    history.tried[0].useful_batch = Some(4);
    assert_eq!(told(&revise(&history, &slow)), "replicas 1->4");
    // Nothing larger than the plan's own batch was measured, so larger ones may well be useful.
    history.tried[0].useful_batch = Some(8);
    assert_eq!(told(&revise(&history, &slow)), "maxBatch 8->64, queueLimit 100->128");
}

#[test]
fn when_the_last_larger_batch_gained_little_more_workers_come_first() {
    let mut before = tried(1, Plan { max_batch: 2, ..plan() }, true);
    before.throughput = Some(100.0);
    let history = history(&json!({}), vec![before, tried(2, plan(), false)]);
    let after = |measured| told(&revise(&history, &[found(FindingKind::Throughput, measured, 400.0, "requests/s")]));
    assert_eq!(after(160.0), "maxBatch 8->32");
    assert_eq!(after(140.0), "replicas 1->4");
}

#[test]
fn memory_grows_to_what_the_machine_has_and_then_batches_shrink() {
    let mut history = first(&json!({}));
    history.machine.memory_bytes = 800 << 20;
    let full = [found(FindingKind::OutOfMemory, 600e6, 512e6, "bytes")];
    assert_eq!(told(&revise(&history, &full)), "memory 512Mi->768Mi");
    history.machine.memory_bytes = 600 << 20;
    assert_eq!(told(&revise(&history, &full)), "maxBatch 8->4");
}

#[test]
fn a_change_gives_the_figures_as_its_reason() {
    let NextStep::Redeploy { plan, changes } =
        revise(&first(&json!({})), &[found(FindingKind::OutOfMemory, 600.0, 512.0, "bytes")])
    else {
        panic!()
    };
    assert_eq!(plan.memory, ByteSize::mebibytes(1024));
    assert_eq!(changes[0].reason, "512Mi of memory were not enough: 600 bytes measured, 512 bytes wanted");
    assert_eq!(plan.cpu, CpuMillis(1_000));
}

#[test]
fn before_the_first_plan_there_is_nothing_to_revise() {
    let mut history = history(&json!({}), Vec::new());
    let failed = [finding(FindingKind::ExecutorMissing, Cause::Deterministic)];
    let NextStep::Abandon { advice, .. } = revise(&history, &failed) else { panic!() };
    assert!(advice.contains("an infrastructure.target that this installation has an executor for"), "{advice}");
    history.good = Some(RevisionId::new(1, 2));
    assert_eq!(told(&revise(&history, &failed)), "back to 1-2");
}
