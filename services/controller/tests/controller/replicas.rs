//! Two controllers at once, and one that dies.

use crate::mesh::{Mesh, id};
use serde_json::json;
use slipway_bus::Verb;
use slipway_controller::{domain::invariants::breaches, target::simulated::Simulated};
use slipway_kernel::{Answer, Phase, RevisionId, RevisionState};

const ONE: RevisionId = RevisionId::new(1, 1);

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_write_the_same_facts_as_one() {
    let mesh = Mesh::with(Simulated::default(), 2).await;
    let names: Vec<String> = (0..10).map(|n| format!("model-{n}")).collect();
    for name in &names {
        mesh.deploy(name, &format!("deploy-{name}"), &json!({})).await;
    }
    for name in &names {
        let folded = mesh.released(name, ONE).await;
        assert_eq!(folded.deployment.set_aside, []);
        assert_eq!(breaches(&folded.deployment), Vec::<String>::new());
        // Requested, chosen, ready, selected, planned, deployed, the four, validated, released.
        assert_eq!(folded.deployment.facts().count(), 12, "{:#?}", mesh.told(name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn release_against_retire_has_one_winner_and_retirement_has_the_last_word() {
    let mesh = Mesh::with(Simulated::default(), 2).await;
    for n in 0..10 {
        let name = format!("raced-{n}");
        mesh.deploy(&name, &format!("deploy-{name}"), &json!({})).await;
        mesh.until(&name, |folded| folded.deployment.revision(ONE).is_some_and(RevisionState::is_deployed)).await;
        mesh.command(Verb::Retire, json!({ "deployment": name })).await;
        let folded = mesh.until_phase(&name, Phase::Retired).await;
        assert_eq!(folded.deployment.set_aside, []);
        let mut facts: Vec<_> = folded.deployment.facts().collect();
        facts.sort_by_key(|fact| fact.sequence);
        let after: Vec<_> = facts
            .iter()
            .skip_while(|fact| !matches!(fact.answer, Answer::RetireRequested(_)))
            .map(|fact| fact.answer.name())
            .filter(|name| ["planned", "shifted", "released", "rolled-back", "abandoned", "superseded"].contains(name))
            .collect();
        assert_eq!(after, [""; 0], "decided after the demand to retire");
        assert!(mesh.target.revisions(&id(&name)).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_goes_on_where_one_was_killed() {
    let mut mesh = Mesh::with(Simulated::default(), 1).await;
    mesh.others.judge(|_, _| None);
    mesh.deploy("digits", "1", &json!({})).await;
    mesh.until("digits", |folded| folded.deployment.revision(ONE).is_some_and(RevisionState::is_deployed)).await;
    mesh.kill_controller();
    mesh.others.judge(|_, _| crate::others::validated());
    mesh.until_phase("digits", Phase::Validated).await;
    mesh.add_controller();
    mesh.released("digits", ONE).await;
}
