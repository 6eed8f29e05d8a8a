//! From the start of the process to the first answer, memory without work, memory under work.

use crate::{median, name, verdict};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use slipway_loadtest::{Limits, Request, Same, Shape, Stop, Workload, run};
use slipway_testkit::ServedModel;
use std::{fs, path::Path, sync::Arc, time::Duration};

const STARTS: usize = 7;
/// Beyond the engine's own load.
const READY_WITHIN_MS: f64 = 500.0;
/// Beyond model and engine.
const IDLE_MIB: f64 = 40.0;
const CALLERS: usize = 8;
/// Memory is read so many times over the soak.
const READINGS: u32 = 20;
/// What a worker may have grown by between the first fifth of the soak and its end.
const FLAT: f64 = 1.03;

struct Worker {
    served: ServedModel,
    client: reqwest::Client,
    /// What the engine needed of the start for loading the model.
    load: Duration,
}

/// Resident memory in MiB.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    all: f64,
    /// Of no file: not the code of program and engine.
    anonymous: f64,
    /// The engine's library. That of `tract` is part of the program.
    library: f64,
}

impl Memory {
    /// Adds up a process's mappings: a line with its place and file, then its figures.
    fn read(maps: &str) -> Self {
        let (mut memory, mut of_library) = (Self::default(), false);
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let Some((key, value)) = words.next().zip(words.next()) else { continue };
            let Some(key) = key.strip_suffix(':') else {
                of_library = line.contains("libonnxruntime");
                continue;
            };
            let mib = || value.parse::<f64>().unwrap() / 1024.0;
            match key {
                "Rss" => {
                    memory.all += mib();
                    memory.library += if of_library { mib() } else { 0.0 };
                }
                "Anonymous" => memory.anonymous += mib(),
                _ => {}
            }
        }
        memory
    }
}

impl Worker {
    async fn start(model: &Path, engine: &str) -> Self {
        let served = ServedModel::start(model, &["--name", "model", "--engine", engine]).await;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        let url = format!("http://{}/metrics", served.admin);
        let metrics = client.get(url).send().await.unwrap().text().await.unwrap();
        let load = metrics
            .lines()
            .filter(|line| line.starts_with("slipway_worker_load"))
            .find_map(|line| line.rsplit(' ').next()?.parse().ok().map(Duration::from_secs_f64));
        Self { served, client, load: load.expect("the time of the load") }
    }

    /// What of the process lies in memory.
    fn memory(&self) -> Memory {
        let maps = fs::read_to_string(format!("/proc/{}/smaps", self.served.program.pid())).unwrap();
        Memory::read(&maps)
    }

    /// A request of zeros.
    async fn request(&self) -> Request {
        let path = "/v2/models/model";
        let told: Value =
            self.client.get(format!("http://{}{path}", self.served.http)).send().await.unwrap().json().await.unwrap();
        let inputs: Vec<Value> = told["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|input| {
                let shape: Vec<i64> =
                    input["shape"].as_array().unwrap().iter().map(|size| size.as_i64().unwrap().max(1)).collect();
                let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
                json!({ "name": input["name"], "datatype": input["datatype"], "shape": shape, "data": vec![0; count] })
            })
            .collect();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let body = json!({ "inputs": inputs }).to_string().into();
        Request { method: Method::POST, path: format!("{path}/infer").parse().unwrap(), headers, body }
    }
}

/// Starts and idle memory of every model on every engine.
pub async fn starts(models: &[std::path::PathBuf]) -> String {
    let mut lines = vec![
        "## From the start of the process to ready, and memory without work\n".to_owned(),
        "`slipway serve`; medians. Anonymous memory is what is left without the pages of files, which are the code of program and engine; the engine's library is what of ONNX Runtime's is in memory.\n".to_owned(),
        "| model | engine | ready | of it loading the model | the rest | resident | engine's library | anonymous | model file |".to_owned(),
        "|---|---|--:|--:|--:|--:|--:|--:|--:|".to_owned(),
    ];
    let (mut rests, mut idle) = (Vec::new(), f64::INFINITY);
    for model in models {
        let file_mib = fs::metadata(model).unwrap().len() as f64 / f64::from(1 << 20);
        for engine in ["onnxruntime", "tract"] {
            let (mut ready, mut load, mut memory) = (Vec::new(), Vec::new(), Memory::default());
            for _ in 0..STARTS {
                let mut worker = Worker::start(model, engine).await;
                ready.push(worker.served.ready_after.as_secs_f64() * 1e3);
                load.push(worker.load.as_secs_f64() * 1e3);
                memory = worker.memory();
                let _ = worker.served.program.stop().await;
            }
            let rest = median(ready.iter().zip(&load).map(|(ready, load)| ready - load).collect());
            rests.push(rest);
            idle = idle.min(memory.all - memory.library - file_mib);
            lines.push(format!(
                "| {} | {engine} | {:.0} ms | {:.0} ms | {rest:.0} ms | {:.1} MiB | {:.1} MiB | {:.1} MiB | {file_mib:.1} MiB |",
                name(model),
                median(ready),
                median(load),
                memory.all,
                memory.library,
                memory.anonymous
            ));
            println!("{}", lines[lines.len() - 1]);
        }
    }
    let worst = rests.iter().copied().fold(0.0, f64::max);
    lines.push(format!(
        "\nReady within {READY_WITHIN_MS:.0} ms beyond the load: {worst:.0} ms at most: {}. Idle under {IDLE_MIB:.0} MiB beyond model and engine: {idle:.1} MiB with the smallest: {}.",
        verdict(worst < READY_WITHIN_MS),
        verdict(idle < IDLE_MIB)
    ));
    lines.join("\n") + "\n"
}

/// Keeps a worker busy and reads its memory.
pub async fn soak(model: &Path, time: Duration) -> String {
    let worker = Worker::start(model, "auto").await;
    let workload: Arc<dyn Workload> = Arc::new(Same(worker.request().await));
    let target = format!("http://{}", worker.served.http).parse().unwrap();
    let (mut readings, mut answered, mut failed) = (Vec::new(), 0, 0);
    for _ in 0..READINGS {
        let shape = Shape::Closed { callers: CALLERS, duration: time / READINGS };
        let report =
            run(&target, Arc::clone(&workload), shape, Limits::default(), &Stop::default()).await.expect("a run");
        answered += report.ok;
        failed += report.failed();
        readings.push(worker.memory().all);
        println!("{:.1} MiB after {answered} requests", readings[readings.len() - 1]);
    }
    let warm = readings[readings.len() / 5];
    let last = readings[readings.len() - 1];
    let most = readings.iter().copied().fold(0.0, f64::max);
    format!(
        "## Memory over {} s of work\n\n{CALLERS} callers on `{}`: {answered} answered, {failed} failed; {:.1} MiB after the first twentieth, {warm:.1} MiB after a fifth, {last:.1} MiB at the end, {most:.1} MiB at most. Flat (at most {:.0} % more at the end than after a fifth): {}.\n",
        time.as_secs(),
        name(model),
        readings[0],
        (FLAT - 1.0) * 100.0,
        verdict(last <= warm * FLAT && failed == 0)
    )
}
