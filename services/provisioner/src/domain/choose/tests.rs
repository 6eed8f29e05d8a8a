use super::*;
use crate::domain::{
    clouds::Quota,
    demands::tests::modest,
    surroundings::{TARGETS, tests::small_machine},
};
use proptest::prelude::*;
use slipway_kernel::{
    ByteSize, CpuMillis, GpuFacts, Span,
    spec::{Control, Elasticity, Gpu},
};

fn candidate<'a>(chosen: &'a InfrastructureChosen, target: &str) -> &'a Candidate {
    chosen.candidates.iter().find(|candidate| candidate.target == target).unwrap()
}

#[test]
fn a_modest_model_runs_on_this_machine() {
    let chosen = choose(&modest(), &small_machine());
    assert_eq!(chosen.target, "local");
    assert_eq!(chosen.candidates[0].target, "local");
    assert_eq!(chosen.candidates.len(), 6);
    assert!(chosen.reason.contains("prices of 2026-01-01 in USD"), "{}", chosen.reason);
}

#[test]
fn what_can_be_executed_is_preferred_and_the_better_one_is_named() {
    let demands = Demands { elasticity: Elasticity::Bursty, ..modest() };
    let mut here = small_machine();
    here.cloud_latency = Span::millis(1);
    let aws = &mut here.prices.aws;
    (aws.core, aws.memory_gib, aws.control_plane) = (0.0, 0.0, 0.0);
    let chosen = choose(&demands, &here);
    assert_eq!(chosen.target, "local");
    assert!(candidate(&chosen, "aws").score > candidate(&chosen, "local").score);
    assert!(chosen.reason.contains("aws scores higher") && chosen.reason.contains("no executor"), "{}", chosen.reason);
}

#[test]
fn the_region_that_was_chosen_is_read_from_what_was_written() {
    let mut here = small_machine();
    here.executors = vec![Target::Aws];
    let chosen = choose(&Demands { target: Target::Aws, ..modest() }, &here);
    let expected = here.prices.aws.region(&modest(), here.cloud_latency).unwrap();
    assert_eq!((chosen.target.as_str(), region(&chosen)), ("aws", Some(expected.name.as_str())));
    assert!(candidate(&chosen, "aws").reasons.contains(&"access: stacks are made there".to_owned()));
    assert_eq!(region(&choose(&modest(), &small_machine())), None);
}

#[test]
fn when_this_machine_cannot_the_best_reachable_one_is_chosen_and_it_says_why() {
    let demands = Demands { gpu: Gpu::Required, ..modest() };
    let mut here = small_machine();
    here.reach.gcp = Some("GOOGLE_APPLICATION_CREDENTIALS is set".into());
    let chosen = choose(&demands, &here);
    assert_eq!(chosen.target, "gcp");
    assert!(chosen.reason.contains("local: a GPU is required and there is none"), "{}", chosen.reason);
}

#[test]
fn an_installation_in_a_cluster_chooses_the_cluster() {
    let here = Surroundings { executors: vec![Target::Kubernetes], ..small_machine() };
    let chosen = choose(&modest(), &here);
    assert_eq!(chosen.target, "kubernetes");
    assert!(candidate(&chosen, "local").reasons.iter().any(|reason| reason.contains("no executor")));
}

#[test]
fn an_explicit_target_is_taken_even_without_an_executor() {
    let chosen = choose(&Demands { target: Target::Aws, ..modest() }, &small_machine());
    assert_eq!(chosen.target, "aws");
    assert_eq!(candidate(&chosen, "local").vetoes[0].rule, "target");
    assert!(chosen.reason.contains("no executor"), "{}", chosen.reason);
}

#[test]
fn an_explicit_target_that_hard_facts_exclude_leaves_nothing() {
    let demands = Demands { target: Target::Local, gpu: Gpu::Required, needs_approval: true, ..modest() };
    let chosen = choose(&demands, &small_machine());
    assert_eq!(chosen.target, "");
    assert!(!chosen.needs_approval, "there is nothing to approve");
    assert_eq!(
        chosen.reason,
        "the target asked for does not fulfil the demands: local: a GPU is required and there is none: no NVIDIA driver; the closest that would do \
         is bare-metal with spec.infrastructure.target auto instead of local, at 0.510 an hour"
    );
}

