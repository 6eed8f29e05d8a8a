//! A controller that is frozen while it keeps the workers, replaced, and woken: what it remembers has no effect.

use crate::{
    alone,
    mesh::{document, hand_in, holds_together, released, until},
};
use rustix::process::Signal;
use serde_json::Value;
use slipway_bus::{LeaseKey, Principal, View};
use slipway_kernel::{Answer, Phase, Service, Slot};
use slipway_testkit::{MeshOptions, MeshParts, NatsServer, eventually};
use std::{fs, time::Duration};

/// A frozen replica holds its lease for 10 s and its messages for 30 s; a release follows.
const TAKEN_OVER: Duration = Duration::from_secs(150);
const HOST: &str = "replicas-test";

fn log_of(mesh: &MeshParts, part: usize) -> String {
    fs::read_to_string(mesh.folder().path().join(format!("part-{part}-controller.log"))).unwrap_or_default()
}

fn deployed_with(view: &View, name: &str) -> Vec<u64> {
    let facts = view.facts(&crate::id(name));
    let deployed = facts.iter().filter(|fact| fact.key.slot == Slot::Deployment);
    deployed
        .map(|fact| match &fact.answer {
            Answer::Deployed(deployed) => deployed.fencing_token,
            other => panic!("{name} was not deployed: {other:?}"),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_frozen_while_it_deploys_and_woken_after_another_took_over_has_no_effect_any_more() {
    let _alone = alone().await;
    let others: Vec<Service> =
        MeshParts::services().into_iter().filter(|service| *service != Service::Controller).collect();
    let options = MeshOptions { set: vec![format!("controller.local.host={HOST}")], ..MeshOptions::default() };
    let mut mesh = MeshParts::start(&[others, vec![Service::Controller], vec![Service::Controller]], options).await;
    let bus = mesh.folder().bus(Principal::Service(Service::Controller)).await;
    let view = mesh.folder().bus(Principal::Operator).await.log().follow().await.unwrap();
    let key = LeaseKey::host(HOST, Service::Controller, "workers");
    let old = eventually(Duration::from_secs(30), || async { bus.leases().read(&key).await.unwrap() }).await;
    let keeps = |mesh: &MeshParts, part| log_of(mesh, part).contains("this replica keeps the workers of this host");
    let sleeper = if keeps(&mesh, 1) { 1 } else { 2 };
    assert!(keeps(&mesh, sleeper) && !keeps(&mesh, 3 - sleeper), "one replica keeps the workers");

    // Frozen in the middle of its effect: a worker of the plan is started, and nobody has said that it runs.
    let _ = hand_in(mesh.folder(), &document("frozen", "digits-v1"), "frozen").await.ok();
    eventually(Duration::from_secs(60), || async { !mesh.folder().workers().is_empty() }).await;
    mesh.parts()[sleeper].program.signal(Signal::STOP);
    let new = eventually(Duration::from_secs(60), || async {
        let now = bus.leases().read(&key).await.unwrap();
        now.filter(|now| now.holder != old.holder)
    })
    .await;
    assert!(new.token > old.token, "{} is not above {}", new.token, old.token);
    released(&view, "frozen", TAKEN_OVER).await;

    mesh.parts()[sleeper].program.signal(Signal::CONT);
    eventually(Duration::from_secs(30), || async {
        log_of(&mesh, sleeper).contains("the lease of this host's workers is lost")
    })
    .await;
    // After it woke, work goes on under the new token alone.
    let _ = hand_in(mesh.folder(), &document("after", "digits-v1"), "after").await.ok();
    released(&view, "after", TAKEN_OVER).await;
    assert_eq!(deployed_with(&view, "after"), [new.token]);
    let told = deployed_with(&view, "frozen");
    assert!(told.len() == 1 && told[0] <= new.token, "{told:?}, {}", new.token);
    let now = bus.leases().read(&key).await.unwrap().expect("it is held");
    assert_eq!((now.token, &now.holder), (new.token, &new.holder), "who was frozen did not take it back");
    let listed = now.value["instances"].as_array().map(Vec::len);
    assert_eq!(listed, Some(2), "a worker of each: {}", now.value);
    for name in ["frozen", "after"] {
        holds_together(&view, name);
    }
    eventually(Duration::from_secs(40), || async {
        let workers = mesh.folder().workers().len();
        if workers == 2 { Ok(()) } else { Err(format!("{workers} workers of two deployments")) }
    })
    .await;
    for name in ["frozen", "after"] {
        let _ = mesh.folder().cli(["retire", name]).await.ok();
        until(&view, name, TAKEN_OVER, |deployment| deployment.phase() == Phase::Retired).await;
    }
    eventually(Duration::from_secs(40), || async { mesh.folder().workers().is_empty() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_was_cut_off_cannot_write_under_its_lease_when_it_is_back() {
    let mut nats = NatsServer::secured().await;
    let key = LeaseKey::host("here", Service::Controller, "workers");
    let ttl = Duration::from_secs(2);
    let one = nats.bus_as(Service::Controller).await;
    let held = one.leases().acquire(&key, ttl).await.unwrap().expect("nobody holds it");
    held.set_value(&Value::from("old")).await.unwrap();
    let token = held.token();
    // The broker is away for longer than the lease: its holder must give up by its own clock, without being told.
    nats.kill9().await;
    tokio::time::timeout(Duration::from_secs(20), held.lost()).await.expect("it notices by itself");
    assert!(!held.is_held());
    nats.restart().await;
    let two = nats.bus_as(Service::Controller).await;
    let next =
        eventually(Duration::from_secs(20), || async { two.leases().acquire(&key, ttl).await.ok().flatten() }).await;
    next.set_value(&Value::from("new")).await.unwrap();
    assert!(next.token() > token);
    assert!(held.set_value(&Value::from("old again")).await.is_err(), "the old token still writes");
    let seen = two.leases().read(&key).await.unwrap().unwrap();
    assert_eq!((seen.token, seen.value), (next.token(), Value::from("new")));
}
