//! Each misbehaviour of a mesh has its finding, and a mesh that behaves has none.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod double;

use double::{Behaviour, assignment, assignment_with_kill, bounds, golden, live, ms, prove, prove_with};
use slipway_kernel::{
    FindingKind,
    Outcome::{self, Failed, Inconclusive, Passed, Skipped},
    Span,
};
use slipway_validator::{
    Bounds, Proof,
    domain::verdict::{Verdict, verdict},
};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

fn outcome(proof: &Proof, name: &str) -> Outcome {
    let judged = proof.judged.iter().find(|judged| judged.check.name == name);
    judged.unwrap_or_else(|| panic!("no check {name}")).check.outcome
}

fn kinds(proof: &Proof) -> Vec<FindingKind> {
    proof.judged.iter().flat_map(|judged| &judged.findings).map(|finding| finding.kind).collect()
}

fn summed(proof: &Proof) -> Verdict {
    verdict(&proof.judged.iter().map(|judged| judged.check.clone()).collect::<Vec<_>>())
}

fn told(proof: &Proof) -> String {
    let line = |check: &slipway_kernel::Check| format!("{} {:?}: {}", check.name, check.outcome, check.detail);
    proof.judged.iter().map(|judged| line(&judged.check)).collect::<Vec<_>>().join("\n")
}

/// The proof fails with findings of this kind and no other.
fn fails_with(proof: &Proof, kind: FindingKind) {
    assert_eq!(summed(proof), Verdict::Failed, "{}", told(proof));
    assert!(!kinds(proof).is_empty() && kinds(proof).iter().all(|found| *found == kind), "{}", told(proof));
}

