//! Results as objects of many rows: in a bucket of a real store, and in a folder.

use super::{PATIENCE, answered, deployed, id, record, result, revision, rows, start_with, write};
use object_store::{ObjectStore, ObjectStoreExt as _, aws::AmazonS3Builder, path::Path as ObjectPath};
use parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::RowAccessor as _,
};
use prost::Message as _;
use slipway_bus::{Bus, CaptureBatch, Principal};
use slipway_kernel::{Answer, Released, RevisionId, RolledBack, Slot, Span, ValidationReport};
use slipway_proto::slipway::inference::v1::InferenceResult;
use slipway_sink_writer::Config;
use slipway_testkit::{NatsServer, S3Server, eventually, tool};
use std::{fs, path::Path, process::Command};

/// The output into the bucket, its keys in files beside the data.
fn bucket(s3: &S3Server, data: &Path) -> serde_json::Value {
    let secret = |name: &str, content: &str| {
        let path = data.join(name);
        fs::write(&path, content).unwrap();
        format!("file:{}", path.display())
    };
    serde_json::json!({ "s3": {
        "bucket": S3Server::BUCKET, "prefix": "team/results", "endpoint": s3.endpoint(),
        "accessKey": secret("access", S3Server::ACCESS_KEY), "secretKey": secret("secret", S3Server::SECRET_KEY)
    } })
}

/// Outputs into the bucket, the folder `files` and the embedded database.
fn outputs(s3: &S3Server, data: &Path) -> serde_json::Value {
    let files = format!("file://{}", data.join("files").display());
    serde_json::json!([bucket(s3, data), { "files": { "uri": files, "format": "ndjson" } }, { "sqlite": {} }])
}

/// Objects as soon as rows have waited for this long.
fn settings(max_delay: Span) -> Config {
    let mut config = Config::default();
    config.objects.max_delay = max_delay;
    config
}

/// A tenth of a second: several objects in a test.
fn soon() -> Config {
    settings(Span::millis(100))
}

/// The request ids in the bucket, as a reader finds them by names of Parquet files.
async fn in_bucket(s3: &S3Server) -> Result<Vec<String>, String> {
    let store = AmazonS3Builder::new().with_bucket_name(S3Server::BUCKET).with_endpoint(s3.endpoint());
    let store = store.with_access_key_id(S3Server::ACCESS_KEY).with_secret_access_key(S3Server::SECRET_KEY);
    let store = store.with_allow_http(true).build().unwrap();
    let folder = ObjectPath::from("team/results/default/digits");
    let mut list = store.list(Some(&folder));
    let mut ids = Vec::new();
    while let Some(object) = futures::StreamExt::next(&mut list).await {
        let path = object.map_err(|error| error.to_string())?.location;
        if path.as_ref().ends_with(".parquet") {
            let content = store.get(&path).await.unwrap().bytes().await.unwrap();
            let reader = SerializedFileReader::new(content).unwrap();
            ids.extend(reader.get_row_iter(None).unwrap().map(|row| row.unwrap().get_string(2).unwrap().clone()));
        }
    }
    ids.sort();
    Ok(ids)
}

