//! Each way in which a worker does not run, produced by a real kubelet, and the finding that it becomes.

use crate::{kubectl::kubectl, world::World};
use serde_json::json;
use slipway_kernel::{
    ByteSize,
    Cause::{self, Deterministic, Transient},
    Finding, FindingKind, Plan, RevisionId, Span,
};

/// The image of the worker.
const WORKER: &str = "localhost/slipway-worker:test";
/// A program that does nothing until it is told to end.
const IDLE: &str = "localhost/pause:1";
/// A program that ends at once.
const OTHER: &str = "localhost/nats:test";
/// The Secret with the worker's key.
const KEY: &str = "slipway-key-inference-worker";

/// A world whose workers run from this image; with a key that the broker does not know if `has_key`.
async fn world(image: &str, has_key: bool) -> World {
    let mut world = World::new().await;
    world.settings.image = image.to_owned();
    if has_key {
        let seed = slipway_bus::keys::make_seed().unwrap();
        let seed = format!("inference-worker.nk={seed}");
        world.namespace.run(&["create", "secret", "generic", KEY, "--from-literal", &seed]).unwrap();
    }
    world
}

async fn fails_with(world: &World, change: impl FnOnce(&mut Plan)) -> Finding {
    let findings = world.fails_with(change).await;
    findings.into_iter().next().unwrap()
}

#[track_caller]
fn is(finding: &Finding, kind: FindingKind, cause: Cause, word: &str) {
    assert_eq!((finding.kind, finding.cause), (kind, cause), "{finding:?}");
    let said = format!("{} {:?}", finding.message, finding.evidence);
    assert!(said.contains(word), "`{word}` is not said: {said}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn an_image_that_no_registry_has() {
    let world = world("localhost/nobody-has-this:1", true).await;
    is(&fails_with(&world, |_| {}).await, FindingKind::ImageUnavailable, Transient, "image cannot be pulled");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn an_image_that_may_not_be_pulled() {
    let mut world = world("localhost/nobody-has-this:1", true).await;
    world.settings.image_pull_policy = "Never".to_owned();
    is(&fails_with(&world, |_| {}).await, FindingKind::ImageUnavailable, Deterministic, "ErrImageNeverPull");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_secret_that_is_not_there() {
    let world = world(WORKER, false).await;
    is(&fails_with(&world, |_| {}).await, FindingKind::SecretMissing, Deterministic, KEY);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_worker_that_ends_by_itself_three_times() {
    // A program that does not understand what workers are told.
    let world = world(OTHER, true).await;
    is(&fails_with(&world, |_| {}).await, FindingKind::Crashed, Deterministic, "ended by itself");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_worker_that_takes_more_memory_than_planned() {
    let world = world(WORKER, true).await;
    let finding = fails_with(&world, |plan| plan.memory = ByteSize::mebibytes(1)).await;
    is(&finding, FindingKind::OutOfMemory, Deterministic, "OOM");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_worker_that_runs_and_is_never_ready() {
    let mut world = world(IDLE, true).await;
    world.settings.start_within = Span::seconds(5);
    is(&fails_with(&world, |_| {}).await, FindingKind::StartTimeout, Deterministic, "no progress");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_node_that_is_too_small() {
    let world = world(IDLE, true).await;
    let finding = fails_with(&world, |plan| plan.memory = ByteSize(1 << 45)).await;
    is(&finding, FindingKind::Unschedulable, Deterministic, "(memory)");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_pod_that_the_node_puts_out() {
    // More than its share of the node's disk: the kubelet evicts it by itself.
    let world = world(WORKER, true).await;
    world.bound(
        "LimitRange",
        &json!({ "limits": [{ "type": "Container", "default": { "ephemeral-storage": "1Ki" } }] }),
    );
    is(&fails_with(&world, |_| {}).await, FindingKind::Misconfigured, Deterministic, "more of the node's disk");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_volume_that_nobody_provides() {
    let world = world(IDLE, true).await;
    let placement = json!({ "storage": { "size": "64Mi", "class": "nobody-provisions-it" } });
    let finding = placed_fails_with(&world, placement).await;
    is(&finding, FindingKind::DependencyUnavailable, Transient, "(volume)");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make test-kubernetes"]
async fn a_volume_that_waits_for_its_first_pod_and_that_nobody_has_made() {
    let class = format!("by-hand-{}", std::process::id());
    let api_version = "storage.k8s.io/v1";
    let world = world(IDLE, true).await;
    world.namespace.apply(&json!({
        "apiVersion": api_version, "kind": "StorageClass", "metadata": { "name": class },
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
    }));
    let finding = placed_fails_with(&world, json!({ "storage": { "size": "64Mi", "class": class } })).await;
    kubectl(&["delete", "storageclass", &class]).unwrap();
    is(&finding, FindingKind::DependencyUnavailable, Transient, "(volume)");
}

/// What a revision of one worker at such a place fails with.
async fn placed_fails_with(world: &World, placement: serde_json::Value) -> Finding {
    let id = "default.digits".parse().unwrap();
    let placement = serde_json::from_value(placement).unwrap();
    let desired = world.placed(&id, RevisionId::new(1, 1), &placement, |_| {}).await;
    world.is_failed_by(&id, desired).await.into_iter().next().unwrap()
}
