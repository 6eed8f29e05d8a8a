//! Two of everything, and races.

use crate::{
    alone,
    client::Caller,
    documents::{Document, digits},
    facts::Facts,
};
use serde_json::json;
use slipway_bus::{Bus, Draft, LeaseKey, Principal, WrittenAgainst};
use slipway_kernel::{Answer, DeploymentId, FactKey, Phase, RevisionId, Service, Slot};
use slipway_testkit::{Mesh, MeshOptions, MeshParts, NatsCluster, NatsServer, eventually};
use slipway_tests::samples;
use std::time::Duration;

/// The questions that were answered, by slot: what a second replica must not change.
fn questions(facts: &Facts) -> Vec<String> {
    let mut keys: Vec<String> = facts.facts.iter().map(|fact| format!("{} {}", fact.key, fact.answer.name())).collect();
    keys.sort();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_of_every_service_write_the_same_facts_as_one() {
    let _alone = alone().await;
    // Two of the worker as well: all nine are there twice.
    let document = Document::digits("digits", "digits-v1")
        .with("spec.scale", json!({ "min": 2, "max": 2 }))
        .with("spec.resources", json!({ "cpu": "500m" }));
    let one = {
        let mesh = Mesh::start().await;
        document.deploy(mesh.folder()).await.ok();
        questions(&Facts::read(mesh.folder(), "digits").await)
    };
    let all = MeshParts::services();
    let mut mesh = MeshParts::start(&[all.clone(), all], MeshOptions::default()).await;
    document.deploy(mesh.folder()).await.ok();
    let facts = Facts::read(mesh.folder(), "digits").await;
    facts.hold_together();
    assert_eq!(questions(&facts), one);
    assert_eq!(mesh.folder().workers().len(), 2, "two workers were planned, and two controllers keep two");
    let caller = Caller::of(mesh.folder(), "digits");
    for digit in &digits()[..10] {
        caller.ask(digit).await;
    }
    eventually(Duration::from_secs(20), || async {
        let ran = mesh.folder().cli(["results", "digits", "--output", "json"]).await;
        let total = ran.json_lines().first().map(|answer| answer["total"].clone());
        if total == Some(10.into()) { Ok(()) } else { Err(total) }
    })
    .await;

    // One of the two stands still for longer than its leases, and the other takes over; woken, it does not act on what it remembers.
    for n in 0..2 {
        mesh.parts()[n].program.signal(rustix::process::Signal::STOP);
        let other = 1 - n;
        let name = format!("while-{n}-sleeps");
        let quick = Document::digits(&name, "digits-v1");
        let ran = quick.hand_in(mesh.folder()).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let bus = mesh.folder().bus(Principal::Operator).await;
        // Duties of the sleeper pass to the other when its leases and deliveries end: 10 and 30 s.
        crate::facts::wait_until(&bus, &name, 150, |d| {
            d.is_open() && d.revisions().any(slipway_kernel::RevisionState::is_deployed)
        })
        .await;
        mesh.parts()[n].program.signal(rustix::process::Signal::CONT);
        crate::facts::wait_until(&bus, &name, 150, |d| d.phase() == Phase::Released).await;
        Facts::read(mesh.folder(), &name).await.hold_together();
        assert!(mesh.parts()[other].program.is_running() && mesh.parts()[n].program.is_running());
    }
    eventually(Duration::from_secs(40), || async {
        let workers = mesh.folder().workers().len();
        if workers == 4 {
            Ok(())
        } else {
            Err(format!("{workers} workers; two of the first deployment, one of each other"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_of_a_replica_that_lost_its_lease_is_refused_by_its_token() {
    let nats = NatsServer::secured().await;
    let key = LeaseKey::host("here", Service::Controller, "workers");
    let ttl = Duration::from_secs(3);
    let sleeper = nats.bus_as(Service::Controller).await;
    let held = sleeper.leases().acquire(&key, ttl).await.unwrap().expect("nobody holds it");
    held.set_value(&json!({ "instances": ["a"] })).await.unwrap();
    // As after SIGSTOP: it does not renew, and does not know.
    let token = held.token();
    let next = nats.bus_as(Service::Controller).await;
    assert!(next.leases().acquire(&key, ttl).await.unwrap().is_none(), "it is held");
    std::mem::forget(held);
    sleeper.close().await;
    let taken = eventually(Duration::from_secs(20), || async { next.leases().acquire(&key, ttl).await.unwrap() }).await;
    assert!(taken.token() > token, "{} is not above {token}", taken.token());
    taken.set_value(&json!({ "instances": ["b"] })).await.unwrap();
    let seen = next.leases().read(&key).await.unwrap().unwrap();
    assert_eq!((seen.token, seen.value), (taken.token(), json!({ "instances": ["b"] })));
}

/// How many rounds of each race.
const ROUNDS: usize = 200;

fn answer(name: &str) -> Answer {
    samples::answers().unwrap().into_iter().find(|answer| answer.name() == name).unwrap()
}

fn draft(name: &str) -> Draft {
    Draft::new(answer(name), "race", "race")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_raced_decisions_on_three_brokers_each_leaves_exactly_one_winner() {
    let _alone = alone().await;
    let cluster = NatsCluster::start(3).await;
    let runners = [
        cluster.bus(0, Principal::Service(Service::Controller)).await,
        cluster.bus(1, Principal::Service(Service::Controller)).await,
    ];
    let first = RevisionId::new(1, 1);
    let mut won = (0, 0);
    for round in 0..ROUNDS {
        // Who is nearer to the leader, or is sent first, may win nearly always, so each has either part and either place in turn.
        let (one, other) = (&runners[round % 2], &runners[(round + 1) % 2]);
        let first_is_sent_first = round / 2 % 2 == 0;
        let id: DeploymentId = format!("race.release-{round}").parse().unwrap();
        let request = one
            .log()
            .append(&FactKey::new(id.clone(), RevisionId::new(1, 0), Slot::Request), draft("requested"))
            .await
            .unwrap();
        let last = one.log().get(&request.fact().key).await.unwrap().unwrap().sequence;
        // Release against retire: different questions, one of them may be answered on this state.
        let release = FactKey::new(id.clone(), first, Slot::Release);
        let retire = FactKey::new(id.clone(), RevisionId::new(1, 0), Slot::Command(0));
        let (a, b) = raced(
            first_is_sent_first,
            async { one.log().append_against(&release, draft("released"), last).await.unwrap() },
            async { other.log().append_against(&retire, draft("retire-requested"), last).await.unwrap() },
        )
        .await;
        let stored = [&a, &b].iter().filter(|written| matches!(written, WrittenAgainst::Stored(_))).count();
        assert_eq!(stored, 1, "round {round}: {a:?} {b:?}");
        assert_eq!(both_there(one, &[&release, &retire]).await, 1, "round {round}");
        won.0 += usize::from(matches!(a, WrittenAgainst::Stored(_)));

        // Validated against validation-failed: one question, two answers.
        let key = FactKey::new(id.clone(), first, Slot::Validation);
        let (a, b) =
            raced(first_is_sent_first, async { one.log().append(&key, draft("validated")).await.unwrap() }, async {
                other.log().append(&key, draft("validation-failed")).await.unwrap()
            })
            .await;
        assert!(a.is_mine() != b.is_mine(), "round {round}: both or none won");
        assert_eq!(a.fact().answer, b.fact().answer, "round {round}: who lost adopts the answer that stands");
        won.1 += usize::from(a.is_mine());
    }
    println!("release won {} of {ROUNDS} races, validated {} of {ROUNDS}", won.0, won.1);
    assert!(won.0 > 0 && won.0 < ROUNDS && won.1 > 0 && won.1 < ROUNDS, "a race with one runner: {won:?}");
}

/// What both come to, run at once; the first is polled first if `in_order`.
async fn raced<T>(in_order: bool, a: impl Future<Output = T>, b: impl Future<Output = T>) -> (T, T) {
    if in_order {
        tokio::join!(a, b)
    } else {
        let (b, a) = tokio::join!(b, a);
        (a, b)
    }
}

async fn both_there(bus: &Bus, keys: &[&FactKey]) -> usize {
    let mut there = 0;
    for key in keys {
        there += usize::from(bus.log().get(key).await.unwrap().is_some());
    }
    there
}
