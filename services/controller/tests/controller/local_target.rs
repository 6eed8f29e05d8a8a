//! The local target with real processes. Workers are shell scripts; the test registers them as a worker that is warm
//! would register itself.

use slipway_bus::{Bus, BusConfig, LeaseKey, Principal, Registration, WorkerRecord, WorkerState};
use slipway_controller::{
    Telemetry,
    domain::{Wanted, manifest::Model},
    target::{
        Desired, Group, Status, Target,
        local::{Local, Setup, Surroundings},
    },
};
use slipway_kernel::{
    ByteSize, CpuMillis, DeploymentId, Digest, FindingKind, Plan, RevisionId, Service, Span, Timestamp,
};
use slipway_runtime::{Frame, TelemetryConfig};
use slipway_testkit::{NatsServer, eventually};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(30);
const HOST: &str = "test-host";
/// Runs until it is asked to end.
const GOOD: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";
const STUBBORN: &str = "trap '' TERM; while :; do sleep 0.05; done";

fn id() -> DeploymentId {
    "default.digits".parse().unwrap()
}

fn plan(replicas: u32) -> Plan {
    Plan {
        target: "local".into(),
        platform: "slipway".into(),
        model_digest: Digest::of(b"model"),
        replicas,
        cpu: CpuMillis(1_000),
        memory: ByteSize::mebibytes(64),
        threads: 1,
        max_batch: 8,
        max_delay: Span::millis(2),
        queue_limit: 64,
        fixed_batching: false,
        latency_target: None,
    }
}

fn desired(revision: u32, replicas: u32) -> Desired {
    let wanted = Wanted { revision: RevisionId::new(1, revision), plan: plan(replicas), attempt: 0, manifests: None };
    Desired { wanted, model: Model::default() }
}

fn group(revision: u32) -> Group {
    Group { deployment: id(), revision: RevisionId::new(1, revision), attempt: 0 }
}

/// One replica's local target.
struct Replica {
    target: Arc<Local>,
    frame: Frame,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Replica {
    async fn start(server: &NatsServer, data: &Path, script: &str) -> Self {
        Self::start_with(server, data, script, false).await
    }

    async fn start_with(server: &NatsServer, data: &Path, script: &str, stop_with_controller: bool) -> Self {
        let setup = Setup {
            command: vec!["sh".into(), "-c".into(), script.into(), "worker".into()],
            around: Surroundings {
                data: data.to_owned(),
                host: HOST.into(),
                bus: BusConfig { url: server.url(), ..BusConfig::default() },
                telemetry: TelemetryConfig::default(),
                drain: Span::millis(500),
            },
            lease: Duration::from_secs(3),
            stop_with_controller,
            control_groups: false,
        };
        let frame = Frame::for_test("controller");
        let bus = server.bus_in(Principal::Service(Service::Controller), &frame).await;
        let target = Arc::new(Local::new(setup, bus, Telemetry::register(&frame)));
        let running = tokio::spawn(Arc::clone(&target).run(frame.clone()));
        Self { target, frame, running }
    }

    async fn status(&self, revision: u32, holds: impl Fn(&Status) -> bool) -> Status {
        eventually(PATIENCE, || async {
            let status = self.target.status(&group(revision));
            if holds(&status) { Ok(status) } else { Err(status) }
        })
        .await
    }

    async fn end(self) {
        self.frame.shutdown.cancel();
        self.running.await.unwrap().unwrap();
    }

    /// As a crash would, as far as a task can crash: nothing is told to anybody.
    async fn crash(self) {
        self.running.abort();
        let _ = self.running.await;
    }
}

/// What the records say: instance and process.
fn processes(data: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(data.join("run")).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') || !name.ends_with(".json") || name.ends_with(".findings.json") {
            continue;
        }
        let Ok(text) = std::fs::read(entry.path()) else { continue };
        let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
        if let Some(pid) = record["process"]["pid"].as_u64() {
            found.insert(record["instance"].as_str().unwrap().to_owned(), u32::try_from(pid).unwrap());
        }
    }
    found
}

fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

/// Registers every worker that is listed with the lease, as it would itself when it is warm.
async fn register(bus: Bus) {
    let key = LeaseKey::host(HOST, Service::Controller, "workers");
    let mut lease = bus.leases().follow(&key).await.unwrap();
    let mut registered: BTreeMap<String, Registration> = BTreeMap::new();
    loop {
        let listed = lease.get().as_ref().as_ref().map(|info| info.value.clone()).unwrap_or_default();
        let names: Vec<String> = serde_json::from_value(listed["instances"].clone()).unwrap_or_default();
        registered.retain(|name, _| names.contains(name));
        for name in names {
            if registered.contains_key(&name) {
                continue;
            }
            let revision: u32 = name.split('-').nth(2).unwrap().parse().unwrap();
            let record = WorkerRecord {
                deployment: id(),
                revision: RevisionId::new(1, revision),
                instance: name.clone(),
                host: HOST.into(),
                address: "127.0.0.1:1".into(),
                admin: "127.0.0.1:2".into(),
                pid: 1,
                fencing_token: 0,
                state: WorkerState::Warm,
                measurements: vec![],
                detail: serde_json::Value::Null,
                since: Timestamp(0),
            };
            registered.insert(name, bus.workers().register(record).await.unwrap());
        }
        lease.changed().await;
    }
}

