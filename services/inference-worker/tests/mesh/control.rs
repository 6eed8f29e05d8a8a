//! A worker that is told to end at once.

use std::process::ExitStatus;

use slipway_bus::{Draft, WorkerRecord, WorkerState};
use slipway_inference_worker::ending::KILLED;
use slipway_kernel::{
    Answer, ByteSize, CpuMillis, Digest, FactKey, IntakeReference, Plan, Planned, Released, Requested, RevisionId,
    Service, Slot, Span, spec::ModelDeployment,
};
use slipway_proto::slipway::inference::v1::AbortRequest;
use slipway_proto::slipway::inference::v1::worker_control_client::WorkerControlClient;
use tokio::process::Child;
use tonic::{Code, Status};

use crate::harness::{INSTANCE, Mesh, PATIENCE, deployment, revision};
use crate::process::{spawn, terminate};

/// The facts of the worker's revision, up to its plan.
async fn planned(mesh: &Mesh) {
    let document = serde_json::json!({ "metadata": { "name": "digits" }, "spec": { "model": { "uri": "file:///m" } } });
    let document = ModelDeployment::read(&document).unwrap();
    let intake = IntakeReference { source: "test".into(), id: "1".into() };
    let requested = Requested { spec_digest: document.digest(), deployment: document, intake };
    let plan = Plan {
        target: "local".into(),
        platform: "slipway".into(),
        model_digest: Digest::of(b"model"),
        replicas: 1,
        cpu: CpuMillis(1_000),
        memory: ByteSize::mebibytes(512),
        threads: 1,
        max_batch: 8,
        max_delay: Span::millis(2),
        queue_limit: 64,
        fixed_batching: false,
        latency_target: None,
    };
    let planned = Planned { digest: plan.digest(), plan, manifests: None, revises: None, changes: Vec::new() };
    write(mesh, RevisionId::new(1, 0), Slot::Request, Answer::Requested(requested)).await;
    write(mesh, revision(), Slot::Plan, Answer::Planned(planned)).await;
}

async fn released(mesh: &Mesh) {
    let released = Released { replaces: None, measurements: Vec::new() };
    write(mesh, revision(), Slot::Release, Answer::Released(released)).await;
}

async fn write(mesh: &Mesh, revision: RevisionId, slot: Slot, answer: Answer) {
    let draft = Draft::new(answer, "controller", "c");
    mesh.controller.log().append(&FactKey::new(deployment(), revision, slot), draft).await.unwrap();
}

async fn abort(mesh: &Mesh, service: Service, meant: &WorkerRecord) -> Result<(), Status> {
    let mut client = WorkerControlClient::new(mesh.channel(service).await.unwrap());
    let since_unix_ms = i64::try_from(meant.since.0).unwrap();
    client.abort(AbortRequest { instance: meant.instance.clone(), since_unix_ms }).await.map(drop)
}

async fn exit(child: &mut Child) -> ExitStatus {
    tokio::time::timeout(PATIENCE, child.wait()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_validator_ends_the_very_worker_it_means_at_once_and_nobody_else_may() {
    let (mesh, config) = Mesh::start("digits-v1").await;
    planned(&mesh).await;
    let mut child = spawn(&mesh, &config, INSTANCE);
    mesh.grant();
    let record = mesh.until(WorkerState::Ready).await;
    let another = WorkerRecord { instance: "w-1".into(), ..record.clone() };
    let earlier = WorkerRecord { since: slipway_kernel::Timestamp(record.since.0 - 1), ..record.clone() };
    for (service, meant, code) in [
        (Service::Ingress, &record, Code::PermissionDenied),
        (Service::Validator, &another, Code::FailedPrecondition),
        (Service::Validator, &earlier, Code::FailedPrecondition),
    ] {
        let status = abort(&mesh, service, meant).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
    }
    assert!(child.try_wait().unwrap().is_none(), "it lives on");
    abort(&mesh, Service::Validator, &record).await.unwrap();
    assert_eq!(exit(&mut child).await.code(), Some(i32::from(KILLED)));
    let left = mesh.worker().await.expect("it had no time to deregister");
    assert_eq!((left.state, left.since), (WorkerState::Ready, record.since));
    assert!(!mesh.data.path().join(format!("run/{INSTANCE}.findings.json")).exists(), "it left no word");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_revision_has_traffic_or_whose_log_cannot_be_read_is_not_ended() {
    let (mut mesh, config) = Mesh::start("digits-v1").await;
    let mut child = spawn(&mesh, &config, INSTANCE);
    mesh.grant();
    let record = mesh.until(WorkerState::Ready).await;
    let refused = abort(&mesh, Service::Validator, &record).await.unwrap_err();
    assert!(refused.code() == Code::FailedPrecondition && refused.message().contains("knows no"), "{refused:?}");
    planned(&mesh).await;
    released(&mesh).await;
    let refused = abort(&mesh, Service::Validator, &record).await.unwrap_err();
    assert!(refused.code() == Code::FailedPrecondition && refused.message().contains("traffic"), "{refused:?}");
    // With a connection from before: the broker is needed for nothing else.
    let mut client = WorkerControlClient::new(mesh.channel(Service::Validator).await.unwrap());
    mesh.nats.stop().await;
    let since_unix_ms = i64::try_from(record.since.0).unwrap();
    let refused = client.abort(AbortRequest { instance: INSTANCE.into(), since_unix_ms }).await.unwrap_err();
    assert!(refused.code() == Code::Unavailable && refused.message().contains("the log"), "{refused:?}");
    mesh.nats.restart().await;
    assert!(child.try_wait().unwrap().is_none(), "it lives on");
    assert_eq!(terminate(&mut child).await, Some(0));
}
