//! Three brokers: the leader dies, decisions race.

use super::support::{LONG, deployment, draft, key, recovered, request};
use futures::future::join_all;
use slipway_bus::{Principal, WrittenAgainst};
use slipway_kernel::{Service, Slot};
use slipway_testkit::{NatsCluster, eventually};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn facts_survive_the_death_of_the_leader_and_are_stored_once() {
    let mut cluster = NatsCluster::start(3).await;
    let mut buses = Vec::new();
    for n in 0..3 {
        buses.push(cluster.bus(n, Principal::Service(Service::Observability)).await);
    }
    let writing: Vec<_> = (0..4_u32)
        .map(|writer| {
            let log = buses[writer as usize % 3].log();
            tokio::spawn(async move {
                for attempt in 0..40 {
                    let key = key(&format!("d{writer}"), Slot::Degradation, attempt);
                    log.append(&key, draft(recovered())).await.unwrap();
                }
            })
        })
        .collect();
    eventually(LONG, || async { buses[0].log().state().await.is_ok_and(|state| state.messages > 20) }).await;
    let leader = cluster.leader_of("LIFECYCLE").await;
    cluster.kill9(leader).await;
    for writer in writing {
        tokio::time::timeout(Duration::from_secs(120), writer).await.unwrap().unwrap();
    }
    let reader = cluster.bus((leader + 1) % 3, Principal::Operator).await;
    for writer in 0..4 {
        let entries = eventually(LONG, || async { reader.log().read(&deployment(&format!("d{writer}"))).await }).await;
        assert_eq!(entries.len(), 40);
    }
    cluster.restart(leader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_rival_decisions_on_a_cluster_exactly_one_stands() {
    let cluster = NatsCluster::start(3).await;
    let mut buses = Vec::new();
    for n in 0..3 {
        buses.push(cluster.bus(n, Principal::Service(Service::Controller)).await);
    }
    let mut last = request(&buses[0].log(), "digits").await.into_fact().sequence;
    for round in 0..50 {
        let racing = buses.iter().enumerate().map(|(n, bus)| {
            let log = bus.log();
            let key = key("digits", Slot::Degradation, round * 10 + u32::try_from(n).unwrap());
            async move { log.append_against(&key, draft(recovered()), last).await.unwrap() }
        });
        let stored: Vec<u64> = join_all(racing)
            .await
            .into_iter()
            .filter_map(|outcome| match outcome {
                WrittenAgainst::Stored(fact) => Some(fact.sequence),
                WrittenAgainst::Adopted(_) => panic!("nobody else answers this"),
                WrittenAgainst::Moved => None,
            })
            .collect();
        assert_eq!(stored.len(), 1, "round {round}");
        last = stored[0];
        // And one answer per question, whoever asks.
        let same = key("digits", Slot::Degradation, round * 10 + 9);
        let written = join_all(buses.iter().map(|bus| {
            let (log, key) = (bus.log(), same.clone());
            async move { log.append(&key, draft(recovered())).await.unwrap() }
        }))
        .await;
        assert_eq!(written.iter().filter(|written| written.is_mine()).count(), 1, "round {round}");
        last = last.max(written[0].fact().sequence);
        let winner = &written.iter().find(|written| written.is_mine()).unwrap().fact().id;
        assert!(written.iter().all(|written| written.fact().id == *winner));
    }
}
