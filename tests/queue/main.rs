//! The queued path from end to end: HTTP accept, JetStream, worker, JetStream, PostgreSQL row. How many a second, how long accepting takes
//! beside a bare publish, and whether each id is there once.
//!
//! `slipway up` as a user starts it, a real PostgreSQL; client, mesh, worker, broker and database share the machine.
//! `cargo bench --package slipway-tests --bench queue -- --seconds 10`.
#![allow(clippy::print_stdout, reason = "a bench prints its figures")]
#![allow(clippy::expect_used, reason = "a bench ends where something is not as it must be")]

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use slipway_bus::Principal;
use slipway_kernel::{DeploymentId, RequestId, RevisionId, Service};
use slipway_loadtest::{Limits, Report, Request, Same, Shape, Stop, Target, run};
use slipway_testkit::{DataFolder, Mesh, MeshOptions, Postgres, workspace};
use slipway_tests::results::{conditions, write_section};
use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

/// Requests one after the other, and messages for the floor.
const ALONE: usize = 2_000;
/// Callers of the closed loop.
const CALLERS: usize = 64;
/// What an issue of this project wants on two cores.
const WANTED: f64 = 10_000.0;
const WANTED_TIMES: f64 = 1.5;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let seconds = arguments.iter().position(|argument| argument == "--seconds").and_then(|at| arguments.get(at + 1));
    let seconds = seconds.map_or(Ok(10.0), |text| text.parse()).context("--seconds: a number")?;
    slipway_runtime::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(Duration::try_from_secs_f64(seconds)?))
}

async fn measure(duration: Duration) -> anyhow::Result<()> {
    let conditions = conditions();
    let postgres = Postgres::start().await;
    let env = vec![("RESULTS_URL".to_owned(), postgres.url())];
    let mesh = Mesh::start_with(MeshOptions { env, log: "warn".to_owned(), ..MeshOptions::default() }).await;
    let folder = mesh.folder();
    deploy(folder).await;
    let floor = bare_publish(folder).await?;
    let one = Shape::Closed { callers: 1, duration: Duration::from_secs(3) };
    let door = answer(folder).await?.latency.p50_ms;
    let alone = load(folder, one).await?;
    // What accepting takes where nothing else of the path has work meanwhile. Not for long: what nobody takes fills the queue.
    signal(folder, Signal::STOP)?;
    let resting = load(folder, Shape::Closed { callers: 1, duration: Duration::from_secs(1) }).await?;
    signal(folder, Signal::CONT)?;
    let before = settled(&postgres, alone.ok + resting.ok).await?;

    let begun = Instant::now();
    let many = load(folder, Shape::Closed { callers: CALLERS, duration }).await?;
    let rows = settled(&postgres, before + many.ok).await?;
    let took = begun.elapsed();
    let distinct = count(&postgres, "count(DISTINCT request_id)").await?;

    let rate = f64_of(many.ok) / took.as_secs_f64();
    let accept = alone.latency.p50_ms;
    let (throughput, p50, p99) = (many.throughput, many.latency.p50_ms, many.latency.p99_ms);
    let text = [
        "# What the queued path carries\n".to_owned(),
        "HTTP accept, JetStream, worker, JetStream, row in PostgreSQL; written by `make bench-queue`.\n".to_owned(),
        conditions,
        "| | | wanted |\n|---|--:|--:|".to_owned(),
        format!("| accepted, {CALLERS} callers | {throughput:.0}/s, p50 {p50:.2} ms, p99 {p99:.2} ms | |"),
        format!(
            "| from the first request to the last row | {rate:.0}/s ({} in {:.1} s) | {WANTED:.0}/s: {} |",
            many.ok,
            took.as_secs_f64(),
            verdict(rate >= WANTED)
        ),
        format!("| rows missing; ids that are there twice | {}; {} | 0 |", before + many.ok - rows, rows - distinct),
        format!("| accepted, one caller, p50 | {accept:.3} ms | |"),
        format!("| the same while the worker stands still | {:.3} ms | |", resting.latency.p50_ms),
        format!("| a request that the door answers by itself, one caller, p50 | {door:.3} ms | |"),
        format!("| bare publish, one at a time, p50 | {floor:.3} ms | |"),
        format!(
            "| accepting beside it | {:.1} times | {WANTED_TIMES} times: {} |",
            accept / floor,
            verdict(accept <= WANTED_TIMES * floor)
        ),
    ];
    let text = text.join("\n");
    println!("{text}");
    write_section("queue", &text)?;
    println!("written to loadtest/RESULTS.md");
    Ok(())
}

