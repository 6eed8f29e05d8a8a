//! One file per command.

pub(crate) mod dead;
pub(crate) mod demo;
pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod infer;
pub(crate) mod log;
pub(crate) mod nats_client;
pub(crate) mod order;
pub(crate) mod plan;
pub(crate) mod results;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod watch;

use crate::{cli::Global, cli::WorkerArgs, failure::Failure};
use slipway_bus::{Bus, Folded, View};
use slipway_kernel::{DeploymentId, Label};
use std::{process::ExitCode, sync::Arc, time::Duration};

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

/// The worker process: its own arguments, its own frame.
pub(crate) fn inference_worker(args: &WorkerArgs) -> ExitCode {
    let arguments = std::iter::once("slipway inference-worker".to_owned()).chain(args.args.iter().cloned());
    slipway_inference_worker::start(arguments.map(Into::into))
}

/// How long the gate may take to answer. Behind it stand one fold and one write; more means that it is not there.
pub(crate) const GATE_TIMEOUT: Duration = Duration::from_secs(15);
