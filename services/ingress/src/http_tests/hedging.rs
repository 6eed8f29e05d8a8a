//! A second worker for requests that the first is slow to answer.

use super::{
    worker::Manner,
    world::{FIRST, Setting, World, eventually},
};
use crate::limits::{HEDGE_PERCENT, HEDGE_RESERVE};
use futures::future::join_all;
use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};
use tonic::Code;

/// Longer than any request may take.
const NEVER: Manner = Manner::After(Duration::from_secs(600));

async fn hedging(after: &str) -> World {
    let mut setting = Setting::default();
    setting.history.serving = json!({ "hedging": { "after": after } });
    setting.history.release(1, 1);
    World::open(setting).await
}

#[tokio::test]
async fn a_worker_that_hangs_delays_its_requests_by_the_hedge_and_no_more() {
    let world = hedging("20ms").await;
    let (stuck, quick) = (world.worker(FIRST, "stuck"), world.worker(FIRST, "quick"));
    stuck.set(NEVER);
    world.register(&[&stuck, &quick]);
    for n in 0..20 {
        let answer = world.infer(&[("slipway-timeout-ms", "15000")]).await;
        assert_eq!(answer.status, 200, "{n}: {answer:?}");
    }
    let rows = world.captured(20).await;
    assert!(rows.iter().all(|row| row.worker == "quick" && row.attempt == 1), "{rows:?}");
    assert!(world.ingress.metrics.hedged_of(&world.history.id).1 > 0);
    // What lost is taken back.
    eventually("nothing is left at it", || stuck.shared.under_way.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn the_only_worker_is_never_asked_twice() {
    let world = hedging("1ms").await;
    let worker = world.worker(FIRST, "a");
    worker.set(Manner::After(Duration::from_millis(100)));
    world.register(&[&worker]);
    assert_eq!(world.infer(&[]).await.status, 200);
    assert_eq!(worker.calls(), 1);
}

#[tokio::test]
async fn a_deployment_that_is_slow_as_a_whole_is_not_asked_twice_for_everything() {
    let world = hedging("1ms").await;
    let workers = [world.worker(FIRST, "a"), world.worker(FIRST, "b")];
    for worker in &workers {
        worker.set(Manner::After(Duration::from_millis(50)));
    }
    world.register(&[&workers[0], &workers[1]]);
    let requests = 200;
    for _ in 0..4 {
        let answers = join_all((0..requests / 4).map(|_| world.infer(&[]))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
    }
    let most = requests + HEDGE_RESERVE + requests * HEDGE_PERCENT / 100;
    let calls = workers[0].calls() + workers[1].calls();
    assert!((requests + 1..=most).contains(&calls), "{calls}");
}

#[tokio::test]
async fn a_second_worker_that_fails_changes_nothing() {
    let world = hedging("5ms").await;
    let (slow, failing) = (world.worker(FIRST, "slow"), world.worker(FIRST, "failing"));
    slow.set(Manner::After(Duration::from_millis(200)));
    failing.set(Manner::Say("internal", Code::Internal));
    // Until it meets the slow one first; then the other is the second.
    world.register(&[&slow]);
    assert_eq!(world.infer(&[]).await.status, 200);
    world.register(&[&slow, &failing]);
    let answers = join_all((0..20).map(|_| world.infer(&[]))).await;
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(!good.is_empty() && bad.iter().all(|answer| answer.status == 500));
    let (first, second) = world.ingress.metrics.hedged_of(&world.history.id);
    assert_eq!((first, second), (good.len() as u64, 0), "{} good", good.len());
}

#[tokio::test]
async fn a_first_worker_that_dies_leaves_the_answer_to_the_second() {
    let world = hedging("20ms").await;
    let (mut doomed, slow) = (world.worker(FIRST, "doomed"), world.worker(FIRST, "slow"));
    doomed.set(NEVER);
    slow.set(Manner::After(Duration::from_secs(2)));
    world.register(&[&doomed, &slow]);
    let killing = async {
        eventually("both have requests", || {
            doomed.shared.under_way.load(Ordering::SeqCst) >= 3 && slow.shared.under_way.load(Ordering::SeqCst) >= 10
        })
        .await;
        doomed.kill();
    };
    let (answers, ()) = tokio::join!(join_all((0..10).map(|_| world.infer(&[]))), killing);
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert!(world.captured(10).await.iter().all(|row| row.worker == "slow" && row.attempt == 1));
}
