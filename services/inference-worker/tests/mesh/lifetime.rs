//! Wanted, not wanted, nobody's.

use slipway_bus::WorkerState;
use slipway_kernel::Span;

use crate::harness::{INSTANCE, Mesh};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_taken_off_the_list_drains_and_ends() {
    let (mut mesh, config) = Mesh::start("digits-v1").await;
    let running = mesh.run(config);
    mesh.grant();
    mesh.until(WorkerState::Ready).await;
    mesh.want(&["another", INSTANCE]).await;
    assert!(!running.task.is_finished());
    mesh.want(&["another"]).await;
    running.ended().await.unwrap();
    assert!(mesh.worker().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_nobody_answers_for_drains_and_ends_even_before_it_has_an_identity() {
    let (mut mesh, mut config) = Mesh::start("digits-v1").await;
    config.worker.stop_unwanted_after = Span::seconds(1);
    let running = mesh.run(config);
    mesh.until(WorkerState::Warm).await;
    mesh.lease.take().unwrap().release().await.unwrap();
    running.ended().await.unwrap();
    assert!(mesh.worker().await.is_none());
}
