//! Lists of an earlier moment: what is wanted is neither removed nor made twice, and once lists are of now all is as it should be.

use super::{PATIENCE, desired, identities, made, objects, pods, serve, until_made, without_failure, world};
use crate::{
    faulty::{Fault, Verb},
    id,
    kubectl::until,
    world::group,
};
use slipway_controller::{
    domain::manifest::kubernetes::names,
    target::{Status, Target as _, kubernetes::OnDrift},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn lists_of_before_anything_was_made_have_nothing_made_twice_and_nothing_removed() {
    let (world, faulty) = world().await;
    let id = id("digits");
    // What is remembered is an empty namespace.
    let desired = desired(&world, &id).await;
    let keeper = world.keeper(OnDrift::PutRight).await;
    faulty.remember();
    keeper.target.all_told();
    let looked = || faulty.count(|call, _| call.verb == Verb::List && call.plural == "events") > 0;
    until("it has looked at nothing", PATIENCE, looked).await;
    keeper.want(&id, std::slice::from_ref(&desired));
    until_made(&world, &id, &desired).await;
    let _workers = serve(&world, &id).await;
    let group = group(&id, &desired);
    keeper.until("both serve", &group, |status| matches!(status, Status::Running(_))).await;
    let before = (objects(&world), identities(&world));
    for stale in [&["everything"][..], &["deployments"], &["deployments", "services"], &["pods"], &["configmaps"]] {
        faulty.fails(move |call| {
            let is_meant = stale.contains(&"everything") || stale.contains(&call.plural.as_str());
            (call.verb == Verb::List && is_meant).then_some(Fault::Earlier)
        });
        let looks = || faulty.count(|call, fault| call.plural == stale_kind(stale) && fault.is_some());
        let earlier = looks();
        without_failure(&keeper, &group, until("it has been told so", PATIENCE, || looks() >= earlier + 2)).await;
        faulty.fails(|_| None);
        keeper.until("both serve", &group, |status| matches!(status, Status::Running(_))).await;
        assert_eq!(objects(&world), before.0, "{stale:?}");
        assert_eq!(identities(&world), before.1, "{stale:?}");
    }
}

fn stale_kind(stale: &[&'static str]) -> &'static str {
    match stale {
        ["everything"] => "events",
        kinds => kinds[0],
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_number_of_workers_that_a_scaler_has_chosen_stays_though_their_deployment_seems_to_be_missing() {
    let (world, faulty) = world().await;
    faulty.remember();
    let id = id("digits");
    let (_keeper, desired) = made(&world, &id).await;
    let name = names::revision(&id, desired.wanted.revision);
    // As its scaler would.
    world.namespace.run(&["scale", "deployment", &name, "--replicas=3"]).unwrap();
    until("there are three", PATIENCE, || pods(&world, &id).len() == 3).await;
    faulty.fails(|call| (call.verb == Verb::List && call.plural == "deployments").then_some(Fault::Earlier));
    let looks = || faulty.count(|_, fault| fault == Some(Fault::Earlier));
    let applied = || faulty.count(|call, _| call.verb == Verb::Apply && call.plural == "deployments");
    let earlier = applied();
    until("it has applied what it missed", PATIENCE, || applied() > earlier && looks() > 2).await;
    assert_eq!(world.namespace.get("deployment", &name).unwrap()["spec"]["replicas"], 3);
    assert_eq!(pods(&world, &id).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn what_is_gone_but_still_listed_is_told_to_be_going_and_what_was_not_listed_yet_goes_too() {
    let (world, faulty) = world().await;
    let id = id("digits");
    let (keeper, desired) = made(&world, &id).await;
    let group = group(&id, &desired);
    faulty.remember();
    let looked = || faulty.count(|call, _| call.verb == Verb::List && call.plural == "events");
    let earlier = looked();
    until("it has looked", PATIENCE, || looked() > earlier + 1).await;
    faulty.fails(|call| (call.verb == Verb::List).then_some(Fault::Earlier));
    keeper.want(&id, &[]);
    // The pods go with their Deployment, and are listed still: what they use stays.
    until("no pod is left", PATIENCE, || pods(&world, &id).is_empty()).await;
    let stale = looked();
    until("it has looked again", PATIENCE, || looked() > stale + 1).await;
    assert!(
        matches!(keeper.target.status(&group), Status::Starting { of: 0, .. }),
        "{:?}",
        keeper.target.status(&group)
    );
    faulty.heal();
    world.until_empty().await;
    keeper.until("it is gone", &group, |status| *status == Status::Gone).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_new_controller_that_is_shown_what_was_before_the_last_one_ends_with_what_is_wanted() {
    let (world, faulty) = world().await;
    let id = id("digits");
    let (first, desired) = made(&world, &id).await;
    faulty.remember();
    let looked = || faulty.count(|call, _| call.verb == Verb::List && call.plural == "events");
    let earlier = looked();
    until("it has looked", PATIENCE, || looked() > earlier + 1).await;
    // Another try, of which the lists know nothing.
    let mut again = desired.clone();
    again.wanted.attempt = 1;
    first.want(&id, std::slice::from_ref(&again));
    let name = names::revision(&id, desired.wanted.revision);
    let attempt =
        || world.namespace.get("deployment", &name).unwrap()["metadata"]["labels"]["slipway.dev/attempt"] == "1";
    until("the other try is made", PATIENCE, attempt).await;
    let before = objects(&world);
    faulty.fails(|call| (call.verb == Verb::List).then_some(Fault::Earlier));
    first.kill();
    let second = world.keeper(OnDrift::PutRight).await;
    second.want(&id, std::slice::from_ref(&again));
    let told = || faulty.count(|call, fault| call.plural == "events" && fault == Some(Fault::Earlier));
    let already = told();
    until("it has looked at what was", PATIENCE, || told() > already + 1).await;
    faulty.heal();
    until("all is as it was", PATIENCE, || objects(&world) == before).await;
    second.want(&id, &[]);
    world.until_empty().await;
}