#[test]
fn when_nothing_fulfils_the_demands_every_candidate_says_why() {
    let demands = Demands { budget_per_hour: Some(0.0), gpu: Gpu::Required, ..modest() };
    let chosen = choose(&demands, &small_machine());
    assert_eq!(chosen.target, "");
    for target in ["local", "kubernetes", "bare-metal", "aws", "azure", "gcp"] {
        assert!(chosen.reason.contains(&format!("{target}: ")), "{}", chosen.reason);
    }
}

#[test]
fn approval_is_asked_for_when_the_spec_wants_it() {
    assert!(choose(&Demands { needs_approval: true, ..modest() }, &small_machine()).needs_approval);
}

const REGIONS: [&str; 4] = ["eu", "us", "on-prem", "this-machine"];
const REGIMES: [&str; 3] = ["gdpr", "hipaa", "air-gapped"];

fn words(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::sample::subsequence(of, 0..=of.len()).prop_map(|words| words.iter().map(ToString::to_string).collect())
}

prop_compose! {
    fn any_demands()(
        target in proptest::sample::select(vec![
            Target::Auto, Target::Auto, Target::Auto, Target::Local, Target::Kubernetes, Target::Aws, Target::BareMetal,
        ]),
        residency in words(&REGIONS),
        compliance in words(&REGIMES),
        own in any::<bool>(),
        bursty in any::<bool>(),
        latency in proptest::option::of(1_u64..60),
        budget in proptest::option::of(0.0..3.0_f64),
        gpu in proptest::sample::select(vec![Gpu::None, Gpu::None, Gpu::Optional, Gpu::Required]),
        needs_approval in any::<bool>(),
        cpu in 100_u32..6_000,
        memory in 64_u64..12_000,
        gpu_memory in 0_u64..200_000,
        workers in 1_u32..6,
    ) -> Demands {
        Demands {
            target,
            residency,
            compliance,
            control: if own { Control::Own } else { Control::Any },
            elasticity: if bursty { Elasticity::Bursty } else { Elasticity::Steady },
            latency_budget: latency.map(Span::millis),
            budget_per_hour: budget,
            gpu,
            needs_approval,
            cpu: CpuMillis(cpu),
            memory: ByteSize::mebibytes(memory),
            gpu_memory: ByteSize::mebibytes(gpu_memory),
            workers,
            max_workers: workers + 3,
            ..modest()
        }
    }
}

prop_compose! {
    fn any_surroundings()(
        cores in 1_u32..64,
        memory in 1_u64..64,
        gpus in proptest::collection::vec(1_u64..96, 0..3),
        regions in words(&REGIONS),
        compliance in words(&REGIMES),
        own in any::<bool>(),
        kubernetes in any::<bool>(),
        cloud in any::<bool>(),
        executors in proptest::sample::subsequence(vec![Target::Local, Target::Kubernetes], 0..=2),
        latency in 0_u64..60,
        quota in proptest::option::of(0.0..8.0_f64),
    ) -> Surroundings {
        let mut here = small_machine();
        here.machine.cores = cores;
        here.machine.memory_bytes = memory << 30;
        here.machine.gpus = gpus
            .into_iter()
            .map(|gibibytes| GpuFacts { name: "gpu".into(), memory_bytes: gibibytes << 30, ..GpuFacts::default() })
            .collect();
        here.local.regions.clone_from(&regions);
        here.local.compliance.clone_from(&compliance);
        here.kubernetes.regions = regions;
        here.kubernetes.compliance = compliance;
        here.kubernetes.own = own;
        here.reach.kubernetes = kubernetes.then(|| "a kubeconfig".to_owned());
        here.executors = executors;
        here.reach.azure = cloud.then(|| "credentials".to_owned());
        here.prices.gcp.quota = Quota { cores: quota, gpus: quota.map(|cores| cores as u32 / 2) };
        here.cloud_latency = Span::millis(latency);
        here
    }
}