async fn deploy(folder: &DataFolder) {
    let example = |name: &str| format!("file://{}", workspace().join("infra/examples").join(name).display());
    let document = json!({
        "apiVersion": "slipway.dev/v1",
        "kind": "ModelDeployment",
        "metadata": { "name": "digits" },
        "spec": {
            "model": { "uri": example("digits-v1.onnx") },
            "serving": { "batching": { "maxSize": 64, "maxDelay": "0ms" } },
            "scale": { "min": 1, "max": 1 },
            "outputs": [{ "postgres": { "url": "env:RESULTS_URL", "table": "predictions" } }],
            "slo": { "availability": 90.0 },
            "validation": { "load": { "rate": "20/s", "duration": "500ms", "repeats": 1 }, "faults": [] },
            "rollout": { "steps": [100], "hold": "0s", "watch": "1s" },
        },
    });
    let file = folder.path().join("deployment.json");
    fs::write(&file, document.to_string()).expect("a file");
    folder.cli(["deploy", "-f", file.to_str().expect("a path of text"), "--timeout", "4m"]).await.ok();
}

/// A request with the first of the golden digits.
fn body() -> anyhow::Result<Bytes> {
    let golden = fs::read_to_string(workspace().join("infra/examples/digits-v1.golden.jsonl"))?;
    let row: Value = serde_json::from_str(golden.lines().next().context("golden rows")?)?;
    let input = json!({ "name": "X", "datatype": "FP32", "shape": [1, 64], "data": row["inputs"]["X"] });
    Ok(serde_json::to_vec(&json!({ "inputs": [input] }))?.into())
}

async fn load(folder: &DataFolder, shape: Shape) -> anyhow::Result<Report> {
    let key = format!("Bearer {}", folder.api_key(&id()));
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("prefer", "respond-async".to_owned()),
        ("authorization", key),
    ];
    let headers = headers.into_iter().map(|(name, value)| Ok((name.parse()?, HeaderValue::from_str(&value)?)));
    let headers = headers.collect::<anyhow::Result<HeaderMap>>()?;
    let path = "/v2/models/digits/infer".parse()?;
    let workload = Same(Request { method: Method::POST, path, headers, body: body()? });
    let target: Target = folder.door().parse()?;
    let report = run(&target, Arc::new(workload), shape, Limits::default(), &Stop::default()).await?;
    ensure!(report.failed() == 0, "refused or unanswered: {:?}", report.failures);
    Ok(report)
}

/// A request that the door answers by itself: what HTTP and the client take of accepting.
async fn answer(folder: &DataFolder) -> anyhow::Result<Report> {
    let request = Request {
        method: Method::GET,
        path: "/v2/health/live".parse()?,
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let shape = Shape::Closed { callers: 1, duration: Duration::from_secs(2) };
    let target: Target = folder.door().parse()?;
    run(&target, Arc::new(Same(request)), shape, Limits::default(), &Stop::default()).await.map_err(Into::into)
}

/// Stops the workers for a moment shorter than they may be silent, or lets them go on.
fn signal(folder: &DataFolder, signal: Signal) -> anyhow::Result<()> {
    for worker in folder.workers() {
        let pid = Pid::from_raw(i32::try_from(worker)?).context("a process")?;
        kill_process(pid, signal)?;
    }
    Ok(())
}

/// What a publish to a queue takes that does nothing else, at the same broker: milliseconds, the median.
async fn bare_publish(folder: &DataFolder) -> anyhow::Result<f64> {
    let bus = folder.bus(Principal::Service(Service::Ingress)).await;
    let (elsewhere, revision): (DeploymentId, _) =
        ("default.nobody".parse().map_err(anyhow::Error::msg)?, RevisionId::new(1, 1));
    let (payload, mut took) = (body()?, Vec::with_capacity(ALONE));
    for n in 0..ALONE {
        let request: RequestId = format!("floor-{n}").parse().map_err(anyhow::Error::msg)?;
        let begun = Instant::now();
        bus.requests().publish(&elsewhere, revision, &request, payload.clone(), None).await?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took.get(ALONE / 2).copied().unwrap_or_default().as_secs_f64() * 1_000.0)
}

/// Waits until so many rows are there, and says how many are.
async fn settled(postgres: &Postgres, wanted: u64) -> anyhow::Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let rows = count(postgres, "count(*)").await?;
        if rows >= wanted {
            return Ok(rows);
        }
        ensure!(Instant::now() < deadline, "{rows} rows of {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn count(postgres: &Postgres, what: &str) -> anyhow::Result<u64> {
    let query = format!("SELECT {what} AS n FROM predictions WHERE deployment = 'digits'");
    let rows = postgres.try_rows(&query).await.unwrap_or_default();
    Ok(rows.first().and_then(|row| row["n"].as_u64()).unwrap_or(0))
}

fn id() -> DeploymentId {
    "default.digits".parse().expect("it is an id")
}

fn f64_of(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
    let value = count as f64;
    value
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}