struct Ground {
    server: NatsServer,
    data: tempfile::TempDir,
    registering: Option<JoinHandle<()>>,
}

impl Ground {
    async fn new(registers: bool) -> Self {
        let server = NatsServer::ready().await;
        let bus = server.bus_as(Service::InferenceWorker).await;
        let registering = registers.then(|| tokio::spawn(register(bus)));
        Self { server, data: tempfile::tempdir().unwrap(), registering }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(registering) = &self.registering {
            registering.abort();
        }
        for pid in processes(self.data.path()).into_values() {
            // By the number that this test's own records name.
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_started_found_ready_and_ended() {
    let ground = Ground::new(true).await;
    let replica = Replica::start(&ground.server, ground.data.path(), GOOD).await;
    replica.target.all_told();
    replica.target.want(&id(), vec![desired(1, 2)]);
    let Status::Running(running) = replica.status(1, |s| matches!(s, Status::Running(_))).await else { panic!() };
    assert_eq!(running.endpoints.len(), 2);
    assert!(running.fencing_token > 0);
    let first = processes(ground.data.path());
    assert!(first.len() == 2 && first.values().all(|pid| runs(*pid)));
    // Old and new side by side, then the old one ends.
    replica.target.want(&id(), vec![desired(1, 2), desired(2, 1)]);
    replica.status(2, |s| matches!(s, Status::Running(_))).await;
    assert!(matches!(replica.target.status(&group(1)), Status::Running(_)));
    replica.target.want(&id(), vec![desired(2, 1)]);
    replica.status(1, |s| *s == Status::Gone).await;
    assert!(first.values().all(|pid| !runs(*pid)));
    replica.target.want(&id(), vec![]);
    replica.status(2, |s| *s == Status::Gone).await;
    assert!(processes(ground.data.path()).is_empty());
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_is_started_again() {
    let ground = Ground::new(true).await;
    let replica = Replica::start(&ground.server, ground.data.path(), GOOD).await;
    replica.target.want(&id(), vec![desired(1, 1)]);
    replica.status(1, |s| matches!(s, Status::Running(_))).await;
    let (name, pid) = processes(ground.data.path()).into_iter().next().unwrap();
    let raw = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    let other =
        eventually(PATIENCE, || async { processes(ground.data.path()).into_iter().find(|(n, _)| *n != name) }).await;
    assert!(runs(other.1));
    replica.status(1, |s| matches!(s, Status::Running(_))).await;
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_never_comes_up_fails_with_the_end_of_its_log() {
    let ground = Ground::new(false).await;
    let replica = Replica::start(&ground.server, ground.data.path(), "echo cannot open the model; exit 3").await;
    replica.target.want(&id(), vec![desired(1, 1)]);
    let Status::Failed(findings) = replica.status(1, |s| matches!(s, Status::Failed(_))).await else { panic!() };
    assert_eq!(findings[0].kind, FindingKind::Crashed);
    assert!(findings[0].message.contains("exit status: 3") && findings[0].message.contains("cannot open the model"));
    let blob = findings[0].evidence.iter().find_map(|reference| reference.strip_prefix("blob:")).unwrap();
    let bus = ground.server.bus(Principal::Operator).await;
    let tail = bus.blobs().get(&blob.parse().unwrap()).await.unwrap();
    assert_eq!(&tail[..], b"cannot open the model\n");
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_says_why_is_believed_at_once() {
    let findings = r#"[{"kind":"artifact-invalid","cause":"deterministic","message":"no model"}]"#;
    // The last argument is the worker's file; the findings lie beside it.
    let script = format!(r#"for last; do :; done; echo '{findings}' > "${{last%.toml}}.findings.json"; exit 1"#);
    let ground = Ground::new(false).await;
    let replica = Replica::start(&ground.server, ground.data.path(), &script).await;
    replica.target.want(&id(), vec![desired(1, 1)]);
    let Status::Failed(findings) = replica.status(1, |s| matches!(s, Status::Failed(_))).await else { panic!() };
    assert_eq!((findings[0].kind, findings[0].message.as_str()), (FindingKind::ArtifactInvalid, "no model"));
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_fails_at_once() {
    let ground = Ground::new(false).await;
    let mut replica = Replica::start(&ground.server, ground.data.path(), GOOD).await;
    replica.frame.shutdown.cancel();
    (&mut replica.running).await.unwrap().unwrap();
    let frame = Frame::for_test("controller");
    let setup = Setup {
        command: vec!["/nowhere/slipway-inference-worker".into()],
        around: Surroundings {
            data: ground.data.path().to_owned(),
            host: HOST.into(),
            bus: BusConfig::default(),
            telemetry: TelemetryConfig::default(),
            drain: Span::seconds(1),
        },
        lease: Duration::from_secs(3),
        stop_with_controller: false,
        control_groups: false,
    };
    let bus = ground.server.bus_in(Principal::Service(Service::Controller), &frame).await;
    let target = Arc::new(Local::new(setup, bus, Telemetry::register(&frame)));
    let running = tokio::spawn(Arc::clone(&target).run(frame.clone()));
    target.want(&id(), vec![desired(1, 1)]);
    let other = Replica { target, frame, running };
    let Status::Failed(findings) = other.status(1, |s| matches!(s, Status::Failed(_))).await else { panic!() };
    assert_eq!(findings[0].kind, FindingKind::ImageUnavailable);
    other.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_beyond_its_memory_is_killed_and_the_finding_has_the_figures() {
    let ground = Ground::new(false).await;
    // One buffer of 200 MiB, of 64 planned.
    let script = "exec dd if=/dev/zero of=/dev/null bs=200M count=1000000";
    let replica = Replica::start(&ground.server, ground.data.path(), script).await;
    replica.target.want(&id(), vec![desired(1, 1)]);
    let Status::Failed(findings) = replica.status(1, |s| matches!(s, Status::Failed(_))).await else { panic!() };
    assert_eq!(findings[0].kind, FindingKind::OutOfMemory);
    assert!(findings[0].measured.unwrap() > findings[0].wanted.unwrap());
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_listen_is_killed_after_its_time() {
    let ground = Ground::new(true).await;
    let replica = Replica::start(&ground.server, ground.data.path(), STUBBORN).await;
    replica.target.want(&id(), vec![desired(1, 1)]);
    replica.status(1, |s| matches!(s, Status::Running(_))).await;
    let pid = *processes(ground.data.path()).values().next().unwrap();
    replica.target.want(&id(), vec![]);
    replica.status(1, |s| *s == Status::Gone).await;
    assert!(!runs(pid));
    replica.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_keeper_takes_over_what_is_wanted_and_ends_the_rest() {
    let ground = Ground::new(true).await;
    let first = Replica::start(&ground.server, ground.data.path(), GOOD).await;
    first.target.want(&id(), vec![desired(1, 1), desired(2, 1)]);
    first.status(1, |s| matches!(s, Status::Running(_))).await;
    first.status(2, |s| matches!(s, Status::Running(_))).await;
    let before = processes(ground.data.path());
    first.crash().await;
    let second = Replica::start(&ground.server, ground.data.path(), GOOD).await;
    second.target.want(&id(), vec![desired(2, 1)]);
    second.target.all_told();
    second.status(2, |s| matches!(s, Status::Running(_))).await;
    second.status(1, |s| *s == Status::Gone).await;
    let after = processes(ground.data.path());
    assert_eq!(after.len(), 1);
    let (name, pid) = after.into_iter().next().unwrap();
    assert_eq!(before.get(&name), Some(&pid), "the same process, not another one");
    assert!(runs(pid) && before.values().filter(|pid| runs(**pid)).count() == 1);
    second.end().await;
    assert!(runs(pid), "workers outlive a controller that ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replicas_one_keeps_the_workers() {
    let ground = Ground::new(true).await;
    let one = Replica::start(&ground.server, ground.data.path(), GOOD).await;
    let two = Replica::start(&ground.server, ground.data.path(), GOOD).await;
    for replica in [&one, &two] {
        replica.target.want(&id(), vec![desired(1, 2)]);
        replica.target.all_told();
    }
    let is_running = |status: &Status| matches!(status, Status::Running(_));
    eventually(PATIENCE, || async {
        let (a, b) = (one.target.status(&group(1)), two.target.status(&group(1)));
        if (is_running(&a) && b == Status::Elsewhere) || (is_running(&b) && a == Status::Elsewhere) {
            Ok(())
        } else {
            Err((a, b))
        }
    })
    .await;
    assert_eq!(processes(ground.data.path()).len(), 2);
    // The keeper goes; the other one takes over the same processes.
    let before = processes(ground.data.path());
    let (keeper, other) = if is_running(&one.target.status(&group(1))) { (one, two) } else { (two, one) };
    keeper.end().await;
    other.status(1, is_running).await;
    assert_eq!(processes(ground.data.path()), before);
    other.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_end_with_the_controller_where_that_is_wanted() {
    let ground = Ground::new(true).await;
    let replica = Replica::start_with(&ground.server, ground.data.path(), GOOD, true).await;
    replica.target.want(&id(), vec![desired(1, 2)]);
    replica.status(1, |s| matches!(s, Status::Running(_))).await;
    let pids = processes(ground.data.path());
    replica.end().await;
    assert!(pids.values().all(|pid| !runs(*pid)));
    assert!(processes(ground.data.path()).is_empty());
}
