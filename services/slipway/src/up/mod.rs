//! `slipway up`: the broker, the topology, the services, in one process; drained in the reverse order.

mod folder;
mod nats;
mod services;

use crate::{
    cli::{Global, UpArgs},
    context::Context,
    failure::{Failure, chain},
    output::{self, Mark},
};
use folder::Folder;
use nats::NatsServer;
use services::Settings;
use slipway_bus::{
    Bus, BusConfig, Principal,
    keys::{self, KeyRing},
    permissions::{ServerConfig, server_config},
    topology::{self, TopologyConfig},
};
use slipway_kernel::{ByteSize, Service};
use slipway_runtime::{AdminConfig, Common, Frame, Process, ProcessConfig, TelemetryConfig};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Runs until SIGTERM or Ctrl-C, or until a service fails.
pub(crate) async fn run(args: Box<UpArgs>, global: &Global) -> Result<(), Failure> {
    let folder = Folder::open(&global.data, args.services.is_empty())?;
    let keys = keys::make_all(&folder.path("keys")).map_err(|error| Failure::local(chain(&error)))?;
    let wanted = if args.services.is_empty() { services::in_process() } else { args.services.clone() };
    if args.dump_config {
        let url = args.nats.clone().unwrap_or_else(|| format!("nats://127.0.0.1:{}", args.nats_port));
        return services::dump(&wanted, &Settings::new(&args, folder.root(), &keys, &url, args.admin)?);
    }
    let (mut nats, url) = broker(&args, &folder, &keys).await?;
    let served = tokio::select! {
        served = serve(&args, global, &folder, &keys, &url, &wanted) => served,
        () = keep(&mut nats) => Ok(()),
    };
    Context::remove(folder.root());
    if let Some(nats) = nats {
        nats.stop().await;
    }
    served
}

async fn keep(nats: &mut Option<NatsServer>) {
    match nats {
        Some(server) => server.keep().await,
        None => std::future::pending().await,
    }
}

/// The broker that was named, or that another part of this mesh started, or a new one.
async fn broker(args: &UpArgs, folder: &Folder, keys: &KeyRing) -> Result<(Option<NatsServer>, String), Failure> {
    if let Some(url) = &args.nats {
        return Ok((None, url.clone()));
    }
    if !args.services.is_empty()
        && let Ok(context) = Context::read(folder.root())
    {
        return Ok((None, context.nats_url));
    }
    let binary = NatsServer::find().await?;
    let port = nats::free_port(args.nats_port)?;
    let config = configure(folder.root(), port, keys)?;
    let server = NatsServer::start(binary, config, port, folder.root()).await?;
    Ok((Some(server), format!("nats://127.0.0.1:{port}")))
}

/// Writes the configuration of the broker of a data folder and says where it is.
fn configure(root: &Path, port: u16, keys: &KeyRing) -> Result<PathBuf, Failure> {
    let config = ServerConfig {
        server_name: "slipway".to_owned(),
        port,
        store_dir: root.join("nats"),
        max_file_store: store_bound(root)?,
        ..ServerConfig::default()
    };
    let file = root.join("nats.conf");
    let written = fs::write(&file, server_config(&config, keys));
    written.map_err(|error| Failure::local(format!("{}: {error}", file.display())))?;
    Ok(file)
}

/// Three quarters of the disk, as the broker itself has it of what is free; on a small disk what the streams may hold and as much for log and
/// artifacts, for little of it is ever used. The same each time: a running broker takes no other.
fn store_bound(root: &Path) -> Result<ByteSize, Failure> {
    const LEAST: u64 = 12 << 30;
    let disk = rustix::fs::statvfs(root).map_err(|error| Failure::local(format!("{}: {error}", root.display())))?;
    Ok(ByteSize((disk.f_blocks.saturating_mul(disk.f_frsize) / 4 * 3).max(LEAST)))
}

/// Says so where the disk may become full before the streams are.
fn warn_of_disk(root: &Path, keys: &KeyRing) {
    let bounds = topology::bounds(&topology_config(keys));
    if let Ok(free) = slipway_provisioner::machine::disk_available(root)
        && free < bounds.0
    {
        tracing::warn!(
            free_mib = free >> 20,
            streams_may_hold_mib = bounds.0 >> 20,
            "little free disk: when it is full the broker takes nothing more, and what is deployed or left in a queue is refused"
        );
    }
}

