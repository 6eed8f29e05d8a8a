//! Generated permissions, as the broker enforces them.

use super::support::{LONG, deployment, draft, key, recovered, request, requested};
use bytes::Bytes;
use slipway_bus::{
    AppendError, Bus, BusError, CaptureBatch, LeaseError, LeaseKey, Principal, Recorded,
    topology::{self, TopologyConfig},
};
use slipway_kernel::{
    Answer, Approved, ByteSize, CommandReason, CpuMillis, Deployed, Digest, FactKey, Failed, InfrastructureChosen,
    IntakeReference, MachineFacts, Plan, Planned, PlatformRejected, Ready, Released, Removed, RequestId, Retired,
    RevisionId, RolledBack, Service, Shifted, Slot, Span, ValidationReport,
};
use slipway_testkit::{NatsServer, frame};
use std::time::Duration;

fn every_slot() -> Vec<Slot> {
    let counted = [Slot::Shift(5), Slot::Shift(50), Slot::Command(0), Slot::Command(12)];
    Slot::FIXED.into_iter().chain(Service::REMOVERS.map(Slot::Removal)).chain(counted).collect()
}

fn answer_to(slot: Slot) -> Answer {
    let intake = || IntakeReference { source: "s".to_owned(), id: "i".to_owned() };
    let ready = || Ready { configured: Vec::new(), proofs: Vec::new() };
    match slot {
        Slot::Request => requested("digits"),
        Slot::Choice => Answer::InfrastructureChosen(InfrastructureChosen {
            target: "local".to_owned(),
            reason: String::new(),
            candidates: Vec::new(),
            machine: MachineFacts::default(),
            needs_approval: false,
        }),
        Slot::Approval => Answer::Approved(Approved { reason: String::new(), intake: intake() }),
        Slot::Infrastructure => Answer::InfrastructureFailed(Failed { findings: Vec::new() }),
        Slot::Platform => {
            Answer::PlatformRejected(PlatformRejected { findings: Vec::new(), candidates: Vec::new(), model: None })
        }
        Slot::Plan => Answer::Planned(planned()),
        Slot::Deployment => {
            Answer::Deployed(Deployed { endpoints: Vec::new(), measurements: Vec::new(), fencing_token: 1 })
        }
        Slot::Ingress => Answer::IngressReady(ready()),
        Slot::Outputs => Answer::OutputsReady(ready()),
        Slot::Observability => Answer::ObservabilityReady(ready()),
        Slot::Security => Answer::SecurityReady(ready()),
        Slot::Validation => Answer::Validated(ValidationReport {
            checks: Vec::new(),
            findings: Vec::new(),
            missing: Vec::new(),
            report: None,
            plan_digest: None,
        }),
        Slot::Shift(percent) => {
            Answer::Shifted(Shifted { percent: percent.into(), beside: None, measurements: Vec::new() })
        }
        Slot::Release => Answer::Released(Released { replaces: None, measurements: Vec::new() }),
        Slot::Degradation => recovered(),
        Slot::Rollback => {
            Answer::RolledBack(RolledBack { to: RevisionId::new(1, 1), reason: String::new(), findings: Vec::new() })
        }
        Slot::Command(_) => Answer::Paused(CommandReason { reason: String::new(), intake: intake() }),
        Slot::Removal(_) => Answer::Removed(Removed { items: Vec::new() }),
        Slot::End => Answer::Retired(Retired { removed: Vec::new() }),
    }
}

fn planned() -> Planned {
    let plan = Plan {
        target: "local".to_owned(),
        platform: "slipway".to_owned(),
        model_digest: Digest::of(b"m"),
        replicas: 1,
        cpu: CpuMillis(1_000),
        memory: ByteSize::mebibytes(256),
        threads: 1,
        max_batch: 1,
        max_delay: Span::millis(1),
        queue_limit: 1,
        fixed_batching: false,
        latency_target: None,
    };
    let digest = plan.digest();
    Planned { plan, digest, manifests: None, revises: None, changes: Vec::new() }
}

