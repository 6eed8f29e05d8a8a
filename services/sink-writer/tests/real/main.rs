//! The sink-writer against a real broker and real databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod objects;

use prost::Message as _;
use slipway_bus::{Bus, Draft, Principal, SinkQuery};
use slipway_kernel::{
    Answer, ByteSize, CpuMillis, Deployed, DeploymentId, Digest, FactKey, IntakeReference, Plan, Planned, Released,
    Requested, RevisionId, RolledBack, Service, Slot, Span, ValidationReport, spec::ModelDeployment,
};
use slipway_proto::{
    oip::{Tensor, raw_response},
    slipway::inference::v1::{InferenceResult, inference_result::Outcome},
};
use slipway_runtime::{Common, Frame};
use slipway_sink_writer::Config;
use slipway_testkit::{NatsServer, Postgres, eventually};
use std::{path::Path, time::Duration};

const PATIENCE: Duration = Duration::from_secs(20);

fn id() -> DeploymentId {
    "default.digits".parse().unwrap()
}

/// Starts a replica; it ends when the returned frame's token is cancelled.
fn start(server: &NatsServer, data: &Path) -> Frame {
    start_with(server, data, Config::default())
}

/// The same with settings of its own.
fn start_with(server: &NatsServer, data: &Path, config: Config) -> Frame {
    let mut frame = Frame::for_test("sink-writer");
    frame.data_dir = data.to_path_buf();
    let config = Config {
        common: Common { data_dir: data.to_path_buf(), ..Common::default() },
        bus: server.config(Principal::Service(Service::SinkWriter)),
        ..config
    };
    frame.tasks.spawn("run", slipway_sink_writer::run(config, frame.clone()));
    frame
}

async fn write(bus: &Bus, revision: RevisionId, slot: Slot, answer: Answer) {
    let draft = Draft::new(answer, "test", "c1");
    bus.log().append(&FactKey::new(id(), revision, slot), draft).await.unwrap();
}

/// A deployment with one deployed revision and these outputs.
async fn deployed(bus: &Bus, outputs: serde_json::Value) {
    let document = serde_json::json!({
        "metadata": { "name": "digits" },
        "spec": { "model": { "uri": "file:///m.onnx" }, "outputs": outputs }
    });
    let deployment = ModelDeployment::read(&document).unwrap();
    let intake = IntakeReference { source: "test".into(), id: "1".into() };
    let requested = Requested { spec_digest: deployment.digest(), deployment, intake };
    write(bus, RevisionId::new(1, 0), Slot::Request, Answer::Requested(requested)).await;
    revision(bus, RevisionId::new(1, 1)).await;
}

async fn revision(bus: &Bus, at: RevisionId) {
    let plan = Plan {
        target: "local".into(),
        platform: "slipway".into(),
        model_digest: Digest::of(b"m"),
        replicas: at.revision.0,
        cpu: CpuMillis(1_000),
        memory: ByteSize::mebibytes(64),
        threads: 1,
        max_batch: 1,
        max_delay: Span::millis(1),
        queue_limit: 1,
        fixed_batching: false,
        latency_target: None,
    };
    let planned = Planned { digest: plan.digest(), plan, manifests: None, revises: None, changes: Vec::new() };
    write(bus, at, Slot::Plan, Answer::Planned(planned)).await;
    let deployed = Deployed { endpoints: Vec::new(), measurements: Vec::new(), fencing_token: 1 };
    write(bus, at, Slot::Deployment, Answer::Deployed(deployed)).await;
}

fn result(request: &str, revision: &str, probe: bool) -> Vec<u8> {
    let label = Tensor::from_i64("label", vec![1], &[7]).unwrap();
    InferenceResult {
        namespace: "default".into(),
        deployment: "digits".into(),
        revision: revision.into(),
        request_id: request.into(),
        correlation_id: "run-1".into(),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        attempt: 1,
        probe,
        outcome: Some(Outcome::Response(raw_response("digits", revision, request, vec![label]))),
        ..InferenceResult::default()
    }
    .encode_to_vec()
}

