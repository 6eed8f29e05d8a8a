//! Every service as a process of its own, killed with -9 at every boundary of its steps.
//!
//! The proxies between the processes and the broker do the killing, so the moment is exact: before the broker hears the fact, after it has
//! stored it and before the process knows, and after the process knows and before it acknowledges what made it act. In one run
//! every question of the log kills its answerer once, at one of the three moments. One run takes the moments in turn; those that take all, three times
//! as long, are `make faults`.

use crate::{
    alone,
    client::Caller,
    documents::{Document, digits},
    facts::Facts,
};
use slipway_bus::Principal;
use slipway_kernel::{Phase, Service};
use slipway_testkit::{MeshOptions, MeshParts, Moment, Trap, eventually};
use std::time::{Duration, Instant};

/// The questions of a release, and who answers.
const STEPS: [(Service, &str); 11] = [
    (Service::Controller, ".request."),
    (Service::Provisioner, ".choice."),
    (Service::Provisioner, ".infrastructure."),
    (Service::PlatformSelector, ".platform."),
    (Service::Controller, ".plan."),
    (Service::Controller, ".deployment."),
    (Service::Ingress, ".ingress."),
    (Service::SinkWriter, ".outputs."),
    (Service::Observability, ".observability."),
    (Service::Security, ".security."),
    (Service::Validator, ".validation."),
];
const LAST: (Service, &str) = (Service::Controller, ".release.");

/// All converge within this, counted from the last kill.
const CONVERGES: Duration = Duration::from_secs(60);

async fn killed_at_every_step(moments: &[Moment], restart_broker: bool) {
    let _alone = alone().await;
    let services: Vec<Vec<Service>> = MeshParts::services().into_iter().map(|service| vec![service]).collect();
    let mut mesh = MeshParts::start(&services, MeshOptions::default()).await;
    for ((service, slot), moment) in STEPS.into_iter().chain([LAST]).zip(moments.iter().copied().cycle()) {
        let subject = format!("slipway.lifecycle.default.digits.1.{}{slot}", if is_early(slot) { 0 } else { 1 });
        mesh.part(service).proxy.set(Trap { moment, subject: subject.replace("..", ".") });
    }
    let document = Document::digits("digits", "digits-v1");
    // The gate dies under this demand; the message is kept, or sent again under the same id.
    let file = document.write(mesh.folder().path());
    let demand = ["deploy", "-f", file.to_str().unwrap(), "--no-wait", "--id", "crash-1"];
    let mut accepted = false;
    let (mut deaths, mut last_death, began) = (0, Instant::now(), Instant::now());
    let mut broker_restarted = !restart_broker;
    loop {
        let revived = mesh.revive();
        if !revived.is_empty() {
            deaths += revived.len();
            last_death = Instant::now();
        }
        if !accepted {
            accepted = mesh.folder().cli(demand).await.code == Some(0);
            continue;
        }
        if !broker_restarted && deaths >= 5 {
            mesh.nats().kill9().await;
            mesh.nats().restart().await;
            broker_restarted = true;
            last_death = Instant::now();
        }
        let facts = mesh.folder().cli(["status", "digits", "--output", "json"]).await;
        let phase = facts.json_lines().first().map(|all| all[0]["phase"].clone());
        let waiting: Vec<Trap> = mesh.parts().iter().flat_map(|part| part.proxy.waiting()).collect();
        if phase == Some("released".into()) && waiting.is_empty() && mesh.revive().is_empty() {
            break;
        }
        assert!(
            last_death.elapsed() < CONVERGES,
            "{moments:?}: {phase:?} after {deaths} deaths, {:?} since the last; traps left: {waiting:?}\n{}",
            last_death.elapsed(),
            mesh.folder().cli(["log", "digits"]).await.stdout
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    mesh.wait_ready().await;
    let sprung: usize = mesh.parts().iter().map(|part| part.proxy.sprung().len()).sum();
    assert_eq!(sprung, STEPS.len() + 1);
    let facts = Facts::read(mesh.folder(), "digits").await;
    facts.hold_together();
    assert_eq!(facts.deployment.phase(), Phase::Released, "{:?}", facts.told());
    assert_eq!(facts.deployment.generations.len(), 1);
    let caller = Caller::of(mesh.folder(), "digits");
    let digit = digits()[0].clone();
    eventually(Duration::from_secs(30), || async {
        caller.post(&digit.body).send().await.is_ok_and(|r| r.status() == 200)
    })
    .await;
    println!("{moments:?}: {deaths} deaths, released after {:.1} s", began.elapsed().as_secs_f64());

    // No orphan is left when it is over.
    mesh.folder().cli(["retire", "digits", "--reason", "test"]).await.ok();
    let bus = mesh.folder().bus(Principal::Operator).await;
    crate::facts::wait_until(&bus, "digits", 90, |d| d.phase() == Phase::Retired).await;
    eventually(Duration::from_secs(40), || async { mesh.folder().workers().is_empty() }).await;
}

fn is_early(slot: &str) -> bool {
    matches!(slot, ".request." | ".choice." | ".infrastructure." | ".platform.")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_once_at_each_step_and_with_the_broker_killed_too_it_ends_released() {
    killed_at_every_step(&[Moment::BeforePublish, Moment::AfterPublish, Moment::BeforeAck], true).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by `make faults`"]
async fn killed_before_each_fact_is_published_it_ends_released() {
    killed_at_every_step(&[Moment::BeforePublish], false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by `make faults`"]
async fn killed_after_each_fact_is_stored_and_before_it_is_known_it_ends_released() {
    killed_at_every_step(&[Moment::AfterPublish], false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by `make faults`"]
async fn killed_before_each_acknowledgement_it_ends_released() {
    killed_at_every_step(&[Moment::BeforeAck], false).await;
}
