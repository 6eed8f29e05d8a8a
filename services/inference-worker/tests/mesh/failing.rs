//! Workers that cannot serve, and what they leave for the controller.

use std::fs;

use slipway_bus::WorkerState;
use slipway_kernel::{ByteSize, Cause, Digest, Finding, FindingKind};

use crate::harness::{INSTANCE, Mesh, example};

fn findings(mesh: &Mesh) -> Vec<Finding> {
    let path = mesh.data.path().join(format!("run/{INSTANCE}.findings.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_with_an_unknown_operator_ends_with_a_finding_that_names_it() {
    let model = fs::read(example("../../tests/data/unknown-operator.onnx")).unwrap();
    let (mesh, config) = Mesh::with(model).await;
    let error = mesh.run(config).ended().await.unwrap_err();
    assert!(format!("{error:#}").contains("Divine"), "{error:#}");
    let finding = findings(&mesh).remove(0);
    assert_eq!((finding.kind, finding.cause), (FindingKind::PlatformUnsuitable, Cause::Deterministic));
    assert!(finding.message.contains("example.oracle.Divine"), "{}", finding.message);
    assert!(mesh.worker().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_that_is_not_in_the_store_ends_with_a_transient_finding() {
    let (mesh, mut config) = Mesh::start("digits-v1").await;
    config.worker.model_digest = Some(Digest::of(b"never stored"));
    mesh.run(config).ended().await.unwrap_err();
    let finding = findings(&mesh).remove(0);
    assert_eq!((finding.kind, finding.cause), (FindingKind::ImageUnavailable, Cause::Transient));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_artifact_that_was_tampered_with_is_never_loaded_but_fetched_again() {
    let (mesh, config) = Mesh::start("digits-v2").await;
    let digest = config.worker.model_digest.clone().unwrap();
    // Another model that works, under the name of the right one.
    let folder = mesh.data.path().join("artifacts");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(example("digits-v3.onnx"), folder.join(digest.as_str())).unwrap();
    let running = mesh.run(config);
    mesh.until(WorkerState::Warm).await;
    assert_eq!(Digest::of(&fs::read(folder.join(digest.as_str())).unwrap()), digest);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_too_little_memory_ends_with_both_figures() {
    let (mesh, mut config) = Mesh::start("digits-v1").await;
    config.worker.memory = Some(ByteSize::mebibytes(1));
    mesh.run(config).ended().await.unwrap_err();
    let finding = findings(&mesh).remove(0);
    assert_eq!(finding.kind, FindingKind::OutOfMemory);
    assert_eq!(finding.wanted, Some(f64::from(1 << 20)));
    assert!(finding.measured > finding.wanted);
}
