//! A worker that a platform keeps, as Kubernetes does: no lease, addresses told from outside, its last words in a file that is there.

use std::fs;

use slipway_bus::WorkerState;
use slipway_inference_worker::config::KeptBy;
use slipway_kernel::{Digest, Finding, FindingKind, Service, Span};
use slipway_testkit::eventually;

use crate::harness::{INSTANCE, Mesh, PATIENCE, direct, golden};
use crate::process::{spawn_with, terminate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobodys_list_ends_a_worker_that_a_platform_keeps_and_sigterm_does() {
    let (mut mesh, mut config) = Mesh::start("digits-v1").await;
    config.worker.kept_by = KeptBy::Platform;
    config.worker.stop_unwanted_after = Span::millis(500);
    mesh.want(&["another"]).await;
    let running = mesh.run(config);
    mesh.grant();
    mesh.until(WorkerState::Ready).await;
    mesh.lease.take().unwrap().release().await.unwrap();
    // Longer than either of the two would have taken to end it.
    let mut client = mesh.client(Service::Ingress).await.unwrap();
    let (rows, _) = golden(1);
    let begun = std::time::Instant::now();
    eventually(PATIENCE, || async { begun.elapsed() > std::time::Duration::from_secs(6) }).await;
    client.model_infer(direct("k-1", &rows)).await.unwrap();
    assert!(!running.task.is_finished());
    running.stop().await.unwrap();
    assert!(mesh.worker().await.is_none(), "it has left the registry");
}

/// The settings of a pod that differ from those of a process.
const POD: &str = r#"
kept_by = "platform"
advertised = "127.0.0.1"
findings_file = "FINDINGS"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_listens_everywhere_is_found_where_it_says_with_its_admin_endpoints() {
    let (mesh, mut config) = Mesh::start("digits-v1").await;
    config.worker.listen = "0.0.0.0:0".parse().unwrap();
    let findings = mesh.data.path().join("termination-log");
    fs::write(&findings, "").unwrap();
    let pod = POD.replace("FINDINGS", &findings.display().to_string());
    let mut child = spawn_with(&mesh, &config, INSTANCE, &pod, None);
    mesh.grant();
    let record = mesh.until(WorkerState::Ready).await;
    assert!(record.address.starts_with("127.0.0.1:") && record.admin.starts_with("127.0.0.1:"), "{record:?}");
    let (rows, _) = golden(1);
    mesh.client(Service::Ingress).await.unwrap().model_infer(direct("a-1", &rows)).await.unwrap();
    assert_eq!(terminate(&mut child).await, Some(0));
    assert_eq!(fs::read_to_string(&findings).unwrap(), "", "nothing was wrong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_words_of_a_worker_that_fails_are_in_the_file_that_is_there() {
    let (mesh, mut config) = Mesh::start("digits-v1").await;
    config.worker.model_digest = Some(Digest::of(b"never stored"));
    let findings = mesh.data.path().join("termination-log");
    fs::write(&findings, "").unwrap();
    let pod = POD.replace("FINDINGS", &findings.display().to_string());
    let mut child = spawn_with(&mesh, &config, INSTANCE, &pod, None);
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(1));
    let read: Vec<Finding> = serde_json::from_slice(&fs::read(&findings).unwrap()).unwrap();
    assert_eq!(read[0].kind, FindingKind::ImageUnavailable);
}
