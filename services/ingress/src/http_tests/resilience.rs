//! Workers that die, refuse, pose as others and come back, while clients notice as little as can be.

use super::{
    worker::{Manner, Worker},
    world::{FIRST, Setting, World, eventually},
};
use futures::future::join_all;
use slipway_kernel::RevisionId;
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tonic::Code;

#[tokio::test]
async fn a_worker_that_is_killed_with_a_full_house_fails_no_request() {
    let world = World::released().await;
    let (mut doomed, other) = (world.worker(FIRST, "doomed"), world.worker(FIRST, "other"));
    for worker in [&doomed, &other] {
        worker.set(Manner::After(Duration::from_millis(500)));
    }
    world.register(&[&doomed, &other]);
    let killing = async {
        eventually("it has a full house", || doomed.shared.under_way.load(Ordering::SeqCst) >= 10).await;
        doomed.kill();
    };
    let (answers, ()) = tokio::join!(join_all((0..40).map(|_| world.infer(&[]))), killing);
    let failed: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(doomed.calls() > 0 && other.calls() >= 40, "{} and {}", doomed.calls(), other.calls());
    assert_eq!(world.infer(&[]).await.status, 200);
}

#[tokio::test]
async fn the_only_worker_is_killed_and_started_again_and_requests_wait_for_it() {
    let world = World::released().await;
    let mut doomed = world.worker(FIRST, "doomed");
    doomed.set(Manner::After(Duration::from_millis(500)));
    world.register(&[&doomed]);
    let restarting = async {
        eventually("it has a full house", || doomed.shared.under_way.load(Ordering::SeqCst) >= 10).await;
        doomed.kill();
        // It stands in the registry until its entry runs out; its successor appears beside it.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let successor = world.worker(FIRST, "successor");
        world.register(&[&doomed, &successor]);
        successor
    };
    let (answers, successor) = tokio::join!(join_all((0..40).map(|_| world.infer(&[]))), restarting);
    let failed: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(successor.calls() > 0);
    let attempts: Vec<u32> =
        successor.shared.seen.lock().unwrap().iter().map(|seen| seen["slipway-attempt"].parse().unwrap()).collect();
    assert!(attempts.iter().any(|attempt| *attempt > 1), "{attempts:?}: a later try says so");
}

#[tokio::test]
async fn without_a_worker_a_request_waits_as_long_as_it_may_and_the_next_ones_do_not() {
    let mut setting = Setting { worker_wait: Duration::from_secs(1), ..Setting::default() };
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let worker = world.worker(FIRST, "a");
    world.register(&[&worker]);
    assert_eq!(world.infer(&[]).await.status, 200);
    world.register(&[]);
    let begun = Instant::now();
    let answer = world.infer(&[]).await;
    assert_eq!((answer.status, answer.code(), answer.header("retry-after")), (503, "unavailable", "1"));
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(world.infer(&[]).await.status, 503);
    assert!(begun.elapsed() < Duration::from_millis(700), "{:?}", begun.elapsed());
    world.register(&[&worker]);
    assert_eq!(world.infer(&[]).await.status, 200);
}

#[tokio::test]
async fn a_worker_that_cannot_take_it_now_is_passed_over_for_one_that_can() {
    let world = World::released().await;
    let (unable, able) = (world.worker(FIRST, "unable"), world.worker(FIRST, "able"));
    world.register(&[&unable, &able]);
    for (word, code) in [("unavailable", Code::Unavailable), ("overloaded", Code::ResourceExhausted)] {
        unable.set(Manner::Say(word, code));
        for _ in 0..20 {
            assert_eq!(world.infer(&[]).await.status, 200, "{word}");
        }
    }
    assert!(unable.calls() > 0);
}

#[tokio::test]
async fn a_worker_with_the_certificate_of_another_revision_gets_no_request() {
    let mut setting = Setting { worker_wait: Duration::from_millis(300), ..Setting::default() };
    setting.history.release(1, 1);
    let world = World::open(setting).await;
    let impostor = Worker::posing(&world.authority, &world.history.id, FIRST, RevisionId::new(2, 1), "impostor");
    let stranger = Worker::start(&super::authority::Authority::new(), &world.history.id, FIRST, "stranger");
    world.register(&[&impostor, &stranger]);
    let answer = world.infer(&[]).await;
    assert_eq!((answer.status, answer.code()), (503, "unavailable"));
    assert_eq!((impostor.calls(), stranger.calls()), (0, 0));
}