/// The demands with one more thing demanded.
fn stricter(demands: &Demands, which: u8) -> Demands {
    let mut demands = demands.clone();
    match which % 7 {
        0 => demands.compliance.push("iso-27001".into()),
        1 => demands.latency_budget = Some(demands.latency_budget.map_or(Span::millis(5), |b| b.min(Span::millis(5)))),
        2 => demands.budget_per_hour = Some(demands.budget_per_hour.map_or(0.05, |b| b.min(0.05))),
        3 if demands.residency.is_empty() => demands.residency.push("eu".into()),
        4 if demands.target == Target::Auto => demands.target = Target::Local,
        5 => demands.compliance.push("air-gapped".into()),
        6 => demands.control = Control::Own,
        _ => {}
    }
    demands
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_vetoed_candidate_is_never_chosen_and_an_eligible_one_always_is(
        demands in any_demands(), here in any_surroundings()
    ) {
        let chosen = choose(&demands, &here);
        let eligible: Vec<_> = chosen.candidates.iter().filter(|c| c.vetoes.is_empty()).collect();
        match eligible.first() {
            None => prop_assert_eq!(&chosen.target, ""),
            Some(first) => {
                prop_assert_eq!(&chosen.target, &first.target);
                prop_assert_eq!(&chosen.candidates[0].target, &first.target);
            }
        }
        prop_assert!(!chosen.reason.is_empty());
        prop_assert!(chosen.candidates.iter().all(|c| !c.reasons.is_empty() && (0.0..=1.0).contains(&c.score)));
        prop_assert!(chosen.candidates.iter().all(|c| c.vetoes.is_empty() || c.score == 0.0));
    }

    #[test]
    fn an_explicit_target_wins_unless_hard_facts_exclude_it(
        demands in any_demands(), here in any_surroundings(), target in proptest::sample::select(TARGETS.to_vec())
    ) {
        let demands = Demands { target, ..demands };
        let chosen = choose(&demands, &here);
        let asked = candidate(&chosen, name(demands.target));
        prop_assert!(asked.vetoes.iter().all(|veto| veto.rule != rules::TARGET));
        let expected = if asked.vetoes.is_empty() { name(demands.target) } else { "" };
        prop_assert_eq!(&chosen.target, expected);
    }

    #[test]
    fn a_stricter_demand_lifts_no_score_and_takes_no_veto_away(
        demands in any_demands(), here in any_surroundings(), which in any::<u8>()
    ) {
        let before = choose(&demands, &here);
        let after = choose(&stricter(&demands, which), &here);
        for was in &before.candidates {
            let is = candidate(&after, &was.target);
            prop_assert!(is.score <= was.score, "{}: {} > {}", was.target, is.score, was.score);
            prop_assert!(is.vetoes.len() >= was.vetoes.len());
        }
    }

    #[test]
    fn what_can_be_executed_comes_before_what_cannot(demands in any_demands(), here in any_surroundings()) {
        let chosen = choose(&demands, &here);
        let executors: Vec<&str> = here.executors.iter().map(|target| name(*target)).collect();
        if executors.iter().any(|target| candidate(&chosen, target).vetoes.is_empty()) {
            prop_assert!(executors.contains(&chosen.target.as_str()), "{} of {executors:?}", chosen.target);
        }
    }

    #[test]
    fn cheaper_never_loses_when_all_else_is_equal(demands in any_demands(), here in any_surroundings(), less in 0.0..1.0_f64) {
        let before = choose(&demands, &here);
        let mut cheaper = here.clone();
        for price in [&mut cheaper.prices.aws.core, &mut cheaper.prices.aws.memory_gib, &mut cheaper.prices.aws.control_plane] {
            *price *= less;
        }
        let after = choose(&demands, &cheaper);
        let place = |chosen: &InfrastructureChosen| chosen.candidates.iter().position(|c| c.target == "aws");
        prop_assert!(place(&after) <= place(&before));
        prop_assert!(candidate(&after, "aws").score >= candidate(&before, "aws").score);
        prop_assert!(before.target != "aws" || after.target == "aws");
    }

    #[test]
    fn what_would_do_does(demands in any_demands(), here in any_surroundings()) {
        for target in TARGETS {
            let Some(relaxed) = closest::relaxed(target, &demands, &here) else { continue };
            let chosen = choose(&relaxed.demands, &here);
            prop_assert_eq!(&candidate(&chosen, name(target)).vetoes, &[]);
            prop_assert_eq!(relaxed.changes.is_empty(), candidate(&choose(&demands, &here), name(target)).vetoes.is_empty());
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer(demands in any_demands(), here in any_surroundings()) {
        prop_assert_eq!(choose(&demands, &here), choose(&demands, &here));
    }
}