/// Tells the broker of a running mesh which keys there are now, and makes what their namespaces need. `false` if it runs none of its own:
/// then that is done when it is started or configured next.
pub(crate) async fn tell_keys(data: &Path) -> Result<bool, Failure> {
    let Ok(context) = Context::read(data) else { return Ok(false) };
    let root = fs::canonicalize(data).map_err(|error| Failure::local(format!("{}: {error}", data.display())))?;
    let port = context.nats_url.rsplit(':').next().and_then(|port| port.parse().ok());
    let (Some(port), Some(server)) = (port, nats::running(&root)) else { return Ok(false) };
    let keys = keys::make_all(&root.join("keys")).map_err(|error| Failure::local(chain(&error)))?;
    configure(&root, port, &keys)?;
    if !nats::reload(server) {
        return Ok(false);
    }
    make_topology(&context.nats_url, &keys).await?;
    Ok(true)
}

async fn serve(
    args: &UpArgs,
    global: &Global,
    folder: &Folder,
    keys: &KeyRing,
    url: &str,
    wanted: &[Service],
) -> Result<(), Failure> {
    let common = Common {
        admin: AdminConfig { listen: Some(args.admin) },
        telemetry: TelemetryConfig {
            otlp_endpoint: args.otlp.clone(),
            filter: args.log.clone(),
            ..TelemetryConfig::default()
        },
        data_dir: folder.root().to_path_buf(),
        ..Common::default()
    };
    let mut process = Process::start(ProcessConfig { name: "slipway", common })
        .await
        .map_err(|error| Failure::local(chain(&error)).hint("another address for it: `--admin 127.0.0.1:0`"))?;
    let admin = process.admin_address().unwrap_or(args.admin);
    if args.nats.is_none() {
        warn_of_disk(folder.root(), keys);
    }
    make_topology(url, keys).await?;
    let settings = Settings::new(args, folder.root(), keys, url, admin)?;
    for service in wanted {
        services::start(*service, &settings, &process)?;
    }
    let context = Context {
        nats_url: url.to_owned(),
        operator_seed_file: keys.seed_file(Principal::Operator),
        ca_file: None,
        remote: false,
        ingress_url: format!("http://{}", args.http),
        admin_url: format!("http://{admin}"),
        pid: std::process::id(),
    };
    // A part of a mesh leaves the context to the part that owns the broker.
    if args.services.is_empty() {
        context.write(folder.root())?;
    }
    banner(&context, wanted, global);
    process.until_shutdown().await;
    if global.output == crate::cli::Format::Human {
        output::line(format!("{} draining…", Mark::Note.sign()));
    }
    process.drain().await.map_err(|error| Failure::local(format!("{error:#}")))
}

/// Streams, consumers and buckets, by the one identity that may make them.
async fn make_topology(url: &str, keys: &KeyRing) -> Result<(), Failure> {
    let config = BusConfig {
        url: url.to_owned(),
        nkey_seed_file: Some(keys.seed_file(Principal::Bootstrap)),
        ..BusConfig::default()
    };
    // Not part of the process: its connection ends here, on purpose.
    let frame = Frame::detached("slipway");
    let bus = Bus::connect(&config, Principal::Bootstrap, &frame).await.map_err(|error| {
        Failure::unreachable(chain(&error))
            .hint("a broker named by --nats must know the keys of the data folder (nats.conf there)")
    })?;
    topology::ensure(&bus, &topology_config(keys)).await?;
    bus.close().await;
    Ok(())
}

fn topology_config(keys: &KeyRing) -> TopologyConfig {
    TopologyConfig { replicas: 1, namespaces: keys.clients().map(|(client, _)| client.namespace.clone()).collect() }
}

fn banner(context: &Context, wanted: &[Service], global: &Global) {
    if global.output == crate::cli::Format::Json {
        output::json(&context);
        return;
    }
    let names: Vec<&str> = wanted.iter().map(|service| service.name()).collect();
    output::line(output::heading("slipway is up"));
    output::line(format!("  models   {}/v2/models/NAME/infer", context.ingress_url));
    output::line(format!("  admin    {}/readyz /metrics /status", context.admin_url));
    output::line(format!("  log      {}", context.nats_url));
    output::line(format!("  services {}", names.join(", ")));
    output::line("  next     slipway deploy -f infra/examples/digits-v1.yaml");
}