async fn write(bus: &Bus, key: &FactKey) -> Result<(), AppendError> {
    bus.log().append(key, draft(answer_to(key.slot))).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_principal_writes_exactly_its_slots() {
    let server = NatsServer::secured().await;
    for principal in Principal::ALL {
        let bus = server.bus(principal).await;
        for slot in every_slot() {
            let written = write(&bus, &key(principal.name(), slot, 0)).await;
            if Some(slot.answered_by()) == principal.service() {
                written.unwrap();
            } else {
                let denied = matches!(written, Err(AppendError::Bus(BusError::Denied { .. })));
                assert!(denied, "{principal} {slot}: {written:?}");
            }
        }
        bus.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_can_do_all_that_it_has_to() {
    let server = NatsServer::secured().await;
    let id = deployment("digits");
    let controller = server.bus_as(Service::Controller).await;
    request(&controller.log(), "digits").await;
    for service in Service::ALL {
        let bus = server.bus_as(service).await;
        let view = bus.log().follow().await.unwrap();
        assert_eq!(view.ids(), std::slice::from_ref(&id), "{service}");
        assert_eq!(bus.log().read(&id).await.unwrap().len(), 1);
        assert!(bus.log().get(&key("digits", Slot::Request, 0)).await.unwrap().is_some());
        bus.probe().await.unwrap();
        let lease = bus.leases().acquire(&LeaseKey::new(&id, service, "work"), Duration::from_secs(5)).await.unwrap();
        lease.unwrap().release().await.unwrap();
        bus.leases().follow(&LeaseKey::host("box", Service::Controller, "workers")).await.unwrap();
        bus.flags().follow().await.unwrap();
        let blob = bus.blobs().put(service.name(), "text/plain").await.unwrap();
        assert_eq!(bus.blobs().get(&blob.digest).await.unwrap(), service.name());
        bus.workers().follow().await.unwrap();
        bus.routes().replicas().await.unwrap();
        bus.identities().trust().await.unwrap();
        bus.nudge(Service::Controller, &id).await.unwrap();
        bus.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_some_have_to_do_they_can() {
    let server = NatsServer::secured().await;
    let id = deployment("digits");
    let request: RequestId = "r1".parse().unwrap();
    let revision = RevisionId::new(1, 1);
    let (ingress, worker) = (server.bus_as(Service::Ingress).await, server.bus_as(Service::InferenceWorker).await);
    let (sink, security) = (server.bus_as(Service::SinkWriter).await, server.bus_as(Service::Security).await);
    let (controller, operator) = (server.bus_as(Service::Controller).await, server.bus(Principal::Operator).await);
    ingress.requests().publish(&id, revision, &request, Bytes::from_static(b"x"), None).await.unwrap();
    assert_eq!(ingress.requests().depth(&id, revision).await.unwrap(), 1);
    let queue = worker.requests().pull(&id, revision).await.unwrap();
    let taken = queue.next(1, LONG).await.unwrap().pop().unwrap();
    worker.results().publish(&id, &request, Bytes::from_static(b"y"), None).await.unwrap();
    taken.ack().await.unwrap();
    assert!(ingress.results().get(&id, &request).await.unwrap().is_some());
    assert!(server.bus_as(Service::Validator).await.results().get(&id, &request).await.unwrap().is_some());
    let results = sink.results().consume().await.unwrap();
    results.next(1, LONG).await.unwrap().pop().unwrap().ack().await.unwrap();
    sink.results().trim().await.unwrap();
    let mut batch = CaptureBatch::default();
    batch.push(request.as_str(), "", &());
    ingress.captures().publish(&id, batch.finish()).await.unwrap();
    let captures = sink.captures().consume().await.unwrap();
    captures.next(LONG).await.unwrap().pop().unwrap().ack().await.unwrap();
    assert_eq!(ingress.results().publish(&id, &request, Bytes::new(), None).await.unwrap(), Recorded::Already);
    let observability = server.bus_as(Service::Observability).await;
    observability.results().lag().await.unwrap();
    observability.captures().lag().await.unwrap();
    assert_eq!(controller.requests().move_all(&id, revision, RevisionId::new(1, 2)).await.unwrap(), 0);
    controller.requests().remove(&id, revision).await.unwrap();
    ingress.routes().report(1).await.unwrap();
    assert_eq!(controller.routes().wait_all(1, LONG).await.unwrap(), 1);
    security.identities().set_trust("bundle").await.unwrap();
    security.identities().requests().await.unwrap();
    ingress.api_keys().follow().await.unwrap();
    security.api_keys().remove_all(&id).await.unwrap();
    operator.dead().list().await.unwrap();
    operator.flags().raise(&id, "x").await.unwrap();
    operator.flags().clear(&id).await.unwrap();
    operator.log().follow().await.unwrap();
    operator.workers().list().await.unwrap();
    operator.api_keys().list(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_in_a_bucket_of_the_operators_own_is_fetched() {
    let server = NatsServer::secured().await;
    let raw = |principal: Principal| {
        let seed = std::fs::read_to_string(server.seed_file(principal).unwrap()).unwrap();
        let options = async_nats::ConnectOptions::with_nkey(seed.trim().to_owned());
        let url = server.url();
        async move { options.custom_inbox_prefix(topology::inbox(principal)).connect(url).await.unwrap() }
    };
    let config = async_nats::jetstream::object_store::Config { bucket: "models".to_owned(), ..Default::default() };
    let bootstrap = async_nats::jetstream::new(raw(Principal::Bootstrap).await);
    bootstrap.create_object_store(config).await.unwrap();
    let operator = async_nats::jetstream::new(raw(Principal::Operator).await);
    let store = operator.get_object_store("models").await.unwrap();
    store.put("digits.onnx", &mut vec![1_u8; 1_000_000].as_slice()).await.unwrap();
    let to = server.dir().join("model");
    let selector = server.bus_as(Service::PlatformSelector).await;
    let digest = selector.blobs().fetch_object("models", "digits.onnx", &to, 2_000_000).await.unwrap();
    assert_eq!(digest, Digest::of(&vec![1_u8; 1_000_000]));
    let provisioner = server.bus_as(Service::Provisioner).await;
    assert!(provisioner.blobs().fetch_object("models", "digits.onnx", &to, 2_000_000).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ones_own_is_denied_at_once() {
    let server = NatsServer::secured().await;
    let id = deployment("digits");
    let provisioner = server.bus_as(Service::Provisioner).await;
    let stolen =
        provisioner.leases().acquire(&LeaseKey::new(&id, Service::Controller, "x"), Duration::from_secs(5)).await;
    assert!(matches!(stolen, Err(LeaseError::Bus(BusError::Denied { .. }))), "{stolen:?}");
    let revision = RevisionId::new(1, 1);
    assert!(matches!(provisioner.requests().pull(&id, revision).await, Err(BusError::Denied { .. })));
    assert!(matches!(provisioner.identities().set_trust("mine").await, Err(BusError::Denied { .. })));
    let made = topology::ensure(&provisioner, &TopologyConfig::default()).await;
    assert!(matches!(made, Err(BusError::Denied { .. })));
    let client = server.bus(Principal::Client).await;
    assert!(matches!(client.probe().await, Err(BusError::Denied { .. })));
    assert!(matches!(client.log().get(&key("digits", Slot::Request, 0)).await, Err(BusError::Denied { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_key_nobody_comes_in() {
    let server = NatsServer::secured().await;
    let mut config = server.config(Principal::Client);
    config.nkey_seed_file = None;
    let frame = frame(Principal::Client);
    let error = Bus::connect(&config, Principal::Client, &frame).await.unwrap_err();
    assert!(matches!(error, BusError::Connect { .. }), "{error:?}");
    assert!(!frame.health.is_ready());
    let stranger = server.dir().join("stranger.nk");
    std::fs::write(&stranger, nkeys_of_a_stranger()).unwrap();
    config.nkey_seed_file = Some(stranger);
    assert!(Bus::connect(&config, Principal::Client, &frame).await.is_err());
    config.nkey_seed_file = Some(server.dir().join("nats.conf"));
    assert!(matches!(Bus::connect(&config, Principal::Client, &frame).await, Err(BusError::Seed { .. })));
    config.nkey_seed_file = Some(server.dir().join("none.nk"));
    assert!(matches!(Bus::connect(&config, Principal::Client, &frame).await, Err(BusError::Key { .. })));
}

fn nkeys_of_a_stranger() -> String {
    let dir = tempfile::tempdir().unwrap();
    let keys = slipway_bus::keys::make_all(dir.path()).unwrap();
    std::fs::read_to_string(keys.seed_file(Principal::Client)).unwrap()
}
