//! An API server that refuses: each kind of call, once and for longer.

use super::{
    Identities, PATIENCE, desired, held_under, identities, made, objects, of, pods, serve, until_made, without_failure,
    world,
};
use crate::{
    faulty::{Call, Fault, Verb},
    id,
    kubectl::until,
    world::{World, group},
};
use slipway_controller::target::{Desired, Status, Target as _, kubernetes::OnDrift};
use slipway_kernel::{DeploymentId, names};
use std::{collections::HashSet, sync::Mutex, time::Duration};

/// A fault for the first call of each kind.
fn once(fault: Fault) -> impl Fn(&Call) -> Option<Fault> + Send + Sync {
    let known = Mutex::new(HashSet::new());
    move |call| known.lock().unwrap().insert(call.verb).then(|| of(call, fault))
}

/// The first list of each look; one that is refused ends the others, sent or not.
fn looks(call: &Call) -> bool {
    (call.verb, call.plural.as_str()) == (Verb::List, "deployments")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn whatever_kind_of_call_is_refused_or_loses_its_answer_all_is_made_and_all_is_removed() {
    let (world, faulty) = world().await;
    let id = id("digits");
    let desired = desired(&world, &id).await;
    let group = group(&id, &desired);
    let mut whole = None;
    for fault in [
        Fault::Refuse(429),
        Fault::Refuse(500),
        Fault::Refuse(503),
        Fault::Refuse(504),
        Fault::Refuse(409),
        Fault::Unanswered,
    ] {
        let keeper = world.keeper(OnDrift::PutRight).await;
        faulty.fails(once(fault));
        keeper.want(&id, std::slice::from_ref(&desired));
        without_failure(&keeper, &group, until_made(&world, &id, &desired)).await;
        let found = objects(&world);
        assert_eq!(*whole.get_or_insert_with(|| found.clone()), found, "after {fault:?}");
        keeper.stop().await;
        let before = held_under(&world, &id);
        // The next one writes its token into the anchor.
        let keeper = world.keeper(OnDrift::PutRight).await;
        keeper.want(&id, std::slice::from_ref(&desired));
        let replaced = || held_under(&world, &id) > before;
        without_failure(&keeper, &group, until("its anchor bears its token", PATIENCE, replaced)).await;
        keeper.want(&id, &[]);
        world.until_empty().await;
        keeper.until("it is told to be gone", &group, |status| *status == Status::Gone).await;
        keeper.stop().await;
        for verb in [Verb::List, Verb::Watch, Verb::Create, Verb::Apply, Verb::Scale, Verb::Replace, Verb::Delete] {
            let met = faulty.count(|call, met| call.verb == verb && met.is_some());
            assert_eq!(met, 1, "{fault:?} at {verb:?}");
        }
        faulty.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn who_is_ready_stays_published_while_the_api_server_refuses_and_it_is_not_asked_in_a_hurry() {
    let (world, faulty) = world().await;
    let id = id("digits");
    let (keeper, desired) = made(&world, &id).await;
    let _workers = serve(&world, &id).await;
    let group = group(&id, &desired);
    keeper.until("both serve", &group, |status| matches!(status, Status::Running(_))).await;
    let before = (keeper.target.status(&group), identities(&world));
    for code in [429, 500, 503] {
        faulty.fails(move |_| Some(Fault::Refuse(code)));
        let refused = || faulty.count(|call, fault| looks(call) && fault == Some(Fault::Refuse(code)));
        let began = std::time::Instant::now();
        // Looks come by themselves every five seconds, and watches that fail ring for one.
        let stays = async {
            while refused() < 4 {
                assert_eq!(keeper.target.status(&group), before.0, "while it refuses with {code}");
                assert!(began.elapsed() < PATIENCE, "it gave up");
                keeper.target.changed(Duration::from_millis(20)).await;
            }
        };
        stays.await;
        assert!(began.elapsed() > Duration::from_secs(3), "four times within {:?}", began.elapsed());
        faulty.heal();
        let service = &service(&world, &desired, &id);
        world.namespace.run(&["delete", "service", service]).unwrap();
        let back = || world.namespace.get("service", service).is_some();
        until("what is changed later is put right", PATIENCE, back).await;
    }
    assert_eq!(keeper.target.status(&group), before.0);
    assert_eq!(pods(&world, &id).len(), 2);
    let after = identities(&world);
    let kept = before.1.iter().filter(|(key, _)| !key.starts_with("Service/"));
    for (key, identity) in kept {
        assert_eq!(after.get(key), Some(identity), "{key}");
    }
}

/// The name of the deployment's Service.
fn service(world: &World, desired: &Desired, id: &DeploymentId) -> String {
    let name = names::revision(id, desired.wanted.revision);
    assert!(world.namespace.get("service", &name).is_some());
    name
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_controller_that_begins_while_the_api_server_refuses_says_so_and_calls_nothing_failed() {
    let (world, faulty) = world().await;
    let id = id("digits");
    let (mut keeper, desired) = made(&world, &id).await;
    let _workers = serve(&world, &id).await;
    let group = group(&id, &desired);
    let runs = |status: &Status| matches!(status, Status::Running(_));
    keeper.until("both serve", &group, runs).await;
    let before = identities(&world);
    for code in [429, 500, 503] {
        // It has to wait for the lease, so it looks at nothing before the API server refuses.
        let next = world.keeper(OnDrift::PutRight).await;
        next.want(&id, std::slice::from_ref(&desired));
        assert_eq!(next.target.status(&group), Status::Elsewhere);
        faulty.fails(move |_| Some(Fault::Refuse(code)));
        keeper.stop().await;
        let looked = || faulty.count(|call, fault| looks(call) && fault == Some(Fault::Refuse(code)));
        let earlier = looked();
        let says = |status: &Status| matches!(status, Status::Starting { ready: 0, detail, .. } if detail.contains("cannot be looked at"));
        without_failure(&next, &group, next.until("it says that it sees nothing", &group, says)).await;
        assert!(looked() - earlier <= 2, "it looked {} times before it said so", looked() - earlier);
        faulty.heal();
        without_failure(&next, &group, next.until("both serve as before", &group, runs)).await;
        keeper = next;
    }
    let pods = |all: &Identities| {
        all.iter().filter(|(key, _)| key.starts_with("Pod/")).map(|(_, id)| id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(pods(&identities(&world)), pods(&before), "three controllers after one another, and the same pods");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: make test-kubernetes"]
async fn a_controller_ends_at_once_though_the_api_server_does_not_answer() {
    let (world, faulty) = world().await;
    let id = id("digits");
    let (keeper, _) = made(&world, &id).await;
    faulty.fails(|_| Some(Fault::Swallow));
    let asked = || faulty.count(|_, fault| fault == Some(Fault::Swallow)) > 0;
    until("it asks and is not answered", PATIENCE, asked).await;
    let took = keeper.stop().await;
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}
