//! Rival decisions on three brokers, one of which dies on the way.

use crate::alone;
use slipway_bus::{Bus, Draft, Principal, WrittenAgainst};
use slipway_kernel::{Answer, DeploymentId, FactKey, RevisionId, Service, Slot};
use slipway_testkit::{NatsCluster, eventually};
use slipway_tests::samples;
use std::time::{Duration, Instant};

const ROUNDS: usize = 200;
/// When the leader dies, and when it is back.
const DIES: usize = 80;
const BACK: usize = 140;

fn draft(name: &str) -> Draft {
    let answer: Answer = samples::answers().unwrap().into_iter().find(|answer| answer.name() == name).unwrap();
    Draft::new(answer, "race", "race")
}

/// The id of the fact that both read, or `None` if both read none.
async fn read_by_both(one: &Bus, other: &Bus, key: &FactKey) -> Option<String> {
    let read = |bus: Bus, key: FactKey| async move {
        // A leader that died is no answer.
        let entry = eventually(Duration::from_secs(30), || async { bus.log().get(&key).await }).await;
        entry.map(|entry| entry.content.fact().expect("it is readable").id.clone())
    };
    let (a, b) = tokio::join!(read(one.clone(), key.clone()), read(other.clone(), key.clone()));
    assert_eq!(a, b, "{key}: two answers");
    a
}

#[tokio::test(flavor = "multi_thread")]
async fn of_200_raced_decisions_each_has_one_winner_although_the_leader_dies_meanwhile() {
    let _alone = alone().await;
    let mut cluster = NatsCluster::start(3).await;
    let one = cluster.bus(0, Principal::Service(Service::Controller)).await;
    let other = cluster.bus(1, Principal::Service(Service::Controller)).await;
    let (whole, first) = (RevisionId::new(1, 0), RevisionId::new(1, 1));
    let (mut released, mut validated) = (0, 0);
    let mut dead = None;
    let began = Instant::now();
    for round in 0..ROUNDS {
        if round == BACK
            && let Some(n) = dead.take()
        {
            cluster.restart(n).await;
        }
        let id: DeploymentId = format!("race.n{round}").parse().unwrap();
        let request = FactKey::new(id.clone(), whole, Slot::Request);
        let last = one.log().append(&request, draft("requested")).await.unwrap().fact().sequence;
        let release = FactKey::new(id.clone(), first, Slot::Release);
        let end = FactKey::new(id.clone(), whole, Slot::End);
        let leader = if round == DIES { Some(cluster.leader_of("LIFECYCLE").await) } else { None };
        let racing = Box::pin(async {
            tokio::join!(async { one.log().append_against(&release, draft("released"), last).await.unwrap() }, async {
                other.log().append_against(&end, draft("retired"), last).await.unwrap()
            },)
        });
        let (a, b) = match leader {
            Some(leader) => {
                dead = Some(leader);
                tokio::join!(racing, cluster.kill9(leader)).0
            }
            None => racing.await,
        };
        let mine = |written: &WrittenAgainst| match written {
            WrittenAgainst::Stored(fact) => Some(fact.id.clone()),
            WrittenAgainst::Moved => None,
            WrittenAgainst::Adopted(fact) => panic!("round {round}: nobody else answers {}", fact.key),
        };
        assert_ne!(mine(&a).is_some(), mine(&b).is_some(), "round {round}: {a:?} {b:?}");
        assert_eq!(read_by_both(&one, &other, &release).await, mine(&a), "round {round}");
        assert_eq!(read_by_both(&one, &other, &end).await, mine(&b), "round {round}");
        released += usize::from(mine(&a).is_some());

        let key = FactKey::new(id, first, Slot::Validation);
        let (a, b) = tokio::join!(async { one.log().append(&key, draft("validated")).await.unwrap() }, async {
            other.log().append(&key, draft("validation-failed")).await.unwrap()
        },);
        assert_ne!(a.is_mine(), b.is_mine(), "round {round}: both or none won");
        assert_eq!(a.fact().id, b.fact().id, "round {round}: who lost adopts what stands");
        assert_eq!(a.fact().answer, b.fact().answer, "round {round}");
        assert_eq!(read_by_both(&one, &other, &key).await.as_ref(), Some(&a.fact().id), "round {round}");
        validated += usize::from(a.is_mine());
    }
    println!("released {released}, validated {validated} of {ROUNDS}; {:.1} s", began.elapsed().as_secs_f64());
    assert!(0 < released && released < ROUNDS && 0 < validated && validated < ROUNDS, "a race with one runner");
}
