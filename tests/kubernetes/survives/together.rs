//! Others who write at the same moment: every conflict is one of the API server's own.

use super::{desired, held_under, made, until_made, without_failure, world};
use crate::{
    faulty::{Fault, Verb},
    id,
    kubectl::{Namespace, given},
    world::group,
};
use serde_json::{Value, json};
use slipway_controller::{
    domain::manifest::kubernetes::{anchor, names},
    target::{Status, Target as _, kubernetes::OnDrift},
};
use std::sync::atomic::{AtomicBool, Ordering};

/// The same namespace for who writes in between.
fn beside(namespace: &Namespace) -> impl Fn(&[&str], &Value) + Send + Sync + 'static {
    let name = namespace.name.clone();
    move |arguments, object| {
        let all = [&["--namespace", &name], arguments].concat();
        given(&all, &object.to_string()).unwrap();
    }
}

/// A Service as somebody else would have made it, under a name that is ours.
fn stranger(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "annotations": { "somebody": "else" } },
        "spec": { "clusterIP": "None", "selector": { "app": "other" }, "ports": [{ "name": "web", "port": 80 }] },
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn fields_that_another_manager_has_set_are_made_what_was_planned_where_that_is_wanted() {
    for on_drift in [OnDrift::PutRight, OnDrift::Report] {
        let (world, _faulty) = world().await;
        let id = id("digits");
        let desired = desired(&world, &id).await;
        let name = names::revision(&id, desired.wanted.revision);
        let apply = ["apply", "--server-side", "--field-manager=somebody", "-f", "-"];
        world.namespace.given(&apply, &stranger(&name).to_string()).unwrap();
        let keeper = world.keeper(on_drift).await;
        keeper.want(&id, std::slice::from_ref(&desired));
        // What is made after it shows that it was met.
        let scaler = || world.namespace.get("horizontalpodautoscaler", &name).is_some();
        world.namespace.until("the last object is there", scaler).await;
        let service = world.namespace.get("service", &name).unwrap();
        let is_ours = service["spec"]["selector"]["slipway.dev/revision"] == "1-1";
        assert_eq!(is_ours, on_drift == OnDrift::PutRight, "{service}");
        assert_eq!(service["metadata"]["annotations"]["somebody"], "else", "what nobody planned is its author's");
        keeper.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn an_anchor_that_somebody_else_wrote_meanwhile_is_read_again_and_keeps_what_they_wrote() {
    let (world, faulty) = world().await;
    let id = id("digits");
    let (first, desired) = made(&world, &id).await;
    let named = names::deployment(&id);
    let before = held_under(&world, &id);
    let (beside, written, name) = (beside(&world.namespace), AtomicBool::new(false), named.clone());
    faulty.fails(move |call| {
        if call.verb == Verb::Replace && !written.swap(true, Ordering::Relaxed) {
            beside(&["annotate", "configmap", &name, "somebody=else"], &Value::Null);
        }
        None
    });
    first.kill();
    let second = world.keeper(OnDrift::PutRight).await;
    second.want(&id, std::slice::from_ref(&desired));
    world.namespace.until("it bears the token of the second", || held_under(&world, &id) > before).await;
    assert_eq!(faulty.count(|call, _| call.verb == Verb::Replace), 2, "one was refused");
    let anchor = world.namespace.get("configmap", &named).unwrap();
    assert_eq!(anchor["metadata"]["annotations"]["somebody"], "else");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn who_finds_that_a_later_controller_was_faster_makes_nothing() {
    let (world, faulty) = world().await;
    let id = id("digits");
    let desired = desired(&world, &id).await;
    let cluster = world.setup(OnDrift::PutRight).await.cluster;
    let later = anchor(&id, &cluster, u64::MAX);
    let (beside, written, theirs) = (beside(&world.namespace), AtomicBool::new(false), later.clone());
    faulty.fails(move |call| {
        if call.verb == Verb::Create && !written.swap(true, Ordering::Relaxed) {
            beside(&["create", "-f", "-"], &theirs);
        }
        None
    });
    let keeper = world.keeper(OnDrift::PutRight).await;
    keeper.want(&id, std::slice::from_ref(&desired));
    // It looks again, each time with a lease of its own, and each time finds that it is not its turn.
    let looks = || faulty.count(|call, _| call.plural == "events");
    let met = || faulty.count(|call, _| call.verb == Verb::Create) == 1;
    world.namespace.until("it has met the other one", met).await;
    let earlier = looks();
    world.namespace.until("it has looked again", || looks() > earlier + 1).await;
    assert_eq!(faulty.count(|call, fault| call.is_change() && call.verb != Verb::Create && fault.is_none()), 0);
    assert!(matches!(keeper.target.status(&group(&id, &desired)), Status::Elsewhere));
    // With the anchor of the other one its claim ends.
    world.namespace.run(&["delete", "configmap", &names::deployment(&id)]).unwrap();
    until_made(&world, &id, &desired).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_somebody_made_anew_under_a_name_that_is_to_be_removed_stays() {
    let (world, faulty) = world().await;
    let id = id("digits");
    let (keeper, desired) = made(&world, &id).await;
    let name = names::revision(&id, desired.wanted.revision);
    let (beside, written, theirs) = (beside(&world.namespace), AtomicBool::new(false), name.clone());
    faulty.fails(move |call| {
        let is_meant = (call.verb, call.plural.as_str()) == (Verb::Delete, "services");
        if is_meant && !written.swap(true, Ordering::Relaxed) {
            beside(&["delete", "service", &theirs], &Value::Null);
            beside(&["create", "-f", "-"], &stranger(&theirs));
        }
        None
    });
    keeper.want(&id, &[]);
    world.until_empty().await;
    keeper.until("it is gone", &group(&id, &desired), |status| *status == Status::Gone).await;
    let service = world.namespace.get("service", &name).unwrap();
    assert_eq!(service["spec"]["selector"]["app"], "other");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_conflict_that_comes_again_and_again_is_tried_again_and_ends() {
    let (world, faulty) = world().await;
    let id = id("digits");
    let desired = desired(&world, &id).await;
    let keeper = world.keeper(OnDrift::PutRight).await;
    let counted = std::sync::atomic::AtomicU32::new(0);
    faulty.fails(move |call| {
        let is_meant = (call.verb, call.plural.as_str()) == (Verb::Apply, "deployments");
        (is_meant && counted.fetch_add(1, Ordering::Relaxed) < 5).then_some(Fault::Refuse(409))
    });
    keeper.want(&id, std::slice::from_ref(&desired));
    without_failure(&keeper, &group(&id, &desired), until_made(&world, &id, &desired)).await;
    assert_eq!(faulty.count(|_, fault| fault == Some(Fault::Refuse(409))), 5);
}
