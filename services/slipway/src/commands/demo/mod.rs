//! `slipway demo`: the whole story on a mesh of its own, under traffic that must not notice.

mod promise;

use super::{
    deploy::{Ended, to_the_end},
    diff,
};
use crate::{
    cli::{DemoArgs, DiffArgs, Format, Global},
    context::Context,
    document,
    failure::{Failure, chain},
    output::{self, Mark, heading, line},
};
use slipway_bus::{Bus, SinkAnswer};
use slipway_kernel::{Deployment, DeploymentId, Generation, RevisionId, Slot};
use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

/// How long one act may take. On two slow cores the longest takes under a minute.
const ACT: Duration = Duration::from_secs(300);
/// How long the mesh may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long results may take into the database once nobody sends.
const SETTLE: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: DemoArgs, global: &Global) -> Result<(), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("slipway-demo-")
        .tempdir()
        .map_err(|error| Failure::local(format!("no temporary folder: {error}")))?;
    let own = Global { data: folder.path().to_path_buf(), ..global.clone() };
    let mut mesh = Mesh::start(&own).await?;
    let played = play(&args, &own, &mesh).await;
    mesh.stop().await;
    if args.keep || played.is_err() {
        let kept = folder.keep();
        line(format!("data folder kept: {}", kept.display()));
    }
    played
}

async fn play(args: &DemoArgs, global: &Global, mesh: &Mesh) -> Result<(), Failure> {
    let bus = mesh.context.connect().await?;
    let act = |n: u32, text: &str| line(format!("\n{}", heading(format!("{n}. {text}"))));
    let document = |name: &str| document::read(&args.examples.join(name));

    let mut second = document("digits-v2-heals.yaml")?;
    let (single, best) = promise::fit(&mut second).await?;
    line(format!(
        "{} the heavier model of the second act: {single:.0} rows/s one by one on this machine, {best:.0} in batches",
        Mark::Note.sign()
    ));

    act(1, "A first model: digits v1, from request to release");
    let first = document("digits-v1.yaml")?;
    let id = first.id();
    expect_released(to_the_end(&bus, &first, ACT, Format::Human).await?.1)?;
    let client = Client::start(mesh, &id, &args.examples.join("digits-v1.golden.jsonl"))?;
    line(format!("\n{} from now on a client sends requests without pause", Mark::Note.sign()));

    act(2, "A target that the first plan misses: it is revised, with its reason, until it holds");
    let (generation, ended) = to_the_end(&bus, &second, ACT, Format::Human).await?;
    expect_released(ended)?;
    let (from, to) = revised(&deployment(&bus, &id).await?, generation)?;
    line(String::new());
    diff::run(DiffArgs { name: id.name.clone(), from, to }, global).await?;

    act(3, "A model with wrong outputs: caught before any client sees it, and taken back");
    let third = document("digits-v3-wrong.yaml")?;
    let (_, ended) = to_the_end(&bus, &third, ACT, Format::Human).await?;
    expect_taken_back(ended)?;

    let traffic = client.stop().await?;
    let rows = settled(&bus, &id, traffic.answered).await?;
    summary(&deployment(&bus, &id).await?, &traffic, &rows);
    judge(&traffic, &rows)
}

fn expect_released(ended: Ended) -> Result<(), Failure> {
    match ended {
        Ended::Released => Ok(()),
        Ended::Otherwise(message, advice) => Err(Failure::outcome(format!("not released: {message}")).hint(advice)),
    }
}

fn expect_taken_back(ended: Ended) -> Result<(), Failure> {
    match ended {
        Ended::Released => Err(Failure::outcome("a model with wrong outputs was released")),
        Ended::Otherwise(message, _) => {
            line(format!("{} {message}", Mark::Good.sign()));
            Ok(())
        }
    }
}

async fn deployment(bus: &Bus, id: &DeploymentId) -> Result<Deployment, Failure> {
    let view = bus.log().follow().await?;
    let folded = view.get(id).ok_or_else(|| Failure::local(format!("{id} is not in the log")))?;
    Ok(folded.deployment.clone())
}

