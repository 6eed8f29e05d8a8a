//! One file per command.

pub(crate) mod api_key;
mod broker_reload;
pub(crate) mod connect;
pub(crate) mod dead;
pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod infer;
pub(crate) mod log;
mod manifests;
pub(crate) mod nats_client;
pub(crate) mod order;
pub(crate) mod plan;
pub(crate) mod ready;
pub(crate) mod render;
pub(crate) mod replay;
pub(crate) mod results;
pub(crate) mod serve;
pub(crate) mod site;
pub(crate) mod status;
mod topology;
pub(crate) mod watch;

use crate::{
    cli::{Command, Global},
    cluster,
    failure::Failure,
    services,
};
use slipway_bus::{Bus, Folded, View};
use slipway_kernel::{DeploymentId, Label};
use slipway_runtime::boot_from;
use std::{ffi::OsString, process::ExitCode, sync::Arc, time::Duration};

/// `<namespace>.<name>` of a name given on the command line.
pub(crate) fn id(global: &Global, name: &Label) -> DeploymentId {
    DeploymentId { namespace: global.namespace.clone(), name: name.clone() }
}

/// The folded deployment and the view it comes from.
pub(crate) async fn folded(bus: &Bus, id: &DeploymentId) -> Result<(View, Arc<Folded>), Failure> {
    let view = bus.log().follow().await?;
    let folded = view.get(id).filter(|folded| folded.deployment.newest().is_some()).ok_or_else(|| {
        Failure::input(format!("there is no deployment {id}")).hint("`slipway status` lists what there is")
    })?;
    Ok((view, folded))
}

/// The commands that are a process of their own, with threads, log and settings as a service has them; what came of it. None for all others.
pub(crate) fn process(command: &Command) -> Option<ExitCode> {
    let line = |name: &str, args: &[String]| {
        let program = std::iter::once(format!("slipway {name}"));
        program.chain(args.iter().cloned()).map(OsString::from).collect::<Vec<OsString>>()
    };
    Some(match command {
        Command::Service(args) => services::boot(args.name, &args.args),
        Command::InferenceWorker(args) => slipway_inference_worker::start(line("inference-worker", &args.args)),
        Command::ClusterInit(args) => {
            boot_from::<cluster::Config, _, _>("cluster-init", line("cluster-init", &args.args), cluster::run)
        }
        Command::Topology(args) => {
            boot_from::<topology::Config, _, _>("topology", line("topology", &args.args), topology::run)
        }
        Command::BrokerReload(args) => {
            let arguments = line("broker-reload", &args.args);
            boot_from::<broker_reload::Config, _, _>("broker-reload", arguments, broker_reload::run)
        }
        _ => return None,
    })
}

/// How long the gate may take to answer. Behind it stand one fold and one write; more means that it is not there.
pub(crate) const GATE_TIMEOUT: Duration = Duration::from_secs(15);
