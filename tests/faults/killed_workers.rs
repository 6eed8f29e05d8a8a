//! Workers that are killed while two of them are kept busy: nobody who waits for an answer notices, and nothing that was left is lost.

use crate::{
    alone,
    mesh::{document, hand_in, holds_together, released},
    traffic::{Client, Said, Stream, for_each},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use slipway_bus::{Bus, Principal, WorkerState};
use slipway_loadtest::{Limits, Shape, Stop, Target, run};
use slipway_testkit::{Mesh, MeshOptions, Postgres, eventually};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

const KILLS: usize = 6;
/// Of what both workers can do.
const LOAD: f64 = 0.8;
/// Requests a second that are left in the queue meanwhile.
const LEFT: f64 = 40.0;
/// Longer than all kills take; the runs are ended when they are over.
const LONGEST: Duration = Duration::from_secs(300);

/// Process ids of the workers that are ready; waits until there are two, none of them among the dead.
async fn two_ready(bus: &Bus, dead: &BTreeSet<u32>) -> Vec<u32> {
    eventually(Duration::from_secs(60), || async {
        let workers = bus.workers().list().await.map_err(|error| error.to_string())?;
        let ready = workers.iter().filter(|worker| worker.state == WorkerState::Ready && !dead.contains(&worker.pid));
        let pids: Vec<u32> = ready.map(|worker| worker.pid).collect();
        if pids.len() == 2 { Ok(pids) } else { Err(format!("{pids:?} are ready")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_two_killed_again_and_again_at_80_percent_load_fails_no_request_and_loses_none() {
    let _alone = alone().await;
    let postgres = Postgres::start().await;
    let env = vec![("RESULTS_URL".to_owned(), postgres.url())];
    // While one of two is away at 80 %, 60 % of a second's requests are too many each second; and what starts in its place takes from the
    // same cores. That much may wait, for as long as it takes.
    let set =
        ["ingress.limits.in_flight_per_deployment=1024", "ingress.limits.queue_wait=8s"].map(str::to_owned).to_vec();
    let mesh = Mesh::start_with(MeshOptions { env, set, ..MeshOptions::default() }).await;
    let folder = mesh.folder();
    let bus = folder.bus(Principal::Operator).await;
    let view = bus.log().follow().await.unwrap();
    let mut document = document("digits", "digits-v1");
    document["spec"]["outputs"] = json!([{ "postgres": { "url": "env:RESULTS_URL", "table": "predictions" } }]);
    document["spec"]["scale"] = json!({ "min": 2, "max": 2 });
    document["spec"]["resources"] = json!({ "cpu": "500m" });
    // A request waits for company that long, so a worker always has some in hand when it is killed.
    document["spec"]["serving"] = json!({ "batching": { "maxSize": 32, "maxDelay": "20ms" } });
    let _ = hand_in(folder, &document, "digits").await.ok();
    released(&view, "digits", Duration::from_secs(120)).await;
    let mut dead = BTreeSet::new();
    two_ready(&bus, &dead).await;

    let client = Client::of(folder, "digits");
    let (target, limits): (Target, Limits) = (folder.door().parse().unwrap(), Limits::default());
    let probing = Shape::Closed { callers: 32, duration: Duration::from_secs(4) };
    let most = run(&target, Arc::new(client.stream("most", false)), probing, limits, &Stop::default()).await.unwrap();
    assert_eq!(most.failed(), 0, "{:?}", most.failures);
    // In a bad second too: the machine is not this test's alone.
    let whole = most.seconds.iter().take(most.seconds.len().saturating_sub(1)).map(|second| second.ok);
    let rate = whole.min().unwrap_or_default() as f64 * LOAD;

    let (asking, leaving) = (Arc::new(client.stream("asked", false)), Arc::new(client.stream("left", true)));
    let stop = Stop::default();
    let open = |rate| Shape::Open { rate, duration: LONGEST };
    let start = |stream: &Arc<Stream>, rate| {
        let (target, stream, stop) = (target.clone(), Arc::clone(stream), stop.clone());
        tokio::spawn(async move { run(&target, stream, open(rate), limits, &stop).await.unwrap() })
    };
    let (asked, left) = (start(&asking, rate), start(&leaving, LEFT));
    for kill in 0..KILLS {
        let before = asking.answered().len();
        let victim = two_ready(&bus, &dead).await[kill % 2];
        kill_process(Pid::from_raw(i32::try_from(victim).unwrap()).unwrap(), Signal::KILL).unwrap();
        dead.insert(victim);
        // Under load, and with the other one, for as long as a worker takes to be back.
        two_ready(&bus, &dead).await;
        eventually(Duration::from_secs(60), || async { asking.answered().len() > before + 100 }).await;
    }
    stop.enough.cancel();
    let (asked, left) = (asked.await.unwrap(), left.await.unwrap());
    println!(
        "two workers answer {:.0} a second; at {rate:.0}, {KILLS} kills: {} asked, {} failed, p99 {:.0} ms; {} left, {} refused",
        most.throughput,
        asked.sent,
        asked.failed(),
        asked.latency.p99_ms,
        left.sent,
        left.failed(),
    );
    assert_eq!((asked.failed(), asked.shed), (0, 0), "{:?} {:?}", asked.failures, asking.wrong());
    assert_eq!((left.failed(), left.shed), (0, 0), "{:?} {:?}", left.failures, leaving.wrong());

    let ids: Vec<String> = leaving.answered();
    let answered = eventually(Duration::from_secs(120), || async {
        let read = for_each(&ids, 32, |id| {
            let client = client.clone();
            async move { client.result(&id).await }
        })
        .await;
        let is_answer = |said: &Result<Said, String>| said.as_ref().is_ok_and(|said| said.status == 200);
        let open: Vec<_> = read.iter().filter(|(_, said)| !is_answer(said)).take(3).cloned().collect();
        if open.is_empty() { Ok(read.len()) } else { Err(open) }
    })
    .await;
    assert_eq!(answered, ids.len());
    for (what, ids) in [("left", ids), ("asked", asking.answered())] {
        let query =
            format!("SELECT request_id, ok, suspect, attempt FROM predictions WHERE request_id LIKE '{what}-%'");
        let rows = eventually(Duration::from_secs(60), || async {
            let rows = postgres.try_rows(&query).await.map_err(|error| error.to_string())?;
            if rows.len() >= ids.len() { Ok(rows) } else { Err(format!("{what}: {} of {}", rows.len(), ids.len())) }
        })
        .await;
        let found: BTreeSet<&str> = rows.iter().map(|row| row["request_id"].as_str().unwrap()).collect();
        let wanted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!((rows.len(), &found), (wanted.len(), &wanted), "{what}: each once and nothing else");
        assert!(rows.iter().all(|row| row["ok"] == true && row["suspect"] == false), "{what}");
        let mut by_attempt: BTreeMap<u64, usize> = BTreeMap::new();
        for row in &rows {
            *by_attempt.entry(row["attempt"].as_u64().unwrap()).or_default() += 1;
        }
        println!("{what}: {} rows, by try {by_attempt:?}", rows.len());
        if what == "asked" {
            assert!(by_attempt.keys().any(|attempt| *attempt > 1), "no kill met a request: the test shows nothing");
        }
    }
    holds_together(&view, "digits");
}
