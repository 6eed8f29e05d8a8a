//! How a service lives: doorbells, cancelling, trying again, dead letters, the death of a replica, a thousand deployments.

use super::support::{LONG, deployment, draft, key, request};
use async_trait::async_trait;
use slipway_bus::{Actor, Bus, Done, DutyError, Scene, react};
use slipway_kernel::{
    Answer, Attempt, CommandReason, Deployment, Due, Failed, Finding, FindingKind, Generation, IntakeReference,
    Removed, RevisionId, Service, Slot, Timestamp,
};
use slipway_runtime::Frame;
use slipway_testkit::{NatsServer, eventually, frame};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::task::JoinHandle;

/// What the double does: the provisioner answers `infrastructure` up to attempt `wanted` of every deployment.
struct Double {
    wanted: u32,
    script: Script,
    seen: Arc<Seen>,
}

#[derive(Clone, Copy, PartialEq)]
enum Script {
    /// Write the answer.
    Write,
    /// Wait for ever.
    Hang,
    /// Fail twice in passing, then write.
    Stumble,
    /// Fail for good.
    Break,
    /// Panic.
    Panic,
    /// Hold a lease while writing.
    Lease,
    /// Nothing before a moment has come, then write.
    Wait,
}

#[derive(Default)]
struct Seen {
    begun: Mutex<BTreeMap<String, u32>>,
    dropped: Mutex<u32>,
    running: Mutex<(u32, u32)>,
}

impl Seen {
    fn begun(&self) -> u32 {
        self.begun.lock().unwrap().values().sum()
    }

    fn begun_for(&self, name: &str) -> u32 {
        self.begun.lock().unwrap().get(&deployment(name).to_string()).copied().unwrap_or(0)
    }
}

struct Guard(Arc<Seen>, bool);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.running.lock().unwrap().0 -= 1;
        if !self.1 {
            *self.0.dropped.lock().unwrap() += 1;
        }
    }
}

#[async_trait]
impl Actor for Double {
    type Duty = u32;

