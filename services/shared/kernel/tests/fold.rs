//! The fold over arbitrary histories: total, free of order, and honest about what it set aside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use slipway_kernel::{
    Abandoned, Annulled, Answer, Attempt, Cause, CommandReason, Degraded, Deployed, DeploymentId, Fact, FactKey,
    Failed, Finding, FindingKind, InfrastructureChosen, InfrastructureReady, IntakeReference, MachineFacts, Plan,
    Planned, Ready, Recovered, Released, Removed, Requested, Retired, Revision, RevisionId, RolledBack, Service,
    Shifted, Slot, Superseded, Timestamp, ValidationReport, fold, spec::ModelDeployment,
};
use std::sync::{Arc, LazyLock};

static ID: LazyLock<DeploymentId> = LazyLock::new(|| "default.digits".parse().unwrap());

static REQUESTED: LazyLock<Answer> = LazyLock::new(|| {
    let document =
        serde_json::json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m.onnx" } } });
    let deployment = ModelDeployment::read(&document).unwrap();
    Answer::Requested(Requested { spec_digest: deployment.digest(), deployment, intake: intake() })
});

fn intake() -> IntakeReference {
    IntakeReference { source: "test".into(), id: "1".into() }
}

fn plan() -> Answer {
    let plan = Plan {
        target: "local".into(),
        platform: "slipway".into(),
        model_digest: slipway_kernel::Digest::of(b"model"),
        replicas: 1,
        cpu: slipway_kernel::CpuMillis(1_000),
        memory: slipway_kernel::ByteSize::mebibytes(512),
        threads: 1,
        max_batch: 8,
        max_delay: slipway_kernel::Span::millis(2),
        queue_limit: 64,
        fixed_batching: false,
        latency_target: None,
    };
    Answer::Planned(Planned { digest: plan.digest(), plan, manifests: None, revises: None, changes: Vec::new() })
}

fn report(findings: Vec<Finding>) -> ValidationReport {
    ValidationReport { checks: Vec::new(), findings, missing: Vec::new(), report: None, plan_digest: None }
}

fn failed(cause: Cause) -> Failed {
    let mut finding = Finding::transient(FindingKind::Timeout, "late");
    finding.cause = cause;
    Failed { findings: vec![finding] }
}

fn reason() -> CommandReason {
    CommandReason { reason: String::new(), intake: intake() }
}

fn slots() -> impl Strategy<Value = Slot> {
    prop_oneof![
        proptest::sample::select(Slot::FIXED.to_vec()),
        proptest::sample::select(vec![Slot::Shift(5), Slot::Shift(50)]),
        (0u32..3).prop_map(Slot::Command),
        proptest::sample::select(Service::REMOVERS.map(Slot::Removal).to_vec()),
    ]
}

fn to() -> impl Strategy<Value = RevisionId> {
    (1u32..4, 0u32..3).prop_map(|(generation, revision)| RevisionId::new(generation, revision))
}

