//! The cluster that Slipway is installed in.

use crate::{cli::ClusterArgs, failure::Failure};
use kube::Client;

/// A client for the cluster that Slipway is installed in, and its namespace there.
///
/// # Errors
/// When no cluster is known.
pub(crate) async fn installed(args: &ClusterArgs) -> Result<(Client, String), Failure> {
    let connected = slipway_cluster::connect(args.kubeconfig.as_deref(), args.context.as_deref()).await;
    let cluster = connected.map_err(|error| {
        Failure::input(error.to_string())
            .hint("name a kubeconfig with --kubeconfig FILE, a context with --context NAME")
    })?;
    Ok((cluster.client, args.kube_namespace.clone().unwrap_or(cluster.namespace)))
}