#[tokio::test]
async fn a_mesh_that_behaves_is_validated() {
    let behaviour = Behaviour {
        refuses_above: Some((30, 503, true)),
        worker_back_after: Some(ms(400)),
        places: Some(8),
        slow: ms(10),
        ..Behaviour::default()
    };
    let begin = Instant::now();
    let (proof, mesh) = prove_with(behaviour, &assignment_with_kill(), golden(), bounds()).await;
    assert_eq!(summed(&proof), Verdict::Validated, "{}", told(&proof));
    assert_eq!(kinds(&proof), []);
    for name in [
        "golden-accuracy",
        "golden-outputs",
        "authentication",
        "latency-p99",
        "error-rate",
        "steady-outputs",
        "overload",
        "worker-killed",
        "sinks",
        "traces",
    ] {
        assert_eq!(outcome(&proof, name), Passed, "{}", told(&proof));
    }
    assert_eq!(outcome(&proof, "throughput"), Skipped, "no objective");
    assert_eq!(mesh.kills.load(Ordering::SeqCst), 1);
    assert_eq!(mesh.strangers_served.load(Ordering::SeqCst), 0);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_slow_revision_has_a_latency_finding_and_is_not_disturbed_further() {
    let behaviour = Behaviour { slow: ms(400), ..Behaviour::default() };
    let (proof, mesh) = prove_with(behaviour, &assignment_with_kill(), golden(), bounds()).await;
    fails_with(&proof, FindingKind::Latency);
    assert_eq!((outcome(&proof, "overload"), outcome(&proof, "worker-killed")), (Skipped, Skipped));
    assert_eq!(outcome(&proof, "sinks"), Passed, "what was answered is looked for all the same");
    assert_eq!(mesh.kills.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_slow_revision_on_a_busy_machine_is_inconclusive() {
    let (proof, _) = prove(Behaviour { slow: ms(400), foreign: 0.6, ..Behaviour::default() }).await;
    assert_eq!(outcome(&proof, "latency-p99"), Inconclusive, "{}", told(&proof));
    assert_eq!(summed(&proof), Verdict::Inconclusive);
    assert_eq!(proof.repeats.len(), 7, "it asked for quiet as often as it may");
}

#[tokio::test]
async fn a_rate_that_is_not_sustained_is_a_throughput_finding() {
    let mut wanted = assignment();
    wanted.slo.latency_p99 = None;
    wanted.slo.throughput = Some("200/s".parse().unwrap());
    // One at a time, 20 ms each: 48 a second at most, where the load of 20/s passes easily.
    wanted.validation.load.rate = Some("20/s".parse().unwrap());
    let behaviour = Behaviour { places: Some(1), slow: ms(20), ..Behaviour::default() };
    let (proof, _) = prove_with(behaviour, &wanted, golden(), bounds()).await;
    fails_with(&proof, FindingKind::Throughput);
    let finding = &proof.judged.iter().flat_map(|judged| &judged.findings).next().unwrap();
    assert!(finding.measured.unwrap() < 60.0, "{}", finding.message);
}

#[tokio::test]
async fn a_rate_that_is_sustained_passes() {
    let mut wanted = assignment();
    wanted.slo.throughput = Some("120/s".parse().unwrap());
    let (proof, _) = prove_with(Behaviour::default(), &wanted, golden(), bounds()).await;
    assert_eq!(outcome(&proof, "throughput"), Passed, "{}", told(&proof));
    assert_eq!(outcome(&proof, "worker-killed"), Skipped);
    assert_eq!(summed(&proof), Verdict::Validated, "{}", told(&proof));
}

#[tokio::test]
async fn wrong_labels_and_wrong_numbers_end_the_proof_before_any_load() {
    for behaviour in
        [Behaviour { wrong_labels: true, ..Behaviour::default() }, Behaviour { off_by: 0.5, ..Behaviour::default() }]
    {
        let (proof, _) = prove(behaviour).await;
        fails_with(&proof, FindingKind::OutputMismatch);
        assert_eq!(outcome(&proof, "latency-p99"), Skipped, "{}", told(&proof));
        assert_eq!(proof.repeats, []);
        assert_eq!(proof.judged.len(), 12, "every check says what became of it: {}", told(&proof));
    }
}

#[tokio::test]
async fn a_golden_file_that_does_not_fit_the_model_is_an_invalid_artifact() {
    let file = br#"{"inputs":{"X":[1,2,3]},"expected":{"label":1}}"#.to_vec();
    let (proof, _) = prove_with(Behaviour::default(), &assignment(), file.into(), bounds()).await;
    fails_with(&proof, FindingKind::ArtifactInvalid);
}

#[tokio::test]
async fn answers_that_change_under_load_are_a_mismatch() {
    let (proof, _) = prove(Behaviour { mixes_rows_above: Some(6), slow: ms(150), ..Behaviour::default() }).await;
    assert_eq!(outcome(&proof, "steady-outputs"), Failed, "{}", told(&proof));
    assert_eq!(summed(&proof), Verdict::Failed);
}

#[tokio::test]
async fn a_door_without_a_keeper_is_a_hole_and_ends_the_proof() {
    let (proof, _) = prove(Behaviour { no_door_keeper: true, ..Behaviour::default() }).await;
    fails_with(&proof, FindingKind::AuthHole);
    assert_eq!(outcome(&proof, "latency-p99"), Skipped, "{}", told(&proof));
}

#[tokio::test]
async fn a_door_that_opens_under_load_is_a_hole() {
    // Golden rows, quiet strangers and warm-up are about a hundred requests; the load makes a hundred in each of its seconds.
    let mut longer = assignment();
    longer.validation.load.duration = Span::seconds(1);
    let behaviour = Behaviour { door_keeper_leaves_after: Some(150), ..Behaviour::default() };
    let (proof, _) = prove_with(behaviour, &longer, golden(), bounds()).await;
    fails_with(&proof, FindingKind::AuthHole);
    assert!(!proof.repeats.is_empty(), "it was found under load: {}", told(&proof));
}

#[tokio::test]
async fn a_mark_that_is_not_the_validators_own_must_not_open_the_door() {
    let (proof, _) = prove(Behaviour { believes_any_mark: true, ..Behaviour::default() }).await;
    fails_with(&proof, FindingKind::AuthHole);
    let finding = proof.judged.iter().flat_map(|judged| &judged.findings).next().unwrap();
    assert!(finding.message.contains("probe token of a stranger's key"), "{}", finding.message);
    assert!(finding.message.contains("probe token for another deployment"), "{}", finding.message);
}

#[tokio::test]
async fn failures_beyond_chance_are_an_error_rate() {
    let (proof, _) = prove(Behaviour { fails_every: Some(8), ..Behaviour::default() }).await;
    assert_eq!(outcome(&proof, "error-rate"), Failed, "{}", told(&proof));
    // A golden row that fails every time it is asked is no usable answer either.
    assert!(kinds(&proof).contains(&FindingKind::ErrorRate) || kinds(&proof).contains(&FindingKind::OutputMismatch));
}

#[tokio::test]
async fn lost_and_doubled_rows_are_sink_losses() {
    for behaviour in [
        Behaviour { loses_rows_every: Some(25), ..Behaviour::default() },
        Behaviour { doubles_rows_every: Some(25), ..Behaviour::default() },
    ] {
        let (proof, _) = prove(behaviour).await;
        fails_with(&proof, FindingKind::SinkLoss);
    }
}

#[tokio::test]
async fn sinks_that_cannot_be_asked_are_inconclusive() {
    let (proof, _) = prove(Behaviour { sinks_away: true, ..Behaviour::default() }).await;
    assert_eq!(summed(&proof), Verdict::Inconclusive, "{}", told(&proof));
    assert_eq!((outcome(&proof, "sinks"), outcome(&proof, "traces")), (Inconclusive, Inconclusive));
}

#[tokio::test]
async fn torn_and_missing_traces_are_gaps() {
    for behaviour in [
        Behaviour { tears_traces: true, ..Behaviour::default() },
        Behaviour { names_no_trace: true, ..Behaviour::default() },
    ] {
        let (proof, _) = prove(behaviour).await;
        fails_with(&proof, FindingKind::TraceGap);
    }
}

#[tokio::test]
async fn rude_refusals_under_overload_are_findings() {
    for (status, retry_after) in [(500, false), (503, false), (502, true)] {
        let behaviour = Behaviour {
            refuses_above: Some((30, status, retry_after)),
            places: Some(8),
            slow: ms(10),
            ..Behaviour::default()
        };
        let (proof, _) = prove(behaviour).await;
        fails_with(&proof, FindingKind::Overload);
    }
}

#[tokio::test]
async fn not_recovering_from_overload_is_a_finding() {
    let behaviour = Behaviour {
        refuses_above: Some((30, 503, true)),
        places: Some(8),
        slow: ms(10),
        never_recovers: true,
        ..Behaviour::default()
    };
    let (proof, _) = prove(behaviour).await;
    assert_eq!(outcome(&proof, "overload"), Failed, "{}", told(&proof));
    assert!(kinds(&proof).contains(&FindingKind::Overload));
}

#[tokio::test]
async fn requests_lost_with_a_worker_are_findings_and_polite_refusals_are_not() {
    for (without_worker, wanted) in [(Some(502), Failed), (Some(500), Failed), (Some(503), Passed), (None, Passed)] {
        let behaviour = Behaviour { worker_back_after: Some(ms(400)), without_worker, ..Behaviour::default() };
        let (proof, _) = prove_with(behaviour, &assignment_with_kill(), golden(), bounds()).await;
        assert_eq!(outcome(&proof, "worker-killed"), wanted, "{without_worker:?}\n{}", told(&proof));
        if wanted == Failed {
            fails_with(&proof, FindingKind::Resilience);
        }
    }
}

#[tokio::test]
async fn a_worker_that_stays_away_is_a_finding() {
    let behaviour = Behaviour { worker_back_after: None, without_worker: Some(503), ..Behaviour::default() };
    let bounds = Bounds { worker_back: Span::millis(500), ..bounds() };
    let (proof, _) = prove_with(behaviour, &assignment_with_kill(), golden(), bounds).await;
    fails_with(&proof, FindingKind::Resilience);
}

#[tokio::test]
async fn a_revision_in_production_is_neither_overloaded_nor_robbed_of_a_worker() {
    let mut released = assignment_with_kill();
    released.in_production = true;
    let (proof, mesh) = prove_with(Behaviour::default(), &released, golden(), bounds()).await;
    assert_eq!((outcome(&proof, "overload"), outcome(&proof, "worker-killed")), (Skipped, Skipped));
    assert_eq!(mesh.kills.load(Ordering::SeqCst), 0);
    assert_eq!(summed(&proof), Verdict::Validated, "{}", told(&proof));
}

#[tokio::test]
async fn the_proof_stops_at_once_when_the_live_revision_suffers() {
    let mut beside = assignment();
    beside.live = Some(live());
    beside.validation.load.duration = Span::seconds(60);
    let begin = Instant::now();
    let behaviour = Behaviour { live_burns_after: Some(ms(1_000)), ..Behaviour::default() };
    let (proof, _) = prove_with(behaviour, &beside, golden(), bounds()).await;
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    assert_eq!(summed(&proof), Verdict::Inconclusive, "{}", told(&proof));
    assert_eq!(outcome(&proof, "production"), Inconclusive);
    assert_eq!(outcome(&proof, "latency-p99"), Skipped, "what was under way is not judged: {}", told(&proof));
}

#[tokio::test]
async fn a_live_revision_that_does_well_is_noted() {
    let mut beside = assignment();
    beside.live = Some(live());
    let behaviour = Behaviour::default();
    let (proof, _) = prove_with(behaviour, &beside, golden(), bounds()).await;
    assert_eq!(outcome(&proof, "production"), Passed, "{}", told(&proof));
    assert_eq!(summed(&proof), Verdict::Validated, "{}", told(&proof));
}

#[tokio::test]
async fn answers_of_another_revision_prove_nothing_about_this_one() {
    let (proof, _) = prove(Behaviour { misroutes: true, ..Behaviour::default() }).await;
    assert_ne!(summed(&proof), Verdict::Validated, "{}", told(&proof));
    assert_eq!(outcome(&proof, "golden-outputs"), Inconclusive, "{}", told(&proof));
}

#[tokio::test]
async fn a_deployment_without_golden_rows_is_loaded_with_blank_ones() {
    let mut without = assignment();
    without.golden = None;
    let behaviour = Behaviour::default();
    let (proof, _) = prove_with(behaviour, &without, golden(), bounds()).await;
    assert_eq!((outcome(&proof, "golden-accuracy"), outcome(&proof, "golden-outputs")), (Skipped, Skipped));
    assert_eq!(summed(&proof), Verdict::Validated, "{}", told(&proof));
}