async fn record(bus: &Bus, request: &str, payload: Vec<u8>) {
    bus.results().publish(&id(), &request.parse().unwrap(), payload.into(), None).await.unwrap();
}

async fn rows(bus: &Bus, probe: bool) -> Option<u64> {
    let query = SinkQuery { probe, ..SinkQuery::of_run(&id(), "run-1") };
    bus.sinks().ask(&query, Duration::from_secs(5)).await.ok().map(|answer| answer.total)
}

async fn answered(bus: &Bus, revision: RevisionId) -> Answer {
    let view = bus.log().follow().await.unwrap();
    let has = |folded: &slipway_bus::Folded| {
        folded.deployment.revision(revision).is_some_and(|state| state.fact(Slot::Outputs).is_some())
    };
    let folded = view.wait_until(&id(), PATIENCE, has).await.expect("an answer to `outputs`");
    folded.deployment.revision(revision).unwrap().answer(Slot::Outputs).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_would_go_with_the_pod_is_refused() {
    let (server, data, volume) =
        (NatsServer::ready().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let bus = server.bus(Principal::Operator).await;
    let mut config = Config::default();
    config.embedded.lasting = false;
    let replica = start_with(&server, data.path(), config);
    let folder = |of: &Path| serde_json::json!({ "files": { "uri": format!("file://{}/rows", of.display()) } });
    deployed(&bus, serde_json::json!([{ "sqlite": {} }, folder(data.path()), folder(volume.path())])).await;
    let Answer::OutputsFailed(failed) = answered(&bus, RevisionId::new(1, 1)).await else { panic!("they are lost") };
    let told: Vec<_> = failed.findings.iter().map(|finding| (finding.kind, finding.evidence[0].as_str())).collect();
    let kind = slipway_kernel::FindingKind::Misconfigured;
    assert_eq!(told, [(kind, "spec.outputs[0]"), (kind, "spec.outputs[1]")], "{failed:?}");
    assert!(failed.findings[0].message.contains("gone with the pod"), "{failed:?}");
    replica.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_written_once_by_two_replicas_and_probes_apart() {
    let (server, data) = (NatsServer::ready().await, tempfile::tempdir().unwrap());
    let bus = server.bus(Principal::Operator).await;
    let (first, second) = (start(&server, data.path()), start(&server, data.path()));
    let files = data.path().join("files");
    deployed(
        &bus,
        serde_json::json!([{ "sqlite": {} }, { "files": { "uri": format!("file://{}", files.display()) } }]),
    )
    .await;
    let Answer::OutputsReady(ready) = answered(&bus, RevisionId::new(1, 1)).await else { panic!("outputs failed") };
    assert_eq!(ready.proofs.len(), 2);

    for n in 0..50 {
        let request = format!("r{n}");
        record(&bus, &request, result(&request, "1-1", false)).await;
        // Recorded twice: the stream takes the first only.
        record(&bus, &request, result(&request, "1-1", false)).await;
    }
    record(&bus, "p1", result("p1", "1-1", true)).await;
    eventually(PATIENCE, || async { rows(&bus, false).await == Some(50) }).await;
    eventually(PATIENCE, || async { rows(&bus, true).await == Some(1) }).await;
    // The other replica may be proving the sink at this moment.
    let results = || std::fs::read_dir(files.join("default/digits")).unwrap().flatten();
    eventually(PATIENCE, || async { results().count() == 50 }).await;
    first.shutdown.cancel();
    second.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_on_two_machines_share_a_database_and_either_answers_for_both() {
    let (server, postgres) = (NatsServer::ready().await, Postgres::start().await);
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = one.path().join("url");
    std::fs::write(&secret, postgres.url()).unwrap();
    let bus = server.bus(Principal::Operator).await;
    let url: slipway_kernel::spec::SecretReference = format!("file:{}", secret.display()).parse().unwrap();
    let shared =
        || Config { database: slipway_sink_writer::DatabaseConfig { url: Some(url.clone()) }, ..Config::default() };
    let replicas = [one.path(), two.path()].map(|data| start_with(&server, data, shared()));
    deployed(&bus, serde_json::json!([{ "sqlite": {} }])).await;
    let Answer::OutputsReady(ready) = answered(&bus, RevisionId::new(1, 1)).await else { panic!("outputs failed") };
    assert_eq!(ready.proofs[0].name, "postgres:results");
    for n in 0..40 {
        let request = format!("r{n}");
        record(&bus, &request, result(&request, "1-1", n % 2 == 0)).await;
    }
    // Questions go to either replica; each must know all rows.
    for _ in 0..6 {
        eventually(PATIENCE, || async { rows(&bus, true).await == Some(20) }).await;
        eventually(PATIENCE, || async { rows(&bus, false).await == Some(20) }).await;
    }
    let verdict = eventually(PATIENCE, || async {
        let verdict = bus.ledger().verify(Duration::from_secs(5)).await.ok()?;
        (verdict.recorded == verdict.facts && verdict.facts == 4).then_some(verdict)
    })
    .await;
    assert!(verdict.damages.is_empty(), "{verdict:?}");
    let recorded = postgres.try_rows("SELECT subject FROM slipway_ledger").await.unwrap();
    assert_eq!(recorded.len(), 4);
    assert!(!one.path().join("ledger.db").exists() && !two.path().join("probes.db").exists());
    for replica in replicas {
        replica.shutdown.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_is_waited_for() {
    let (server, data) = (NatsServer::ready().await, tempfile::tempdir().unwrap());
    let secret = data.path().join("url");
    std::fs::write(&secret, "postgres://slipway:hidden@127.0.0.1:1/slipway").unwrap();
    let url = format!("file:{}", secret.display()).parse().unwrap();
    let database = slipway_sink_writer::DatabaseConfig { url: Some(url) };
    let frame = start_with(&server, data.path(), Config { database, ..Config::default() });
    let told = eventually(PATIENCE, || async {
        let missing = frame.health.not_ready();
        missing.into_iter().find(|one| one.condition == "database" && one.reason != "starting")
    })
    .await;
    assert!(told.reason.contains("file:") && !told.reason.contains("hidden"), "{}", told.reason);
    frame.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_after_the_fence_of_a_revision_are_refused_those_before_it_are_suspect_and_poison_is_buried() {
    let (server, data) = (NatsServer::ready().await, tempfile::tempdir().unwrap());
    let bus = server.bus(Principal::Operator).await;
    deployed(&bus, serde_json::json!([{ "sqlite": {} }])).await;
    let validated = ValidationReport {
        checks: Vec::new(),
        findings: Vec::new(),
        missing: Vec::new(),
        report: None,
        plan_digest: None,
    };
    let good = RevisionId::new(1, 1);
    write(&bus, good, Slot::Validation, Answer::Validated(validated)).await;
    write(&bus, good, Slot::Release, Answer::Released(Released { replaces: None, measurements: Vec::new() })).await;
    let bad = RevisionId::new(1, 2);
    revision(&bus, bad).await;
    let back = RolledBack { to: good, reason: "wrong".into(), findings: Vec::new() };
    write(&bus, bad, Slot::Rollback, Answer::RolledBack(back)).await;

    let frame = start(&server, data.path());
    record(&bus, "early", result("early", "1-2", false)).await;
    bus.requests().fence(&id(), bad).await.unwrap();
    record(&bus, "late", result("late", "1-2", false)).await;
    record(&bus, "poison", b"no protobuf".to_vec()).await;
    record(&bus, "fine", result("fine", "1-1", false)).await;
    eventually(PATIENCE, || async { rows(&bus, false).await == Some(2) }).await;
    eventually(PATIENCE, || async { bus.dead().list().await.is_ok_and(|letters| letters.len() == 1) }).await;
    let letter = &bus.dead().list().await.unwrap()[0];
    assert!(letter.subject.ends_with("poison") && !letter.reason.is_empty(), "{letter:?}");
    eventually(PATIENCE, || async { bus.results().lag().await.is_ok_and(|lag| lag == 0) }).await;
    assert_eq!(rows(&bus, false).await, Some(2));
    let file = format!("sqlite://{}", data.path().join("outputs.db").display());
    let kept = sqlx::SqlitePool::connect(&file).await.unwrap();
    let kept: Vec<(String, bool)> = eventually(PATIENCE, || async {
        let rows = sqlx::query_as("SELECT request_id, suspect FROM results ORDER BY request_id").fetch_all(&kept).await;
        rows.map_err(|error| error.to_string())
    })
    .await;
    assert_eq!(kept, [("early".to_owned(), true), ("fine".to_owned(), false)]);
    frame.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_database_cannot_keep_is_buried_and_its_neighbours_are_written() {
    let (server, data, postgres) = (NatsServer::ready().await, tempfile::tempdir().unwrap(), Postgres::start().await);
    let secret = data.path().join("url");
    std::fs::write(&secret, postgres.url()).unwrap();
    let bus = server.bus(Principal::Operator).await;
    let outputs = serde_json::json!([{ "postgres": { "url": format!("file:{}", secret.display()), "table": "kept" } }]);
    deployed(&bus, outputs).await;
    // All are there before the sink-writer is, so that they come in one batch.
    let names: Vec<String> = (0..20).map(|n| format!("r{n:02}")).collect();
    for name in &names {
        let mut payload = InferenceResult::decode(result(name, "1-1", false).as_slice()).unwrap();
        if name == "r07" {
            // PostgreSQL has no place for a NUL in a text.
            payload.correlation_id = "a\0b".into();
        }
        record(&bus, name, payload.encode_to_vec()).await;
    }
    let frame = start(&server, data.path());
    let kept = eventually(PATIENCE, || async {
        let rows =
            postgres.try_rows("SELECT request_id FROM kept ORDER BY 1").await.map_err(|error| error.to_string())?;
        if rows.len() == 19 { Ok(rows) } else { Err(format!("{} rows", rows.len())) }
    })
    .await;
    assert!(kept.iter().all(|row| row["request_id"] != "r07"), "{kept:?}");
    let letters = eventually(PATIENCE, || async {
        let letters = bus.dead().list().await.unwrap_or_default();
        if letters.len() == 1 { Ok(letters) } else { Err(letters.len()) }
    })
    .await;
    assert!(letters[0].subject.ends_with("r07") && letters[0].reason.contains("kept"), "{letters:?}");
    eventually(PATIENCE, || async { bus.results().lag().await.is_ok_and(|lag| lag == 0) }).await;
    frame.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_secret_is_named_by_its_reference() {
    let (server, data) = (NatsServer::ready().await, tempfile::tempdir().unwrap());
    let bus = server.bus(Principal::Operator).await;
    let frame = start(&server, data.path());
    deployed(&bus, serde_json::json!([{ "postgres": { "url": "env:SLIPWAY_TEST_NO_SUCH_VARIABLE" } }])).await;
    let Answer::OutputsFailed(failed) = answered(&bus, RevisionId::new(1, 1)).await else { panic!("outputs ready") };
    assert_eq!(failed.findings[0].kind, slipway_kernel::FindingKind::SecretMissing);
    assert!(failed.findings[0].message.contains("env:SLIPWAY_TEST_NO_SUCH_VARIABLE"));
    frame.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_follows_the_log_and_finds_it_whole() {
    let (server, data) = (NatsServer::ready().await, tempfile::tempdir().unwrap());
    let bus = server.bus(Principal::Operator).await;
    let frame = start(&server, data.path());
    deployed(&bus, serde_json::json!([{ "sqlite": {} }])).await;
    answered(&bus, RevisionId::new(1, 1)).await;
    let whole = || async {
        let verdict = bus.ledger().verify(Duration::from_secs(5)).await.ok()?;
        (verdict.recorded == 4 && verdict.facts == 4).then_some(verdict)
    };
    let verdict = eventually(PATIENCE, whole).await;
    assert!(verdict.damages.is_empty(), "{verdict:?}");
    frame.shutdown.cancel();
}
