//! Custom resources from `kubectl apply` to the log and back, with two controllers at work.

use crate::resources::{Resources, condition, document};
use serde_json::{Value, json};
use slipway_bus::Verb;
use slipway_kernel::{Answer, Phase, RevisionId};
use std::sync::atomic::Ordering;

/// Waits until a deployment of the log is as wanted.
async fn log_says(world: &Resources, name: &str, holds: impl Fn(&slipway_kernel::Deployment) -> bool + Send + Sync) {
    let patience = std::time::Duration::from_secs(60);
    let id = world.id(name);
    let found = world.view.wait_until(&id, patience, |folded| holds(&folded.deployment)).await;
    assert!(found.is_some(), "{name} never came to it: {}", world.deployment(name).phase());
}

/// Removes a resource and does not wait for it.
fn remove(world: &Resources, name: &str) {
    world.namespace.run(&["delete", "modeldeployment", name, "--wait=false"]).unwrap();
}

async fn until_gone(world: &Resources, name: &str) {
    world.namespace.until("the resource is gone", || world.resource(name).is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_resource_is_demanded_once_though_two_controllers_see_it_and_each_new_spec_once_more() {
    let world = Resources::new().await;
    world.apply("digits", &json!({}));
    let first = world.until_condition("digits", "Ready", "True", "Released").await;
    assert_eq!(first["status"]["servingRevision"], "1-1");
    assert_eq!(first["status"]["phase"], "released");
    assert_eq!(world.demands("digits"), 1);
    let requested = world.deployment("digits").newest().unwrap().request().clone();
    let Answer::Requested(demand) = &requested.answer else { panic!() };
    let uid = first["metadata"]["uid"].as_str().unwrap();
    assert_eq!((requested.actor.as_str(), demand.intake.id.as_str()), ("custom-resource", format!("{uid}.1").as_str()));
    assert_eq!(first["status"]["demand"], Value::Null, "its answer is known");
    world.apply("digits", &json!({ "scale": { "max": 2 } }));
    let second = world.until("digits", |resource| resource["status"]["servingRevision"] == "2-1").await;
    assert_eq!(
        (second["status"]["observedGeneration"].as_u64(), second["status"]["generation"].as_u64()),
        (Some(2), Some(2))
    );
    assert_eq!(world.demands("digits"), 2);
    assert_eq!(world.events("digits"), ["Accepted", "Accepted", "Released", "Released"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn the_spec_is_its_authors_and_a_status_that_says_it_all_is_not_written_again() {
    let world = Resources::new().await;
    world.apply("digits", &json!({ "scale": { "max": 2 } }));
    let told = world.until_condition("digits", "Ready", "True", "Released").await;
    assert_eq!(told["metadata"]["generation"], 1, "whoever writes a spec makes another generation");
    assert_eq!(told["spec"], document("x", "digits", &json!({ "scale": { "max": 2 } }))["spec"]);
    let fields = world.namespace.run(&["get", "mdep", "digits", "--show-managed-fields", "--output", "json"]).unwrap();
    let fields: Value = serde_json::from_str(&fields).unwrap();
    let fields = fields["metadata"]["managedFields"].as_array().unwrap();
    let ours: Vec<&Value> = fields.iter().filter(|entry| entry["manager"] == "slipway-bridge").collect();
    assert_eq!(ours.len(), 2, "the finalizer and the status: {ours:?}");
    for entry in ours {
        assert!(entry["fieldsV1"]["f:spec"].is_null(), "{entry}");
        let is_status = entry["subresource"] == "status";
        let metadata: Vec<&String> =
            entry["fieldsV1"]["f:metadata"].as_object().into_iter().flat_map(|m| m.keys()).collect();
        assert_eq!(metadata, if is_status { vec![] } else { vec!["f:finalizers"] }, "{entry}");
    }
    // Another resource has both bridges look at everything many times.
    world.apply("letters", &json!({}));
    world.until_condition("letters", "Ready", "True", "Released").await;
    let after = world.resource("digits").unwrap();
    assert_eq!(after["metadata"]["resourceVersion"], told["metadata"]["resourceVersion"], "{}", after["status"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_the_gate_refuses_is_a_condition_with_its_words_and_the_next_spec_is_tried() {
    let world = Resources::new().await;
    // What the definition cannot know.
    world.apply("digits", &json!({ "fixed": ["no.such.path"] }));
    let refused = world.until_condition("digits", "Accepted", "False", "InvalidSpec").await;
    let message = condition(&refused, "Accepted")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("spec.fixed") && message.contains("resources.memory"), "{message}");
    assert_eq!(condition(&refused, "Stalled")["status"], "True");
    assert_eq!(condition(&refused, "Ready")["status"], "False");
    assert_eq!((refused["status"]["phase"].as_str(), world.demands("digits")), (Some("refused"), 0));
    assert_eq!(world.events("digits"), ["Refused"]);
    world.apply("digits", &json!({ "fixed": ["resources.memory"] }));
    let taken = world.until_condition("digits", "Ready", "True", "Released").await;
    assert_eq!((world.demands("digits"), condition(&taken, "Stalled")), (1, Value::Null));
    // What was refused leaves nothing to be retired.
    world.apply("letters", &json!({ "fixed": ["no.such.path"] }));
    world.until_condition("letters", "Accepted", "False", "InvalidSpec").await;
    remove(&world, "letters");
    until_gone(&world, "letters").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_spec_that_fails_is_told_with_the_findings_and_what_serves_meanwhile() {
    let world = Resources::new().await;
    world.apply("digits", &json!({}));
    world.until_condition("digits", "Ready", "True", "Released").await;
    world.others.judge(|_, _| {
        let finding = slipway_kernel::Finding::deterministic(slipway_kernel::FindingKind::OutputMismatch, "7 is no 1");
        crate::others::refused(vec![finding])
    });
    world.apply("digits", &json!({ "scale": { "max": 2 } }));
    let back = world.until_condition("digits", "Ready", "False", "RolledBack").await;
    assert_eq!(
        (back["status"]["servingRevision"].as_str(), back["status"]["phase"].as_str()),
        (Some("1-1"), Some("rolled-back"))
    );
    let stalled = condition(&back, "Stalled");
    assert!(stalled["message"].as_str().unwrap().contains("1-1"), "{stalled}");
    assert_eq!(world.events("digits"), ["Accepted", "Accepted", "Released", "RolledBack"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_resource_that_is_removed_stays_until_its_deployment_is_retired() {
    let world = Resources::new().await;
    world.apply("digits", &json!({}));
    world.until_condition("digits", "Ready", "True", "Released").await;
    remove(&world, "digits");
    until_gone(&world, "digits").await;
    log_says(&world, "digits", |deployment| deployment.phase() == Phase::Retired).await;
    let facts = world.view.facts(&world.id("digits"));
    let asked = facts.iter().filter(|fact| matches!(fact.answer, Answer::RetireRequested(_))).count();
    assert_eq!(asked, 1, "one demand, and two controllers");
    assert!(world.events("digits").contains(&"Retired".to_owned()), "{:?}", world.events("digits"));
    // The name is free: another resource of it is another deployment.
    world.apply("digits", &json!({}));
    let again = world.until_condition("digits", "Ready", "True", "Released").await;
    assert_eq!(again["status"]["servingRevision"], "2-1");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_resource_that_comes_while_the_one_before_is_retired_waits_for_that() {
    let world = Resources::new().await;
    world.others.holds_removals.store(true, Ordering::Relaxed);
    let made = world.send(Verb::Deploy, "first", document(&world.namespace.name, "digits", &json!({}))).await;
    assert!(made.accepted, "{made:?}");
    log_says(&world, "digits", |deployment| deployment.serving().is_some()).await;
    assert!(world.send(Verb::Retire, "away", json!({ "deployment": "digits" })).await.accepted);
    log_says(&world, "digits", |deployment| deployment.phase() == Phase::Retiring).await;
    world.apply("digits", &json!({}));
    // Made by others, until it is on its way out; then what is waited for.
    world.until("digits", |resource| !condition(resource, "Accepted").is_null()).await;
    world.others.holds_removals.store(false, Ordering::Relaxed);
    let after = world.until_condition("digits", "Ready", "True", "Released").await;
    assert_eq!((after["status"]["servingRevision"].as_str(), world.demands("digits")), (Some("2-1"), 2));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_others_made_is_left_alone_unless_the_resource_says_otherwise() {
    let world = Resources::new().await;
    let made = world.send(Verb::Deploy, "first", document(&world.namespace.name, "digits", &json!({}))).await;
    assert!(made.accepted, "{made:?}");
    log_says(&world, "digits", |deployment| deployment.serving() == Some(RevisionId::new(1, 1))).await;
    world.apply("digits", &json!({}));
    let told = world.until_condition("digits", "Accepted", "False", "MadeByOthers").await;
    let message = condition(&told, "Accepted")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("operator") && message.contains("slipway.dev/adopt=true"), "{message}");
    remove(&world, "digits");
    until_gone(&world, "digits").await;
    assert_eq!((world.demands("digits"), world.deployment("digits").retiring()), (1, None), "nothing was done to it");
    world.apply("digits", &json!({}));
    world.until_condition("digits", "Accepted", "False", "MadeByOthers").await;
    world.namespace.run(&["annotate", "mdep", "digits", "slipway.dev/adopt=true"]).unwrap();
    let taken = world.until("digits", |resource| resource["status"]["servingRevision"] == "2-1").await;
    assert_eq!(condition(&taken, "Accepted")["status"], "True");
    assert_eq!(world.demands("digits"), 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_controller_that_starts_late_finds_what_was_made_and_removed_without_it() {
    let mut world = Resources::without_controllers().await;
    world.apply("digits", &json!({}));
    world.apply("letters", &json!({}));
    remove(&world, "letters");
    world.add_controller();
    world.until_condition("digits", "Ready", "True", "Released").await;
    assert_eq!((world.demands("digits"), world.demands("letters")), (1, 0));
}
