//! A rollback while the queue of the bad revision is full.

use crate::{
    alone,
    mesh::{document, hand_in, holds_together, released, until},
    traffic::{Client, Said, for_each},
};
use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use slipway_bus::{Principal, Recorded, View};
use slipway_kernel::{RevisionId, Service};
use slipway_proto::slipway::inference::v1::{InferenceResult, inference_result::Outcome};
use slipway_testkit::{DataFolder, Mesh, MeshOptions, Postgres, eventually};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

/// As many as a queue takes.
const QUEUED: usize = 10_000;
/// Of these the fenced revision answers before the good one does.
const LATE: usize = 50;
const GOOD: RevisionId = RevisionId::new(1, 1);
const BAD: RevisionId = RevisionId::new(2, 1);

/// Two revisions, the second of them released and watched, with results in a database.
async fn two_revisions(folder: &DataFolder, view: &View) {
    for (model, tag) in [("digits-v1", "good"), ("digits-v2", "bad")] {
        let mut document = document("digits", model);
        document["spec"]["outputs"] = json!([{ "postgres": { "url": "env:RESULTS_URL", "table": "predictions" } }]);
        // The good one stays warm for as long as the test takes.
        document["spec"]["rollout"]["watch"] = json!("20m");
        let _ = hand_in(folder, &document, tag).await.ok();
        released(view, "digits", Duration::from_secs(120)).await;
        let serves = if tag == "good" { GOOD } else { BAD };
        until(view, "digits", Duration::from_secs(120), |deployment| deployment.serving() == Some(serves)).await;
    }
}

/// Stops the workers of a revision where they stand.
fn freeze(folder: &DataFolder, revision: RevisionId) -> usize {
    let named = format!("digits-{revision}-");
    let is_of = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(&named));
    let workers: Vec<u32> = folder.workers().into_iter().filter(is_of).collect();
    for pid in &workers {
        let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
    }
    workers.len()
}

/// What a worker of the fenced revision says of a request, too late.
fn late(request: &str) -> InferenceResult {
    InferenceResult {
        namespace: "default".to_owned(),
        deployment: "digits".to_owned(),
        revision: BAD.to_string(),
        request_id: request.to_owned(),
        correlation_id: request.to_owned(),
        principal: "nobody".to_owned(),
        model_digest: "0".repeat(64),
        worker: "late".to_owned(),
        attempt: 1,
        accepted_unix_ms: 1,
        completed_unix_ms: 1,
        outcome: Some(Outcome::Response(slipway_proto::inference::ModelInferResponse {
            model_name: "digits".to_owned(),
            model_version: BAD.to_string(),
            ..Default::default()
        })),
        ..InferenceResult::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_queued_for_a_bad_revision_are_answered_by_the_good_one_each_once() {
    let _alone = alone().await;
    let postgres = Postgres::start().await;
    let env = vec![("RESULTS_URL".to_owned(), postgres.url())];
    let mesh = Mesh::start_with(MeshOptions { env, ..MeshOptions::default() }).await;
    let folder = mesh.folder();
    let view = folder.bus(Principal::Operator).await.log().follow().await.unwrap();
    let worker = folder.bus(Principal::Service(Service::InferenceWorker)).await;
    two_revisions(folder, &view).await;
    let client = Client::of(folder, "digits");
    // The door's view of the log is its own.
    eventually(Duration::from_secs(20), || async {
        client.ask("first").await.is_ok_and(|said| said.status == 200 && said.revision == BAD.to_string())
    })
    .await;
    assert_eq!(freeze(folder, BAD), 1, "one worker of the bad revision");

    let ids: Vec<String> = (0..QUEUED).map(|n| format!("queued-{n}")).collect();
    let began = Instant::now();
    let left = for_each(&ids, 32, |id| {
        let client = client.clone();
        async move { client.leave(&id).await }
    })
    .await;
    let refused: Vec<_> = left.iter().filter(|(_, said)| !said.as_ref().is_ok_and(|said| said.status == 202)).collect();
    assert!(refused.is_empty(), "{} of {QUEUED} refused; {:?}", refused.len(), refused[0]);
    let waiting = worker.requests().depth(&crate::id("digits"), BAD).await.unwrap();
    assert_eq!(waiting, QUEUED as u64, "all wait for the bad revision");
    println!("{QUEUED} requests left in {:.1} s", began.elapsed().as_secs_f64());

    let began = Instant::now();
    let _ = folder.cli(["rollback", "digits", "--reason", "wrong answers"]).await.ok();
    until(&view, "digits", Duration::from_secs(60), |deployment| deployment.serving() == Some(GOOD)).await;
    let sinks = folder.bus(Principal::Service(Service::SinkWriter)).await;
    eventually(Duration::from_secs(10), || async {
        sinks
            .results()
            .fenced_at(&crate::id("digits"), BAD)
            .await
            .map_err(|error| error.to_string())?
            .ok_or_else(|| "no fence".to_owned())
    })
    .await;
    println!("fenced {:.2} s after the rollback was asked for", began.elapsed().as_secs_f64());
    // The fenced revision is not dead: what it had in hand it says now, before the good one can.
    for id in &ids[QUEUED - LATE..] {
        let said = late(id).encode_to_vec().into();
        let told = worker.results().publish(&crate::id("digits"), &id.parse().unwrap(), said, None).await.unwrap();
        assert_eq!(told, Recorded::Stored, "{id}");
    }
    let query = "SELECT request_id, revision, suspect, ok FROM predictions WHERE request_id LIKE 'queued-%'";
    let rows = eventually(Duration::from_secs(600), || async {
        let rows = postgres.try_rows(query).await.map_err(|error| error.to_string())?;
        if rows.len() == QUEUED { Ok(rows) } else { Err(format!("{} of {QUEUED}", rows.len())) }
    })
    .await;
    println!("{} rows {:.1} s after the rollback was asked for", rows.len(), began.elapsed().as_secs_f64());
    let found: BTreeSet<&str> = rows.iter().map(|row| row["request_id"].as_str().unwrap()).collect();
    assert_eq!(found.len(), QUEUED, "each once");
    let mut by: BTreeMap<String, usize> = BTreeMap::new();
    for row in &rows {
        *by.entry(format!("{} suspect {} ok {}", row["revision"], row["suspect"], row["ok"])).or_default() += 1;
    }
    assert_eq!(by, BTreeMap::from([(format!("\"{GOOD}\" suspect false ok true"), QUEUED)]));

    // Who left them reads the same.
    let read = for_each(&ids, 32, |id| {
        let client = client.clone();
        async move { client.result(&id).await }
    })
    .await;
    let good = |said: &Said| said.status == 200 && said.revision == GOOD.to_string();
    let other: Vec<_> = read.iter().filter(|(_, said)| !said.as_ref().is_ok_and(good)).collect();
    assert!(other.is_empty(), "{} are not answered by the good one; {:?}", other.len(), other[0]);

    // What the fenced one says of a request that was answered changes nothing.
    let again = late(&ids[0]).encode_to_vec().into();
    let told = worker.results().publish(&crate::id("digits"), &ids[0].parse().unwrap(), again, None).await.unwrap();
    assert_eq!(told, Recorded::Already);
    let metrics =
        folder.client().get(format!("{}/metrics", mesh.admin_url())).send().await.unwrap().text().await.unwrap();
    let refused = metrics.lines().find(|line| line.contains("sink_refused") && line.contains("fenced"));
    println!("{refused:?}");
    assert!(refused.is_some(), "that results were refused is counted");
    holds_together(&view, "digits");
}