    fn service(&self) -> Service {
        Service::Provisioner
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<u32> {
        let Some(generation) = deployment.newest() else { return Due::Nothing };
        let answered = counted(deployment);
        if generation.ended().is_some() || answered >= self.wanted {
            return Due::Nothing;
        }
        let moment = generation.request().at.after(Duration::from_secs(2));
        if self.script == Script::Wait && now < moment { Due::Wait(moment) } else { Due::Now(answered) }
    }

    async fn perform(&self, duty: u32, scene: Scene) -> Result<Done, DutyError> {
        let begun = {
            let mut begun = self.seen.begun.lock().unwrap();
            let count = begun.entry(scene.id.to_string()).or_default();
            *count += 1;
            *count
        };
        {
            let mut running = self.seen.running.lock().unwrap();
            running.0 += 1;
            running.1 = running.1.max(running.0);
        }
        let mut guard = Guard(Arc::clone(&self.seen), false);
        let done = match self.script {
            Script::Write | Script::Wait => write(&scene, duty).await,
            Script::Hang => std::future::pending().await,
            Script::Stumble if begun <= 2 => Err(DutyError::transient(anyhow_like())),
            Script::Stumble => write(&scene, duty).await,
            Script::Break => Err(DutyError::permanent(anyhow_like())),
            Script::Panic => panic!("on purpose"),
            Script::Lease => match scene.lease("effect", Duration::from_secs(3)).await? {
                Some(lease) => {
                    // Long enough for the other replica to look.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    assert!(lease.is_held());
                    write(&scene, duty).await
                }
                None => Ok(Done::Elsewhere),
            },
        };
        guard.1 = true;
        done
    }

    fn max_running(&self) -> usize {
        16
    }
}

fn counted(deployment: &Deployment) -> u32 {
    let facts = deployment.facts().filter(|fact| fact.key.slot == Slot::Infrastructure);
    u32::try_from(facts.count()).unwrap()
}

fn anyhow_like() -> std::io::Error {
    std::io::Error::other("on purpose")
}

async fn write(scene: &Scene, attempt: u32) -> Result<Done, DutyError> {
    let key = scene.key(RevisionId::new(1, 0), Slot::Infrastructure).at(Attempt(attempt));
    scene.append(&key, full()).await?;
    Ok(Done::Wrote)
}

/// A failure that may pass: another attempt may follow it.
fn full() -> Answer {
    let findings = vec![Finding::transient(FindingKind::Unschedulable, "on purpose")];
    Answer::InfrastructureFailed(Failed { findings })
}

struct Replica {
    frame: Frame,
    bus: Bus,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

async fn replica(server: &NatsServer, wanted: u32, script: Script) -> Replica {
    let frame = frame(Service::Provisioner.into());
    let bus = server.bus_in(Service::Provisioner.into(), &frame).await;
    let seen = Arc::new(Seen::default());
    let actor = Double { wanted, script, seen: Arc::clone(&seen) };
    let task = tokio::spawn({
        let (bus, frame) = (bus.clone(), frame.clone());
        async move { react(&bus, &frame, actor).await.unwrap() }
    });
    Replica { frame, bus, seen, task }
}

async fn answers(bus: &Bus, name: &str) -> usize {
    let entries = bus.log().read(&deployment(name)).await.unwrap();
    entries.iter().filter(|entry| entry.subject.contains(".infrastructure.")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_rings_and_what_is_due_is_done_step_by_step() {
    let server = NatsServer::ready().await;
    let replica = replica(&server, 5, Script::Write).await;
    let gate = server.bus_as(Service::Controller).await;
    let started = tokio::time::Instant::now();
    request(&gate.log(), "digits").await;
    eventually(LONG, || async { answers(&gate, "digits").await == 5 }).await;
    // Doorbells, not sweeps, carry it from step to step.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(replica.seen.begun(), 5);
    let entries = gate.log().read(&deployment("digits")).await.unwrap();
    let last = entries.last().unwrap().content.fact().unwrap().clone();
    assert_eq!(last.actor, "provisioner");
    assert_eq!(last.correlation, "correlation");
    replica.frame.shutdown.cancel();
    replica.task.await.unwrap();
}

/// Removes for security what a retirement demands.
struct Remover;

#[async_trait]
impl Actor for Remover {
    type Duty = (Generation, Attempt);

    fn service(&self) -> Service {
        Service::Security
    }

    fn due(&self, deployment: &Deployment, now: Timestamp) -> Due<Self::Duty> {
        deployment.removal(Service::Security, now)
    }

    async fn perform(&self, (_, attempt): Self::Duty, scene: Scene) -> Result<Done, DutyError> {
        let key = scene.key(RevisionId::new(1, 0), Slot::Removal(Service::Security)).at(attempt);
        scene.append(&key, Answer::Removed(Removed { items: Vec::new() })).await?;
        Ok(Done::Wrote)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_which_no_doorbell_can_ring_is_heard_all_the_same() {
    let server = NatsServer::ready().await;
    let gate = server.bus_as(Service::Controller).await;
    let retire = |name: &'static str| {
        let log = gate.log();
        async move {
            request(&log, name).await;
            let intake = IntakeReference { source: "test".to_owned(), id: "retire".to_owned() };
            let retire = Answer::RetireRequested(CommandReason { reason: String::new(), intake });
            log.append(&key(name, Slot::Command(0), 0), draft(retire)).await.unwrap();
        }
    };
    let removed = |name: &'static str| {
        let log = gate.log();
        async move {
            let entries = log.read(&deployment(name)).await.unwrap();
            entries.iter().any(|entry| entry.subject.contains(".removal-security."))
        }
    };
    retire("before").await;
    let frame = frame(Service::Security.into());
    let bus = server.bus_in(Service::Security.into(), &frame).await;
    tokio::spawn({
        let frame = frame.clone();
        async move { react(&bus, &frame, Remover).await.unwrap() }
    });
    // Found by the look at everything with which it starts.
    eventually(LONG, || removed("before")).await;
    let began = tokio::time::Instant::now();
    retire("after").await;
    eventually(LONG, || removed("after")).await;
    assert!(began.elapsed() < Duration::from_secs(10), "not by the sweep: {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_at_a_start_is_done_without_an_event() {
    let server = NatsServer::ready().await;
    let gate = server.bus_as(Service::Controller).await;
    request(&gate.log(), "digits").await;
    // Another replica hears the event, and dies with it.
    let first = replica(&server, 1, Script::Hang).await;
    eventually(LONG, || async { first.seen.begun() == 1 }).await;
    first.task.abort();
    let second = replica(&server, 1, Script::Write).await;
    eventually(LONG, || async { answers(&gate, "digits").await == 1 }).await;
    assert_eq!(second.seen.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duty_that_is_due_no_more_is_dropped() {
    let server = NatsServer::ready().await;
    let replica = replica(&server, 1, Script::Hang).await;
    let gate = server.bus_as(Service::Controller).await;
    request(&gate.log(), "digits").await;
    eventually(LONG, || async { replica.seen.begun() == 1 }).await;
    // Somebody else answers.
    gate.log().append(&key("digits", Slot::Infrastructure, 0), draft(full())).await.unwrap();
    eventually(LONG, || async { *replica.seen.dropped.lock().unwrap() == 1 }).await;
    assert_eq!(replica.seen.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duty_that_fails_in_passing_is_tried_again() {
    let server = NatsServer::ready().await;
    let replica = replica(&server, 1, Script::Stumble).await;
    let gate = server.bus_as(Service::Controller).await;
    request(&gate.log(), "digits").await;
    eventually(LONG, || async { answers(&gate, "digits").await == 1 }).await;
    assert_eq!(replica.seen.begun(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_begun_before_its_time() {
    let server = NatsServer::ready().await;
    let replica = replica(&server, 1, Script::Wait).await;
    let gate = server.bus_as(Service::Controller).await;
    let requested = request(&gate.log(), "digits").await.into_fact();
    eventually(LONG, || async { answers(&gate, "digits").await == 1 }).await;
    let entries = gate.log().read(&deployment("digits")).await.unwrap();
    assert!(entries[1].at.since(entries[0].at) >= Duration::from_millis(1_900), "{requested:?}");
    assert_eq!(replica.seen.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_good_becomes_a_dead_letter_and_can_be_redriven() {
    for script in [Script::Break, Script::Panic] {
        let server = NatsServer::ready().await;
        let replica = replica(&server, 1, script).await;
        let gate = server.bus_as(Service::Controller).await;
        request(&gate.log(), "digits").await;
        let letters = eventually(LONG, || async {
            let letters = gate.dead().list().await.unwrap();
            (!letters.is_empty()).then_some(letters)
        })
        .await;
        assert_eq!(letters.len(), 1);
        assert!(letters[0].reason.contains("on purpose"), "{letters:?}");
        assert_eq!(letters[0].subject, "slipway.lifecycle.default.digits.1.0.request.0");
        assert_eq!(replica.seen.begun(), 1);
        assert!(gate.dead().redrive(letters[0].id).await.unwrap());
        eventually(LONG, || async { replica.seen.begun() == 2 }).await;
        let again = eventually(LONG, || async {
            let letters = gate.dead().list().await.unwrap();
            (letters.len() == 1 && letters[0].at != Timestamp(0)).then_some(letters)
        })
        .await;
        assert!(gate.dead().discard(again[0].id).await.unwrap());
        assert!(gate.dead().list().await.unwrap().is_empty());
        assert!(!gate.dead().discard(again[0].id).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_killed_replica_is_done_by_another() {
    let server = NatsServer::ready().await;
    let gate = server.bus_as(Service::Controller).await;
    let dying = replica(&server, 1, Script::Hang).await;
    let living = replica(&server, 1, Script::Write).await;
    let names: Vec<String> = (0..20).map(|n| format!("d{n}")).collect();
    for name in &names {
        request(&gate.log(), name).await;
    }
    eventually(LONG, || async { dying.seen.begun() > 0 }).await;
    dying.task.abort();
    dying.bus.close().await;
    // Held doorbells ring again after 30 s, the sweep comes after 30 s, whichever is first.
    eventually(Duration::from_secs(60), || async {
        let mut done = 0;
        for name in &names {
            done += answers(&gate, name).await;
        }
        done == names.len()
    })
    .await;
    assert!(living.seen.begun() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_under_a_lease_happens_once_with_two_replicas() {
    let server = NatsServer::ready().await;
    let gate = server.bus_as(Service::Controller).await;
    let replicas = [replica(&server, 3, Script::Lease).await, replica(&server, 3, Script::Lease).await];
    request(&gate.log(), "digits").await;
    for replica in &replicas {
        gate.nudge(Service::Provisioner, &deployment("digits")).await.unwrap();
        assert!(replica.seen.begun() < 100);
    }
    eventually(LONG, || async { answers(&gate, "digits").await == 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flagged_deployment_is_left_alone_until_the_flag_is_cleared() {
    let server = NatsServer::ready().await;
    let gate = server.bus_as(Service::Controller).await;
    gate.flags().raise(&deployment("digits"), "test").await.unwrap();
    let replica = replica(&server, 1, Script::Write).await;
    request(&gate.log(), "digits").await;
    request(&gate.log(), "other").await;
    eventually(LONG, || async { answers(&gate, "other").await == 1 }).await;
    assert_eq!(replica.seen.begun_for("digits"), 0);
    gate.flags().clear(&deployment("digits")).await.unwrap();
    eventually(LONG, || async { answers(&gate, "digits").await == 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_goes_on_after_a_restart_of_the_broker() {
    let mut server = NatsServer::ready().await;
    let replica = replica(&server, 2, Script::Write).await;
    let gate = server.bus_as(Service::Controller).await;
    request(&gate.log(), "before").await;
    eventually(LONG, || async { answers(&gate, "before").await == 2 }).await;
    server.kill9().await;
    server.restart().await;
    request(&gate.log(), "after").await;
    let started = tokio::time::Instant::now();
    eventually(LONG, || async { answers(&gate, "after").await == 2 }).await;
    // Not by the sweep alone.
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    assert_eq!(replica.seen.begun_for("after"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_deployments_are_worked_on_a_few_at_a_time() {
    let server = NatsServer::ready().await;
    let gate = server.bus_as(Service::Controller).await;
    let replica = replica(&server, 1, Script::Write).await;
    let names: Vec<String> = (0..1_000).map(|n| format!("d{n}")).collect();
    for chunk in names.chunks(50) {
        futures::future::join_all(chunk.iter().map(|name| {
            let log = gate.log();
            async move { request(&log, name).await }
        }))
        .await;
    }
    let view = gate.log().follow().await.unwrap();
    eventually(Duration::from_secs(90), || async {
        let state = gate.log().state().await.unwrap();
        if state.messages == 2_000 { Ok(()) } else { Err(state.messages) }
    })
    .await;
    assert!(view.wait_applied(2_000, LONG).await);
    assert_eq!(replica.seen.begun(), 1_000);
    assert!(replica.seen.running.lock().unwrap().1 <= 16);
}