/// The first and the last revision of a generation that was revised.
fn revised(deployment: &Deployment, generation: Generation) -> Result<(RevisionId, RevisionId), Failure> {
    let revisions = deployment.generations.get(&generation).map(|state| &state.revisions);
    let ids: Vec<RevisionId> = revisions.into_iter().flat_map(|all| all.values().map(|r| r.id)).collect();
    match (ids.first(), ids.last()) {
        (Some(first), Some(last)) if first != last => Ok((*first, *last)),
        _ => Err(Failure::outcome("the first plan met the target, so nothing was revised")
            .hint("nothing else may use this machine while the demo measures it; try once more")),
    }
}

/// Waits until the database has what the client was answered.
async fn settled(bus: &Bus, id: &DeploymentId, answered: u64) -> Result<SinkAnswer, Failure> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let rows = super::results::ask(bus, id, None).await?;
        if rows.total >= answered || Instant::now() > deadline {
            return Ok(rows);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn summary(deployment: &Deployment, traffic: &Traffic, rows: &SinkAnswer) {
    line(format!("\n{}", heading("Summary")));
    let mut table = output::table(["step", "revision", "seconds"]);
    for generation in deployment.generations.values() {
        let mut facts: Vec<_> = generation.facts().collect();
        facts.sort_by_key(|fact| fact.sequence);
        for pair in facts.windows(2) {
            let (before, fact) = (pair[0], pair[1]);
            if matches!(fact.key.slot, Slot::Request | Slot::Command(_)) {
                continue;
            }
            let seconds = fact.at.since(before.at).as_secs_f64();
            table.add_row([fact.answer.name().to_owned(), fact.key.revision_id().to_string(), format!("{seconds:.2}")]);
        }
    }
    line(table);
    let revisions: Vec<String> =
        traffic.by_revision.iter().map(|(revision, count)| format!("{count} by {revision}")).collect();
    line(format!(
        "  requests  {} answered ({}), {} failed",
        traffic.answered,
        revisions.join(", "),
        traffic.failures.len()
    ));
    line(format!("  database  {} rows, each request once", rows.total));
    if let Some(serving) = deployment.serving() {
        line(format!("  serving   {serving}"));
    }
}

fn judge(traffic: &Traffic, rows: &SinkAnswer) -> Result<(), Failure> {
    if let Some(first) = traffic.failures.first() {
        return Err(Failure::outcome(format!("{} requests failed; the first: {first}", traffic.failures.len())));
    }
    if rows.total < traffic.answered {
        let missing = traffic.answered - rows.total;
        return Err(Failure::outcome(format!("{missing} answered requests have no row in the database")));
    }
    line(format!("\n{} all as it should be", Mark::Good.sign()));
    Ok(())
}

/// A mesh in a process of its own.
struct Mesh {
    child: Child,
    context: Context,
    data: PathBuf,
}

impl Mesh {
    async fn start(global: &Global) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| Failure::local(error.to_string()))?;
        let (http, admin) = (free_address()?, free_address()?);
        let log = fs::File::create(global.data.join("up.log")).map_err(|error| Failure::local(error.to_string()))?;
        let errors = log.try_clone().map_err(|error| Failure::local(error.to_string()))?;
        line(format!("{} starting the mesh: a broker, eight services, one machine", Mark::Note.sign()));
        let child = Command::new(program)
            .arg("--data")
            .arg(&global.data)
            .args(["up", "--http", &http, "--admin", &admin, "--nats-port", "0"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::local(format!("the mesh cannot be started: {error}")))?;
        let begun = Instant::now();
        let mut mesh = Self { child, context: placeholder(), data: global.data.clone() };
        mesh.context = mesh.wait_ready(&admin).await?;
        line(format!("{} ready after {:.2} s", Mark::Good.sign(), begun.elapsed().as_secs_f64()));
        Ok(mesh)
    }

    async fn wait_ready(&mut self, admin: &str) -> Result<Context, Failure> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build();
        let client = client.map_err(|error| Failure::local(chain(&error)))?;
        let deadline = Instant::now() + READY;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Failure::local(format!("the mesh ended with {status}: {}", self.last_words())));
            }
            let ready = client.get(format!("http://{admin}/readyz")).send().await;
            if ready.is_ok_and(|answer| answer.status().is_success())
                && let Ok(context) = Context::read(&self.data)
            {
                return Ok(context);
            }
            if Instant::now() > deadline {
                return Err(Failure::local(format!("the mesh is not ready: {}", self.last_words())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.data.join("up.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    async fn stop(&mut self) {
        if let Some(pid) =
            self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw)
        {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if tokio::time::timeout(Duration::from_secs(45), self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

fn placeholder() -> Context {
    Context {
        nats_url: String::new(),
        operator_seed_file: PathBuf::new(),
        ca_file: None,
        remote: false,
        ingress_url: String::new(),
        admin_url: String::new(),
        pid: 0,
    }
}

fn free_address() -> Result<String, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.to_string()).map_err(|error| Failure::local(error.to_string()))
}

/// What a client saw.
#[derive(Clone, Debug, Default)]
struct Traffic {
    answered: u64,
    by_revision: BTreeMap<String, u64>,
    failures: Vec<String>,
}

/// A client that sends one request after the other, without pause.
struct Client {
    stop: watch::Sender<bool>,
    task: JoinHandle<Traffic>,
}

impl Client {
    fn start(mesh: &Mesh, id: &DeploymentId, golden: &Path) -> Result<Self, Failure> {
        let text =
            fs::read_to_string(golden).map_err(|error| Failure::input(format!("{}: {error}", golden.display())))?;
        let bodies: Vec<String> = text.lines().filter_map(body).collect();
        let key_file = Context::api_key_file(&mesh.data, id);
        let key = fs::read_to_string(&key_file)
            .map_err(|error| Failure::local(format!("no API key in {}: {error}", key_file.display())))?;
        let url = format!("{}/v2/models/{}/infer", mesh.context.ingress_url, id.name);
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build();
        let client = client.map_err(|error| Failure::local(chain(&error)))?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(send_all(client, url, key.trim().to_owned(), Arc::new(bodies), stopped));
        Ok(Self { stop, task })
    }

    async fn stop(self) -> Result<Traffic, Failure> {
        // The task may have ended; then its outcome says so.
        let _ = self.stop.send(true);
        self.task.await.map_err(|error| Failure::local(format!("the client ended: {error}")))
    }
}

/// A golden row as a request.
fn body(row: &str) -> Option<String> {
    let row: serde_json::Value = serde_json::from_str(row).ok()?;
    let data = row.get("inputs")?.get("X")?.as_array()?;
    let input = serde_json::json!({ "name": "X", "datatype": "FP32", "shape": [1, data.len()], "data": data });
    Some(serde_json::json!({ "inputs": [input] }).to_string())
}

async fn send_all(
    client: reqwest::Client,
    url: String,
    key: String,
    bodies: Arc<Vec<String>>,
    stopped: watch::Receiver<bool>,
) -> Traffic {
    let mut traffic = Traffic::default();
    for body in bodies.iter().cycle() {
        if *stopped.borrow() {
            break;
        }
        let request = client.post(&url).bearer_auth(&key).header("content-type", "application/json").body(body.clone());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => {
                let revision = answer.headers().get("slipway-revision").and_then(|r| r.to_str().ok()).unwrap_or("?");
                *traffic.by_revision.entry(revision.to_owned()).or_default() += 1;
                // The answer counts when it arrived whole.
                match answer.bytes().await {
                    Ok(_) => traffic.answered += 1,
                    Err(error) => traffic.failures.push(chain(&error)),
                }
            }
            Ok(answer) => {
                let status = answer.status();
                traffic.failures.push(format!("{status}: {}", answer.text().await.unwrap_or_default()));
            }
            Err(error) => traffic.failures.push(chain(&error)),
        }
    }
    traffic
}