/// The request ids in the folder, as a reader finds them by `date=*/*.ndjson`.
fn in_folder(data: &Path) -> Vec<String> {
    let days = fs::read_dir(data.join("files/default/digits")).unwrap().flatten();
    let days = days.filter(|entry| entry.file_name().to_string_lossy().starts_with("date="));
    let objects = days.flat_map(|day| fs::read_dir(day.path()).unwrap().flatten());
    let objects = objects.filter(|entry| entry.file_name().to_string_lossy().ends_with(".ndjson"));
    let lines = objects.flat_map(|entry| {
        let content = fs::read_to_string(entry.path()).unwrap();
        content.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect::<Vec<_>>()
    });
    let mut ids: Vec<String> = lines.map(|line| line["request_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// A captured result of each request.
async fn capture(bus: &Bus, requests: impl Iterator<Item = String>) {
    let mut batch = CaptureBatch::default();
    for request in requests {
        batch.push(&request, "", &InferenceResult::decode(result(&request, "1-1", false).as_slice()).unwrap());
    }
    bus.captures().publish(&id(), batch.finish()).await.unwrap();
}

async fn all_acknowledged(bus: &Bus) {
    let lag = || async {
        let lag = (bus.results().lag().await.unwrap(), bus.captures().lag().await.unwrap());
        if lag == (0, 0) { Ok(()) } else { Err(lag) }
    };
    eventually(PATIENCE, lag).await;
}

fn names(count: usize) -> Vec<String> {
    let mut names: Vec<String> = (0..count).map(|n| format!("r{n:03}")).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_keep_each_request_once_in_objects_whatever_comes_twice() {
    let (server, s3, data) = (NatsServer::ready().await, S3Server::start().await, tempfile::tempdir().unwrap());
    let bus = server.bus(Principal::Operator).await;
    let replicas = [start_with(&server, data.path(), soon()), start_with(&server, data.path(), soon())];
    deployed(&bus, outputs(&s3, data.path())).await;
    let Answer::OutputsReady(ready) = answered(&bus, RevisionId::new(1, 1)).await else { panic!("outputs failed") };
    assert_eq!(ready.proofs.len(), 3);
    assert!(!serde_json::to_string(&ready).unwrap().contains(S3Server::SECRET_KEY));

    let all = names(200);
    record(&bus, "p1", result("p1", "1-1", true)).await;
    for (n, name) in all.iter().enumerate() {
        if n % 2 == 0 {
            record(&bus, name, result(name, "1-1", false)).await;
        }
        if n % 20 == 19 {
            // Published twice, as an ingress does that was not told of the first; and some were recorded before.
            let batch = &all[n - 19..=n];
            capture(&bus, batch.iter().cloned()).await;
            capture(&bus, batch.iter().rev().cloned()).await;
        }
    }
    all_acknowledged(&bus).await;
    // What is acknowledged is there, in each output.
    assert_eq!(in_bucket(&s3).await.unwrap(), all);
    assert_eq!(in_folder(data.path()), all);
    assert_eq!(rows(&bus, false).await, Some(200));
    assert_eq!(rows(&bus, true).await, Some(1));
    for replica in replicas {
        replica.shutdown.cancel();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_wait_while_the_store_is_away_and_are_there_once_when_it_is_back() {
    let (server, mut s3, data) = (NatsServer::ready().await, S3Server::start().await, tempfile::tempdir().unwrap());
    let bus = server.bus(Principal::Operator).await;
    let replica = start_with(&server, data.path(), soon());
    deployed(&bus, outputs(&s3, data.path())).await;
    assert!(matches!(answered(&bus, RevisionId::new(1, 1)).await, Answer::OutputsReady(_)));
    let all = names(60);
    capture(&bus, all[..20].iter().cloned()).await;
    all_acknowledged(&bus).await;
    s3.kill9().await;
    capture(&bus, all[10..40].iter().cloned()).await;
    // The table has them at once; they are not acknowledged, since the bucket has not.
    eventually(PATIENCE, || async { rows(&bus, false).await == Some(40) }).await;
    assert_eq!(bus.captures().lag().await.unwrap(), 1);
    s3.restart().await;
    capture(&bus, all[30..].iter().cloned()).await;
    all_acknowledged(&bus).await;
    assert_eq!(in_bucket(&s3).await.unwrap(), all);
    assert_eq!(in_folder(data.path()), all);
    replica.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_is_written_when_the_service_ends_and_not_given_to_another_while_it_is_held() {
    let (server, s3, data) = (NatsServer::ready().await, S3Server::start().await, tempfile::tempdir().unwrap());
    let bus = server.bus(Principal::Operator).await;
    let held = start_with(&server, data.path(), settings(Span::seconds(600)));
    deployed(&bus, outputs(&s3, data.path())).await;
    assert!(matches!(answered(&bus, RevisionId::new(1, 1)).await, Answer::OutputsReady(_)));
    let all = names(30);
    for name in &all[..10] {
        record(&bus, name, result(name, "1-1", false)).await;
    }
    capture(&bus, all[10..].iter().cloned()).await;
    eventually(PATIENCE, || async { rows(&bus, false).await == Some(30) }).await;
    // For longer than the broker waits for an acknowledgement: what nobody speaks for comes again.
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let deliveries = || async {
        let monitor = format!("{}/jsz?consumers=true", server.monitor_url());
        let state: serde_json::Value =
            serde_json::from_str(&client.get(monitor).send().await.ok()?.text().await.ok()?).ok()?;
        let streams = state["account_details"][0]["stream_detail"].as_array()?.clone();
        let consumers =
            streams.iter().flat_map(|stream| stream["consumer_detail"].as_array().cloned().unwrap_or_default());
        let ours = consumers.filter(|one| ["RESULTS", "CAPTURES"].contains(&one["stream_name"].as_str().unwrap_or("")));
        Some(ours.map(|one| one["delivered"]["consumer_seq"].as_u64().unwrap_or(0)).sum::<u64>())
    };
    let before = std::time::Instant::now();
    let patience = slipway_bus::topology::WORK_ACK_WAIT + PATIENCE;
    eventually(patience, || async {
        let seen = deliveries().await;
        assert_eq!(seen, Some(11), "ten results and one batch, each handed out once");
        before.elapsed() > slipway_bus::topology::WORK_ACK_WAIT + std::time::Duration::from_secs(5)
    })
    .await;
    assert!(in_bucket(&s3).await.unwrap().is_empty(), "nothing is due yet");
    held.shutdown.cancel();
    all_acknowledged(&bus).await;
    assert_eq!(in_bucket(&s3).await.unwrap(), all);
    assert_eq!(in_folder(data.path()), all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_no_object_can_keep_is_buried_and_its_neighbours_are_written() {
    let (server, s3, data) = (NatsServer::ready().await, S3Server::start().await, tempfile::tempdir().unwrap());
    let bus = server.bus(Principal::Operator).await;
    deployed(&bus, outputs(&s3, data.path())).await;
    // All are there before the sink-writer is, so that they come together.
    let all = names(20);
    for name in &all {
        let mut payload = InferenceResult::decode(result(name, "1-1", false).as_slice()).unwrap();
        if name == "r007" {
            // In no year that anybody can read.
            payload.accepted_unix_ms = i64::MAX;
        }
        record(&bus, name, payload.encode_to_vec()).await;
    }
    let replica = start_with(&server, data.path(), soon());
    let letters = eventually(PATIENCE, || async {
        let letters = bus.dead().list().await.unwrap_or_default();
        if letters.len() == 1 { Ok(letters) } else { Err(letters.len()) }
    })
    .await;
    assert!(letters[0].subject.ends_with("r007") && letters[0].reason.contains("9999"), "{letters:?}");
    all_acknowledged(&bus).await;
    let kept: Vec<String> = all.into_iter().filter(|name| name != "r007").collect();
    assert_eq!(in_bucket(&s3).await.unwrap(), kept);
    assert_eq!(in_folder(data.path()), kept);
    replica.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_a_revision_that_was_taken_back_are_marked_and_later_results_of_it_are_refused() {
    let (server, s3, data) = (NatsServer::ready().await, S3Server::start().await, tempfile::tempdir().unwrap());
    let bus = server.bus(Principal::Operator).await;
    deployed(&bus, outputs(&s3, data.path())).await;
    let (good, bad) = (RevisionId::new(1, 1), RevisionId::new(1, 2));
    let validated = ValidationReport {
        checks: Vec::new(),
        findings: Vec::new(),
        missing: Vec::new(),
        report: None,
        plan_digest: None,
    };
    write(&bus, good, Slot::Validation, Answer::Validated(validated)).await;
    write(&bus, good, Slot::Release, Answer::Released(Released { replaces: None, measurements: Vec::new() })).await;
    revision(&bus, bad).await;
    // Held when the revision is taken back: its clients had the answers before.
    let replica = start_with(&server, data.path(), settings(Span::seconds(3)));
    record(&bus, "early", result("early", "1-2", false)).await;
    let captured = |name: &str| {
        let mut batch = CaptureBatch::default();
        batch.push(name, "", &InferenceResult::decode(result(name, "1-2", false).as_slice()).unwrap());
        batch.finish()
    };
    bus.captures().publish(&id(), captured("held")).await.unwrap();
    eventually(PATIENCE, || async { rows(&bus, false).await == Some(2) }).await;
    bus.requests().fence(&id(), bad).await.unwrap();
    // Behind the mark, and here before the news: the table has it, and the objects need not.
    record(&bus, "raced", result("raced", "1-2", false)).await;
    eventually(PATIENCE, || async { rows(&bus, false).await == Some(3) }).await;
    let back = RolledBack { to: good, reason: "wrong".into(), findings: Vec::new() };
    write(&bus, bad, Slot::Rollback, Answer::RolledBack(back)).await;
    // It knows by then.
    eventually(PATIENCE, || async { data.path().join("files/default/digits/_suspect-1-2").is_file() }).await;
    record(&bus, "late", result("late", "1-2", false)).await;
    bus.captures().publish(&id(), captured("after")).await.unwrap();
    record(&bus, "fine", result("fine", "1-1", false)).await;
    all_acknowledged(&bus).await;
    let kept = ["early", "fine", "held"];
    assert_eq!(in_bucket(&s3).await.unwrap(), kept);
    assert_eq!(in_folder(data.path()), kept);
    assert_eq!(rows(&bus, false).await, Some(4));
    replica.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duckdb_and_pyarrow_read_what_is_written() {
    let (server, s3, data) = (NatsServer::ready().await, S3Server::start().await, tempfile::tempdir().unwrap());
    let bus = server.bus(Principal::Operator).await;
    let replica = start_with(&server, data.path(), soon());
    let files = |name: &str, mut more: serde_json::Value| {
        more["uri"] = format!("file://{}", data.path().join(name).display()).into();
        serde_json::json!({ "files": more })
    };
    let outputs = serde_json::json!([
        bucket(&s3, data.path()),
        files("parquet", serde_json::json!({ "format": "parquet" })),
        files("ndjson", serde_json::json!({ "format": "ndjson" })),
        files("gzip", serde_json::json!({ "format": "ndjson", "compression": "gzip", "partition": "hour" })),
    ]);
    deployed(&bus, outputs).await;
    assert!(matches!(answered(&bus, RevisionId::new(1, 1)).await, Answer::OutputsReady(_)));
    for name in names(100) {
        let mut payload = InferenceResult::decode(result(&name, "1-1", false).as_slice()).unwrap();
        (payload.accepted_unix_ms, payload.completed_unix_ms) = (1_767_225_600_250, 1_767_225_600_375);
        record(&bus, &name, payload.encode_to_vec()).await;
    }
    all_acknowledged(&bus).await;
    let mut command = Command::new(tool("python-readers"));
    command.arg("-B").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/readers.py")).arg(data.path());
    command.arg(s3.endpoint()).args([S3Server::BUCKET, S3Server::ACCESS_KEY, S3Server::SECRET_KEY]);
    let read = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (said, complaint) = (String::from_utf8(read.stdout).unwrap(), String::from_utf8(read.stderr).unwrap());
    assert!(read.status.success(), "{complaint}");
    let read: serde_json::Value = serde_json::from_str(&said).unwrap();
    let all = read["duckdb"].as_array().unwrap();
    for found in all {
        let (counts, rest) = found.as_array().unwrap().split_at(6);
        assert_eq!(counts, serde_json::json!([100, 100, "r000", "1-1", true, 1]).as_array().unwrap(), "{found}");
        let texts: Vec<&str> = rest.iter().map(|text| text.as_str().unwrap()).collect();
        assert!(
            texts[0].starts_with("2026-01-01 00:00:00.25") && texts[1].starts_with("2026-01-01 00:00:00.375"),
            "{found}"
        );
        assert_eq!(texts[2..], ["label", "2026-01-01"]);
    }
    assert_eq!(all.len(), 3);
    let types = &read["types"];
    for (column, kind) in [
        ("request_id", "VARCHAR"),
        ("attempt", "INTEGER"),
        ("accepted_at", "TIMESTAMP WITH TIME ZONE"),
        ("ok", "BOOLEAN"),
        ("outputs", "JSON"),
        ("date", "DATE"),
    ] {
        assert_eq!(types[column], kind, "{column} of {types}");
    }
    for found in read["arrow"].as_array().unwrap() {
        assert_eq!(*found, serde_json::json!({ "rows": 100, "ids": 100, "accepted": "timestamp[ms, tz=UTC]" }));
    }
    replica.shutdown.cancel();
}

/// How many results a second go from the broker into objects: `cargo test -p slipway-sink-writer --test real -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn results_a_second() {
    let (s3, data) = (S3Server::start().await, tempfile::tempdir().unwrap());
    let folder = format!("file://{}", data.path().join("files").display());
    for output in [bucket(&s3, data.path()), serde_json::json!({ "files": { "uri": folder, "format": "ndjson" } })] {
        let server = NatsServer::ready().await;
        let bus = server.bus(Principal::Operator).await;
        deployed(&bus, serde_json::json!([output])).await;
        for batch in 0..100 {
            capture(&bus, (0..500).map(|n| format!("0199f0a0-0000-7000-8000-{:012}", batch * 500 + n))).await;
        }
        let started = std::time::Instant::now();
        let replica = start_with(&server, data.path(), soon());
        eventually(PATIENCE * 10, || async { bus.captures().lag().await.is_ok_and(|lag| lag == 0) }).await;
        println!("{output}: {:.0} results/s", 50_000.0 / started.elapsed().as_secs_f64());
        replica.shutdown.cancel();
    }
}
