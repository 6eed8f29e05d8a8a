//! The way to the API server of a cluster.

use crate::{cli::ClusterArgs, failure::Failure};
use anyhow::Context as _;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{path::Path, time::Duration};

/// How long one call may take. Objects of this size take milliseconds; an API server that needs longer is being started.
const CALL: Duration = Duration::from_secs(15);

/// A client for the cluster of a kubeconfig, in one of its contexts, else for that of the own pod, else for that of `KUBECONFIG`; and the
/// namespace that it names.
///
/// # Errors
/// When no cluster is known.
pub(crate) async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<(Client, String)> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = match (kubeconfig, context) {
        (Some(path), _) => {
            let read = Kubeconfig::read_from(path).with_context(|| format!("kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(read, &options).await?
        }
        (None, Some(_)) => Config::from_kubeconfig(&options).await?,
        (None, None) => {
            Config::infer().await.context("no cluster is known: neither a kubeconfig nor a service account")?
        }
    };
    config.connect_timeout = Some(CALL);
    config.read_timeout = Some(CALL);
    config.write_timeout = Some(CALL);
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).context("the way to the API server cannot be set up")?;
    Ok((client, namespace))
}

/// A client for the cluster that Slipway is installed in, and its namespace there.
///
/// # Errors
/// When no cluster is known.
pub(crate) async fn installed(args: &ClusterArgs) -> Result<(Client, String), Failure> {
    let connected = connect(args.kubeconfig.as_deref(), args.context.as_deref()).await;
    let (client, default) = connected.map_err(|error| {
        Failure::input(format!("{error:#}"))
            .hint("name a kubeconfig with --kubeconfig FILE, a context with --context NAME")
    })?;
    Ok((client, args.kube_namespace.clone().unwrap_or(default)))
}
