//! `slipway serve`: one model file, no mesh.

use crate::{
    cli::{Format, Global, ServeArgs},
    failure::{Failure, chain},
    output::{self, Mark},
};
use serde_json::json;
use slipway_inference_worker::{
    config::{GoldenSource, WorkerConfig},
    engine::server::ServerConfig,
    front::FrontLimits,
    standalone::{Options, Standalone},
};
use slipway_kernel::Label;
use slipway_runtime::{AdminConfig, Common, Process, ProcessConfig, TelemetryConfig};
use std::path::Path;

/// Rows of a batch that are tried when no number is given: no model we measured gained beyond it.
const MOST_ROWS: usize = 32;

/// Requests that wait for a run at most. More than any client keeps in flight; what waits longer than its deadline is refused anyway.
const QUEUE: usize = 4_096;

/// Serves until SIGTERM or Ctrl-C.
pub(crate) async fn run(args: ServeArgs, global: &Global) -> Result<(), Failure> {
    let name = match args.name {
        Some(name) => name,
        None => name_of(&args.model)?,
    };
    let common = Common {
        admin: AdminConfig { listen: Some(args.admin) },
        telemetry: TelemetryConfig { filter: args.log, ..TelemetryConfig::default() },
        ..Common::default()
    };
    let mut process = Process::start(ProcessConfig { name: "slipway", common })
        .await
        .map_err(|error| Failure::local(chain(&error)).hint("another address for it: `--admin 127.0.0.1:0`"))?;
    let frame = process.frame("inference-worker");
    let worker = WorkerConfig {
        max_batch: args.max_batch.unwrap_or(MOST_ROWS),
        fixed_batch: args.max_batch.is_some(),
        max_delay: args.max_delay,
        threads: args.instances,
        intra_op_threads: args.threads,
        engine: args.engine,
        device: args.device,
        server: ServerConfig {
            kind: args.server,
            address: args.server_address,
            model: args.server_model,
            repository: args.server_repository,
            start_timeout: args.server_start,
            ..ServerConfig::default()
        },
        golden: args.golden.map(GoldenSource::File),
        queue_limit: QUEUE,
        ..WorkerConfig::default()
    };
    let refusals = worker.check_serving();
    if !refusals.is_empty() {
        return Err(Failure::refusals(&slipway_kernel::Refusals(refusals)));
    }
    let body = usize::try_from(args.max_body.0).unwrap_or(usize::MAX);
    let options = Options {
        model: args.model,
        name: name.clone(),
        listen: vec![args.http, args.grpc],
        worker,
        limits: FrontLimits { body, timeout: args.timeout.0 },
    };
    let standalone = Standalone::open(options, &frame).await.map_err(|error| Failure::local(chain(&error)))?;
    banner(&standalone, &name, global);
    let shutdown = frame.shutdown.clone();
    frame.tasks.spawn("serve", standalone.serve(shutdown));
    process.until_shutdown().await;
    process.drain().await.map_err(|error| Failure::local(format!("{error:#}")))
}

/// The file's name as a name of a model.
fn name_of(file: &Path) -> Result<Label, Failure> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = stem.replace(['_', '.', ' '], "-");
    name.parse().map_err(|allowed| {
        Failure::input(format!("`{stem}` is no name of a model: {allowed}")).hint("name it: `--name digits`")
    })
}

fn banner(standalone: &Standalone, name: &Label, global: &Global) {
    let addresses: Vec<String> = standalone.addresses().iter().map(ToString::to_string).collect();
    if global.output == Format::Json {
        output::json(&json!({ "model": name, "addresses": addresses }));
        return;
    }
    let places = addresses.join(" and ");
    output::line(format!(
        "{} {name} is served at {places} (Open Inference Protocol v2, HTTP and gRPC)",
        Mark::Good.sign()
    ));
    if let Some(first) = addresses.first() {
        output::line(format!("  http://{first}/v2/models/{name} says what it takes"));
    }
}