/// An answer that fits the slot, mostly; now and then one that does not.
fn answers(slot: Slot) -> BoxedStrategy<Answer> {
    let cause = prop_oneof![Just(Cause::Transient), Just(Cause::Deterministic)];
    let ready = Ready { configured: Vec::new(), proofs: Vec::new() };
    let fitting = match slot {
        Slot::Request => Just(REQUESTED.clone()).boxed(),
        Slot::Choice | Slot::Approval => Just(Answer::InfrastructureChosen(InfrastructureChosen {
            target: "local".into(),
            reason: String::new(),
            candidates: Vec::new(),
            machine: MachineFacts::default(),
            needs_approval: false,
        }))
        .boxed(),
        Slot::Infrastructure => prop_oneof![
            Just(Answer::InfrastructureReady(InfrastructureReady {
                target: "local".into(),
                machine: MachineFacts::default(),
                proofs: Vec::new()
            })),
            cause.prop_map(|cause| Answer::InfrastructureFailed(failed(cause))),
        ]
        .boxed(),
        Slot::Platform => cause.prop_map(|cause| Answer::DeployFailed(failed(cause))).boxed(),
        Slot::Plan => Just(plan()).boxed(),
        Slot::Deployment => prop_oneof![
            Just(Answer::Deployed(Deployed { endpoints: Vec::new(), measurements: Vec::new(), fencing_token: 0 })),
            cause.prop_map(|cause| Answer::DeployFailed(failed(cause))),
        ]
        .boxed(),
        Slot::Ingress => Just(Answer::IngressReady(ready)).boxed(),
        Slot::Outputs => Just(Answer::OutputsReady(ready)).boxed(),
        Slot::Observability => Just(Answer::ObservabilityReady(ready)).boxed(),
        Slot::Security => cause.prop_map(|cause| Answer::SecurityFailed(failed(cause))).boxed(),
        Slot::Validation => prop_oneof![
            Just(Answer::Validated(report(Vec::new()))),
            cause.prop_map(|cause| Answer::ValidationFailed(report(failed(cause).findings))),
            Just(Answer::ValidationInconclusive(report(Vec::new()))),
        ]
        .boxed(),
        Slot::Shift(percent) => {
            Just(Answer::Shifted(Shifted { percent: u32::from(percent), beside: None, measurements: Vec::new() }))
                .boxed()
        }
        Slot::Release => Just(Answer::Released(Released { replaces: None, measurements: Vec::new() })).boxed(),
        Slot::Degradation => prop_oneof![
            Just(Answer::Degraded(Degraded { findings: Vec::new() })),
            Just(Answer::Recovered(Recovered { measurements: Vec::new() })),
        ]
        .boxed(),
        Slot::Rollback => to()
            .prop_map(|to| Answer::RolledBack(RolledBack { to, reason: String::new(), findings: Vec::new() }))
            .boxed(),
        Slot::Command(_) => prop_oneof![
            Just(Answer::Paused(reason())),
            Just(Answer::Resumed(reason())),
            Just(Answer::RevalidationRequested(reason())),
            Just(Answer::RetireRequested(reason())),
            (1u32..4, 0u32..3, slots()).prop_map(|(generation, revision, slot)| {
                let key = FactKey::new(ID.clone(), RevisionId::new(generation, revision), slot);
                Answer::Annulled(Annulled { fact: key.to_string(), reason: "wrong".into(), intake: intake() })
            }),
        ]
        .boxed(),
        Slot::Removal(_) => Just(Answer::Removed(Removed { items: Vec::new() })).boxed(),
        Slot::End => prop_oneof![
            Just(Answer::Superseded(Superseded { by: slipway_kernel::Generation(9) })),
            Just(Answer::Retired(Retired { removed: Vec::new() })),
            Just(Answer::Abandoned(Abandoned { reason: String::new(), advice: String::new(), findings: Vec::new() })),
        ]
        .boxed(),
    };
    prop_oneof![12 => fitting, 1 => Just(Answer::Resumed(reason()))].boxed()
}

fn facts() -> impl Strategy<Value = Vec<Arc<Fact>>> {
    let one = (1u32..4, 0u32..3, slots(), 0u32..3, any::<u32>()).prop_flat_map(
        |(generation, revision, slot, attempt, id)| {
            answers(slot).prop_map(move |answer| {
                // Most slots stand at one kind of revision; let most facts be where they can count.
                let revision =
                    if slot.fits_revision(revision) || id % 8 == 0 { revision } else { u32::from(revision == 0) };
                let key = FactKey::new(
                    ID.clone(),
                    RevisionId { generation: slipway_kernel::Generation(generation), revision: Revision(revision) },
                    slot,
                )
                .at(Attempt(if id % 3 == 0 { attempt } else { 0 }));
                Arc::new(Fact {
                    key,
                    id: id.to_string(),
                    actor: "test".into(),
                    causation: None,
                    correlation: "c".into(),
                    traceparent: None,
                    at: Timestamp(u64::from(id)),
                    sequence: u64::from(id),
                    answer,
                })
            })
        },
    );
    let opening = (1u32..4).prop_map(|generation| {
        (1..=generation)
            .map(|generation| {
                Arc::new(Fact {
                    key: FactKey::new(ID.clone(), RevisionId::new(generation, 0), Slot::Request),
                    id: format!("request-{generation}"),
                    actor: "test".into(),
                    causation: None,
                    correlation: "c".into(),
                    traceparent: None,
                    at: Timestamp(0),
                    sequence: u64::from(generation),
                    answer: REQUESTED.clone(),
                })
            })
            .collect::<Vec<_>>()
    });
    (opening, proptest::collection::vec(one, 0..24)).prop_map(|(mut opening, mut rest)| {
        opening.append(&mut rest);
        opening
    })
}

