//! Kills between the steps of a release, of the workers, and at every step of a generation's change and end.

use crate::{
    CONVERGES, alone,
    mesh::{document, hand_in, holds_together, released, until},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use slipway_bus::{Principal, View};
use slipway_kernel::{Phase, RevisionId, Service};
use slipway_testkit::{Mesh, MeshOptions, MeshParts, Moment, Trap, eventually};
use std::time::{Duration, Instant};

/// Longer than a deployment takes in a debug build on busy cores.
const LONG: Duration = Duration::from_secs(120);

async fn in_parts() -> (MeshParts, View) {
    let services: Vec<Vec<Service>> = MeshParts::services().into_iter().map(|service| vec![service]).collect();
    let mesh = MeshParts::start(&services, MeshOptions::default()).await;
    let view = mesh.folder().bus(Principal::Operator).await.log().follow().await.unwrap();
    (mesh, view)
}

async fn no_worker_is_left(mesh: &MeshParts) {
    let folder = mesh.folder();
    eventually(Duration::from_secs(40), || async {
        let workers = folder.workers();
        if workers.is_empty() { Ok(()) } else { Err(format!("orphans: {workers:?}")) }
    })
    .await;
}

/// Kills a service and starts it again at once.
async fn kill(mesh: &mut MeshParts, service: Service) -> Instant {
    mesh.part(service).program.kill9().await;
    assert_eq!(mesh.revive().len(), 1);
    mesh.wait_ready().await;
    Instant::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_killed_when_a_demand_comes_and_again_when_it_is_released_changes_no_outcome() {
    let _alone = alone().await;
    let (mut mesh, view) = in_parts().await;
    for service in MeshParts::services() {
        let name = format!("killed-{service}");
        let ran = hand_in(mesh.folder(), &document(&name, "digits-v1"), &name).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let restarted = kill(&mut mesh, service).await;
        let folded = released(&view, &name, CONVERGES).await;
        println!(
            "{service}: killed at the demand, released {:.1} s after its restart",
            restarted.elapsed().as_secs_f64()
        );
        assert_eq!(
            folded.deployment.serving(),
            Some(RevisionId::new(1, 1)),
            "a crash of the mesh is no reason to revise"
        );
        holds_together(&view, &name);

        kill(&mut mesh, service).await;
        assert_eq!(mesh.folder().workers().len(), 1, "killing {service} touches no worker");
        let _ = mesh.folder().cli(["retire", &name]).await.ok();
        until(&view, &name, CONVERGES, |deployment| deployment.phase() == Phase::Retired).await;
        holds_together(&view, &name);
        no_worker_is_left(&mesh).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_killed_while_a_revision_starts_loses_no_fact_and_the_release_follows() {
    let _alone = alone().await;
    let (mut mesh, view) = in_parts().await;
    let _ = hand_in(mesh.folder(), &document("digits", "digits-v1"), "digits").await.ok();
    let planned = until(&view, "digits", LONG, |deployment| deployment.revision(RevisionId::new(1, 1)).is_some()).await;
    let before = view.facts(&crate::id("digits"));
    assert!(planned.last_sequence > 0);
    mesh.nats().kill9().await;
    mesh.nats().restart().await;
    let restarted = Instant::now();
    released(&view, "digits", CONVERGES).await;
    println!("broker killed: released {:.1} s after its restart", restarted.elapsed().as_secs_f64());
    holds_together(&view, "digits");
    let bus = mesh.folder().bus(Principal::Operator).await;
    for fact in before {
        let stored = bus.log().get(&fact.key).await.unwrap();
        assert_eq!(stored.and_then(|entry| entry.content.fact().map(|there| there.id.clone())), Some(fact.id.clone()));
    }
    assert!(bus.flags().list().await.unwrap().is_empty(), "no false alarm");
}

/// Sets a trap per question and drives the mesh until all have sprung and the state holds.
async fn through(mesh: &mut MeshParts, view: &View, name: &str, order: &[&str], done: impl Fn(&View) -> bool) -> usize {
    let (mut deaths, mut last) = (0, Instant::now());
    let (mut ordered, mut settled) = (false, 0);
    loop {
        let revived = mesh.revive().len();
        if revived > 0 {
            deaths += revived;
            last = Instant::now();
        }
        if !ordered {
            // The gate may die under it; what it has taken it answers after its restart.
            ordered = mesh.folder().cli(order).await.code == Some(0);
        }
        let waiting: Vec<Trap> = mesh.parts().iter().flat_map(|part| part.proxy.waiting()).collect();
        let is_settled = waiting.is_empty() && done(view) && revived == 0;
        settled = if is_settled { settled + 1 } else { 0 };
        // Who was being killed during the first look has ended before the second.
        if settled == 2 {
            mesh.wait_ready().await;
            return deaths;
        }
        assert!(
            last.elapsed() < CONVERGES,
            "{name}: {deaths} deaths, traps left: {waiting:?}\n{}",
            mesh.folder().cli(["log", name]).await.stdout
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn traps(mesh: &mut MeshParts, name: &str, moment: Moment, questions: &[(Service, &str)]) {
    for (service, question) in questions {
        let subject = format!("slipway.lifecycle.default.{name}.{question}.");
        mesh.part(*service).proxy.set(Trap { moment, subject });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_of_a_shift_a_supersession_and_a_retirement_each_ends_as_it_should() {
    let _alone = alone().await;
    let (mut mesh, view) = in_parts().await;
    let all = [
        (Moment::BeforePublish, "before-publish"),
        (Moment::AfterPublish, "after-publish"),
        (Moment::BeforeAck, "before-ack"),
    ];
    for (moment, name) in all {
        let began = Instant::now();
        let _ = hand_in(mesh.folder(), &document(name, "digits-v1"), &format!("{name}-1")).await.ok();
        released(&view, name, LONG).await;

        let mut change = vec![(Service::Controller, "2.1.shift-50"), (Service::Controller, "1.0.end")];
        if moment != Moment::BeforeAck {
            // Release and end follow from one message and have one acknowledgement.
            change.push((Service::Controller, "2.1.release"));
        }
        traps(&mut mesh, name, moment, &change);
        let mut second = document(name, "digits-v2");
        second["spec"]["rollout"]["steps"] = json!([50, 100]);
        let tag = format!("{name}-2");
        let file = mesh.folder().path().join(format!("document-{tag}.json"));
        std::fs::write(&file, second.to_string()).unwrap();
        let order = ["deploy", "-f", file.to_str().unwrap(), "--no-wait", "--id", &tag];
        let is_second = |view: &View| {
            let serving = view.get(&crate::id(name)).and_then(|folded| folded.deployment.serving());
            serving == Some(RevisionId::new(2, 1))
        };
        let changed = through(&mut mesh, &view, name, &order, is_second).await;
        holds_together(&view, name);

        let mut questions =
            vec![(Service::Controller, "2.0.command-0".to_owned()), (Service::Controller, "2.0.end".to_owned())];
        questions.extend(Service::REMOVERS.map(|service| (service, format!("2.0.removal-{service}"))));
        let questions: Vec<(Service, &str)> =
            questions.iter().map(|(service, text)| (*service, text.as_str())).collect();
        traps(&mut mesh, name, moment, &questions);
        let is_retired =
            |view: &View| view.get(&crate::id(name)).is_some_and(|folded| folded.deployment.phase() == Phase::Retired);
        let retired = through(&mut mesh, &view, name, &["retire", name], is_retired).await;
        holds_together(&view, name);
        no_worker_is_left(&mesh).await;
        println!(
            "{moment:?}: {changed} deaths in the change, {retired} in the end; {:.1} s in all",
            began.elapsed().as_secs_f64()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_before_it_is_ready_or_while_it_serves_is_replaced_by_one_and_only_one() {
    let _alone = alone().await;
    let mesh = Mesh::start().await;
    let folder = mesh.folder();
    let view = folder.bus(Principal::Operator).await.log().follow().await.unwrap();
    let _ = hand_in(folder, &document("digits", "digits-v1"), "digits").await.ok();
    let first = eventually(LONG, || async { folder.workers().first().copied() }).await;
    slay(first);
    let killed = Instant::now();
    released(&view, "digits", CONVERGES).await;
    println!("worker killed at its start: released {:.1} s later", killed.elapsed().as_secs_f64());

    let serving = folder.workers();
    assert_eq!(serving.len(), 1, "{serving:?}");
    slay(serving[0]);
    let killed = Instant::now();
    let url = format!("{}/v2/models/digits/ready", folder.door());
    let key = folder.api_key(&crate::id("digits"));
    eventually(CONVERGES, || async {
        let workers = folder.workers();
        let ready = folder.client().get(&url).bearer_auth(&key).send().await.is_ok_and(|answer| answer.status() == 200);
        let replaced = workers.len() == 1 && workers != serving;
        if replaced && ready { Ok(()) } else { Err(format!("{workers:?}, ready: {ready}")) }
    })
    .await;
    println!("worker killed while it serves: another serves {:.1} s later", killed.elapsed().as_secs_f64());
    holds_together(&view, "digits");
}

fn slay(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}
