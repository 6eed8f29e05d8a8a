//! The choice as people would make it: a table of demands and places with what is expected, each judged by hand. The prices are those that are
//! built in.

use super::*;
use crate::{
    config::PricesConfig,
    domain::{
        clouds::Quota,
        surroundings::{ClusterGpus, tests::small_machine},
    },
};
use serde::Deserialize;
use slipway_kernel::{GpuFacts, spec::ModelDeployment};
use std::collections::{BTreeMap, BTreeSet};

const TABLE: &str = include_str!("scenarios.toml");

#[derive(Deserialize)]
struct Table {
    scenario: Vec<Scenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// What it is about; each once.
    is: String,
    /// The name of the place.
    here: String,
    /// What of `spec` is not as it is by default.
    #[serde(default)]
    spec: serde_json::Map<String, serde_json::Value>,
    /// What is chosen; empty for nothing.
    target: String,
    /// What the reason says.
    #[serde(default)]
    because: Vec<String>,
    /// The rules that exclude a candidate, all of them.
    #[serde(default)]
    vetoes: BTreeMap<String, Vec<String>>,
    /// What the reasons of a candidate say.
    #[serde(default)]
    says: BTreeMap<String, String>,
}

fn gpus(count: usize, gibibytes: u64) -> Vec<GpuFacts> {
    vec![GpuFacts { name: "NVIDIA".to_owned(), memory_bytes: gibibytes << 30, ..GpuFacts::default() }; count]
}

/// A place by its name: what there is besides a small machine with nothing in reach.
fn place(name: &str) -> Surroundings {
    let mut here = Surroundings { prices: PricesConfig::default().load().unwrap(), ..small_machine() };
    let there = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    for part in name.split('+') {
        match part {
            "laptop" => {}
            "in-europe" => {
                here.local.regions.push("eu".to_owned());
                here.local.compliance.push("gdpr".to_owned());
            }
            "gpu" => here.machine.gpus = gpus(1, 24),
            "gpus" => here.machine.gpus = gpus(4, 80),
            "large" => (here.machine.cores, here.machine.memory_bytes) = (64, 512 << 30),
            "cluster" => {
                here.executors = vec![Target::Kubernetes];
                here.kubernetes.regions = there(&["eu"]);
                here.kubernetes.compliance = there(&["gdpr", "iso-27001"]);
            }
            "cluster-beside" => {
                here.executors.push(Target::Kubernetes);
                here.kubernetes.regions = there(&["eu"]);
                here.kubernetes.compliance = there(&["gdpr", "iso-27001"]);
            }
            "cluster-of-our-own" => here.kubernetes.own = true,
            "cluster-gpus" => here.kubernetes_gpus = ClusterGpus::Seen(gpus(2, 40)),
            "kubeconfig" => here.reach.kubernetes = Some("a kubeconfig".to_owned()),
            "aws" => here.reach.aws = Some("credentials".to_owned()),
            "azure" => here.reach.azure = Some("credentials".to_owned()),
            "gcp" => here.reach.gcp = Some("credentials".to_owned()),
            "aws-quota" => here.prices.aws.quota = Quota { cores: Some(16.0), gpus: Some(1) },
            "no-aws" => here.prices.aws.regions.clear(),
            "near-clouds" => here.cloud_latency = slipway_kernel::Span::millis(4),
            other => panic!("no place is called {other}"),
        }
    }
    here
}

#[test]
fn the_choice_is_what_people_would_choose() {
    let table: Table = toml::from_str(TABLE).unwrap();
    let names: BTreeSet<&str> = table.scenario.iter().map(|scenario| scenario.is.as_str()).collect();
    assert_eq!(names.len(), table.scenario.len(), "a scenario is there twice");
    assert!(names.len() >= 60, "{} scenarios", names.len());
    let wrong: Vec<String> = table.scenario.iter().filter_map(judge).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), names.len(), wrong.join("\n"));
}

/// What is not as expected.
fn judge(scenario: &Scenario) -> Option<String> {
    let mut spec = serde_json::json!({ "model": { "uri": "file:///m" } });
    spec.as_object_mut().unwrap().extend(scenario.spec.clone());
    let document = serde_json::json!({ "metadata": { "name": "m" }, "spec": spec });
    let deployment = ModelDeployment::read(&document).unwrap_or_else(|error| panic!("{}: {error:?}", scenario.is));
    let chosen = choose(&Demands::of(&deployment.spec), &place(&scenario.here));
    let mut wrong = Vec::new();
    if chosen.target != scenario.target {
        wrong.push(format!("`{}` is chosen, not `{}`", chosen.target, scenario.target));
    }
    wrong.extend(
        scenario
            .because
            .iter()
            .filter(|words| !chosen.reason.contains(*words))
            .map(|words| format!("not because `{words}`")),
    );
    for (target, rules) in &scenario.vetoes {
        let candidate = chosen.candidates.iter().find(|candidate| candidate.target == *target).unwrap();
        let found: Vec<&str> = candidate.vetoes.iter().map(|veto| veto.rule.as_str()).collect();
        if found != *rules {
            wrong.push(format!("{target} is excluded by {found:?}, not {rules:?}"));
        }
    }
    for (target, words) in &scenario.says {
        let candidate = chosen.candidates.iter().find(|candidate| candidate.target == *target).unwrap();
        if !candidate.reasons.iter().any(|reason| reason.contains(words)) {
            wrong.push(format!("{target} does not say `{words}`: {:#?}", candidate.reasons));
        }
    }
    (!wrong.is_empty()).then(|| format!("{}: {} (reason: {})", scenario.is, wrong.join("; "), chosen.reason))
}