fn shuffled() -> impl Strategy<Value = (Vec<Arc<Fact>>, Vec<Arc<Fact>>)> {
    facts().prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn the_fold_does_not_depend_on_the_order_of_the_log((log, shuffled) in shuffled()) {
        prop_assert_eq!(fold(&ID, log), fold(&ID, shuffled));
    }

    #[test]
    fn every_fact_counts_or_is_set_aside_with_a_reason(log in facts()) {
        let count = log.len();
        let folded = fold(&ID, log);
        prop_assert_eq!(folded.facts().count() + folded.set_aside.len(), count);
        prop_assert!(folded.set_aside.iter().all(|aside| !aside.reason.is_empty()));
    }

    #[test]
    fn routes_share_out_the_whole_traffic_or_none(log in facts()) {
        let routes = fold(&ID, log).routes();
        let sum: u32 = routes.shares.iter().map(|share| u32::from(share.percent)).sum();
        prop_assert!(sum == 100 || routes.shares.is_empty());
        for hash in 0..100 {
            prop_assert_eq!(routes.pick(hash).is_some(), sum == 100);
        }
    }

    #[test]
    fn a_retired_generation_has_no_traffic(log in facts()) {
        let folded = fold(&ID, log);
        if let Some(retiring) = folded.retiring() {
            prop_assert!(folded.routes().shares.iter().all(|share| share.revision.generation > retiring));
        }
    }
}

fn fact(generation: u32, revision: u32, slot: Slot, attempt: u32, answer: Answer) -> Arc<Fact> {
    let key = FactKey::new(ID.clone(), RevisionId::new(generation, revision), slot).at(Attempt(attempt));
    Arc::new(Fact {
        id: key.to_string(),
        key,
        actor: "test".into(),
        causation: None,
        correlation: "c".into(),
        traceparent: None,
        at: Timestamp(0),
        sequence: 0,
        answer,
    })
}

fn rolled_back(to: RevisionId) -> Answer {
    Answer::RolledBack(RolledBack { to, reason: String::new(), findings: Vec::new() })
}

#[test]
fn a_rollback_to_a_revision_that_was_taken_back_later_leads_on_to_where_that_one_led() {
    let released = || Answer::Released(Released { replaces: None, measurements: Vec::new() });
    let mut log = Vec::new();
    for generation in 1..=3 {
        log.push(fact(generation, 0, Slot::Request, 0, REQUESTED.clone()));
        log.push(fact(generation, 1, Slot::Plan, 0, plan()));
        log.push(fact(generation, 1, Slot::Release, 0, released()));
    }
    log.push(fact(3, 1, Slot::Rollback, 0, rolled_back(RevisionId::new(2, 1))));
    assert_eq!(fold(&ID, log.clone()).serving(), Some(RevisionId::new(2, 1)));
    log.push(fact(2, 1, Slot::Rollback, 0, rolled_back(RevisionId::new(1, 1))));
    assert_eq!(fold(&ID, log).serving(), Some(RevisionId::new(1, 1)));
}

#[test]
fn what_ended_may_still_be_retired_and_then_archived_and_nothing_else() {
    let abandoned = Answer::Abandoned(Abandoned { reason: String::new(), advice: String::new(), findings: Vec::new() });
    let retired = Answer::Retired(Retired { removed: Vec::new() });
    let log = vec![
        fact(1, 0, Slot::Request, 0, REQUESTED.clone()),
        fact(1, 0, Slot::End, 0, abandoned.clone()),
        fact(1, 0, Slot::End, 1, retired.clone()),
    ];
    let ended = |log| fold(&ID, log).newest().unwrap().ended().cloned();
    assert_eq!(ended(log.clone()), Some(retired));
    let log = vec![log[0].clone(), log[1].clone(), fact(1, 0, Slot::End, 1, abandoned.clone())];
    let folded = fold(&ID, log.clone());
    assert_eq!((ended(log), folded.set_aside.len()), (Some(abandoned), 1));
}
