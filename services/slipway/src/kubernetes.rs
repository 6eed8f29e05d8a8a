//! The way to the API server of a cluster.

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
